#ifndef REMORA_PROC_TERMINAL_CALLER_H_
#define REMORA_PROC_TERMINAL_CALLER_H_

#include "fs/terminal_caller.h"
#include "proc/task.h"

namespace remora::proc {

// The task as a terminal sees it: for fs::IoctlContext and for reads and writes from the background. Valid while the
// task is.
class TaskTerminalCaller final : public fs::TerminalCaller {
 public:
  explicit TaskTerminalCaller(Task& task) : task_(task) {}

  int32_t session() const override;
  int32_t process_group() const override;
  bool is_session_leader() const override;
  bool ignores_or_blocks(int signal) const override;
  bool is_orphaned() const override;
  bool privileged() const override;
  int32_t SessionOfProcessGroup(int32_t process_group) const override;
  void SignalProcessGroup(int32_t process_group, int signal) override;

 private:
  Task& task_;
};

// What terminals signal by themselves. Lives in the Kernel.
class KernelTerminalSignals final : public fs::TerminalSignals {
 public:
  explicit KernelTerminalSignals(Kernel* kernel) : kernel_(kernel) {}
  void SignalProcessGroup(int32_t process_group, int signal) override;
  void SignalProcess(int32_t process_id, int signal) override;

 private:
  Kernel* const kernel_;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_TERMINAL_CALLER_H_
