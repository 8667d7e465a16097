#ifndef REMORA_MM_MEMORY_FOR_TESTING_H_
#define REMORA_MM_MEMORY_FOR_TESTING_H_

#include <cstdint>

#include "base/guest_addr.h"
#include "mm/address_space.h"
#include "mm/frame_pool.h"
#include "mm/memory_context.h"
#include "mm/reverse_map.h"
#include "sync/reclaimer.h"

namespace remora::mm {

// What a Kernel would own, for tests that need memory and nothing else.
struct MemoryForTesting {
  explicit MemoryForTesting(uint64_t max_bytes = uint64_t{64} << 20)
      : frames(FramePool::Options{.max_bytes = max_bytes}), reverse_map(&frames) {}
  // What the tests' thread has taken out is free afterwards: it holds no pointers.
  void Settle() { reclaimer.Collect(); }

  FramePool frames;
  ReverseMap reverse_map;
  sync::Reclaimer reclaimer;
  MemoryContext context{&frames, &reclaimer, &reverse_map};
  AddressLayout layout{.mmap_top = GuestAddr(0x7f0000000000),
                       .stack_top = GuestAddr(0x7ffffffff000),
                       .executable_base = GuestAddr(0x555500000000),
                       .interpreter_base = GuestAddr(0)};
};

// An anonymous private mapping of `pages` pages, readable and writable unless said otherwise.
inline MapRequest AnonymousRequest(uint64_t pages, Protection protection = Protection(3)) {
  MapRequest request;
  request.length_bytes = pages * kPageSize;
  request.protection = protection;
  return request;
}

inline MapRequest FixedRequest(GuestAddr at, uint64_t pages, Protection protection = Protection(3)) {
  MapRequest request = AnonymousRequest(pages, protection);
  request.address = at;
  request.placement = MapRequest::Placement::kFixed;
  return request;
}

}  // namespace remora::mm

#endif  // REMORA_MM_MEMORY_FOR_TESTING_H_
