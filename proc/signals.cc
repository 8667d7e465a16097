#include "proc/signals.h"

#include "base/abi/signal.h"
#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/process_tree.h"
#include "proc/signal_state.h"

namespace remora::proc {

namespace {

// kill(2): the sender's real or effective uid is the target's real or saved one. SIGCONT also within a session.
bool MaySignal(Task& caller, ThreadGroup& target, int signal) {
  if (&caller.group() == &target) return true;
  const auto own = caller.credentials();
  if (own->privileged()) return true;
  const std::vector<Ref<Task>> tasks = target.Tasks();
  const auto other = tasks.empty() ? nullptr : tasks.front()->credentials();
  if (other == nullptr) return true;  // a zombie: nothing will happen
  if (own->euid == other->suid || own->euid == other->uid || own->uid == other->suid || own->uid == other->uid)
    return true;
  return signal == abi::kSIGCONT && caller.group().session() == target.session();
}

bool ValidSignal(int signal) { return signal >= 0 && signal <= kNumSignals; }

// How kill's answer follows from those of many processes: success if one was reached, else EPERM if one refused.
struct ManyTargets {
  bool any = false, reached = false;
  void Note(bool allowed) {
    any = true;
    reached |= allowed;
  }
  ErrnoOr<void> Result() const {
    if (reached) return Ok();
    return Errno(any ? EPERM : ESRCH);
  }
};

ErrnoOr<void> SendIfAllowed(Task& caller, ThreadGroup& group, const SignalInfo& info) {
  if (!MaySignal(caller, group, info.signal)) return Errno(EPERM);
  if (info.signal != 0 && SendToGroup(group, info) == SendResult::kOverLimit) return Errno(EAGAIN);
  return Ok();
}

}  // namespace

SendResult SendToTask(Task& task, const SignalInfo& info) { return SignalState::Send(task.group(), &task, info); }
SendResult SendToGroup(ThreadGroup& group, const SignalInfo& info) { return SignalState::Send(group, nullptr, info); }
void ForceSignal(Task& task, const SignalInfo& info) { SignalState::Force(task, info); }

ErrnoOr<void> Kill(Task& caller, int32_t pid, const SignalInfo& info) {
  if (!ValidSignal(info.signal)) return Errno(EINVAL);
  Kernel& kernel = caller.kernel();
  if (pid > 0) {
    Ref<ThreadGroup> group = kernel.pids().FindGroup(pid);
    if (!group) {
      // A thread's number stands for its process, as in Linux.
      const Ref<Task> task = kernel.pids().FindTask(pid);
      if (!task) return Errno(ESRCH);
      group = Ref<ThreadGroup>(&task->group());
    }
    return SendIfAllowed(caller, *group, info);
  }
  if (pid == INT32_MIN) return Errno(ESRCH);
  ManyTargets result;
  const auto visit = [&](ThreadGroup& group) {
    const bool allowed = MaySignal(caller, group, info.signal);
    result.Note(allowed);
    if (allowed && info.signal != 0) (void)SendToGroup(group, info);
  };
  if (pid == -1) {
    // All but the caller's own process. Those that are born meanwhile are met if their number lies ahead.
    for (Ref<ThreadGroup> group = kernel.pids().NextGroup(1); group; group = kernel.pids().NextGroup(group->pid() + 1))
      if (group.get() != &caller.group()) visit(*group);
  } else {
    kernel.tree().ForEachMember(pid == 0 ? caller.group().process_group() : -pid, visit);
  }
  return result.Result();
}

ErrnoOr<void> KillGroup(Task& caller, ThreadGroup& group, const SignalInfo& info) {
  if (!ValidSignal(info.signal)) return Errno(EINVAL);
  if (caller.kernel().pids().FindGroup(group.pid()).get() != &group) return Errno(ESRCH);
  return SendIfAllowed(caller, group, info);
}

ErrnoOr<void> KillThread(Task& caller, int32_t tgid, int32_t tid, const SignalInfo& info) {
  if (!ValidSignal(info.signal) || tid <= 0 || (tgid <= 0 && tgid != -1)) return Errno(EINVAL);
  const Ref<Task> task = caller.kernel().pids().FindTask(tid);
  if (!task || (tgid != -1 && task->group().pid() != tgid)) return Errno(ESRCH);
  if (!MaySignal(caller, task->group(), info.signal)) return Errno(EPERM);
  if (info.signal != 0 && SendToTask(*task, info) == SendResult::kOverLimit) return Errno(EAGAIN);
  return Ok();
}

ErrnoOr<void> SendToProcessGroup(Kernel& kernel, int32_t process_group, const SignalInfo& info) {
  if (!ValidSignal(info.signal)) return Errno(EINVAL);
  const uint32_t reached = kernel.tree().ForEachMember(process_group, [&](ThreadGroup& group) {
    if (info.signal != 0) (void)SendToGroup(group, info);
  });
  if (reached == 0) return Errno(ESRCH);
  return Ok();
}

SignalSet PendingSignals(Task& task) { return SignalState::Pending(task); }
SignalSet AllPendingSignals(const ThreadGroup& group) { return SignalState::AllPending(group); }
std::optional<SignalInfo> TakeSignal(Task& task, SignalSet wanted) { return SignalState::Take(task, wanted); }

void DiscardTimerSignal(ThreadGroup& group, int32_t timer_id) { SignalState::DiscardTimer(group, timer_id); }

}  // namespace remora::proc
