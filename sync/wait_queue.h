#ifndef REMORA_SYNC_WAIT_QUEUE_H_
#define REMORA_SYNC_WAIT_QUEUE_H_

#include <atomic>
#include <cstdint>

#include "base/lock_rank.h"
#include "base/mutex.h"

namespace remora::sync {

class WaitQueue;

// Readiness bits: the values of poll(2), so a POLLIN here is the guest's POLLIN.
using Events = uint32_t;
inline constexpr Events kReadable = 0x001;     // POLLIN
inline constexpr Events kPriority = 0x002;     // POLLPRI
inline constexpr Events kWritable = 0x004;     // POLLOUT
inline constexpr Events kError = 0x008;        // POLLERR, always reported
inline constexpr Events kHangup = 0x010;       // POLLHUP, always reported
inline constexpr Events kInvalid = 0x020;      // POLLNVAL
inline constexpr Events kReadHangup = 0x2000;  // POLLRDHUP
inline constexpr Events kAllEvents = ~Events{0};

// Somebody who wants to hear of events on one WaitQueue. Owned by whoever waits; armed on at most one queue at a time.
//
// Thread safety: Notify is called with the queue's lock held, from any thread. It must not block and may take only
// locks that rank after kWaitQueue (in practice: mark a task runnable).
class Waiter {
 public:
  Waiter() = default;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // The waiter stays armed; it hears every later event too, until removed.
  virtual void Notify(Events events) = 0;
  // The same, asked of an exclusive waiter by NotifyOne: false if this woke nobody, so that another may hear it as
  // well.
  virtual bool NotifyExclusive(Events events) {
    Notify(events);
    return true;
  }

  // Takes it off its queue, if it is on one. When this returns no Notify is running or will run.
  void Disarm();
  bool armed() const { return queue_ != nullptr; }

 protected:
  // The derived destructor must have called Disarm() (Notify is virtual).
  virtual ~Waiter();

 private:
  friend class WaitQueue;
  WaitQueue* queue_ = nullptr;  // written by the owner only, under the queue's lock
  Waiter* next_ = nullptr;
  Waiter* prev_ = nullptr;
  Events interest_ = 0;
  bool exclusive_ = false;
};

// Whom to tell when something becomes readable, writable, dead, free. Linux's wait_queue_head.
//
// Invariants:
//  1. A waiter is on the list exactly while its queue_ points here.
//  2. Arm before you test: a caller that must wait arms its waiter, then tests the condition again, then parks.
// Thread safety: all methods from any thread. Notify without waiters takes no lock.
class WaitQueue {
 public:
  explicit WaitQueue(LockRank rank = LockRank::kWaitQueue) : mu_(rank) {}
  ~WaitQueue();
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;

  // Arms `waiter` for any of `interest` (kError and kHangup are always heard). Exclusive waiters stand behind all
  // others, and at most one of them hears each NotifyOne. Re-arming on the queue it is on changes interest only.
  void Arm(Waiter* waiter, Events interest, bool exclusive = false);
  // Tells all waiters whose interest meets `events`. What changed must have been written before (by any store): the
  // test for waiters is a read-modify-write, so that either it sees the waiter or the waiter's second test sees the
  // change.
  void Notify(Events events) {
    if (num_waiters_.fetch_add(0, std::memory_order_acq_rel) != 0) [[unlikely]]
      NotifySlow(events, false);
  }
  // The same, but of the exclusive waiters that are interested only one hears it: the first that wakes somebody. It
  // goes behind the other exclusive ones, so that they take turns.
  void NotifyOne(Events events) {
    if (num_waiters_.fetch_add(0, std::memory_order_acq_rel) != 0) [[unlikely]]
      NotifySlow(events, true);
  }
  bool has_waiters() const { return num_waiters_.load(std::memory_order_acquire) != 0; }

 private:
  friend class Waiter;
  void NotifySlow(Events events, bool one_exclusive);
  void Remove(Waiter* waiter);
  void Append(Waiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Unlink(Waiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Mutex mu_;
  Waiter* head_ ABSL_GUARDED_BY(mu_) = nullptr;
  Waiter* tail_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::atomic<uint32_t> num_waiters_{0};  // written under mu_
};

}  // namespace remora::sync

#endif  // REMORA_SYNC_WAIT_QUEUE_H_
