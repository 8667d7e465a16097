#include "proc/siginfo.h"

#include "proc/signal_sets.h"

namespace remora::proc {

abi::Siginfo EncodeSignalInfo(const SignalInfo& info) {
  abi::Siginfo out = {};
  out.signo = info.signal;
  out.error = info.error;
  out.code = info.code;
  const bool from_kernel = info.code > 0;
  if (info.signal == abi::kSIGCHLD && from_kernel) {
    out.child = {info.pid, info.uid, info.status, 0, info.user_ticks, info.system_ticks};
  } else if (kSynchronousSignals.Contains(info.signal) && from_kernel && info.code != abi::kSI_KERNEL) {
    out.fault.address = info.address.value();
  } else if (info.code == abi::kSI_TIMER) {
    out.timer = {info.pid, static_cast<int32_t>(info.uid), info.value};
  } else if (info.code < 0 && info.code != abi::kSI_TKILL) {
    out.queue = {info.pid, info.uid, info.value};
  } else {
    out.kill = {info.pid, info.uid};
  }
  return out;
}

SignalInfo DecodeSignalInfo(const abi::Siginfo& info) {
  SignalInfo out;
  out.signal = info.signo;
  out.error = info.error;
  out.code = info.code;
  out.pid = info.queue.pid;
  out.uid = info.queue.uid;
  out.value = info.queue.value;
  return out;
}

}  // namespace remora::proc
