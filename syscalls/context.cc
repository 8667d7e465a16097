#include "syscalls/context.h"

#include <algorithm>

#include "base/abi/fcntl.h"
#include "base/abi/resource.h"
#include "base/abi/signal.h"
#include "base/abi/stat.h"

namespace remora::syscalls {

ErrnoOr<Ref<fs::File>> SyscallContext::FileArg(int i, bool allow_path_only) const {
  auto file = task_.fds()->Lookup(i32(i));
  if (file.ok() && !allow_path_only && ((*file)->flags() & abi::kO_PATH) != 0) [[unlikely]]
    return Errno(EBADF);
  return file;
}

fs::WalkContext SyscallContext::WalkFromCwd() const {
  const auto& fs_context = task_.fs_context();
  fs::WalkContext walk;
  walk.root = fs_context->root();
  walk.start = fs_context->cwd();
  walk.credentials = *task_.credentials();
  walk.caller = {.process_id = group().pid(),
                 .thread_id = task_.tid(),
                 .session_id = group().session(),
                 .process_group_id = group().process_group(),
                 .fsuid = walk.credentials.fsuid,
                 .fsgid = walk.credentials.fsgid};
  return walk;
}

ErrnoOr<fs::WalkContext> SyscallContext::WalkFrom(int32_t dirfd, std::string_view path) const {
  if (dirfd == abi::kAT_FDCWD || path.starts_with('/')) return WalkFromCwd();
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, task_.fds()->Lookup(dirfd));
  if (!path.empty() && (file->inode()->type() != abi::kS_IFDIR || !file->path())) return Errno(ENOTDIR);
  fs::WalkContext walk = WalkFromCwd();
  walk.start = file->path();
  return walk;
}

uint32_t SyscallContext::FdLimit() const {
  return static_cast<uint32_t>(std::min<uint64_t>(Limit(abi::kRLIMIT_NOFILE), 1 << 20));
}

ErrnoOr<void> SyscallContext::InstallTemporaryMask(GuestAddr mask, uint64_t size_bytes) const {
  if (mask.is_null()) return Ok();
  if (size_bytes != sizeof(uint64_t)) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const uint64_t bits, memory_.Read<uint64_t>(mask));
  task_.saved_blocked_signals = task_.blocked_signals();
  task_.set_blocked_signals(~proc::SignalSet().With(abi::kSIGKILL).With(abi::kSIGSTOP) & proc::SignalSet(bits));
  return Ok();
}

bool SyscallContext::Arm(proc::TaskWaiter& waiter, sync::Pollable& pollable, sync::Events events) {
  sync::WaitQueue* queue = pollable.wait_queue();
  return queue != nullptr && Arm(waiter, *queue, events);
}

bool SyscallContext::Arm(proc::TaskWaiter& waiter, sync::WaitQueue& queue, sync::Events events) {
  if (waiter.armed()) return false;
  queue.Arm(&waiter, events);
  return true;
}

SyscallOutcome SyscallContext::ParkForSlowFile() const {
  constexpr int64_t kRetryNanos = 5'000'000;  // they may have come just before the waiter was armed
  if (sync::WaitQueue* arrivals = kernel().memory().page_arrivals)
    task_.memory_wait = std::make_unique<proc::MemoryWait>(&task_, *arrivals);
  return Park(Interrupted::kRestartAlways, MonotonicNanos() + kRetryNanos);
}

SyscallOutcome SyscallContext::Park(Interrupted interrupted, int64_t deadline_nanos) const {
  if (task_.signal_pending()) return SyscallOutcome::Fail(static_cast<int>(interrupted));
  task_.park_deadline_nanos = deadline_nanos;
  return SyscallOutcome::Blocked();
}

}  // namespace remora::syscalls
