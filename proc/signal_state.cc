#include "proc/signal_state.h"

#include <utility>

#include "base/abi/resource.h"
#include "proc/kernel.h"
#include "proc/process_timers.h"
#include "proc/scheduler.h"
#include "proc/signal_sets.h"

namespace remora::proc {

void SignalState::KickLocked(Task& task) {
  task.signal_pending_.store(true, std::memory_order_seq_cst);
  task.Wake();
  task.kernel().scheduler().Interrupt(task);
}

void SignalState::RecomputeLocked(Task& task) {
  ThreadGroup& group = task.group();
  const SignalSet open = ~task.blocked_signals();
  const bool pending = !((task.pending_.set() | group.pending_.set()) & open).empty() || group.stopping_ ||
                       group.tell_continued_ || group.must_end(&task);
  task.signal_pending_.store(pending, std::memory_order_seq_cst);
}

void SignalState::SetBlocked(Task& task, SignalSet set) {
  ThreadGroup& group = task.group();
  set = set & ~kUnblockable;
  MutexLock lock(&group.mu_);
  const SignalSet newly_blocked = set & ~task.blocked_signals();
  task.blocked_.store(set.bits(), std::memory_order_release);
  RecomputeLocked(task);
  // What this thread will not take any more, another may.
  const SignalSet shared = group.pending_.set() & newly_blocked;
  if (shared.empty()) return;
  for (const Ref<Task>& other : group.tasks_)
    if (other.get() != &task && !(shared & ~other->blocked_signals()).empty()) KickLocked(*other);
}

bool SignalState::IgnoresLocked(const ThreadGroup& group, int signal) {
  const uint64_t handler = group.actions_[signal - 1].handler;
  return handler == abi::kSIG_IGN || (handler == abi::kSIG_DFL && kIgnoredByDefault.Contains(signal));
}

bool SignalState::Ignores(const ThreadGroup& group, int signal) {
  MutexLock lock(&group.mu_);
  return IgnoresLocked(group, signal);
}

// What a stop or continue signal does the moment it is sent, blocked or ignored or not.
void SignalState::PrepareLocked(ThreadGroup& group, int signal) {
  if (kStopSignals.Contains(signal)) {
    const SignalSet cont = SignalSet().With(abi::kSIGCONT);
    group.pending_.Discard(cont);
    for (const Ref<Task>& task : group.tasks_) task->pending_.Discard(cont);
    return;
  }
  if (signal != abi::kSIGCONT) return;
  group.pending_.Discard(kStopSignals);
  for (const Ref<Task>& task : group.tasks_) task->pending_.Discard(kStopSignals);
  group.stop_taken_ = false;
  if (!group.stopping_) return;
  // The parent hears of it only if it was to hear of the stop.
  if (group.stopped()) group.tell_continued_ = true;
  group.stopping_ = false;
  group.num_stopped_ = 0;
  group.stopped_.store(false, std::memory_order_release);
  for (const Ref<Task>& task : group.tasks_) {
    task->stop_counted_ = false;
    KickLocked(*task);
  }
}

void SignalState::BeginGroupExitLocked(ThreadGroup& group, int32_t status) {
  if (!group.exiting()) {
    group.exit_status_ = status;
    group.exiting_.store(true, std::memory_order_release);
  }
  for (const Ref<Task>& task : group.tasks_) KickLocked(*task);
}

int32_t SignalState::BeginGroupExit(ThreadGroup& group, int32_t status) {
  MutexLock lock(&group.mu_);
  BeginGroupExitLocked(group, status);
  return group.exit_status_;
}

SendResult SignalState::Send(ThreadGroup& group, Task* only, const SignalInfo& info) {
  if (info.signal < 1 || info.signal > kNumSignals) return SendResult::kNoTarget;
  MutexLock lock(&group.mu_);
  if (group.exiting() || group.tasks_.empty()) return SendResult::kNoTarget;
  PrepareLocked(group, info.signal);
  // SIGKILL is not queued: it ends the whole group, whichever thread it was sent to.
  if (info.signal == abi::kSIGKILL) {
    BeginGroupExitLocked(group, abi::kSIGKILL);
    return SendResult::kQueued;
  }

  // An ignored signal is dropped, unless it is blocked: the action may change until it is unblocked.
  const auto dropped = [&](const Task& task) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return IgnoresLocked(group, info.signal) && !task.blocked_signals().Contains(info.signal);
  };
  if (only != nullptr && only->dead()) return SendResult::kNoTarget;
  if (dropped(only != nullptr ? *only : *group.tasks_.front())) return SendResult::kIgnored;
  PendingSignals& pending = only != nullptr ? only->pending_ : group.pending_;
  switch (pending.Add(info, group.limits_[abi::kRLIMIT_SIGPENDING].soft)) {
    case PendingSignals::Added::kAdded:
      break;
    case PendingSignals::Added::kMerged:
      return SendResult::kMerged;
    case PendingSignals::Added::kOverLimit:
      return SendResult::kOverLimit;
  }
  group.kernel().signal_arrivals().Notify(sync::kReadable);
  if (only != nullptr) {
    if (!only->blocked_signals().Contains(info.signal)) KickLocked(*only);
    return SendResult::kQueued;
  }
  // The first thread that does not block it takes it; if all do, the first that unblocks it.
  for (const Ref<Task>& task : group.tasks_) {
    if (task->blocked_signals().Contains(info.signal)) continue;
    KickLocked(*task);
    break;
  }
  return SendResult::kQueued;
}

void SignalState::Force(Task& task, const SignalInfo& info) {
  ThreadGroup& group = task.group();
  MutexLock lock(&group.mu_);
  if (info.signal == abi::kSIGKILL) return BeginGroupExitLocked(group, abi::kSIGKILL);
  SignalAction& action = group.actions_[info.signal - 1];
  const bool blocked = task.blocked_signals().Contains(info.signal);
  if (blocked || action.handler == abi::kSIG_IGN) {
    action.handler = abi::kSIG_DFL;
    if (blocked) task.blocked_.store(task.blocked_signals().Without(info.signal).bits(), std::memory_order_release);
  }
  task.pending_.Add(info);
  task.signal_pending_.store(true, std::memory_order_seq_cst);
}

SignalSet SignalState::Pending(const Task& task) {
  MutexLock lock(&task.group().mu_);
  return task.pending_.set() | task.group().pending_.set();
}

SignalSet SignalState::AllPending(const ThreadGroup& group) {
  MutexLock lock(&group.mu_);
  SignalSet all = group.pending_.set();
  for (const Ref<Task>& task : group.tasks_) all = all | task->pending_.set();
  return all;
}

std::optional<SignalInfo> SignalState::Take(Task& task, SignalSet wanted) {
  ThreadGroup& group = task.group();
  MutexLock lock(&group.mu_);
  std::optional<SignalInfo> info = TakeLocked(task, wanted);
  RecomputeLocked(task);
  return info;
}

std::optional<SignalInfo> SignalState::TakeLocked(Task& task, SignalSet wanted) {
  for (;;) {
    std::optional<SignalInfo> info = task.pending_.Take(wanted);
    if (!info) info = task.group().pending_.Take(wanted);
    if (!info || !info->from_timer) return info;
    // One that fired while the timer was deleted or set anew is void.
    const std::optional<int32_t> overruns = task.group().timers().OnSignalTaken(info->pid, info->status);
    if (!overruns) continue;
    info->uid = static_cast<uint32_t>(*overruns);
    return info;
  }
}

void SignalState::DiscardTimer(ThreadGroup& group, int32_t timer_id) {
  MutexLock lock(&group.mu_);
  group.pending_.DiscardTimer(timer_id);
  for (const Ref<Task>& task : group.tasks_) task->pending_.DiscardTimer(timer_id);
}

SignalState::Next SignalState::TakeNext(Task& task) {
  ThreadGroup& group = task.group();
  Next next;
  MutexLock lock(&group.mu_);
  for (;;) {
    if (group.exiting()) {
      next.kind = Next::Kind::kExit;
      next.status = group.exit_status_;
      return next;
    }
    if (group.must_end(&task)) {
      // Another thread execs: this one ends, the process does not.
      next.kind = Next::Kind::kExit;
      return next;
    }
    if (group.stopping_) {
      next.kind = Next::Kind::kStop;
      next.stop_signal = group.stop_signal_;
      if (!task.stop_counted_) {
        task.stop_counted_ = true;
        if (++group.num_stopped_ == group.tasks_.size()) {
          group.stopped_.store(true, std::memory_order_release);
          next.tell_parent = true;
        }
      }
      return next;
    }
    if (group.tell_continued_) {
      group.tell_continued_ = false;
      next.kind = Next::Kind::kTellContinued;
      return next;
    }
    const SignalSet open = ~task.blocked_signals();
    const std::optional<SignalInfo> info = TakeLocked(task, open);
    if (!info) {
      RecomputeLocked(task);
      return next;
    }
    next.info = *info;
    SignalAction& action = group.actions_[info->signal - 1];
    if (action.handler == abi::kSIG_IGN) continue;
    if (action.handler != abi::kSIG_DFL) {
      next.kind = Next::Kind::kHandle;
      next.action = action;
      if ((action.flags & abi::kSA_RESETHAND) != 0) action.handler = abi::kSIG_DFL;
      RecomputeLocked(task);
      return next;
    }
    if (kIgnoredByDefault.Contains(info->signal)) continue;
    if (kStopSignals.Contains(info->signal)) {
      next.kind = Next::Kind::kAskStop;
      group.stop_taken_ = true;
      return next;
    }
    next.kind = Next::Kind::kTerminate;
    const bool core = kCoreSignals.Contains(info->signal) && group.limits_[abi::kRLIMIT_CORE].soft != 0;
    next.status = info->signal | (core ? 0x80 : 0);
    return next;
  }
}

void SignalState::BeginStop(Task& task, int signal) {
  ThreadGroup& group = task.group();
  MutexLock lock(&group.mu_);
  // A SIGCONT that was sent since the stop signal was taken wins, as in Linux (JOBCTL_STOP_DEQUEUED), also where it was
  // ignored and left nothing pending.
  if (!std::exchange(group.stop_taken_, false) || group.exiting() || group.stopping_) return;
  group.stopping_ = true;
  group.stop_signal_ = signal;
  group.num_stopped_ = 0;
  for (const Ref<Task>& each : group.tasks_) {
    each->stop_counted_ = false;
    KickLocked(*each);
  }
}

void SignalState::ResetHandlers(ThreadGroup& group) {
  MutexLock lock(&group.mu_);
  for (SignalAction& action : group.actions_) {
    const bool ignored = action.handler == abi::kSIG_IGN;
    action = SignalAction();
    if (ignored) action.handler = abi::kSIG_IGN;
  }
}

bool SignalState::AddTask(ThreadGroup& group, Ref<Task> task) {
  MutexLock lock(&group.mu_);
  if (group.exiting() || group.exec_task_.load(std::memory_order_relaxed) != nullptr) return false;
  Task& added = *task;
  group.tasks_.push_back(std::move(task));
  group.num_tasks_.store(static_cast<uint32_t>(group.tasks_.size()), std::memory_order_release);
  RecomputeLocked(added);
  return true;
}

void SignalState::CopyActions(const ThreadGroup& from, ThreadGroup& to, bool clear_handlers) {
  std::array<SignalAction, kNumSignals> actions;
  std::array<ResourceLimit, ThreadGroup::kNumLimits> limits;
  fs::Path executable;
  {
    MutexLock lock(&from.mu_);
    actions = from.actions_;
    limits = from.limits_;
    executable = from.executable_;
  }
  if (clear_handlers)
    for (SignalAction& action : actions)
      if (action.handler != abi::kSIG_IGN) action = SignalAction();
  if (limits[abi::kRLIMIT_CPU].hard != abi::kRLIM_INFINITY || limits[abi::kRLIMIT_CPU].soft != abi::kRLIM_INFINITY)
    to.timers().WatchCpuTime();
  MutexLock lock(&to.mu_);
  to.actions_ = actions;
  to.limits_ = limits;
  std::swap(to.executable_, executable);
}

}  // namespace remora::proc
