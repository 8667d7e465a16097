// inotify(7): fs/special/inotify.h.

#include "fs/special/inotify.h"

#include "base/abi/fcntl.h"
#include "base/abi/inotify.h"
#include "base/abi/stat.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

ErrnoOr<Ref<fs::Inotify>> InotifyArg(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  auto* inotify = dynamic_cast<fs::Inotify*>(file.get());
  if (inotify == nullptr) return Errno(EINVAL);
  return Ref<fs::Inotify>(inotify);
}

SyscallOutcome MakeInotify(SyscallContext& c, uint32_t flags) {
  if ((flags & ~(abi::kIN_NONBLOCK | abi::kIN_CLOEXEC)) != 0) return Errno(EINVAL);
  return c.AddFd(fs::Inotify::Make(c.vfs().anonymous_files(), flags), (flags & abi::kIN_CLOEXEC) != 0);
}

}  // namespace

SyscallOutcome SysInotifyInit(SyscallContext& c) { return MakeInotify(c, 0); }
SyscallOutcome SysInotifyInit1(SyscallContext& c) { return MakeInotify(c, c.u32(0)); }

SyscallOutcome SysInotifyAddWatch(SyscallContext& c) {
  constexpr uint32_t kKnown = abi::kIN_ALL_EVENTS | abi::kIN_UNMOUNT | abi::kIN_Q_OVERFLOW | abi::kIN_IGNORED |
                              abi::kIN_ONLYDIR | abi::kIN_DONT_FOLLOW | abi::kIN_EXCL_UNLINK | abi::kIN_MASK_CREATE |
                              abi::kIN_MASK_ADD | abi::kIN_ISDIR | abi::kIN_ONESHOT;
  const uint32_t mask = c.u32(2);
  if ((mask & kKnown) == 0) return Errno(EINVAL);
  REMORA_RETURN_IF_ERROR(c.FileArg(0));
  if ((mask & abi::kIN_MASK_ADD) != 0 && (mask & abi::kIN_MASK_CREATE) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::Inotify> inotify, InotifyArg(c));
  REMORA_ASSIGN_OR_RETURN(const std::string name, c.PathArg(1));
  const fs::WalkContext walk = c.WalkFromCwd();
  REMORA_ASSIGN_OR_RETURN(const fs::Path path, c.vfs().Resolve(walk, name,
                                                               {.follow_last = (mask & abi::kIN_DONT_FOLLOW) == 0,
                                                                .must_be_directory = (mask & abi::kIN_ONLYDIR) != 0}));
  REMORA_ASSIGN_OR_RETURN(const fs::Attributes attributes, path.dentry->inode()->GetAttributes());
  if (!fs::Vfs::Permits(walk.credentials, attributes, abi::kR_OK)) return Errno(EACCES);
  REMORA_ASSIGN_OR_RETURN(const int32_t number, inotify->AddWatch(path, mask));
  return SyscallOutcome::Return(number);
}

SyscallOutcome SysInotifyRmWatch(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::Inotify> inotify, InotifyArg(c));
  return inotify->RemoveWatch(c.i32(1));
}

}  // namespace remora::syscalls
