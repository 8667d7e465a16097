#include "cpu/engine.h"

namespace remora::cpu {

std::string_view ExitReasonName(ExitReason reason) {
  switch (reason) {
    case ExitReason::kBudget:
      return "budget";
    case ExitReason::kInterrupt:
      return "interrupt";
    case ExitReason::kSyscall:
      return "syscall";
    case ExitReason::kFault:
      return "fault";
    case ExitReason::kMustWait:
      return "must wait";
    case ExitReason::kIllegal:
      return "illegal instruction";
    case ExitReason::kDivide:
      return "divide error";
    case ExitReason::kBreakpoint:
      return "breakpoint";
    case ExitReason::kDebugTrap:
      return "debug trap";
    case ExitReason::kSingleStep:
      return "single step";
    case ExitReason::kX87Error:
      return "x87 error";
    case ExitReason::kSimdError:
      return "SIMD error";
    case ExitReason::kProtection:
      return "general protection";
    case ExitReason::kOverflow:
      return "overflow";
    case ExitReason::kAlignment:
      return "alignment";
  }
  return "unknown";
}

}  // namespace remora::cpu
