#ifndef REMORA_SYNC_RECLAIMER_H_
#define REMORA_SYNC_RECLAIMER_H_

#include <atomic>
#include <cstdint>
#include <deque>

#include "base/check.h"
#include "base/mutex.h"

namespace remora::sync {

// Quiescent-state reclamation: what lock-free readers may still see is freed only when every participant has passed a
// quiescent point since. A worker is a Participant: online while it runs guest or kernel code, quiescent between two
// slices, offline while idle, parked or in a host call that may block. Threads without one (reactor, helper pool,
// tests) use ReadSection.
//
// How it works: epoch_ grows with each Retire, and an object is tagged with the epoch before. A participant publishes
// the epoch that it saw at its last quiescent point, 0 while offline. An object is due when every participant is
// offline or has seen a later epoch than its tag.
//
// Why that is safe without fences (which ThreadSanitizer does not model): whoever retires unlinks first and raises
// epoch_ with release, so a participant that reads the raised epoch finds the object unlinked. Going online is a
// read-modify-write, and so is the collector's look at seen_epoch_: of the two one comes first, and either the
// collector sees the participant online or the participant's later reads see the unlinking. Deleters run after an
// acquire of each participant's last release, hence after its last use.
//
// Linux twin: RCU in its QSBR form. Difference: callbacks run in Collect only, so that Retire may be called with any
// lock of a lower rank held.
// Thread safety: Retire, Collect, ReadSection from any thread; a Participant's methods from its own thread.
class Reclaimer {
 public:
  Reclaimer();
  ~Reclaimer();  // runs all that is pending; no participant may be left

  class alignas(64) Participant {
   public:
    explicit Participant(Reclaimer* reclaimer);  // offline
    ~Participant();
    Participant(const Participant&) = delete;
    Participant& operator=(const Participant&) = delete;

    void Online() {
      // An epoch that grows meanwhile only delays what is retired meanwhile.
      seen_epoch_.exchange(reclaimer_->epoch_.load(std::memory_order_acquire), std::memory_order_acq_rel);
    }
    void Offline() { seen_epoch_.store(0, std::memory_order_release); }
    bool online() const { return seen_epoch_.load(std::memory_order_relaxed) != 0; }
    // No protected pointer is held at this point. The participant is online.
    void Quiesce() { seen_epoch_.store(reclaimer_->epoch_.load(std::memory_order_acquire), std::memory_order_release); }

   private:
    friend class Reclaimer;
    Reclaimer* const reclaimer_;
    std::atomic<uint64_t> seen_epoch_{0};  // 0: offline
    Participant* next_ = nullptr;          // guarded by reclaimer_->mu_
  };

  // A participant for the length of a scope. Takes the reclaimer's lock at both ends: for threads that read seldom.
  class ReadSection {
   public:
    explicit ReadSection(Reclaimer* reclaimer) : participant_(reclaimer) { participant_.Online(); }
    ~ReadSection() { participant_.Offline(); }
    // For sections that last: no protected pointer is held at this point.
    void Quiesce() { participant_.Quiesce(); }

   private:
    Participant participant_;
  };

  using Deleter = void (*)(void*);
  // Has deleter(object) called after a grace period, by some thread's Collect. The object must be unreachable for new
  // readers already.
  void Retire(void* object, Deleter deleter);
  template <typename T>
  void RetireDelete(T* object) {
    Retire(object, [](void* p) { delete static_cast<T*>(p); });
  }
  // Runs what has become due, without a lock held. Called by workers between slices and before they go idle; one load
  // when nothing is pending. Deleters may retire more. Another thread's Collect or Retire under way makes it do
  // nothing.
  void Collect();
  uint64_t num_pending() const { return num_pending_.load(std::memory_order_relaxed); }

 private:
  struct Retired {
    void* object;
    Deleter deleter;
    uint64_t epoch;
  };
  // The least epoch that an online participant has seen; ~0 if none is online.
  uint64_t OldestSeen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  alignas(64) std::atomic<uint64_t> epoch_{1};  // raised under mu_
  std::atomic<uint64_t> num_pending_{0};        // written under mu_
  Mutex mu_{LockRank::kReclaimer};
  Participant* participants_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::deque<Retired> retired_ ABSL_GUARDED_BY(mu_);  // epochs ascend
};

}  // namespace remora::sync

#endif  // REMORA_SYNC_RECLAIMER_H_
