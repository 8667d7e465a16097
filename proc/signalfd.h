#ifndef REMORA_PROC_SIGNALFD_H_
#define REMORA_PROC_SIGNALFD_H_

#include <cstdint>

#include "base/abi/signal.h"
#include "base/mutex.h"
#include "fs/special/anonymous_file.h"
#include "proc/signal_types.h"
#include "proc/task.h"
#include "proc/thread_group.h"

namespace remora::proc {

// The open file of signalfd(2): reads take pending signals instead of having them delivered.
//
// A read takes what is pending for the thread that reads and for its process. A poll does not say who asks: it answers
// for all threads of the process that made the file or was the last to read from it.
// Thread safety: all methods from any thread but ReadAs, which is the reader's worker's. Linux twin: fs/signalfd.c.
// Differences: Linux's poll answers for the calling thread, also in a child that has not read yet.
class SignalFd final : public fs::AnonymousFile {
 public:
  SignalFd(Ref<fs::AnonymousInode> inode, Ref<ThreadGroup> group, SignalSet wanted, uint32_t flags);

  SignalSet wanted() const;
  void set_wanted(SignalSet wanted);

  // As many struct signalfd_siginfo as there are signals and room. EAGAIN, EINVAL where not one fits.
  ErrnoOr<uint64_t> ReadAs(Task& reader, mm::IoBuffer& to);

  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return Errno(EINVAL); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EINVAL); }
  sync::Events Readiness(sync::Events interest) override;
  sync::WaitQueue* wait_queue() override { return queue_; }

 private:
  sync::WaitQueue* const queue_;  // the Kernel's
  mutable Mutex mu_{LockRank::kLeaf};
  Ref<ThreadGroup> group_ ABSL_GUARDED_BY(mu_);
  SignalSet wanted_ ABSL_GUARDED_BY(mu_);
};

// What a read shows of a signal.
abi::SignalfdSiginfo EncodeSignalfdInfo(const SignalInfo& info);

}  // namespace remora::proc

#endif  // REMORA_PROC_SIGNALFD_H_
