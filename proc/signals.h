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

// To one thread (tgkill, faults) or to a process (kill). Never fails: what is ignored is dropped, a standard signal
// already pending is not queued twice.
void SendToTask(Task& task, const SignalInfo& info);
void SendToGroup(ThreadGroup& group, const SignalInfo& info);
// A synchronous fault: like SendToTask, but a blocked or ignored signal kills (as force_sig_fault).
void ForceSignal(Task& task, const SignalInfo& info);

// kill(2) with its permission check: pid > 0, 0, -1, -pgid. signal 0 only checks. ESRCH, EPERM, EINVAL.
ErrnoOr<void> Kill(Task& caller, int32_t pid, const SignalInfo& info);
// tgkill(2); tgid -1: tkill(2).
ErrnoOr<void> KillThread(Task& caller, int32_t tgid, int32_t tid, const SignalInfo& info);
ErrnoOr<void> SendToProcessGroup(class Kernel& kernel, int32_t process_group, const SignalInfo& info);

// Pending for the task itself and for its process, blocked ones included: rt_sigpending.
SignalSet PendingSignals(Task& task);
// Takes one pending signal of `wanted` (rt_sigtimedwait, signalfd), own worker only.
std::optional<SignalInfo> TakeSignal(Task& task, SignalSet wanted);

}  // namespace remora::proc

#endif  // REMORA_PROC_SIGNALS_H_
