#ifndef REMORA_MM_MEMORY_CONTEXT_H_
#define REMORA_MM_MEMORY_CONTEXT_H_

#include <atomic>
#include <cstdint>

#include "base/asymmetric_fence.h"
#include "base/lock_rank.h"
#include "base/mutex.h"
#include "mm/frame_pool.h"
#include "sync/reclaimer.h"
#include "sync/wait_queue.h"

namespace remora::mm {

class ReverseMap;

// What all address spaces of one Kernel share. Owned by the Kernel, outlives every space.
struct MemoryContext {
  FramePool* frames;
  sync::Reclaimer* reclaimer;
  ReverseMap* reverse_map;
  std::atomic<uint64_t> next_object_id{1};  // spaces, files, shared anonymous memory: ids never repeat
  std::atomic<uint64_t> hole_searches{0};   // of all HoleTrackers, for --stats
  // Light on the way back from a system call, Heavy where somebody has to know who is there (AddressSpace).
  const AsymmetricFence guest_fence{};
  // Notified when a worker acknowledges a generation or leaves guest code, while somebody waits.
  sync::WaitQueue acknowledged_queue{};
  // Notified when bytes that a file did not have at once have come: who met FaultKind::kNotReady, or EAGAIN of a
  // regular file, tries again then. Null where no file is slow (PageBacking::ReadPage never answers EAGAIN).
  sync::WaitQueue* page_arrivals = nullptr;
  // Held while write rights to a frame are taken away everywhere, so that two that want its code do not mistake the
  // other's half-done work for done.
  Mutex code_mu{LockRank::kCodeRevocation};
};

}  // namespace remora::mm

#endif  // REMORA_MM_MEMORY_CONTEXT_H_
