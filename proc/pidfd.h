#ifndef REMORA_PROC_PIDFD_H_
#define REMORA_PROC_PIDFD_H_

#include <cstdint>

#include "fs/special/anonymous_file.h"
#include "proc/thread_group.h"

namespace remora::proc {

// The open file of pidfd_open(2) and CLONE_PIDFD: names one process for good, whoever gets its number later. Readable
// once the process has ended.
// Thread safety: all methods from any thread. Linux twin: fs/pidfs.c.
class PidFd final : public fs::AnonymousFile {
 public:
  PidFd(Ref<fs::AnonymousInode> inode, Ref<ThreadGroup> group, uint32_t flags);

  ThreadGroup& group() const { return *group_; }

  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return Errno(EINVAL); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EINVAL); }
  sync::Events Readiness(sync::Events interest) override { return group_->ended() ? interest & sync::kReadable : 0; }
  sync::WaitQueue* wait_queue() override { return &group_->exit_queue(); }

 private:
  const Ref<ThreadGroup> group_;
};

Ref<PidFd> MakePidFd(ThreadGroup& group, uint32_t flags);

}  // namespace remora::proc

#endif  // REMORA_PROC_PIDFD_H_
