#ifndef REMORA_PROC_SIGNAL_TYPES_H_
#define REMORA_PROC_SIGNAL_TYPES_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/guest_addr.h"

namespace remora::proc {

inline constexpr int kNumSignals = 64;

// Signals 1..64 as Linux's sigset_t: bit n-1 is signal n.
class SignalSet {
 public:
  constexpr SignalSet() = default;
  constexpr explicit SignalSet(uint64_t bits) : bits_(bits) {}
  constexpr uint64_t bits() const { return bits_; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr bool Contains(int signal) const { return (bits_ >> (signal - 1)) & 1; }
  constexpr SignalSet With(int signal) const { return SignalSet(bits_ | uint64_t{1} << (signal - 1)); }
  constexpr SignalSet Without(int signal) const { return SignalSet(bits_ & ~(uint64_t{1} << (signal - 1))); }
  friend constexpr SignalSet operator|(SignalSet a, SignalSet b) { return SignalSet(a.bits_ | b.bits_); }
  friend constexpr SignalSet operator&(SignalSet a, SignalSet b) { return SignalSet(a.bits_ & b.bits_); }
  constexpr SignalSet operator~() const { return SignalSet(~bits_); }
  friend constexpr bool operator==(SignalSet, SignalSet) = default;

 private:
  uint64_t bits_ = 0;
};

// siginfo_t as the guest sees it: 128 bytes, laid out by abi/signal.h. Fields used here:
struct SignalInfo {
  int32_t signal = 0;
  int32_t error = 0;
  int32_t code = 0;  // SI_USER, SI_KERNEL, SEGV_MAPERR, CLD_EXITED, ...
  int32_t pid = 0;   // sender or child
  uint32_t uid = 0;
  int32_t status = 0;  // SIGCHLD
  uint64_t value = 0;  // sigqueue, POSIX timers
  // Sent by a POSIX timer of the process: pid is its id, status tells which of its settings, uid the overruns, filled
  // in when it is taken.
  bool from_timer = false;
  GuestAddr address;  // faults
  int64_t user_ticks = 0, system_ticks = 0;
};

// What became of a signal that was sent.
enum class SendResult : uint8_t {
  kQueued,
  kMerged,     // a standard signal that was pending already
  kIgnored,    // dropped: the process ignores it
  kOverLimit,  // a real-time signal beyond RLIMIT_SIGPENDING: EAGAIN
  kNoTarget,   // the thread or process has ended
};

// struct sigaction as rt_sigaction(2) takes it.
struct SignalAction {
  uint64_t handler = 0;  // 0: SIG_DFL, 1: SIG_IGN
  uint64_t flags = 0;    // SA_*
  GuestAddr restorer;
  SignalSet mask;
};

struct AlternateStack {
  GuestAddr base;
  int32_t flags = 2;  // SS_DISABLE
  uint64_t size_bytes = 0;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_SIGNAL_TYPES_H_
