#ifndef REMORA_MM_FRAME_ALLOCATOR_MODEL_H_
#define REMORA_MM_FRAME_ALLOCATOR_MODEL_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "mm/frame_allocator.h"

namespace remora::mm {

// A FrameAllocator beside the slow, obvious way: a flag for each frame, looked through as a whole. Each call CHECKs
// that both agree. For tests and fuzzers. Thread safety: none.
class CheckedFrameAllocator {
 public:
  static constexpr uint32_t kBlockFrames = FrameAllocator::kBlockFrames;

  explicit CheckedFrameAllocator(uint32_t num_frames)
      : allocator_(num_frames), frames_(num_frames), blocks_((num_frames + kBlockFrames - 1) / kBlockFrames) {
    if (num_frames % kBlockFrames != 0) blocks_.back().num_taken = kBlockFrames - num_frames % kBlockFrames;
    frames_[0] = {.taken = true, .dirty = true};
    ++blocks_[0].num_taken;
  }

  void TakeAny() {
    bool unreserved_left = false, any_left = false;
    for (const Block& block : blocks_) {
      if (block.num_taken == kBlockFrames) continue;
      any_left = true;
      unreserved_left |= !block.reserved;
    }
    const auto taken = allocator_.TakeAny();
    CHECK(taken.has_value() == any_left);
    if (!taken) return;
    CHECK(!BlockOf(taken->frame).reserved || !unreserved_left);
    NoteTaken(*taken);
  }

  void TakeAt(uint32_t frame, uint32_t own_block) {
    const bool exists = frame < frames_.size();
    const bool allowed = exists && !frames_[frame].taken &&
                         (BlockOf(frame).reserved ? frame / kBlockFrames == own_block : BlockOf(frame).num_taken != 0);
    const auto taken = allocator_.TakeAt(frame, own_block);
    CHECK(taken.has_value() == allowed);
    if (!taken) return;
    CHECK(taken->frame == frame);
    NoteTaken(*taken);
  }

  // The `choice`-th of those that were taken.
  void Free(uint64_t choice) {
    if (taken_.empty()) return;
    uint32_t& frame = taken_[choice % taken_.size()];
    frames_[frame].taken = false;
    --BlockOf(frame).num_taken;
    allocator_.Free(frame);
    frame = taken_.back();
    taken_.pop_back();
  }

  void Reserve(uint32_t wanted, FrameAllocator::Room room) {
    const auto block = allocator_.Reserve(wanted, room);
    bool any_free = false;
    for (uint32_t i = 0; i < blocks_.size(); ++i) any_free |= IsFreeBlock(i);
    CHECK(block.has_value() == any_free);
    if (!block) return;
    CHECK(IsFreeBlock(*block));
    if (wanted < blocks_.size() && blocks_[wanted].used && IsFreeBlock(wanted)) CHECK(*block == wanted);
    blocks_[*block].used = blocks_[*block].reserved = true;
    reserved_.push_back(*block);
  }

  void Unreserve(uint64_t choice) {
    if (reserved_.empty()) return;
    uint32_t& block = reserved_[choice % reserved_.size()];
    blocks_[block].reserved = false;
    allocator_.Unreserve(block);
    block = reserved_.back();
    reserved_.pop_back();
  }

  // As FramePool does when many frames are warm. In between `meanwhile` is called.
  template <typename F>
  void GiveBack(uint64_t at_least, F meanwhile) {
    uint64_t warm = 0;
    for (const Frame& frame : frames_) warm += !frame.taken && frame.dirty;
    CHECK(allocator_.num_warm() == warm);
    std::vector<uint32_t> given;
    allocator_.TakeWarm(at_least, &given);
    CHECK(given.size() >= std::min(at_least, warm));
    for (const uint32_t frame : given) {
      CHECK(!frames_[frame].taken && frames_[frame].dirty);
      frames_[frame].taken = true;
      ++BlockOf(frame).num_taken;
    }
    meanwhile();
    for (const uint32_t frame : given) {
      frames_[frame] = Frame();
      --BlockOf(frame).num_taken;
    }
    allocator_.FreeClean(given);
  }

  void Check() const { allocator_.CheckInvariants(); }
  uint32_t num_frames() const { return static_cast<uint32_t>(frames_.size()); }
  uint64_t num_taken() const { return taken_.size(); }
  // One that is reserved, or kNoBlock.
  uint32_t ReservedBlock(uint64_t choice) const {
    return reserved_.empty() ? FrameAllocator::kNoBlock : reserved_[choice % reserved_.size()];
  }

 private:
  struct Frame {
    bool taken = false, dirty = false;
  };
  struct Block {
    uint32_t num_taken = 0;
    bool used = false, reserved = false;  // used: was reserved, or had a frame taken
  };
  Block& BlockOf(uint32_t frame) { return blocks_[frame / kBlockFrames]; }
  bool IsFreeBlock(uint32_t block) const { return !blocks_[block].reserved && blocks_[block].num_taken == 0; }
  void NoteTaken(FrameAllocator::Taken taken) {
    Frame& frame = frames_[taken.frame];
    CHECK(!frame.taken && taken.zeroed == !frame.dirty);
    frame = {.taken = true, .dirty = true};
    BlockOf(taken.frame).used = true;
    ++BlockOf(taken.frame).num_taken;
    taken_.push_back(taken.frame);
  }

  FrameAllocator allocator_;
  std::vector<Frame> frames_;
  std::vector<Block> blocks_;
  std::vector<uint32_t> taken_;
  std::vector<uint32_t> reserved_;
};

}  // namespace remora::mm

#endif  // REMORA_MM_FRAME_ALLOCATOR_MODEL_H_
