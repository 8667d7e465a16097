#include "sync/wait_queue.h"

#include "base/check.h"

namespace remora::sync {

Waiter::~Waiter() { CHECK_MSG(queue_ == nullptr, "a waiter was destroyed while armed"); }

void Waiter::Disarm() {
  if (queue_ != nullptr) queue_->Remove(this);
}

WaitQueue::~WaitQueue() { CHECK_MSG(!has_waiters(), "a wait queue was destroyed while someone waits on it"); }

void WaitQueue::Arm(Waiter* waiter, Events interest, bool exclusive) {
  if (waiter->queue_ != nullptr && waiter->queue_ != this) waiter->Disarm();
  MutexLock lock(&mu_);
  if (waiter->queue_ == this) {
    Unlink(waiter);
  } else {
    waiter->queue_ = this;
    num_waiters_.fetch_add(1, std::memory_order_acq_rel);
  }
  waiter->interest_ = interest | kError | kHangup;
  waiter->exclusive_ = exclusive;
  if (exclusive) {
    Append(waiter);
  } else {
    waiter->prev_ = nullptr;
    waiter->next_ = head_;
    (head_ != nullptr ? head_->prev_ : tail_) = waiter;
    head_ = waiter;
  }
}

void WaitQueue::Append(Waiter* waiter) {
  waiter->prev_ = tail_;
  waiter->next_ = nullptr;
  (tail_ != nullptr ? tail_->next_ : head_) = waiter;
  tail_ = waiter;
}

void WaitQueue::Unlink(Waiter* waiter) {
  (waiter->prev_ != nullptr ? waiter->prev_->next_ : head_) = waiter->next_;
  (waiter->next_ != nullptr ? waiter->next_->prev_ : tail_) = waiter->prev_;
  waiter->next_ = waiter->prev_ = nullptr;
}

void WaitQueue::Remove(Waiter* waiter) {
  MutexLock lock(&mu_);
  Unlink(waiter);
  waiter->queue_ = nullptr;
  num_waiters_.fetch_sub(1, std::memory_order_acq_rel);
}

void WaitQueue::NotifySlow(Events events, bool one_exclusive) {
  MutexLock lock(&mu_);
  // No waiter leaves while the lock is held: Notify may not disarm.
  for (Waiter* waiter = head_; waiter != nullptr; waiter = waiter->next_) {
    if ((waiter->interest_ & events) == 0) continue;
    if (!one_exclusive || !waiter->exclusive_) {
      waiter->Notify(events);
      continue;
    }
    if (!waiter->NotifyExclusive(events)) continue;
    Unlink(waiter);
    Append(waiter);
    return;
  }
}

}  // namespace remora::sync
