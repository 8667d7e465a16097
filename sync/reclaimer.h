#ifndef REMORA_SYNC_RECLAIMER_H_
#define REMORA_SYNC_RECLAIMER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/mutex.h"

namespace remora::sync {

// Quiescent-state reclamation: what lock-free readers may still see is freed only when every participant has passed a
// quiescent point since. A worker is a Participant: online while it runs guest or kernel code, quiescent between two
// slices, offline while idle, parked or in a host call that may block. Threads without one (reactor, helper pool,
// tests) use ReadSection.
//
// Linux twin: RCU in its QSBR form. Difference: no callbacks run at interrupt time; Retire and Quiesce run what is due.
// Thread safety: Retire, ReadSection from any thread; a Participant's methods from its own thread.
class Reclaimer {
 public:
  Reclaimer();
  ~Reclaimer();  // runs all that is pending; no participant may be left

  class Participant {
   public:
    explicit Participant(Reclaimer* reclaimer);
    ~Participant();
    void Online();
    void Offline();
    // No protected pointer is held at this point. One load and one store where nothing waits.
    void Quiesce();

   private:
    friend class Reclaimer;
    Reclaimer* const reclaimer_;
    std::atomic<uint64_t> seen_epoch_{0};  // 0: offline
    Participant* next_ = nullptr;
  };

  class ReadSection {
   public:
    explicit ReadSection(Reclaimer* reclaimer);
    ~ReadSection();

   private:
    Participant participant_;
  };

  using Deleter = void (*)(void*);
  // Calls deleter(object) after a grace period. The object must be unreachable for new readers already.
  void Retire(void* object, Deleter deleter);
  template <typename T>
  void RetireDelete(T* object) {
    Retire(object, [](void* p) { delete static_cast<T*>(p); });
  }
  // Runs what has become due. Called by workers between slices; cheap when nothing is pending.
  void Collect();

 private:
  struct Retired {
    void* object;
    Deleter deleter;
    uint64_t epoch;
  };
  uint64_t OldestSeen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  std::atomic<uint64_t> epoch_{1};
  std::atomic<uint32_t> num_pending_{0};
  Mutex mu_{LockRank::kReclaimer};
  Participant* participants_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::vector<Retired> retired_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::sync

#endif  // REMORA_SYNC_RECLAIMER_H_
