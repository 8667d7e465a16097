#ifndef REMORA_PROC_TID_MAP_H_
#define REMORA_PROC_TID_MAP_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "sync/reclaimer.h"

namespace remora::proc {

// Numbers 1..max-1 to counted objects: what PidTable is made of. Two levels; chunks exist only where numbers are used.
//
//   marked_chunks_   1 0 0 1 ...           one bit for each chunk of 512 numbers: has it a mark?
//   chunks_          |     |
//                    v     v
//                 marked  slots  used      512 bits, pointers, bits
//
// Costs: Lookup is two loads and one compare-exchange. A listing of n marked numbers costs O(n) and at most 128 loads
// more (for 4,194,304 numbers), whatever the limit is; it takes neither locks nor references. Allocate looks at most at
// every word once, usually at one. An empty map of that size takes 65 KiB; each chunk in use takes 4.2 KiB.
//
// Invariants:
//  1. A slot is non-null only while its number is allocated (used).
//  2. A mark (this number is a process, not just a thread) implies a published slot, or one just being removed.
//  3. A held number is not handed out again, published or not.
//  4. A chunk exists exactly where a number is used; num_used counts its used bits.
//  5. A bit of marked_words is set exactly where the word has a mark, one of marked_chunks_ exactly where the chunk
//  has;
//     num_marked_ counts the marks.
// A listing that runs beside changes names each number that was marked all along exactly once, and none
// that was not marked at some moment of it. Linux twin: the idr of a pid namespace. Difference: marks, so that a
// listing passes threads by. Thread safety: all methods from any thread. Lookup and listings take no lock: callers
// are online participants of the Reclaimer or inside a ReadSection, and the objects retire themselves through it.
class TidMap {
 public:
  TidMap(sync::Reclaimer* reclaimer, int32_t max_number);
  ~TidMap();

  // A free number, reserved: the next one behind the last that was handed out. EAGAIN when all are taken.
  ErrnoOr<int32_t> Allocate();
  // What Allocate answered last; 0 before the first.
  int32_t last_number() const { return last_.load(std::memory_order_relaxed); }
  // This number. EEXIST if it is taken or held, EINVAL if it is out of range.
  ErrnoOr<int32_t> AllocateExactly(int32_t number);
  // The number must be allocated. What was there before, if anything.
  [[nodiscard]] Ref<RefCounted> Publish(int32_t number, Ref<RefCounted> object, bool mark);
  // Takes the object out, or gives an unpublished number back; the number is free again unless it is held. The caller
  // drops the reference with no lock held.
  [[nodiscard]] Ref<RefCounted> Remove(int32_t number);
  // Keeps a number from being handed out again (process groups, sessions); counted.
  void Hold(int32_t number);
  void Unhold(int32_t number);

  Ref<RefCounted> Lookup(int32_t number) const;  // null
  // The marked numbers >= `number`, in ascending order: as many as there are, or as fit. A listing goes on behind the
  // last one.
  size_t ListMarked(int32_t number, std::span<int32_t> out) const;
  // The first of them; 0 if there is none.
  int32_t NextMarked(int32_t number) const {
    int32_t next = 0;
    (void)ListMarked(number, std::span(&next, 1));
    return next;
  }
  uint32_t num_marked() const { return num_marked_.load(std::memory_order_relaxed); }

  void CheckInvariants() const;

 private:
  static constexpr int32_t kChunkBits = 9;
  static constexpr int32_t kChunkSize = 1 << kChunkBits;
  static constexpr int32_t kChunkWords = kChunkSize / 64;
  struct alignas(64) Chunk {
    std::atomic<uint64_t> marked[kChunkWords] = {};  // one cache line
    std::atomic<uint32_t> marked_words{0};           // bit w: marked[w] is not 0
    std::atomic<RefCounted*> slots[kChunkSize] = {};
    // Guarded by mu_.
    uint64_t used[kChunkWords] = {};
    int32_t num_used = 0;
  };

  int32_t AllocateFrom(int32_t first, int32_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The chunk that is not needed any more (retired by the caller, without the lock), or null.
  [[nodiscard]] Chunk* FreeNumber(int32_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RetireChunk(Chunk* chunk) {
    if (chunk) reclaimer_->RetireDelete(chunk);
  }
  bool IsUsed(int32_t number) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MarkUsed(int32_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ClearMark(int32_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  sync::Reclaimer* const reclaimer_;
  const int32_t max_number_;
  const int32_t num_chunks_;
  std::unique_ptr<std::atomic<Chunk*>[]> chunks_;
  // Bit n: chunk n has a mark.
  std::unique_ptr<std::atomic<uint64_t>[]> marked_chunks_;
  std::atomic<uint32_t> num_marked_{0};
  std::atomic<int32_t> last_{0};

  mutable Mutex mu_{LockRank::kPidTable};
  int32_t next_ ABSL_GUARDED_BY(mu_) = 1;
  absl::flat_hash_map<int32_t, uint32_t> holds_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::proc

#endif  // REMORA_PROC_TID_MAP_H_
