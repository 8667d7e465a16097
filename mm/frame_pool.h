#ifndef REMORA_MM_FRAME_POOL_H_
#define REMORA_MM_FRAME_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "mm/frame_allocator.h"
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

class FramePool;

// 512 frames that lie side by side, kept for one user: a page-table leaf, or 2 MiB of a file. Empty, or given back when
// it goes; frames that were taken out of it stay. See FrameAllocator.
// Thread safety: none.
class FrameReservation {
 public:
  static constexpr uint32_t kNumFrames = FrameAllocator::kBlockFrames;

  FrameReservation() = default;
  FrameReservation(FrameReservation&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)), block_(other.block_) {}
  FrameReservation& operator=(FrameReservation&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(block_, other.block_);
    return *this;
  }
  ~FrameReservation();

  bool empty() const { return pool_ == nullptr; }
  // Of one that is not empty; offset: 0..511.
  FrameId frame(uint32_t offset) const { return FrameId(block_ * kNumFrames + offset); }
  // The first frame of the block `distance` blocks behind (negative: before) it, if there can be one: what to wish for
  // where memory continues.
  FrameId Beside(int64_t distance) const {
    const int64_t frame = (int64_t{block_} + distance) * kNumFrames;
    return frame >= 0 && frame < int64_t{1} << 30 ? FrameId(static_cast<uint32_t>(frame)) : FrameId();
  }

 private:
  friend class FramePool;
  FrameReservation(FramePool* pool, uint32_t block) : pool_(pool), block_(block) {}

  FramePool* pool_ = nullptr;
  uint32_t block_ = FrameAllocator::kNoBlock;
};

// The guest's memory: 4 KiB frames out of one reserved host range, counted in a side array. Frame n lies at base + 4096
// n, and base at a multiple of 2 MiB.
//
// Invariants:
//  1. A frame with count 0 is free in the FrameAllocator or about to be; its content is unspecified until it is
//  allocated again.
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
  // The same for the first of `places` that is free and not reserved by another than who owns `own_place` (any frame of
  // that reservation, or invalid). Invalid places are skipped. Invalid: none of them.
  FrameId TryAllocateAt(std::span<const FrameId> places, FrameId own_place, bool zeroed);
  // As many zeroed frames as are free there in a row, at most `count`: `first`, and those behind it, not beyond its
  // block of 512.
  uint32_t TryAllocateRow(FrameId first, uint32_t count, FrameId own_place);
  // 512 free frames side by side: the block of `wanted` (may be invalid, or no frame at all) if it is free, else
  // another, with `room` beside it if there is such. Empty when no block is free: then single frames will have to do.
  FrameReservation Reserve(FrameId wanted, FrameAllocator::Room room);

  // Has the host find memory for frames side by side that are about to be written: less work than at each one's first
  // write.
  void Populate(FrameId first, uint64_t count);
  // Asks the host to hold the 512 frames around this one, all of them in use, in one large page of its own. Takes a
  // millisecond.
  void MakeLargePage(FrameId frame);

  void AddRef(FrameId frame);
  // The last release of a frame with kHasCode has the observer drop its code before the frame is free.
  void Release(FrameId frame);
  // Drops a reference that is not the last one; false, and nothing done, if it is the last.
  [[nodiscard]] bool ReleaseUnlessLast(FrameId frame);
  uint32_t ref_count(FrameId frame) const { return counts_[frame.value()].load(std::memory_order_acquire); }

  std::byte* Data(FrameId frame) const { return base_ + (uint64_t{frame.value()} << kPageShift); }
  FrameId zero_frame() const { return FrameId(0); }

  // Sticky bits of a frame; cleared when it is freed.
  // kRevoking: somebody wants code of an EverWritable frame and has taken all write rights away; gone with the next
  // PrepareWrite.
  static constexpr uint8_t kEverWritable = 1, kHasCode = 2, kDirty = 4, kRevoking = 8;
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
  // To be called after the kernel has written through a span that an earlier PrepareWrite covers: if code of the frame
  // was prepared in between, it may have been decoded from the old bytes and is dropped again; if the frame was written
  // back in between, it is dirty again.
  void FinishKernelWrite(FrameId frame);

  // The frame is no longer where those count on its being who run its code: has the observer drop that, if it has any.
  void DropCode(FrameId frame);

  // The two steps of making code of a frame; AddressSpace::PrepareCode takes the write rights away between them, and
  // holds MemoryContext::code_mu all the time.
  enum class CodeState : uint8_t {
    kReady,         // kHasCode is set and nobody can write
    kMustRevoke,    // kHasCode and kRevoking are set now: take write rights away, then call again
    kAwaitingAcks,  // kRevoking still stands: if all have acknowledged, call FinishRevocation
  };
  CodeState BeginCode(FrameId frame);
  // False if somebody wrote meanwhile: begin again.
  bool FinishRevocation(FrameId frame);

  // Frames with a count other than 0, the zero frame not counted.
  uint64_t num_allocated() const { return num_allocated_.load(std::memory_order_relaxed); }
  uint64_t max_frames() const { return max_frames_; }
  // More than a quarter of all memory is not given on suspicion.
  bool has_plenty() const { return num_allocated() <= max_frames_ / 4; }

 private:
  friend class FrameReservation;
  // Free frames that keep the host's memory; when there are more, half of them give it back.
  static constexpr uint64_t kMaxWarmFrames = 32768;

  void GiveBack(std::vector<uint32_t> frames);
  void Free(FrameId frame);
  void Unreserve(uint32_t block);
  ErrnoOr<FrameId> Allocate(bool zeroed);
  // Makes a frame that was taken out of allocator_ the caller's.
  FrameId Hand(FrameAllocator::Taken taken, bool zeroed);

  void* memory_ = nullptr;  // with room to align base_
  uint64_t memory_bytes_ = 0;
  std::byte* base_ = nullptr;
  uint64_t max_frames_ = 0;
  std::atomic<uint32_t>* counts_ = nullptr;  // one for each frame, reserved like base_
  std::atomic<uint8_t>* bits_ = nullptr;
  CodeObserver* code_observer_ = nullptr;
  std::atomic<uint64_t> num_allocated_{0};
  Mutex mu_{LockRank::kFramePool};
  std::unique_ptr<FrameAllocator> allocator_ ABSL_PT_GUARDED_BY(mu_);
};

}  // namespace remora::mm

#endif  // REMORA_MM_FRAME_POOL_H_
