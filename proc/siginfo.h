#ifndef REMORA_PROC_SIGINFO_H_
#define REMORA_PROC_SIGINFO_H_

#include "base/abi/signal.h"
#include "proc/signal_types.h"

namespace remora::proc {

// Between SignalInfo and the guest's siginfo_t: which member of the union holds depends on the signal and the code.
abi::Siginfo EncodeSignalInfo(const SignalInfo& info);
// As rt_sigqueueinfo(2) takes it.
SignalInfo DecodeSignalInfo(const abi::Siginfo& info);

}  // namespace remora::proc

#endif  // REMORA_PROC_SIGINFO_H_
