#ifndef REMORA_FS_SPECIAL_EPOLL_SET_H_
#define REMORA_FS_SPECIAL_EPOLL_SET_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/special/epoll_item.h"
#include "fs/special/epoll_nesting.h"
#include "sync/wait_queue.h"

namespace remora::fs {

// What one epoll instance watches, and which of it may be ready. A wait looks at the ready list alone, so its cost
// follows the number of ready descriptors, not that of the registered ones.
//
//      file's WaitQueue --Notify--> EpollItem --> ready list --> queue_ (epoll_wait, poll) and the instances above
//
// An event puts the item on the ready list; nothing is ever taken off by an event. Collect asks each file on the list
// for its readiness (the only truth), takes off what is not ready, edge-triggered or a used one-shot, and leaves at the
// end what is level-triggered and ready: it is asked again next time.
//
// Apart from the open file (EpollFile), so that who just takes an item off may still hold its locks when the file goes.
//
// Invariants:
//  1. An item is in items_ from Add until it was taken off by whoever claimed it (Modify and Remove, the last close of
//     the watched file, Close): only the claimer takes it off, so both ends may go at once.
//  2. An item in items_ refers to a file that lives, and is on the file's list of watchers: the file's last release
//     waits until it is off.
//  3. An item whose file became ready since it was last asked is on the ready list, unless it is a used one-shot.
//  4. A file is asked with its item pinned and without mu_. The claimer waits for the pins.
//  5. After an item came onto the list, queue_ is notified and the instances above are told.
// Locks: control_mu_ (kEpoll) makes Add, Modify, Remove and Collect one at a time; mu_ (kEpollReady) is for moments,
// and is what an event takes under the watched file's queue lock. Cost: Add, Modify, Remove O(1) expected; an event
// O(1) plus the instances above; Collect O(looked at). Linux twin: struct eventpoll, with a hash instead of the tree.
// Differences: no EPIOC*PARAMS (busy polling); at most EpollNesting::kMaxWatches registrations; no limit on the number
// of paths from a file up to the instances. Thread safety: all methods from any thread.
class EpollSet final : public RefCounted {
 public:
  explicit EpollSet(Ref<EpollNesting> nesting) : nesting_(std::move(nesting)) {}

  // EPOLL_CTL_ADD. `watched`: what `file` is, if it is an epoll instance itself. EEXIST; EPERM: `file` cannot be waited
  // for; ELOOP: a cycle, or too deep; ENOSPC. The caller holds a reference to the file.
  ErrnoOr<void> Add(int32_t fd, File& file, EpollSet* watched, uint32_t events, uint64_t data);
  // EPOLL_CTL_MOD. ENOENT; EINVAL: the item is exclusive.
  ErrnoOr<void> Modify(int32_t fd, File& file, uint32_t events, uint64_t data);
  // EPOLL_CTL_DEL. ENOENT.
  ErrnoOr<void> Remove(int32_t fd, File& file);

  // Hands out at most `max` events, each file once. Ends early with what `emit` answers: that event stays. The error is
  // told only if it was the first.
  ErrnoOr<uint32_t> Collect(uint32_t max, absl::FunctionRef<ErrnoOr<void>(uint32_t events, uint64_t data)> emit);
  // Is anything ready? Takes off the list what turns out not to be. May be called while a set above collects.
  bool AnyReady();

  // kReadable is notified, to one exclusive waiter, for each event. One who was woken and does not collect calls
  // PassOn.
  sync::WaitQueue& queue() { return queue_; }
  void PassOn();

  // The last close: lets go of all files. Add must not be called any more.
  void Close();

  uint64_t num_items() const;
  uint64_t num_queued() const;
  void CheckInvariants() const;

 private:
  friend class EpollItem;
  friend class EpollNesting;
  using Key = std::pair<const File*, int32_t>;

  ~EpollSet() override = default;

  // Called by an item, also under the lock of a file's queue. False: a used one-shot, nothing to tell.
  bool MarkReady(EpollItem& item);
  // Tells the waiters and the instances above. False if no one waits in epoll_wait.
  bool Announce();
  // Takes a claimed item off everything.
  void Detach(EpollItem& item);
  void AskNow(EpollItem& item);
  EpollItem* FindLocked(int32_t fd, const File& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AppendLocked(EpollItem& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void UnlinkLocked(EpollItem& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Ref<EpollNesting> nesting_;
  EpollNesting::Node node_;  // guarded by nesting_
  sync::WaitQueue queue_{LockRank::kWaitQueueNested};

  Mutex control_mu_{LockRank::kEpoll};
  uint64_t round_ ABSL_GUARDED_BY(control_mu_) = 0;  // of Collect

  mutable Mutex mu_{LockRank::kEpollReady};
  absl::flat_hash_map<Key, Ref<EpollItem>> items_ ABSL_GUARDED_BY(mu_);
  EpollItem* head_ ABSL_GUARDED_BY(mu_) = nullptr;
  EpollItem* tail_ ABSL_GUARDED_BY(mu_) = nullptr;
};

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_EPOLL_SET_H_
