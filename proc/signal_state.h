#ifndef REMORA_PROC_SIGNAL_STATE_H_
#define REMORA_PROC_SIGNAL_STATE_H_

#include <cstdint>
#include <optional>

#include "proc/signal_types.h"
#include "proc/task.h"
#include "proc/thread_group.h"

namespace remora::proc {

// The rules of pending, blocked, ignored and stopping, over the fields of Task and ThreadGroup that hold them: what
// signals.cc, signal_delivery.cc, exit.cc and exec.cc stand on. All state here is guarded by the group's mutex.
//
// Invariants:
//  1. task.signal_pending() is true if an unblocked signal is pending for it, its group is exiting, or a stop or a
//     continue has still to be told; it may be true without cause, never false with one.
//  2. Where signal_pending became true, the task has been woken and its worker interrupted.
// Linux twin: recalc_sigpending, prepare_signal, complete_signal, do_signal_stop.
class SignalState {
 public:
  static void SetBlocked(Task& task, SignalSet set);

  // To the group, or to `only` if that is not null.
  static SendResult Send(ThreadGroup& group, Task* only, const SignalInfo& info);
  // A fault of `task`'s own: blocked or ignored is no help.
  static void Force(Task& task, const SignalInfo& info);
  // True if the group would do nothing with the signal.
  static bool Ignores(const ThreadGroup& group, int signal);

  // What a worker finds when it looks before guest code.
  struct Next {
    enum class Kind : uint8_t {
      kNothing,        // signal_pending is false now
      kExit,           // the group is exiting: with `status`
      kStop,           // come to rest; `tell_parent`: this was the last thread to do so
      kTellContinued,  // the parent has to hear that the group goes on
      kHandle,         // call `action`'s handler with `info`
      kTerminate,      // the default action of `info` ends the process
      kAskStop,  // the default action of `info` stops the process: BeginStop, unless the process group is orphaned
    };
    Kind kind = Kind::kNothing;
    SignalInfo info;
    SignalAction action;
    int32_t status = 0;
    bool tell_parent = false;
    int stop_signal = 0;
  };
  static Next TakeNext(Task& task);
  static std::optional<SignalInfo> Take(Task& task, SignalSet wanted);
  static SignalSet Pending(const Task& task);
  static SignalSet AllPending(const ThreadGroup& group);
  // What the POSIX timer has queued is gone.
  static void DiscardTimer(ThreadGroup& group, int32_t timer_id);
  static void BeginStop(Task& task, int signal);
  static void SetStopped(Task& task, bool stopped) { task.stopped_.store(stopped, std::memory_order_release); }

  // Decides the status, if none is decided yet, and makes every thread end. The status that holds.
  static int32_t BeginGroupExit(ThreadGroup& group, int32_t status);
  // exec: handled signals back to default; what is ignored stays so.
  static void ResetHandlers(ThreadGroup& group);
  // The new thread is among the group's. False if the group is exiting or execing: it must not come to life.
  static bool AddTask(ThreadGroup& group, Ref<Task> task);
  static void CopyActions(const ThreadGroup& from, ThreadGroup& to, bool clear_handlers);
  static SignalSet BlockedOf(const Task& task) { return task.blocked_signals(); }

 private:
  friend class TaskReaper;

  static bool IgnoresLocked(const ThreadGroup& group, int signal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(group.mu_);
  static void RecomputeLocked(Task& task) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  static void KickLocked(Task& task);
  // One pending signal of `wanted`, the thread's own first. A timer that sent it goes on.
  static std::optional<SignalInfo> TakeLocked(Task& task, SignalSet wanted) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  static void PrepareLocked(ThreadGroup& group, int signal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(group.mu_);
  static void BeginGroupExitLocked(ThreadGroup& group, int32_t status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(group.mu_);
};

}  // namespace remora::proc

#endif  // REMORA_PROC_SIGNAL_STATE_H_
