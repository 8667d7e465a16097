#include "proc/terminal_caller.h"

#include "base/abi/signal.h"
#include "proc/kernel.h"
#include "proc/signal_state.h"
#include "proc/signals.h"
#include "proc/thread_group.h"

namespace remora::proc {

int32_t TaskTerminalCaller::session() const { return task_.group().session(); }
int32_t TaskTerminalCaller::process_group() const { return task_.group().process_group(); }
bool TaskTerminalCaller::is_session_leader() const { return task_.group().session() == task_.group().pid(); }

bool TaskTerminalCaller::ignores_or_blocks(int signal) const {
  return task_.blocked_signals().Contains(signal) || task_.group().action(signal).handler == abi::kSIG_IGN;
}

void TaskTerminalCaller::SignalProcessGroup(int32_t process_group, int signal) {
  SignalInfo info;
  info.signal = signal;
  info.code = abi::kSI_KERNEL;
  // ESRCH: the group is gone, and with it whoever was to hear.
  (void)SendToProcessGroup(task_.kernel(), process_group, info);
}

}  // namespace remora::proc
