// Any sequence of calls: FrameAllocator beside its model.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "mm/frame_allocator.h"
#include "mm/frame_allocator_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using remora::mm::CheckedFrameAllocator;
  constexpr uint32_t kBlock = CheckedFrameAllocator::kBlockFrames;
  constexpr uint32_t kNone = remora::mm::FrameAllocator::kNoBlock;
  CheckedFrameAllocator both(3 * kBlock + 2);
  constexpr size_t kMaxBytes = 150;  // 50 calls
  for (std::span input(data, std::min(size, kMaxBytes)); input.size() >= 3; input = input.subspan(3)) {
    const uint32_t where = input[1] | uint32_t{input[2]} << 8;
    const uint32_t frame = where % (4 * kBlock);
    switch (input[0] % 8) {
      case 0:
        both.Reserve(where % 5 == 4 ? kNone : where % 5, {where % 3, where / 8 % 4});
        break;
      case 1:
        both.Unreserve(where);
        break;
      case 2:
        both.TakeAt(frame, frame / kBlock);
        break;
      case 3:
        both.TakeAt(frame, kNone);
        break;
      case 4:
        both.GiveBack(where % 1024, [&] { both.Free(where); });
        break;
      case 5:  // many at once, or a pool would never be full
        for (uint32_t i = 0; i < where % kBlock; ++i) both.TakeAny();
        break;
      case 6:
        for (uint32_t i = 0; i < where % kBlock; ++i) both.Free(where * i);
        break;
      default:
        both.Free(where);
    }
    both.Check();
  }
  return 0;
}
