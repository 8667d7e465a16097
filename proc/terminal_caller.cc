#include "proc/terminal_caller.h"

#include "base/abi/signal.h"
#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/process_tree.h"
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

bool TaskTerminalCaller::is_orphaned() const { return task_.kernel().tree().IsOrphaned(task_.group().process_group()); }
bool TaskTerminalCaller::privileged() const { return task_.credentials()->privileged(); }

int32_t TaskTerminalCaller::SessionOfProcessGroup(int32_t process_group) const {
  const int32_t session = task_.kernel().tree().SessionOfProcessGroup(process_group);
  if (session != 0) return session;
  const Ref<ThreadGroup> group = task_.kernel().pids().FindGroup(process_group);
  return group ? group->session() : 0;
}

void TaskTerminalCaller::SignalProcessGroup(int32_t process_group, int signal) {
  KernelTerminalSignals(&task_.kernel()).SignalProcessGroup(process_group, signal);
}

namespace {
SignalInfo FromTerminal(int signal) {
  SignalInfo info;
  info.signal = signal;
  info.code = abi::kSI_KERNEL;
  return info;
}
}  // namespace

void KernelTerminalSignals::SignalProcessGroup(int32_t process_group, int signal) {
  // ESRCH: the group is gone, and with it whoever was to hear.
  (void)SendToProcessGroup(*kernel_, process_group, FromTerminal(signal));
}

void KernelTerminalSignals::SignalProcess(int32_t process_id, int signal) {
  if (const Ref<ThreadGroup> group = kernel_->pids().FindGroup(process_id)) SendToGroup(*group, FromTerminal(signal));
}

}  // namespace remora::proc
