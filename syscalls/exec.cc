// execve and execveat: copies the arguments in, proc::Exec does the rest.

#include "proc/exec.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/abi/fcntl.h"
#include "base/abi/prctl.h"
#include "base/abi/resource.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

// Linux's limits: all strings and pointers together a quarter of the stack limit, never more than 6 MiB nor less than
// 128 KiB; ours is the documented 2 MiB at most.
constexpr uint64_t kMaxArgumentBytes = 2 << 20;
constexpr uint64_t kMinArgumentBytes = 128 << 10;

struct ExecState : proc::SyscallState {
  proc::ExecRequest request;
};

// Copies a null-terminated array of string pointers. A null array is empty. `budget` shrinks by what they take.
ErrnoOr<std::vector<std::string>> ReadStrings(SyscallContext& c, GuestAddr array, uint64_t& budget) {
  std::vector<std::string> strings;
  if (array.is_null()) return strings;
  for (;; array = array + sizeof(uint64_t)) {
    REMORA_ASSIGN_OR_RETURN(const uint64_t pointer, c.memory().Read<uint64_t>(array));
    if (pointer == 0) return strings;
    auto text = c.memory().ReadString(GuestAddr(pointer), abi::kMAX_ARG_STRLEN);
    if (!text.ok()) return Errno(text.error_number() == ENAMETOOLONG ? E2BIG : text.error_number());
    const uint64_t cost = text->size() + 1 + sizeof(uint64_t);
    if (cost > budget) return Errno(E2BIG);
    budget -= cost;
    strings.push_back(*std::move(text));
  }
}

SyscallOutcome RunExec(SyscallContext& c, proc::ExecRequest request) {
  const auto done = proc::Exec(c.task(), request, nullptr);
  if (done.ok()) return SyscallOutcome::NoReturn();
  if (done.error_number() != EAGAIN) return done;
  // The other threads have to end first; whoever ends last wakes this one.
  if (c.state<ExecState>() == nullptr) c.MakeState<ExecState>().request = std::move(request);
  return SyscallOutcome::Blocked();
}

SyscallOutcome Start(SyscallContext& c, proc::ExecRequest request, int argv_arg) {
  uint64_t budget = std::clamp(c.Limit(abi::kRLIMIT_STACK) / 4, kMinArgumentBytes, kMaxArgumentBytes);
  REMORA_ASSIGN_OR_RETURN(request.argv, ReadStrings(c, c.addr(argv_arg), budget));
  REMORA_ASSIGN_OR_RETURN(request.envp, ReadStrings(c, c.addr(argv_arg + 1), budget));
  if (request.argv.empty()) request.argv.emplace_back();  // as Linux since 5.18
  return RunExec(c, std::move(request));
}

}  // namespace

SyscallOutcome SysExecve(SyscallContext& c) {
  if (auto* state = c.state<ExecState>()) return RunExec(c, state->request);
  proc::ExecRequest request;
  REMORA_ASSIGN_OR_RETURN(request.path, c.PathArg(0));
  if (request.path.empty()) return Errno(ENOENT);
  return Start(c, std::move(request), 1);
}

SyscallOutcome SysExecveat(SyscallContext& c) {
  if (auto* state = c.state<ExecState>()) return RunExec(c, state->request);
  const int32_t dirfd = c.i32(0);
  const uint32_t flags = c.u32(4);
  if ((flags & ~(abi::kAT_EMPTY_PATH | abi::kAT_SYMLINK_NOFOLLOW)) != 0) return Errno(EINVAL);
  proc::ExecRequest request;
  REMORA_ASSIGN_OR_RETURN(request.path, c.PathArg(1));
  if (request.path.empty() && (flags & abi::kAT_EMPTY_PATH) == 0) return Errno(ENOENT);
  REMORA_ASSIGN_OR_RETURN(const fs::WalkContext walk, c.WalkFrom(dirfd, request.path));
  fs::WalkOptions options;
  options.follow_last = (flags & abi::kAT_SYMLINK_NOFOLLOW) == 0;
  options.allow_empty = (flags & abi::kAT_EMPTY_PATH) != 0;
  REMORA_ASSIGN_OR_RETURN(const fs::Path path, c.vfs().Resolve(walk, request.path, options));
  REMORA_RETURN_IF_ERROR(c.vfs().Access(walk, request.path, abi::kX_OK, options));
  REMORA_ASSIGN_OR_RETURN(request.file, c.vfs().OpenAt(walk, path, abi::kO_RDONLY));
  // What the program sees as its name, as Linux makes it up.
  if (dirfd != abi::kAT_FDCWD && !request.path.starts_with('/')) {
    const std::string base = "/dev/fd/" + std::to_string(dirfd);
    request.path = request.path.empty() ? base : base + "/" + request.path;
  }
  return Start(c, std::move(request), 2);
}

}  // namespace remora::syscalls
