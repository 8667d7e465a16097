#ifndef REMORA_PROC_SYSCALL_OUTCOME_H_
#define REMORA_PROC_SYSCALL_OUTCOME_H_

#include <cstdint>

#include "base/errno_or.h"

namespace remora::proc {

// Errors that never reach the guest: what to do with a call that a signal interrupted. Values are Linux's
// (include/linux/errno.h).
inline constexpr int kRestartSys = 512;        // restart if the handler has SA_RESTART or none runs, else EINTR
inline constexpr int kRestartNoIntr = 513;     // restart always
inline constexpr int kRestartNoHandler = 514;  // restart if no handler runs, else EINTR
inline constexpr int kRestartBlock =
    516;  // like kRestartNoHandler; goes on from the saved SyscallState (relative time-outs)

// What became of one run of a syscall handler.
class [[nodiscard]] SyscallOutcome {
 public:
  enum class Kind : uint8_t {
    kReturned,  // rax = value() (negative: -errno, or one of kRestart*)
    kBlocked,  // waiters are armed, the SyscallState is saved: park the task and run the handler again when it is woken
    kNoReturn,  // the registers are already what they must be (execve, rt_sigreturn), or the task is dead (exit)
  };

  static SyscallOutcome Return(int64_t value) { return SyscallOutcome(Kind::kReturned, value); }
  static SyscallOutcome Fail(int error_number) { return SyscallOutcome(Kind::kReturned, -int64_t{error_number}); }
  static SyscallOutcome Blocked() { return SyscallOutcome(Kind::kBlocked, 0); }
  static SyscallOutcome NoReturn() { return SyscallOutcome(Kind::kNoReturn, 0); }

  // So that handlers may `return Errno(EINVAL);` or use REMORA_ASSIGN_OR_RETURN.
  SyscallOutcome(Errno error)
      : SyscallOutcome(Kind::kReturned, -int64_t{error.value()}) {}  // NOLINT(google-explicit-constructor)
  template <typename T>
    requires(std::is_integral_v<T>)
  SyscallOutcome(const ErrnoOr<T>& result)  // NOLINT(google-explicit-constructor)
      : SyscallOutcome(Kind::kReturned, result.ok() ? static_cast<int64_t>(*result) : -int64_t{result.error_number()}) {
  }
  SyscallOutcome(const ErrnoOr<void>& result)  // NOLINT(google-explicit-constructor)
      : SyscallOutcome(Kind::kReturned, -int64_t{result.error_number()}) {}

  Kind kind() const { return kind_; }
  int64_t value() const { return value_; }

 private:
  SyscallOutcome(Kind kind, int64_t value) : kind_(kind), value_(value) {}
  Kind kind_;
  int64_t value_;
};

// What a blocked handler keeps between its runs: counted files, copied iovecs, bytes done, absolute deadline, armed
// waiters. Destroyed when the call returns, is interrupted for good, or the task dies: destructors disarm.
class SyscallState {
 public:
  virtual ~SyscallState() = default;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_SYSCALL_OUTCOME_H_
