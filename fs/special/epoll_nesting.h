#ifndef REMORA_FS_SPECIAL_EPOLL_NESTING_H_
#define REMORA_FS_SPECIAL_EPOLL_NESTING_H_

#include <atomic>
#include <cstdint>
#include <list>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"

namespace remora::fs {

class EpollItem;
class EpollSet;

// Which epoll instances watch which: a graph without cycles. One for each Kernel.
//
// An instance that watches another is not armed on the other's wait queue, because the locks of two such queues would
// have no order between them. The links stand here instead, under one lock, and an event that goes up walks them under
// it; so whatever the depth, the order of locks is the same: the file's queue, this one, then one instance at a time.
// Instances that do not stand in one another never take it.
//
// Invariants:
//  1. No instance is reachable from itself; no chain has more than kMaxDepth instances.
//  2. A link is in both lists: `above` of the watched instance, `below` of the watching one.
//  3. num_above of a node is the length of its list `above`; read without the lock.
// Cost: an event visits each instance above once, whatever the number of paths; linking visits those above and below.
// Linux twin: epnested_mutex, ep_loop_check(), ep_poll_safewake().
// Thread safety: all methods from any thread; Raise also under the lock of a file's queue.
class EpollNesting final : public RefCounted {
 public:
  static constexpr uint32_t kMaxDepth = 5;  // EP_MAX_NESTS + 1
  static constexpr uint64_t kMaxWatches = uint64_t{1} << 20;

  // An instance's place in the graph.
  struct Node {
    std::atomic<uint32_t> num_above{0};
    std::list<EpollItem*> above;  // registrations that watch this instance
    std::list<EpollItem*> below;  // registrations of this instance that watch another
    uint64_t round = 0;           // the last walk that came here, and what it found
    uint32_t depth = 0;
  };

  // The registration `item` of one instance with another. ELOOP.
  ErrnoOr<void> Link(EpollItem& item);
  void Unlink(EpollItem& item);
  // Something became ready in `set`: those above hear it.
  void Raise(EpollSet& set);

  // All registrations of all instances are limited together. False: no more.
  bool CountWatch();
  void UncountWatch() { num_watches_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  void RaiseLocked(EpollSet& set) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The length in instances of the longest chain that begins at `set` and goes this way.
  uint32_t ChainLocked(EpollSet& set, bool up) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  std::atomic<uint64_t> num_watches_{0};
  Mutex mu_{LockRank::kEpollNesting};
  uint64_t round_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_EPOLL_NESTING_H_
