#include "proc/sessions.h"

#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/process_tree.h"
#include "proc/thread_group.h"

namespace remora::proc {

namespace {
ErrnoOr<Ref<ThreadGroup>> GroupOf(Task& caller, int32_t pid) {
  if (pid < 0) return Errno(ESRCH);
  if (pid == 0) return Ref<ThreadGroup>(&caller.group());
  const Ref<Task> task = caller.kernel().pids().FindTask(pid);
  if (!task) return Errno(ESRCH);
  return Ref<ThreadGroup>(&task->group());
}
}  // namespace

ErrnoOr<int32_t> CreateSession(Task& caller) { return caller.kernel().tree().CreateSession(caller.group()); }

ErrnoOr<void> SetProcessGroup(Task& caller, int32_t pid, int32_t process_group) {
  if (process_group < 0) return Errno(EINVAL);
  if (pid < 0) return Errno(ESRCH);
  Ref<ThreadGroup> target(&caller.group());
  if (pid != 0) target = caller.kernel().pids().FindGroup(pid);
  if (!target) return Errno(ESRCH);
  return caller.kernel().tree().SetProcessGroup(caller.group(), *target,
                                                process_group == 0 ? target->pid() : process_group);
}

ErrnoOr<int32_t> ProcessGroupOf(Task& caller, int32_t pid) {
  REMORA_ASSIGN_OR_RETURN(const Ref<ThreadGroup> group, GroupOf(caller, pid));
  return group->process_group();
}

ErrnoOr<int32_t> SessionOf(Task& caller, int32_t pid) {
  REMORA_ASSIGN_OR_RETURN(const Ref<ThreadGroup> group, GroupOf(caller, pid));
  return group->session();
}

}  // namespace remora::proc
