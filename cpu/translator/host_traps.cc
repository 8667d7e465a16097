#include "cpu/translator/host_traps.h"

#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cstddef>

#include "base/check.h"

namespace remora::cpu::translator {
namespace {

constexpr int kSignals[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL};

// A handler has no argument of ours, so this is global.
struct Registered {
  std::atomic<const CodeBuffer*> buffer{nullptr};
  std::atomic<const void*> trap{nullptr};
};
constexpr int kMaxBuffers = 64;
Registered g_registered[kMaxBuffers];
struct sigaction g_before[std::size(kSignals)];

void PassOn(int signal, siginfo_t* info, void* context) {
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    if (kSignals[i] != signal) continue;
    const struct sigaction& before = g_before[i];
    if ((before.sa_flags & SA_SIGINFO) != 0) {
      before.sa_sigaction(signal, info, context);
    } else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
      // The instruction runs again, and this time nobody is in the way.
      ::signal(signal, SIG_DFL);
    } else {
      before.sa_handler(signal);
    }
  }
}

// A page of the host's that is not there. Translated code asks before it goes anywhere, so this is no matter of the
// guest's, but a mistake in the translator: to go on would be to hide that it has left the guest's memory.
bool IsStray(int signal, const siginfo_t& info) {
  return signal == SIGSEGV && (info.si_code == SEGV_MAPERR || info.si_code == SEGV_ACCERR);
}

void OnTrap(int signal, siginfo_t* info, void* raw_context) {
  if (IsStray(signal, *info)) return PassOn(signal, info, raw_context);
  auto* context = static_cast<ucontext_t*>(raw_context);
  const auto pc = context->uc_mcontext.gregs[REG_RIP];
  for (const Registered& registered : g_registered) {
    const CodeBuffer* buffer = registered.buffer.load(std::memory_order_acquire);
    if (buffer == nullptr || !buffer->Contains(reinterpret_cast<const void*>(pc))) continue;
    context->uc_mcontext.gregs[REG_R11] = pc;
    context->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(registered.trap.load(std::memory_order_relaxed));
    return;
  }
  PassOn(signal, info, raw_context);
}

}  // namespace

HostTraps::HostTraps(const CodeBuffer* buffer, const void* trap) {
  for (int i = 0; i < kMaxBuffers; ++i) {
    const CodeBuffer* free = nullptr;
    if (!g_registered[i].buffer.compare_exchange_strong(free, buffer)) continue;
    g_registered[i].trap.store(trap, std::memory_order_release);
    slot_ = i;
    return;
  }
  CHECK_MSG(false, "too many kernels with translated code in one process");
}

HostTraps::~HostTraps() { g_registered[slot_].buffer.store(nullptr, std::memory_order_release); }

void HostTraps::Install() {
  static std::atomic_flag busy;
  if (busy.test_and_set(std::memory_order_acquire)) return;
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    struct sigaction now;
    sigaction(kSignals[i], nullptr, &now);
    if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == &OnTrap) continue;
    g_before[i] = now;
    struct sigaction action = {};
    action.sa_sigaction = &OnTrap;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(kSignals[i], &action, nullptr);
  }
  busy.clear(std::memory_order_release);
}

}  // namespace remora::cpu::translator
