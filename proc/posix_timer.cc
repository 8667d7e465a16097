#include "proc/posix_timer.h"

#include <algorithm>

#include "base/abi/signal.h"
#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/scheduler.h"
#include "proc/signals.h"
#include "proc/thread_group.h"

namespace remora::proc {

int64_t PosixTimer::NowLocked() const { return counts_cpu_time() ? cpu_nanos_ : kernel_->clock().MonotonicNanos(); }

IntervalTimer PosixTimer::Exchange(int64_t now_nanos, int64_t deadline_nanos, int64_t interval_nanos) {
  MutexLock lock(&mu_);
  const IntervalTimer old{schedule_.Remaining(now_nanos), schedule_.interval_nanos()};
  schedule_.Set(deadline_nanos, interval_nanos);
  setting_ = static_cast<int32_t>(static_cast<uint32_t>(setting_) + 1);
  signal_queued_ = false;
  beats_ = 0;
  overrun_ = 0;
  if (counts_cpu_time()) {
    cpu_nanos_ = now_nanos;
  } else if (schedule_.on() && options_.notify != Notify::kNothing) {
    kernel_->scheduler().ArmTimer(*this, schedule_.deadline_nanos());
  } else {
    kernel_->scheduler().CancelTimer(*this);
  }
  return old;
}

IntervalTimer PosixTimer::Get(int64_t now_nanos) {
  MutexLock lock(&mu_);
  // One that is due but has not been looked at yet is still on.
  int64_t remaining = schedule_.Remaining(now_nanos);
  if (remaining == 0 && schedule_.on() && !signal_queued_ && options_.notify != Notify::kNothing) remaining = 1;
  return {remaining, schedule_.interval_nanos()};
}

int32_t PosixTimer::overrun() const {
  MutexLock lock(&mu_);
  return overrun_;
}

void PosixTimer::Cancel() {
  MutexLock lock(&mu_);
  schedule_.Set(0, 0);
  signal_queued_ = false;
  kernel_->scheduler().CancelTimer(*this);
}

void PosixTimer::OnDeadline() {
  const int64_t now = kernel_->clock().MonotonicNanos();
  int32_t setting;
  {
    MutexLock lock(&mu_);
    setting = setting_;
    if (signal_queued_ || !schedule_.due(now)) return;  // cancelled or moved meanwhile
    signal_queued_ = true;
  }
  const sync::Reclaimer::ReadSection section(&kernel_->reclaimer());
  if (const Ref<ThreadGroup> group = kernel_->pids().FindGroup(pid_)) Fire(*group, setting);
}

void PosixTimer::CheckCpuTime(ThreadGroup& group, int64_t now_nanos) {
  int32_t setting;
  {
    MutexLock lock(&mu_);
    setting = setting_;
    cpu_nanos_ = std::max(cpu_nanos_, now_nanos);
    if (options_.notify == Notify::kNothing || signal_queued_ || !schedule_.due(cpu_nanos_)) return;
    signal_queued_ = true;
  }
  Fire(group, setting);
}

void PosixTimer::Fire(ThreadGroup& group, int32_t setting) {
  SignalInfo info;
  info.signal = options_.signal;
  info.code = abi::kSI_TIMER;
  info.pid = options_.id;
  info.value = options_.value;
  info.from_timer = true;
  info.status = setting;
  SendResult result = SendResult::kNoTarget;
  if (options_.notify == Notify::kProcess) {
    result = SendToGroup(group, info);
  } else if (const Ref<Task> task = kernel_->pids().FindTask(options_.target_thread)) {
    if (&task->group() == &group) result = SendToTask(*task, info);
  }
  if (result == SendResult::kIgnored) OnSignalDropped();
}

void PosixTimer::GoOnLocked(int64_t earliest_nanos) {
  signal_queued_ = false;
  beats_ += schedule_.Expire(NowLocked());
  overrun_ = static_cast<int32_t>(std::min<uint64_t>(beats_ == 0 ? 0 : beats_ - 1, INT32_MAX));
  beats_ = 0;
  if (schedule_.on() && !counts_cpu_time())
    kernel_->scheduler().ArmTimer(*this, std::max(schedule_.deadline_nanos(), earliest_nanos));
}

std::optional<int32_t> PosixTimer::OnSignalTaken(int32_t setting) {
  MutexLock lock(&mu_);
  if (!signal_queued_ || setting != setting_) return std::nullopt;
  GoOnLocked(/*earliest_nanos=*/0);
  return overrun_;
}

void PosixTimer::OnSignalDropped() {
  MutexLock lock(&mu_);
  if (signal_queued_) GoOnLocked(kernel_->clock().MonotonicNanos() + kMinRearmNanos);
}

}  // namespace remora::proc
