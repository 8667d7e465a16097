#ifndef REMORA_PROC_SIGNAL_SETS_H_
#define REMORA_PROC_SIGNAL_SETS_H_

#include <initializer_list>

#include "base/abi/signal.h"
#include "proc/signal_types.h"

// What signals have in common: see signal(7).

namespace remora::proc {

namespace internal {
constexpr SignalSet SetOf(std::initializer_list<int> signals) {
  SignalSet set;
  for (int s : signals) set = set.With(s);
  return set;
}
}  // namespace internal

inline constexpr SignalSet kSynchronousSignals =
    internal::SetOf({abi::kSIGSEGV, abi::kSIGBUS, abi::kSIGILL, abi::kSIGTRAP, abi::kSIGFPE, abi::kSIGSYS});
inline constexpr SignalSet kUnblockable = internal::SetOf({abi::kSIGKILL, abi::kSIGSTOP});
inline constexpr SignalSet kStopSignals = internal::SetOf({abi::kSIGSTOP, abi::kSIGTSTP, abi::kSIGTTIN, abi::kSIGTTOU});
inline constexpr SignalSet kIgnoredByDefault =
    internal::SetOf({abi::kSIGCONT, abi::kSIGCHLD, abi::kSIGWINCH, abi::kSIGURG});
// Those that end with a core dump: the status word gets the 0x80 bit where RLIMIT_CORE allows one.
inline constexpr SignalSet kCoreSignals =
    internal::SetOf({abi::kSIGQUIT, abi::kSIGILL, abi::kSIGTRAP, abi::kSIGABRT, abi::kSIGFPE, abi::kSIGSEGV,
                     abi::kSIGBUS, abi::kSIGSYS, abi::kSIGXCPU, abi::kSIGXFSZ});

}  // namespace remora::proc

#endif  // REMORA_PROC_SIGNAL_SETS_H_
