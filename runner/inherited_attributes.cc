#include "runner/inherited_attributes.h"

#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>

#include "fs/fd_table.h"
#include "proc/pending_signals.h"
#include "proc/signal_types.h"

namespace remora::runner {

proc::Kernel::InheritedAttributes CallersAttributes() {
  proc::Kernel::InheritedAttributes attributes;
  sigset_t blocked;
  sigemptyset(&blocked);
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  // The C library keeps the first two real-time signals to itself, here as in the guest.
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    struct sigaction action = {};
    if (sigaction(signal, nullptr, &action) == 0 && (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_IGN)
      attributes.ignored_signals = attributes.ignored_signals.With(signal);
    if (sigismember(&blocked, signal) == 1) attributes.blocked_signals = attributes.blocked_signals.With(signal);
  }
  attributes.nice = getpriority(PRIO_PROCESS, 0);
  for (int resource = 0; resource < RLIM_NLIMITS; ++resource) {
    rlimit limit;
    if (resource == RLIMIT_NPROC || getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) continue;
    uint64_t most = RLIM_INFINITY;
    if (resource == RLIMIT_NOFILE) most = fs::FdTable::kMaxFds;
    if (resource == RLIMIT_SIGPENDING) most = proc::PendingSignals::kMaxQueued;
    attributes.limits.push_back(
        {resource, {std::min<uint64_t>(limit.rlim_cur, most), std::min<uint64_t>(limit.rlim_max, most)}});
  }
  return attributes;
}

void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

void RaiseStackLimit() {
  constexpr size_t kBytes = 1 << 20;
  rlimit limit;
  if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < kBytes) {
    limit.rlim_cur = std::min<rlim_t>(kBytes, limit.rlim_max);
    (void)setrlimit(RLIMIT_STACK, &limit);
  }
  // The C library has looked at the limit before.
  pthread_attr_t of_threads;
  if (pthread_getattr_default_np(&of_threads) != 0) return;
  size_t size = 0;
  if (pthread_attr_getstacksize(&of_threads, &size) == 0 && size < kBytes &&
      pthread_attr_setstacksize(&of_threads, kBytes) == 0)
    (void)pthread_setattr_default_np(&of_threads);
  (void)pthread_attr_destroy(&of_threads);
}

}  // namespace remora::runner
