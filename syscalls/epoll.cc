// epoll(7). The work is fs::EpollSet's.

#include "base/abi/epoll.h"

#include <climits>
#include <optional>

#include "base/abi/time.h"
#include "base/guest_addr.h"
#include "fs/special/epoll.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/time_args.h"

namespace remora::syscalls {
namespace {

constexpr int32_t kMaxEvents = INT_MAX / sizeof(abi::EpollEvent);

struct EpollWait : proc::SyscallState {
  EpollWait(proc::Task* task, Ref<fs::File> waited_file, fs::EpollSet* waited_set)
      : file(std::move(waited_file)), set(waited_set), waiter(task) {}
  // An event that woke this task and was not collected (a signal or the deadline came first) is for another one.
  ~EpollWait() override {
    waiter.Disarm();
    set->PassOn();
  }
  const Ref<fs::File> file;
  fs::EpollSet* const set;
  proc::TaskWaiter waiter;
  int64_t deadline_nanos = proc::Task::kNoDeadline;
};

SyscallOutcome MakeEpoll(SyscallContext& c, uint32_t flags) {
  return c.AddFd(fs::EpollFile::Make(c.vfs().anonymous_files(), Ref<fs::EpollNesting>(&c.kernel().epoll_nesting())),
                 (flags & abi::kEPOLL_CLOEXEC) != 0);
}

ErrnoOr<uint32_t> Collect(SyscallContext& c, fs::EpollSet& set) {
  GuestAddr to = c.addr(1);
  return set.Collect(c.u32(2), [&](uint32_t events, uint64_t data) -> ErrnoOr<void> {
    REMORA_RETURN_IF_ERROR(c.memory().Write(to, abi::EpollEvent{events, data}));
    to = to + sizeof(abi::EpollEvent);
    return Ok();
  });
}

// All three waits, whose time-out and mask have been read.
SyscallOutcome BeginWait(SyscallContext& c, std::optional<int64_t> timeout_nanos) {
  REMORA_ASSIGN_OR_RETURN(Ref<fs::File> file, c.FileArg(0));
  if (c.i32(2) <= 0 || c.i32(2) > kMaxEvents) return Errno(EINVAL);
  const uint64_t size_bytes = uint64_t{c.u32(2)} * sizeof(abi::EpollEvent);
  if (c.arg(1) > kUserAddressEnd || size_bytes > kUserAddressEnd - c.arg(1)) return Errno(EFAULT);
  fs::EpollFile* const epoll = fs::EpollFile::From(*file);
  if (epoll == nullptr) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(uint32_t count, Collect(c, epoll->set()));
  if (count != 0 || timeout_nanos == 0) return SyscallOutcome::Return(count);
  auto& wait = c.MakeState<EpollWait>(&c.task(), std::move(file), &epoll->set());
  if (timeout_nanos) wait.deadline_nanos = DeadlineAfter(c, *timeout_nanos);
  // One of those who wait is woken for each event.
  wait.set->queue().Arm(&wait.waiter, sync::kReadable, /*exclusive=*/true);
  REMORA_ASSIGN_OR_RETURN(count, Collect(c, *wait.set));
  if (count != 0) return SyscallOutcome::Return(count);
  return c.Park(Interrupted::kNever, wait.deadline_nanos);
}

SyscallOutcome ContinueWait(SyscallContext& c, EpollWait& wait) {
  // Off the queue first: what Collect leaves is passed on, and not to this task.
  wait.waiter.Disarm();
  REMORA_ASSIGN_OR_RETURN(uint32_t count, Collect(c, *wait.set));
  if (count != 0 || c.Expired(wait.deadline_nanos)) return SyscallOutcome::Return(count);
  // Somebody else has it. Behind the others, as one who comes anew.
  wait.set->queue().Arm(&wait.waiter, sync::kReadable, /*exclusive=*/true);
  REMORA_ASSIGN_OR_RETURN(count, Collect(c, *wait.set));
  if (count != 0) return SyscallOutcome::Return(count);
  return c.Park(Interrupted::kNever, wait.deadline_nanos);
}

std::optional<int64_t> NanosOfMillis(int32_t millis) {
  if (millis < 0) return std::nullopt;
  return int64_t{millis} * 1'000'000;
}

}  // namespace

SyscallOutcome SysEpollCreate(SyscallContext& c) {
  if (c.i32(0) <= 0) return Errno(EINVAL);
  return MakeEpoll(c, 0);
}

SyscallOutcome SysEpollCreate1(SyscallContext& c) {
  if ((c.u32(0) & ~abi::kEPOLL_CLOEXEC) != 0) return Errno(EINVAL);
  return MakeEpoll(c, c.u32(0));
}

SyscallOutcome SysEpollCtl(SyscallContext& c) {
  const int32_t op = c.i32(1);
  abi::EpollEvent event{};
  if (op != abi::kEPOLL_CTL_DEL) {
    REMORA_ASSIGN_OR_RETURN(event, c.memory().Read<abi::EpollEvent>(c.addr(3)));
  }
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> watched, c.FileArg(2));
  if (!fs::EpollFile::CanWatch(*watched)) return Errno(EPERM);
  fs::EpollFile* const epoll = fs::EpollFile::From(*file);
  if (epoll == nullptr || watched == file) return Errno(EINVAL);
  return epoll->Control(op, c.i32(2), *watched, event.events, event.data);
}

SyscallOutcome SysEpollWait(SyscallContext& c) {
  if (auto* wait = c.state<EpollWait>()) return ContinueWait(c, *wait);
  return BeginWait(c, NanosOfMillis(c.i32(3)));
}

SyscallOutcome SysEpollPwait(SyscallContext& c) {
  if (auto* wait = c.state<EpollWait>()) return ContinueWait(c, *wait);
  REMORA_RETURN_IF_ERROR(c.InstallTemporaryMask(c.addr(4), c.arg(5)));
  return BeginWait(c, NanosOfMillis(c.i32(3)));
}

SyscallOutcome SysEpollPwait2(SyscallContext& c) {
  if (auto* wait = c.state<EpollWait>()) return ContinueWait(c, *wait);
  std::optional<int64_t> timeout;
  if (!c.addr(3).is_null()) {
    REMORA_ASSIGN_OR_RETURN(timeout, ReadTimespec(c, c.addr(3)));
  }
  REMORA_RETURN_IF_ERROR(c.InstallTemporaryMask(c.addr(4), c.arg(5)));
  return BeginWait(c, timeout);
}

}  // namespace remora::syscalls
