#include "fs/special/epoll_nesting.h"

#include <errno.h>

#include <algorithm>

#include "fs/special/epoll_set.h"

namespace remora::fs {

bool EpollNesting::CountWatch() {
  if (num_watches_.fetch_add(1, std::memory_order_relaxed) < kMaxWatches) return true;
  UncountWatch();
  return false;
}

ErrnoOr<void> EpollNesting::Link(EpollItem& item) {
  EpollSet& watching = *item.owner_;
  EpollSet& watched = *item.watched_;
  if (&watching == &watched) return Errno(ELOOP);
  MutexLock lock(&mu_);
  ++round_;
  const uint32_t below = ChainLocked(watched, /*up=*/false);
  // The walk down came by where there would be a cycle.
  if (watching.node_.round == round_) return Errno(ELOOP);
  ++round_;
  if (below + ChainLocked(watching, /*up=*/true) > kMaxDepth) return Errno(ELOOP);
  item.above_place_ = watched.node_.above.insert(watched.node_.above.end(), &item);
  item.below_place_ = watching.node_.below.insert(watching.node_.below.end(), &item);
  watched.node_.num_above.fetch_add(1, std::memory_order_acq_rel);
  return Ok();
}

void EpollNesting::Unlink(EpollItem& item) {
  MutexLock lock(&mu_);
  item.watched_->node_.above.erase(item.above_place_);
  item.owner_->node_.below.erase(item.below_place_);
  item.watched_->node_.num_above.fetch_sub(1, std::memory_order_acq_rel);
}

uint32_t EpollNesting::ChainLocked(EpollSet& set, bool up) {
  Node& node = set.node_;
  if (node.round == round_) return node.depth;
  node.round = round_;
  uint32_t longest = 0;
  for (EpollItem* item : up ? node.above : node.below)
    longest = std::max(longest, ChainLocked(up ? *item->owner_ : *item->watched_, up));
  return node.depth = longest + 1;
}

void EpollNesting::Raise(EpollSet& set) {
  MutexLock lock(&mu_);
  ++round_;
  RaiseLocked(set);
}

void EpollNesting::RaiseLocked(EpollSet& set) {
  for (EpollItem* item : set.node_.above) {
    EpollSet& watching = *item->owner_;
    if (!watching.MarkReady(*item)) continue;
    watching.queue_.NotifyOne(sync::kReadable);
    if (watching.node_.round == round_) continue;
    watching.node_.round = round_;
    RaiseLocked(watching);
  }
}

}  // namespace remora::fs
