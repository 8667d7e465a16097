#ifndef REMORA_PROC_SIGNALS_H_
#define REMORA_PROC_SIGNALS_H_

#include <cstdint>
#include <optional>

#include "base/errno_or.h"
#include "proc/signal_types.h"
#include "proc/task.h"
#include "proc/thread_group.h"

namespace remora::proc {

// Sending and taking signals. Thread safety: all from any thread unless they say otherwise.

// To one thread (tgkill, faults) or to a process (kill).
SendResult SendToTask(Task& task, const SignalInfo& info);
SendResult SendToGroup(ThreadGroup& group, const SignalInfo& info);
// A synchronous fault: like SendToTask, but a blocked or ignored signal kills (as force_sig_fault).
void ForceSignal(Task& task, const SignalInfo& info);

// kill(2) with its permission check: pid > 0, 0, -1, -pgid. signal 0 only checks. ESRCH, EPERM, EINVAL, EAGAIN.
ErrnoOr<void> Kill(Task& caller, int32_t pid, const SignalInfo& info);
// The same to one process: pidfd_send_signal(2). ESRCH once it was reaped.
ErrnoOr<void> KillGroup(Task& caller, ThreadGroup& group, const SignalInfo& info);
// tgkill(2); tgid -1: tkill(2).
ErrnoOr<void> KillThread(Task& caller, int32_t tgid, int32_t tid, const SignalInfo& info);
ErrnoOr<void> SendToProcessGroup(class Kernel& kernel, int32_t process_group, const SignalInfo& info);

// Pending for the task itself and for its process, blocked ones included: rt_sigpending.
SignalSet PendingSignals(Task& task);
// Pending for the process or for any of its threads.
SignalSet AllPendingSignals(const ThreadGroup& group);
// Takes one pending signal of `wanted` (rt_sigtimedwait, signalfd), own worker only.
std::optional<SignalInfo> TakeSignal(Task& task, SignalSet wanted);
// timer_settime(2), timer_delete(2): what the timer has queued is void.
void DiscardTimerSignal(ThreadGroup& group, int32_t timer_id);

}  // namespace remora::proc

#endif  // REMORA_PROC_SIGNALS_H_
