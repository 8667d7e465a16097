#include "runner/host_signals.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>

#include "proc/signals.h"
#include "proc/task.h"
#include "proc/terminal_caller.h"
#include "proc/thread_group.h"

namespace remora::runner {
namespace {

constexpr int kForwarded[] = {SIGINT,  SIGQUIT, SIGTSTP, SIGWINCH, SIGTERM, SIGHUP,
                              SIGUSR1, SIGUSR2, SIGALRM, SIGCONT,  SIGTTIN, SIGTTOU};
constexpr int kFatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
// Wakes the thread so that it ends; never forwarded.
constexpr int kStop = SIGURG;

// What a fatal handler may touch: it has no argument of ours.
std::atomic<fs::RestoreTerminal*> terminal_to_restore{nullptr};

void OnFatal(int signal) {
  if (fs::RestoreTerminal* restore = terminal_to_restore.load(std::memory_order_relaxed)) restore->Restore();
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

bool IsForForeground(int signal) {
  return signal == SIGINT || signal == SIGQUIT || signal == SIGTSTP || signal == SIGWINCH;
}

}  // namespace

HostSignals::HostSignals() {
  ::signal(SIGPIPE, SIG_IGN);  // a write to a closed pipe is an errno here, and the guest gets its own SIGPIPE
  ::signal(SIGXFSZ, SIG_IGN);  // likewise one beyond the caller's limit of a file's size
  sigemptyset(&forwarded_);
  sigaddset(&forwarded_, kStop);
  for (int signal : kForwarded) sigaddset(&forwarded_, signal);
  pthread_sigmask(SIG_BLOCK, &forwarded_, nullptr);
}

HostSignals::~HostSignals() { Stop(); }

void HostSignals::Start(proc::Kernel* kernel, fs::HostTerminal* terminal) {
  if (terminal != nullptr) {
    terminal_to_restore.store(&terminal->restore(), std::memory_order_relaxed);
    for (int signal : kFatal) ::signal(signal, OnFatal);
  }
  thread_ = std::thread([this, kernel, terminal] { Loop(kernel, terminal); });
}

void HostSignals::Stop() {
  if (!thread_.joinable()) return;
  pthread_kill(thread_.native_handle(), kStop);
  thread_.join();
  terminal_to_restore.store(nullptr, std::memory_order_relaxed);
}

void HostSignals::Loop(proc::Kernel* kernel, fs::HostTerminal* terminal) {
  while (true) {
    siginfo_t info;
    const int signal = sigwaitinfo(&forwarded_, &info);
    if (signal == kStop && info.si_pid == getpid()) return;
    if (signal < 0 || signal == kStop) continue;
    sync::Reclaimer::ReadSection reading(&kernel->reclaimer());
    const Ref<proc::ThreadGroup> first = kernel->first_group();
    if (first == nullptr) continue;
    proc::SignalInfo sent;
    sent.signal = signal;
    sent.code = SI_KERNEL;
    if (terminal != nullptr && IsForForeground(signal) && info.si_code == SI_KERNEL &&
        terminal->foreground_group() != 0) {
      (void)proc::SendToProcessGroup(*kernel, terminal->foreground_group(), sent);
    } else {
      proc::SendToGroup(*first, sent);
    }
  }
}

void HostSignals::RestoreTerminal() {
  if (fs::RestoreTerminal* restore = terminal_to_restore.load(std::memory_order_relaxed)) restore->Restore();
}

void HostSignals::StopSelf(int) {
  RestoreTerminal();
  ::raise(SIGSTOP);
}

}  // namespace remora::runner
