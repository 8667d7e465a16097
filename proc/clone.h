#ifndef REMORA_PROC_CLONE_H_
#define REMORA_PROC_CLONE_H_

#include <cstdint>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "base/ref_counted.h"
#include "proc/task.h"

namespace remora::proc {

// What a vfork parent waits for.
class VforkDone final : public RefCounted {
 public:
  bool done() const { return done_.load(std::memory_order_acquire); }
  void Complete() {
    done_.store(true, std::memory_order_release);
    queue_.Notify(sync::kReadable);
  }
  sync::WaitQueue& queue() { return queue_; }

 private:
  std::atomic<bool> done_{false};
  sync::WaitQueue queue_;
};

// What clone(2), clone3(2), fork(2) and vfork(2) ask for.
struct CloneRequest {
  uint64_t flags = 0;   // CLONE_*
  int exit_signal = 0;  // SIGCHLD for fork
  GuestAddr stack;      // the new stack pointer; 0: the caller's
  GuestAddr parent_tid, child_tid;
  GuestAddr pidfd;         // for CLONE_PIDFD: where its number goes
  int32_t wanted_tid = 0;  // clone3's set_tid; 0: any
  uint64_t tls = 0;        // for CLONE_SETTLS
  // For CLONE_VFORK, made by the caller: the child may have completed and dropped its own reference when Clone returns.
  Ref<VforkDone> vfork_done;
};

// Makes a child of `parent` that returns 0 from the call under way; runnable when this returns. CLONE_VFORK: the
// child's vfork_done is request.vfork_done; the caller waits on it. Own worker of `parent` only. EINVAL for
// combinations Linux refuses, EAGAIN at the pid limit or RLIMIT_NPROC, EEXIST for a number in use, ENOMEM, EFAULT,
// EMFILE (CLONE_PIDFD).
ErrnoOr<Ref<Task>> Clone(Task& parent, const CloneRequest& request);

}  // namespace remora::proc

#endif  // REMORA_PROC_CLONE_H_
