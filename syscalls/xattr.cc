// Extended attributes: no file system here keeps any. A name that is asked for is EOPNOTSUPP, as on a Linux file system
// without them (what ls, cp and tar expect); a list is empty. The file itself has to be there.

#include "base/abi/fcntl.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

// XATTR_NAME_MAX and the NUL; longer or empty names are ERANGE.
constexpr uint64_t kMaxNameBytes = 256;

ErrnoOr<void> CheckPath(SyscallContext& c, bool follow) {
  REMORA_ASSIGN_OR_RETURN(const std::string path, c.PathArg(0));
  fs::WalkOptions options;
  options.follow_last = follow;
  REMORA_RETURN_IF_ERROR(c.vfs().Resolve(c.WalkFromCwd(), path, options));
  return Ok();
}
ErrnoOr<void> CheckFile(SyscallContext& c) {
  REMORA_RETURN_IF_ERROR(c.FileArg(0));
  return Ok();
}

SyscallOutcome AnswerName(SyscallContext& c, const ErrnoOr<void>& file) {
  const auto name = c.memory().ReadString(c.addr(1), kMaxNameBytes);
  if (!name.ok()) return Errno(name.error_number() == ENAMETOOLONG ? ERANGE : name.error_number());
  if (name->empty()) return Errno(ERANGE);
  REMORA_RETURN_IF_ERROR(file);
  return Errno(EOPNOTSUPP);
}

SyscallOutcome AnswerList(const ErrnoOr<void>& file) { return file; }

}  // namespace

SyscallOutcome SysSetxattr(SyscallContext& c) {
  if ((c.u32(4) & ~(abi::kXATTR_CREATE | abi::kXATTR_REPLACE)) != 0) return Errno(EINVAL);
  return AnswerName(c, CheckPath(c, true));
}
SyscallOutcome SysLsetxattr(SyscallContext& c) {
  if ((c.u32(4) & ~(abi::kXATTR_CREATE | abi::kXATTR_REPLACE)) != 0) return Errno(EINVAL);
  return AnswerName(c, CheckPath(c, false));
}
SyscallOutcome SysFsetxattr(SyscallContext& c) {
  if ((c.u32(4) & ~(abi::kXATTR_CREATE | abi::kXATTR_REPLACE)) != 0) return Errno(EINVAL);
  return AnswerName(c, CheckFile(c));
}
SyscallOutcome SysGetxattr(SyscallContext& c) { return AnswerName(c, CheckPath(c, true)); }
SyscallOutcome SysLgetxattr(SyscallContext& c) { return AnswerName(c, CheckPath(c, false)); }
SyscallOutcome SysFgetxattr(SyscallContext& c) { return AnswerName(c, CheckFile(c)); }
SyscallOutcome SysListxattr(SyscallContext& c) { return AnswerList(CheckPath(c, true)); }
SyscallOutcome SysLlistxattr(SyscallContext& c) { return AnswerList(CheckPath(c, false)); }
SyscallOutcome SysFlistxattr(SyscallContext& c) { return AnswerList(CheckFile(c)); }
SyscallOutcome SysRemovexattr(SyscallContext& c) { return AnswerName(c, CheckPath(c, true)); }
SyscallOutcome SysLremovexattr(SyscallContext& c) { return AnswerName(c, CheckPath(c, false)); }
SyscallOutcome SysFremovexattr(SyscallContext& c) { return AnswerName(c, CheckFile(c)); }

}  // namespace remora::syscalls
