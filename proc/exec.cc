#include "proc/exec.h"

#include <utility>

#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/process_timers.h"
#include "proc/process_tree.h"
#include "proc/program_loader.h"
#include "proc/signal_state.h"
#include "proc/task_reaper.h"
#include "proc/thread_group.h"

namespace remora::proc {

ErrnoOr<void> Exec(Task& task, const ExecRequest& request, std::string* diagnosis) {
  ThreadGroup& group = task.group();
  // Another thread was first, or the process is dying: this thread ends while it waits.
  if (group.must_end(&task)) return Errno(EAGAIN);
  ErrnoOr<LoadedProgram> program = LoadProgram(task, request, diagnosis);
  if (!program.ok()) {
    if (program.error_number() != EAGAIN) TaskReaper::EndExec(task);
    return program.error();
  }
  // What was loaded is dropped while the others end, and loaded again.
  if (!TaskReaper::BecomeOnlyThread(task)) return Errno(EAGAIN);

  // The point of no return.
  Kernel& kernel = task.kernel();
  ReleaseMemoryTies(task);
  TaskReaper::TakeProcessNumber(task);
  // A table shared by CLONE_FILES is not the new program's to change.
  if (task.fds()->num_users() > 1) task.ReplaceFds(task.fds()->Clone());
  task.fds()->CloseOnExec();
  SignalState::ResetHandlers(group);
  group.timers().DeleteAll();
  group.registered_barriers.store(0, std::memory_order_relaxed);
  kernel.tree().OnExec(group);
  task.NoteMemoryUse(/*last_user=*/true);
  BecomeProgram(task, *std::move(program));
  TaskReaper::EndExec(task);
  return Ok();
}

bool TaskReaper::BecomeOnlyThread(Task& task) {
  ThreadGroup& group = task.group();
  MutexLock lock(&group.mu_);
  if (group.must_end(&task)) return false;
  if (group.tasks_.size() == 1) return true;
  group.exec_task_.store(&task, std::memory_order_release);
  for (const Ref<Task>& other : group.tasks_)
    if (other.get() != &task) SignalState::KickLocked(*other);
  return false;
}

void TaskReaper::TakeProcessNumber(Task& task) {
  const int32_t pid = task.group().pid();
  const int32_t own = task.tid();
  if (own == pid) return;
  PidTable& pids = task.kernel().pids();
  task.tid_.store(pid, std::memory_order_relaxed);
  pids.Publish(pid, Ref<Task>(&task));
  pids.Remove(own);
}

void TaskReaper::EndExec(Task& task) {
  ThreadGroup& group = task.group();
  MutexLock lock(&group.mu_);
  Task* self = &task;
  group.exec_task_.compare_exchange_strong(self, nullptr, std::memory_order_acq_rel);
}

}  // namespace remora::proc
