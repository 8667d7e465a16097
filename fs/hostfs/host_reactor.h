#ifndef REMORA_FS_HOSTFS_HOST_REACTOR_H_
#define REMORA_FS_HOSTFS_HOST_REACTOR_H_

#include <cstdint>
#include <memory>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "sync/wait_queue.h"

namespace remora::fs {

class HostReactor;

// One host descriptor that the reactor can watch, and the queue it tells. Kept by the file that owns the descriptor.
// Thread safety: all methods from any thread.
class HostWatch final : public RefCounted {
 public:
  sync::WaitQueue& queue() { return queue_; }
  int fd() const { return fd_; }

 private:
  friend class HostReactor;
  template <typename T, typename... Args>
  friend Ref<T> remora::MakeRef(Args&&... args);
  HostWatch(int fd, uint64_t id) : fd_(fd), id_(id) {}

  const int fd_;
  const uint64_t id_;
  sync::WaitQueue queue_;
};

// Tells wait queues when host descriptors become ready, so that no worker ever waits for one: one thread in
// epoll_wait(2), started when first something is watched. One for each Kernel.
//
// A watch is asked for afresh each time (one shot): a file asks where it answers EAGAIN or "not ready". By the rule
// "arm before you test" (sync/wait_queue.h) every waiter's test comes after its arming, so none is forgotten; and
// descriptors that nobody waits for cost nothing.
//
// Invariants:
//  1. A descriptor is in the epoll set only while its watch is in watches_.
//  2. Notify is called without mu_ held; the watch is counted meanwhile, so its queue outlives the call.
// Thread safety: all methods from any thread. Signals are blocked in the reactor's thread.
class HostReactor {
 public:
  HostReactor();
  // All watches are removed before; joins the thread.
  ~HostReactor();
  HostReactor(const HostReactor&) = delete;
  HostReactor& operator=(const HostReactor&) = delete;

  // `fd` stays open until Remove.
  Ref<HostWatch> Add(int fd);
  void Remove(HostWatch& watch);

  // Notifies the watch's queue once when any of `events` (or an error or hangup) holds. A descriptor that the host
  // cannot poll (a regular file) is ready at once. Events add up until one of them fired.
  void NotifyOnce(HostWatch& watch, sync::Events events);
  // From now on each change notifies the watch's queue, of what changed and whether or not it was asked for: somebody
  // waits for edges (epoll), also for one that comes while what was there before has not been read. NotifyOnce is then
  // not needed any more. Costs a wake-up of the reactor's thread for each change. False: the host cannot poll it.
  bool WatchEdges(HostWatch& watch);
  // Notifies the queue once, about `delay_millis` from now: for what the host can only be asked again and again.
  void NotifyLater(HostWatch& watch, uint32_t delay_millis);

  uint64_t num_wakeups() const;  // of the reactor's thread, for tests

 private:
  struct Entry {
    Ref<HostWatch> watch;
    uint32_t wanted = 0;  // events not yet fired; 0: not armed
    bool in_epoll = false;
    bool edges = false;
    int64_t due_nanos = 0;  // NotifyLater; 0: none
  };

  void StartLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Kick() const;
  void Loop();
  int TakeDue(int64_t now_nanos, std::vector<Ref<HostWatch>>* due);

  int epoll_fd_ = -1;
  int kick_fd_ = -1;  // eventfd: a new deadline, or the end
  mutable Mutex mu_{LockRank::kReactor};
  absl::flat_hash_map<uint64_t, Entry> watches_ ABSL_GUARDED_BY(mu_);
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
  uint32_t num_due_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t num_wakeups_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // written once, under mu_
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_REACTOR_H_
