#include "sync/reclaimer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "base/check.h"

namespace remora::sync {

Reclaimer::Participant::Participant(Reclaimer* reclaimer) : reclaimer_(reclaimer) {
  MutexLock lock(&reclaimer_->mu_);
  next_ = reclaimer_->participants_;
  reclaimer_->participants_ = this;
}

Reclaimer::Participant::~Participant() {
  CHECK_MSG(!online(), "a participant was destroyed while online");
  MutexLock lock(&reclaimer_->mu_);
  Participant** link = &reclaimer_->participants_;
  while (*link != this) link = &(*link)->next_;
  *link = next_;
}

Reclaimer::Reclaimer() = default;

Reclaimer::~Reclaimer() {
  for (;;) {
    std::deque<Retired> due;
    {
      MutexLock lock(&mu_);
      CHECK_MSG(participants_ == nullptr, "a reclaimer outlived by a participant");
      std::swap(due, retired_);
    }
    if (due.empty()) return;
    for (const Retired& retired : due) retired.deleter(retired.object);
  }
}

void Reclaimer::Retire(void* object, Deleter deleter) {
  MutexLock lock(&mu_);
  retired_.push_back({object, deleter, epoch_.load(std::memory_order_relaxed)});
  epoch_.fetch_add(1, std::memory_order_release);
  num_pending_.fetch_add(1, std::memory_order_relaxed);
}

uint64_t Reclaimer::OldestSeen() {
  uint64_t oldest = ~uint64_t{0};
  for (Participant* p = participants_; p != nullptr; p = p->next_) {
    // A read-modify-write, so that a participant which goes online later sees what was unlinked before.
    const uint64_t seen = p->seen_epoch_.fetch_add(0, std::memory_order_acq_rel);
    if (seen != 0) oldest = std::min(oldest, seen);
  }
  return oldest;
}

void Reclaimer::Collect() {
  if (num_pending() == 0) return;
  // Batches of a fixed size: nothing is allocated here, and another worker may take the next.
  constexpr size_t kBatch = 64;
  for (;;) {
    std::array<Retired, kBatch> due;
    size_t n = 0;
    if (!mu_.TryLock()) return;
    const uint64_t oldest = OldestSeen();
    while (n < kBatch && !retired_.empty() && retired_.front().epoch < oldest) {
      due[n++] = retired_.front();
      retired_.pop_front();
    }
    num_pending_.fetch_sub(n, std::memory_order_relaxed);
    mu_.Unlock();
    for (size_t i = 0; i < n; ++i) due[i].deleter(due[i].object);
    if (n < kBatch) return;
  }
}

}  // namespace remora::sync
