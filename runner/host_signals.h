#ifndef REMORA_RUNNER_HOST_SIGNALS_H_
#define REMORA_RUNNER_HOST_SIGNALS_H_

#include <signal.h>

#include <thread>

#include "fs/tty/host_terminal.h"
#include "proc/kernel.h"

namespace remora::runner {

// Passes on to the guest what the host sends to Remora: SIGINT, SIGQUIT, SIGTSTP and SIGWINCH to the terminal's
// foreground group (where there is a terminal, else to the first process), SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM
// and SIGCONT to the first process. And puts the terminal back when Remora itself is struck down by a signal that can
// be caught.
//
// The signals are blocked in every thread and taken by one thread's sigwait, so no handler runs on a worker.
// Construct before any other thread exists (threads inherit the mask); not more than one in a host process.
class HostSignals {
 public:
  HostSignals();
  // Unblocks nothing: the process is about to end.
  ~HostSignals();
  HostSignals(const HostSignals&) = delete;
  HostSignals& operator=(const HostSignals&) = delete;

  // From now on signals go to `kernel`'s guests; both outlive Stop. `terminal` may be null.
  void Start(proc::Kernel* kernel, fs::HostTerminal* terminal);
  // Joins the thread.
  void Stop();

  // The first process stopped: so does Remora, as its parent expects, and tells the guest when it is continued.
  static void StopSelf(int signal);
  // For whoever ends the host process in the middle of it all.
  static void RestoreTerminal();

 private:
  void Loop(proc::Kernel* kernel, fs::HostTerminal* terminal);

  sigset_t forwarded_;
  std::thread thread_;
};

}  // namespace remora::runner

#endif  // REMORA_RUNNER_HOST_SIGNALS_H_
