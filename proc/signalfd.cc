#include "proc/signalfd.h"

#include <fcntl.h>

#include <span>
#include <utility>

#include "proc/kernel.h"
#include "proc/signal_sets.h"
#include "proc/signals.h"

namespace remora::proc {

SignalFd::SignalFd(Ref<fs::AnonymousInode> inode, Ref<ThreadGroup> group, SignalSet wanted, uint32_t flags)
    : AnonymousFile(std::move(inode), O_RDWR | (flags & O_NONBLOCK)),
      queue_(&group->kernel().signal_arrivals()),
      group_(std::move(group)) {
  MutexLock lock(&mu_);
  wanted_ = wanted & ~kUnblockable;
}

SignalSet SignalFd::wanted() const {
  MutexLock lock(&mu_);
  return wanted_;
}

void SignalFd::set_wanted(SignalSet wanted) {
  {
    MutexLock lock(&mu_);
    wanted_ = wanted & ~kUnblockable;
  }
  queue_->Notify(sync::kReadable);
}

ErrnoOr<uint64_t> SignalFd::ReadAs(Task& reader, mm::IoBuffer& to) {
  if (to.remaining() < sizeof(abi::SignalfdSiginfo)) return Errno(EINVAL);
  SignalSet wanted;
  {
    Ref<ThreadGroup> group(&reader.group());  // the former goes after the lock
    MutexLock lock(&mu_);
    wanted = wanted_;
    if (group_ != group) std::swap(group_, group);
  }
  uint64_t done = 0;
  while (to.remaining() >= sizeof(abi::SignalfdSiginfo)) {
    const auto info = TakeSignal(reader, wanted);
    if (!info) break;
    const abi::SignalfdSiginfo out = EncodeSignalfdInfo(*info);
    // As in Linux the signal is gone when this faults.
    const auto copied = to.Write(std::as_bytes(std::span(&out, 1)));
    if (!copied.ok() || *copied < sizeof(out)) {
      if (done != 0) return done;
      return Errno(EFAULT);
    }
    done += sizeof(out);
  }
  if (done == 0) return Errno(EAGAIN);
  return done;
}

sync::Events SignalFd::Readiness(sync::Events interest) {
  Ref<ThreadGroup> group;
  SignalSet wanted;
  {
    MutexLock lock(&mu_);
    group = group_;
    wanted = wanted_;
  }
  return (AllPendingSignals(*group) & wanted).empty() ? 0 : interest & sync::kReadable;
}

abi::SignalfdSiginfo EncodeSignalfdInfo(const SignalInfo& info) {
  abi::SignalfdSiginfo out = {};
  out.ssi_signo = static_cast<uint32_t>(info.signal);
  out.ssi_errno = info.error;
  out.ssi_code = info.code;
  const bool from_kernel = info.code > 0;
  if (info.signal == abi::kSIGCHLD && from_kernel) {
    out.ssi_pid = static_cast<uint32_t>(info.pid);
    out.ssi_uid = info.uid;
    out.ssi_status = info.status;
    out.ssi_utime = static_cast<uint64_t>(info.user_ticks);
    out.ssi_stime = static_cast<uint64_t>(info.system_ticks);
  } else if (kSynchronousSignals.Contains(info.signal) && from_kernel && info.code != abi::kSI_KERNEL) {
    out.ssi_addr = info.address.value();
  } else if (info.code == abi::kSI_TIMER) {
    out.ssi_tid = static_cast<uint32_t>(info.pid);
    out.ssi_overrun = info.uid;
    out.ssi_ptr = info.value;
    out.ssi_int = static_cast<int32_t>(info.value);
  } else {
    out.ssi_pid = static_cast<uint32_t>(info.pid);
    out.ssi_uid = info.uid;
    if (info.code < 0 && info.code != abi::kSI_TKILL) {
      out.ssi_ptr = info.value;
      out.ssi_int = static_cast<int32_t>(info.value);
    }
  }
  return out;
}

}  // namespace remora::proc
