#ifndef REMORA_SYSCALLS_CONTEXT_H_
#define REMORA_SYSCALLS_CONTEXT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/abi/fcntl.h"
#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "fs/file.h"
#include "fs/vfs.h"
#include "mm/user_memory.h"
#include "proc/fs_context.h"
#include "proc/kernel.h"
#include "proc/syscall_outcome.h"
#include "proc/task.h"
#include "proc/thread_group.h"

namespace remora::syscalls {

using proc::SyscallOutcome;

// Which restart code tells what a signal does to a wait. Values are proc's.
enum class Interrupted : int {
  kRestart = proc::kRestartSys,
  kRestartAlways = proc::kRestartNoIntr,
  kRestartWithoutHandler = proc::kRestartNoHandler,
  kContinueFromState = proc::kRestartBlock,
  kNever = EINTR,  // also under SA_RESTART, and after a stop
};

// What one run of a handler sees: the task, its memory through this worker's TLB, the six arguments, and what an
// earlier run of the same call saved. Lives for one run; nothing of it may be kept in a SyscallState.
//
// How a handler waits: it tries; on EAGAIN it makes its state, arms a waiter there and tries once more (an event
// between the two would be lost else); on a second EAGAIN it answers Park(). A wake runs the handler again from the
// top with state<T>() set.
// Thread safety: used by the task's worker.
class SyscallContext {
 public:
  SyscallContext(proc::Task& task, mm::UserMemory memory) : task_(task), memory_(memory) {}

  proc::Task& task() const { return task_; }
  proc::ThreadGroup& group() const { return task_.group(); }
  proc::Kernel& kernel() const { return task_.kernel(); }
  fs::Vfs& vfs() const { return kernel().vfs(); }
  const mm::UserMemory& memory() const { return memory_; }

  uint64_t arg(int i) const { return task_.syscall_arg(i); }
  int32_t i32(int i) const { return static_cast<int32_t>(arg(i)); }
  uint32_t u32(int i) const { return static_cast<uint32_t>(arg(i)); }
  int64_t i64(int i) const { return static_cast<int64_t>(arg(i)); }
  GuestAddr addr(int i) const { return GuestAddr(arg(i)); }

  // What an earlier run saved; null in the first.
  template <typename T>
  T* state() const {
    return static_cast<T*>(task_.syscall_state.get());
  }
  template <typename T, typename... Args>
  T& MakeState(Args&&... args) {
    auto state = std::make_unique<T>(std::forward<Args>(args)...);
    T& reference = *state;
    task_.syscall_state = std::move(state);
    return reference;
  }

  // The file of the descriptor in argument i. EBADF. An O_PATH file is EBADF too unless allowed.
  ErrnoOr<Ref<fs::File>> FileArg(int i, bool allow_path_only = false) const;
  // The path in argument i: at most PATH_MAX bytes with its NUL.
  ErrnoOr<std::string> PathArg(int i) const { return memory_.ReadString(addr(i), abi::kPATH_MAX); }

  // From where and as whom paths are resolved: the cwd, or what `dirfd` is open on (EBADF, ENOTDIR; not looked at for
  // an absolute path).
  fs::WalkContext WalkFromCwd() const;
  ErrnoOr<fs::WalkContext> WalkFrom(int32_t dirfd, std::string_view path) const;
  uint32_t ApplyUmask(uint32_t mode) const { return mode & ~task_.fs_context()->umask(); }

  uint64_t Limit(int resource) const { return group().limit(resource).soft; }
  uint32_t FdLimit() const;
  ErrnoOr<int32_t> AddFd(Ref<fs::File> file, bool close_on_exec) const {
    return task_.fds()->Add(std::move(file), close_on_exec, 0, FdLimit());
  }

  // The mask of ppoll, pselect6 and epoll_pwait, for this call; null: none. The Dispatcher or the delivery of a signal
  // puts the old one back. EINVAL for another size than a sigset_t's; EFAULT.
  ErrnoOr<void> InstallTemporaryMask(GuestAddr mask, uint64_t size_bytes) const;

  int64_t MonotonicNanos() const { return kernel().clock().MonotonicNanos(); }
  bool Expired(int64_t deadline_nanos) const {
    return deadline_nanos != proc::Task::kNoDeadline && MonotonicNanos() >= deadline_nanos;
  }

  // Arms `waiter` on what `pollable` waits on. True if it was not armed before: the caller must try again before it
  // parks. False if it stands already, or there is nothing to wait on.
  static bool Arm(proc::TaskWaiter& waiter, sync::Pollable& pollable, sync::Events events);
  static bool Arm(proc::TaskWaiter& waiter, sync::WaitQueue& queue, sync::Events events);

  // The answer of a handler that met EAGAIN of a slow host file and has nothing to arm or to keep: it runs again from
  // the top when some file's bytes have come, or soon.
  SyscallOutcome ParkForSlowFile() const;

  // The answer of a handler whose state and waiters are ready: Blocked until a wake or the deadline, or, if a signal is
  // pending, what the call answers when interrupted.
  SyscallOutcome Park(Interrupted interrupted = Interrupted::kRestart,
                      int64_t deadline_nanos = proc::Task::kNoDeadline) const;

 private:
  proc::Task& task_;
  const mm::UserMemory memory_;
};

// The simplest state: one file, one waiter.
struct FileWait : proc::SyscallState {
  FileWait(proc::Task* task, Ref<fs::File> waited_file) : file(std::move(waited_file)), waiter(task) {}
  Ref<fs::File> file;  // before the waiter: outlives it
  proc::TaskWaiter waiter;
};

// Runs `operation` (-> ErrnoOr<T>) on `file`, which may answer EAGAIN while its host file is being worked on: waits
// then, and runs it again. For calls to which O_NONBLOCK means nothing and which need no other state.
template <typename F>
SyscallOutcome RunOnFile(SyscallContext& c, const Ref<fs::File>& file, F operation) {
  auto result = operation();
  if (result.error_number() != EAGAIN) return result;
  auto* wait = c.state<FileWait>();
  if (wait == nullptr) wait = &c.MakeState<FileWait>(&c.task(), file);
  if (SyscallContext::Arm(wait->waiter, *file, sync::kAllEvents)) {
    result = operation();
    if (result.error_number() != EAGAIN) return result;
  }
  if (!wait->waiter.armed()) return Errno(EAGAIN);
  return c.Park(Interrupted::kRestartAlways);
}

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_CONTEXT_H_
