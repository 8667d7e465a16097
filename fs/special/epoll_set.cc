#include "fs/special/epoll_set.h"

#include <errno.h>

#include <thread>
#include <vector>

#include "base/check.h"
#include "sync/readiness.h"

namespace remora::fs {

// ---- EpollItem ----

EpollItem::EpollItem(Ref<EpollSet> owner, int32_t fd, File& file, Ref<FileWatchers> watchers, Ref<EpollSet> watched,
                     uint32_t events, uint64_t data)
    : owner_(std::move(owner)),
      fd_(fd),
      file_(&file),
      watchers_(std::move(watchers)),
      watched_(std::move(watched)),
      events_(events),
      data_(data) {}

EpollItem::~EpollItem() { owner_->nesting_->UncountWatch(); }

bool EpollItem::OnFileGone() {
  if (!Claim()) return false;
  owner_->Detach(*this);
  return true;
}

void EpollItem::Notify(sync::Events) {
  if (owner_->MarkReady(*this)) owner_->Announce();
}

bool EpollItem::NotifyExclusive(sync::Events) { return owner_->MarkReady(*this) && owner_->Announce(); }

// ---- EpollSet ----

EpollItem* EpollSet::FindLocked(int32_t fd, const File& file) {
  const auto it = items_.find(Key(&file, fd));
  return it == items_.end() ? nullptr : it->second.get();
}

void EpollSet::AppendLocked(EpollItem& item) {
  item.queued_ = true;
  item.prev_ = tail_;
  item.next_ = nullptr;
  (tail_ != nullptr ? tail_->next_ : head_) = &item;
  tail_ = &item;
}

void EpollSet::UnlinkLocked(EpollItem& item) {
  if (!item.queued_) return;
  item.queued_ = false;
  (item.prev_ != nullptr ? item.prev_->next_ : head_) = item.next_;
  (item.next_ != nullptr ? item.next_->prev_ : tail_) = item.prev_;
  item.next_ = item.prev_ = nullptr;
}

bool EpollSet::MarkReady(EpollItem& item) {
  MutexLock lock(&mu_);
  if ((item.events_ & ~EpollItem::kFlagBits) == 0) return false;
  ++item.notifications_;
  if (!item.queued_ && !item.claimed()) AppendLocked(item);
  return true;
}

bool EpollSet::Announce() {
  const bool waited_for = queue_.has_waiters();
  queue_.NotifyOne(sync::kReadable);
  if (node_.num_above.load(std::memory_order_acquire) != 0) nesting_->Raise(*this);
  return waited_for;
}

void EpollSet::AskNow(EpollItem& item) {
  if (sync::AskReadiness(*item.file_, item.events_ & ~EpollItem::kFlagBits) != 0 && MarkReady(item)) Announce();
}

ErrnoOr<void> EpollSet::Add(int32_t fd, File& file, EpollSet* watched, uint32_t events, uint64_t data) {
  if (!file.WatchEdges()) return Errno(EPERM);
  MutexLock control(&control_mu_);
  {
    MutexLock lock(&mu_);
    if (FindLocked(fd, file) != nullptr) return Errno(EEXIST);
  }
  if (!nesting_->CountWatch()) return Errno(ENOSPC);
  // kError and kHangup are told unasked, until a one-shot is used.
  events |= sync::kError | sync::kHangup;
  Ref<EpollItem> item =
      MakeRef<EpollItem>(Ref<EpollSet>(this), fd, file, file.watchers(), Ref<EpollSet>(watched), events, data);
  if (watched != nullptr) REMORA_RETURN_IF_ERROR(nesting_->Link(*item));
  {
    MutexLock lock(&mu_);
    items_.emplace(Key(&file, fd), item);
  }
  item->watchers_->Add(item.get());
  if (watched == nullptr)
    file.wait_queue()->Arm(item.get(), sync::WakingEvents(events), (events & abi::kEPOLLEXCLUSIVE) != 0);
  // Armed before it is asked: what came meanwhile is seen either way.
  AskNow(*item);
  return Ok();
}

ErrnoOr<void> EpollSet::Modify(int32_t fd, File& file, uint32_t events, uint64_t data) {
  MutexLock control(&control_mu_);
  events |= sync::kError | sync::kHangup;
  EpollItem* item;
  {
    MutexLock lock(&mu_);
    item = FindLocked(fd, file);
    if (item == nullptr) return Errno(ENOENT);
    if ((item->events_ & abi::kEPOLLEXCLUSIVE) != 0) return Errno(EINVAL);
    item->events_ = events;
    item->data_ = data;
  }
  // The caller's reference to the file and control_mu_ keep it from being taken off.
  if (!item->watched_) file.wait_queue()->Arm(item, sync::WakingEvents(events));
  AskNow(*item);
  return Ok();
}

ErrnoOr<void> EpollSet::Remove(int32_t fd, File& file) {
  MutexLock control(&control_mu_);
  Ref<EpollItem> item;
  {
    MutexLock lock(&mu_);
    item = Ref<EpollItem>(FindLocked(fd, file));
  }
  if (!item || !item->Claim()) return Errno(ENOENT);
  Detach(*item);
  return Ok();
}

void EpollSet::Detach(EpollItem& item) {
  // After this no event makes it ready.
  if (item.watched_)
    nesting_->Unlink(item);
  else
    item.Disarm();
  mu_.Lock();
  while (item.pins_ != 0) {
    mu_.Unlock();
    std::this_thread::yield();
    mu_.Lock();
  }
  UnlinkLocked(item);
  mu_.Unlock();
  item.watchers_->Remove(&item);  // from here on the file may go
  Ref<EpollItem> last;            // goes without the lock
  MutexLock lock(&mu_);
  const auto it = items_.find(Key(item.file_, item.fd_));
  last = std::move(it->second);
  items_.erase(it);
}

ErrnoOr<uint32_t> EpollSet::Collect(uint32_t max,
                                    absl::FunctionRef<ErrnoOr<void>(uint32_t events, uint64_t data)> emit) {
  uint32_t count = 0;
  ErrnoOr<void> emitted;
  bool more;
  {
    MutexLock control(&control_mu_);
    const uint64_t round = ++round_;
    mu_.Lock();
    // Whoever was looked at in this round stands behind those who were not.
    while (count < max && head_ != nullptr && head_->round_ != round) {
      EpollItem& item = *head_;
      item.round_ = round;
      const uint32_t notifications = item.notifications_;
      const uint32_t events = item.events_;
      ++item.pins_;
      mu_.Unlock();
      const uint32_t ready = sync::AskReadiness(*item.file_, events & ~EpollItem::kFlagBits);
      if (ready != 0) emitted = emit(ready, item.data_);
      mu_.Lock();
      --item.pins_;
      if (ready != 0 && !emitted.ok()) {
        item.round_ = 0;
        break;
      }
      UnlinkLocked(item);
      count += ready != 0;
      if (item.claimed()) continue;
      if (ready != 0 && (events & abi::kEPOLLONESHOT) != 0) {
        item.events_ &= EpollItem::kFlagBits;
        continue;
      }
      const bool level = ready != 0 && (events & abi::kEPOLLET) == 0;
      if (level || item.notifications_ != notifications) AppendLocked(item);
    }
    more = head_ != nullptr;
    mu_.Unlock();
  }
  if (more) queue_.NotifyOne(sync::kReadable);
  if (count == 0 && !emitted.ok()) return emitted.error();
  return count;
}

bool EpollSet::AnyReady() {
  mu_.Lock();
  while (head_ != nullptr) {
    EpollItem& item = *head_;
    const uint32_t notifications = item.notifications_;
    const uint32_t events = item.events_ & ~EpollItem::kFlagBits;
    ++item.pins_;
    mu_.Unlock();
    const uint32_t ready = events != 0 ? sync::AskReadiness(*item.file_, events) : 0;
    mu_.Lock();
    --item.pins_;
    if (ready != 0 && !item.claimed()) {
      mu_.Unlock();
      return true;
    }
    if (item.claimed() || item.notifications_ == notifications) UnlinkLocked(item);
  }
  mu_.Unlock();
  return false;
}

void EpollSet::PassOn() {
  if (!queue_.has_waiters()) return;
  mu_.Lock();
  const bool more = head_ != nullptr;
  mu_.Unlock();
  if (more) queue_.NotifyOne(sync::kReadable);
}

void EpollSet::Close() {
  std::vector<Ref<EpollItem>> all;
  {
    MutexLock lock(&mu_);
    all.reserve(items_.size());
    for (const auto& [key, item] : items_) all.push_back(item);
  }
  for (const Ref<EpollItem>& item : all)
    if (item->Claim()) Detach(*item);
  // The rest is being taken off by the last closes of their files.
  while (num_items() != 0) std::this_thread::yield();
}

uint64_t EpollSet::num_items() const {
  MutexLock lock(&mu_);
  return items_.size();
}

uint64_t EpollSet::num_queued() const {
  MutexLock lock(&mu_);
  uint64_t n = 0;
  for (const EpollItem* item = head_; item != nullptr; item = item->next_) ++n;
  return n;
}

void EpollSet::CheckInvariants() const {
  MutexLock lock(&mu_);
  uint64_t listed = 0, queued = 0;
  const EpollItem* before = nullptr;
  for (const EpollItem* item = head_; item != nullptr; item = item->next_) {
    CHECK(item->queued_ && item->prev_ == before && item->owner_.get() == this);
    const auto it = items_.find(Key(item->file_, item->fd_));
    CHECK(it != items_.end() && it->second.get() == item);
    before = item;
    ++listed;
  }
  CHECK(tail_ == before);
  for (const auto& [key, item] : items_) {
    CHECK(key.first == item->file_ && key.second == item->fd_);
    queued += item->queued_;
  }
  CHECK(listed == queued);
}

}  // namespace remora::fs
