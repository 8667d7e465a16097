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
//  1. A frame with count 0 is on a free list or retired to it; its content is unspecified until it is allocated
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

 private:
  // Free frames that keep the host's memory; when there are more, the older half gives it back.
  static constexpr size_t kMaxWarmFrames = 32768;

  void GiveBack(std::vector<uint32_t> frames);
  void Free(FrameId frame);
  ErrnoOr<FrameId> Allocate(bool zeroed);

  std::byte* base_ = nullptr;
  uint64_t max_frames_ = 0;
  std::atomic<uint32_t>* counts_ = nullptr;  // one for each frame, reserved like base_
  std::atomic<uint8_t>* bits_ = nullptr;
  CodeObserver* code_observer_ = nullptr;
  std::atomic<uint64_t> num_allocated_{0};
  Mutex mu_{LockRank::kFramePool};
  std::vector<uint32_t> warm_ ABSL_GUARDED_BY(mu_);  // free, of any content; the last freed at the end
  std::vector<uint32_t> cold_ ABSL_GUARDED_BY(mu_);  // free and without host memory, so they read as zero
  uint32_t next_never_used_ ABSL_GUARDED_BY(mu_) = 1;
};

}  // namespace remora::mm

#endif  // REMORA_MM_FRAME_POOL_H_
