#ifndef REMORA_MM_FRAME_POOL_H_
#define REMORA_MM_FRAME_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "mm/types.h"

namespace remora::mm {

// Who keeps decoded or translated code of frames: cpu::BlockCache. Asked to drop what it has before a frame becomes
// writable.
class CodeObserver {
 public:
  virtual ~CodeObserver() = default;
  // Called with no lock held but those that rank before kBlockCache. Afterwards no new entry into code of this frame
  // happens.
  virtual void DropCode(FrameId frame) = 0;
};

// The guest's memory: 4 KiB frames out of one reserved host range, counted in a side array. Frame n lies at base + 4096
// n.
//
// Invariants:
//  1. A frame with count 0 is on the free list or retired to it; its content is unspecified until it is allocated
//  again.
//  2. The zero frame is never written, never freed, and its count is not kept.
//  3. kEverWritable is set before the first host pointer for writing is handed out; kHasCode before the first block is
//  published.
// Thread safety: all methods from any thread. Data() pointers stay valid while a reference is held, or (for a lock-free
// reader that found the frame in a TLB) until the reader's next quiescent point: whoever unmaps a frame drops it
// through the Reclaimer.
class FramePool {
 public:
  struct Options {
    uint64_t max_bytes = uint64_t{64} << 30;  // reserved, not committed
  };
  explicit FramePool(Options options);
  FramePool() : FramePool(Options()) {}
  ~FramePool();

  // Count one, all bytes zero / unspecified. ENOMEM when the pool is full or the host refuses.
  ErrnoOr<FrameId> AllocateZeroed();
  ErrnoOr<FrameId> AllocateUninitialized();

  void AddRef(FrameId frame);
  // The last release of a frame with kHasCode has the observer drop its code before the frame is free.
  void Release(FrameId frame);
  uint32_t ref_count(FrameId frame) const;

  std::byte* Data(FrameId frame) const { return base_ + (uint64_t{frame.value()} << kPageShift); }
  FrameId zero_frame() const { return FrameId(0); }

  // Sticky bits of a frame; cleared when it is freed.
  static constexpr uint8_t kEverWritable = 1, kHasCode = 2, kDirty = 4;
  uint8_t bits(FrameId frame) const { return bits_[frame.value()].load(std::memory_order_acquire); }
  uint8_t SetBits(FrameId frame, uint8_t bits) {
    return bits_[frame.value()].fetch_or(bits, std::memory_order_acq_rel);
  }
  uint8_t ClearBits(FrameId frame, uint8_t bits) {
    return bits_[frame.value()].fetch_and(static_cast<uint8_t>(~bits), std::memory_order_acq_rel);
  }

  void set_code_observer(CodeObserver* observer) { code_observer_ = observer; }
  // Must precede every write into a frame, whoever writes: a TLB fill for writing, a kernel span, write(2) into the
  // page cache. Marks it kEverWritable and kDirty; if it has code, the observer drops it first.
  void PrepareWrite(FrameId frame);

  // Frames with a count other than 0, the zero frame not counted.
  uint64_t num_allocated() const { return num_allocated_.load(std::memory_order_relaxed); }
  uint64_t max_frames() const { return max_frames_; }

 private:
  std::byte* base_ = nullptr;
  uint64_t max_frames_ = 0;
  std::atomic<uint32_t>* counts_ = nullptr;  // one for each frame, reserved like base_
  std::atomic<uint8_t>* bits_ = nullptr;
  CodeObserver* code_observer_ = nullptr;
  std::atomic<uint64_t> num_allocated_{0};
  Mutex mu_{LockRank::kFramePool};
  std::vector<uint32_t> free_ ABSL_GUARDED_BY(mu_);
  uint32_t next_never_used_ ABSL_GUARDED_BY(mu_) = 1;
};

}  // namespace remora::mm

#endif  // REMORA_MM_FRAME_POOL_H_
