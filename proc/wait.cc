#include "proc/wait.h"

#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/process_tree.h"

namespace remora::proc {

ErrnoOr<std::optional<WaitedChild>> CollectChild(Task& caller, const WaitRequest& request) {
  int32_t reaped = 0;
  ErrnoOr<std::optional<WaitedChild>> result = caller.kernel().tree().Collect(caller.group(), request, &reaped);
  // Frees the number and the last of the process, with no lock held.
  if (reaped != 0) caller.kernel().pids().Remove(reaped);
  return result;
}

}  // namespace remora::proc
