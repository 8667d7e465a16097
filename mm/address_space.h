#ifndef REMORA_MM_ADDRESS_SPACE_H_
#define REMORA_MM_ADDRESS_SPACE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "mm/frame_pool.h"
#include "mm/mappable.h"
#include "mm/tlb.h"
#include "mm/types.h"
#include "sync/futex_table.h"
#include "sync/reclaimer.h"
#include "sync/wait_queue.h"

namespace remora::mm {

class PageTable;    // mm/page_table.h
class VmaSet;       // mm/vma_set.h
class HoleTracker;  // mm/hole_tracker.h

// What all address spaces of one Kernel share. Owned by the Kernel, outlives every space.
struct MemoryContext {
  FramePool* frames;
  sync::Reclaimer* reclaimer;
  class ReverseMap* reverse_map;
  std::atomic<uint64_t> next_object_id{1};  // spaces, files, shared anonymous memory: ids never repeat
};

// Where things go; random once for each Kernel, not for each exec, so that translated code can be shared.
struct AddressLayout {
  GuestAddr mmap_top;  // first mmap ends here; later ones grow down
  GuestAddr stack_top;
  GuestAddr executable_base;   // of position-independent executables
  GuestAddr interpreter_base;  // 0: as any mmap
  uint64_t brk_gap_bytes = 0;
};

struct MapRequest {
  enum class Placement : uint8_t { kHint, kFixed, kFixedNoReplace };
  GuestAddr address;          // page-aligned for kFixed*, rounded down for kHint; 0: anywhere
  uint64_t length_bytes = 0;  // > 0, rounded up to pages
  Placement placement = Placement::kHint;
  Protection protection;
  Protection max_protection{7};  // what mprotect may later grant (a shared mapping of a read-only file: no write)
  bool shared = false;
  bool grows_down = false;
  bool below_2g = false;  // MAP_32BIT
  bool populate = false;
  Ref<Mappable> object;  // null: anonymous (private: zero pages; shared: the caller passes shared anonymous memory)
  uint64_t offset_bytes = 0;  // into object, page-aligned
  std::string name;           // for /proc/PID/maps: "[heap]", "[stack]", else empty
};

// One VMA, as /proc/PID/maps prints it.
struct MappingInfo {
  PageRange range;
  Protection protection;
  bool shared = false;
  uint64_t offset_bytes = 0;
  Ref<Mappable> object;
  std::string name;
};

// One process's memory: VMAs, a page table whose nodes it may share with relatives, and the generation by which TLBs
// follow it.
//
// Invariants:
//  1. A page-table entry exists only inside a VMA, with no right that the VMA lacks.
//  2. Every change that takes a translation or a right away is recorded (ring of invalidations) and bumps generation()
//  before the call that made it
//     returns; frames it unmapped are released through the Reclaimer.
//  3. No guest instruction of the changing task runs before each worker that was in guest code of this space
//  acknowledged the generation
//     (AcknowledgedByOthers). Workers in kernel mode count as having acknowledged: they synchronize before guest code.
// Linux twin: mm_struct. Differences: no kernel addresses; page-table nodes are shared at fork (cost independent of
// size). Thread safety: all methods from any thread. Lock: kAddressSpace, never held while a caller's code runs, but
// the host file of a page may be read under it.
class AddressSpace final : public RefCounted, public TlbSource {
 public:
  static Ref<AddressSpace> Create(MemoryContext* context, const AddressLayout& layout);

  // --- mappings. Errors as mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), mincore(2), msync(2) tell.
  // ---
  ErrnoOr<GuestAddr> Map(MapRequest request);
  ErrnoOr<void> Unmap(GuestAddr start, uint64_t length_bytes);
  ErrnoOr<void> Protect(GuestAddr start, uint64_t length_bytes, Protection protection);
  struct RemapRequest {
    GuestAddr old_address;
    uint64_t old_length_bytes = 0, new_length_bytes = 0;
    bool may_move = false, fixed = false, keep_old = false;  // MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP
    GuestAddr new_address;                                   // for fixed
  };
  ErrnoOr<GuestAddr> Remap(const RemapRequest& request);
  // MADV_DONTNEED: private anonymous pages read as zero again, file pages are read anew.
  ErrnoOr<void> DiscardPages(GuestAddr start, uint64_t length_bytes);
  ErrnoOr<void> CheckMapped(GuestAddr start, uint64_t length_bytes) const;  // ENOMEM where a page of it is in no VMA
  bool IsResident(PageNumber page) const;
  // The heap: exec sets where it starts; SetBreak answers the break after the call, unchanged where it cannot grow (as
  // brk(2) itself does).
  void InitializeBreak(GuestAddr start);
  GuestAddr SetBreak(GuestAddr wanted);
  // The stack's limit, for grows_down VMAs.
  void set_stack_limit(uint64_t bytes);

  // A copy: shares all page-table nodes, takes write rights away from private pages (shootdown of write rights only).
  ErrnoOr<Ref<AddressSpace>> Fork();

  // --- TlbSource ---
  Translation Translate(PageNumber page, Access access) override;
  uint64_t generation() const override { return generation_.load(std::memory_order_seq_cst); }
  uint64_t ReplayInvalidations(uint64_t since, Tlb* tlb) override;

  // --- shootdown ---
  // A worker's mailbox: it is in guest code of this space, and which generation it has seen. Lives in the worker,
  // registered while it runs a task of this space.
  struct Runner {
    std::atomic<uint64_t> seen_generation{0};
    std::atomic<bool> in_guest{false};
    std::atomic<uint32_t>* interrupt = nullptr;  // the flag that makes the engine leave at the next block boundary
  };
  void RegisterRunner(Runner* runner);
  void UnregisterRunner(Runner* runner);
  // Before guest code: publishes in_guest, then synchronizes the TLB; loops until both agree. After: LeaveGuest wakes
  // whoever waits.
  void EnterGuest(Runner* runner, Tlb* tlb);
  void LeaveGuest(Runner* runner);
  // True if every other runner in guest code has seen `generation`. Where false: those have been interrupted; wait on
  // acknowledged_queue() and ask again.
  bool AcknowledgedByOthers(uint64_t generation, const Runner* self);
  sync::WaitQueue& acknowledged_queue() { return acknowledged_queue_; }

  // --- code ---
  // Before decoding code of `page` (present and executable): sets kHasCode on its frame; if the frame was ever
  // writable, takes write rights to it away in every space that maps it. kMustWait in the answer's fault: decode again
  // once those spaces' runners acknowledged.
  Translation PrepareCode(PageNumber page) override;

  // --- kernel access from threads that have no TLB of this space (procfs, ptrace-like, exec's argument copies) ---
  // Bytes copied until the first page that faults.
  uint64_t ReadRemote(GuestAddr from, std::span<std::byte> to);
  uint64_t WriteRemote(GuestAddr to, std::span<const std::byte> from);

  // --- facts ---
  // The key of the futex word at `addr` (aligned to 4): private: this space and the address; shared: the object and the
  // offset there. EFAULT if unmapped.
  ErrnoOr<sync::FutexKey> KeyOfFutex(GuestAddr addr, bool process_private);
  uint64_t id() const { return id_; }
  const AddressLayout& layout() const { return layout_; }
  // In address order. The callback runs without the lock, on copies.
  void ForEachMapping(absl::FunctionRef<void(const MappingInfo&)> visit) const;
  uint64_t num_mapped_pages() const;    // VmSize
  uint64_t num_resident_pages() const;  // VmRSS, exact
  // Set by exec, read by /proc/PID/{cmdline,environ,stat,auxv}.
  struct ProgramInfo {
    GuestAddr start_code, end_code, start_data, end_data, start_brk, start_stack;
    GuestAddr arg_start, arg_end, env_start, env_end;
    std::vector<uint64_t> auxv;
  };
  void set_program_info(ProgramInfo info);
  ProgramInfo program_info() const;

  // For Mappable implementations: the pages [first, end) of `object` that this space maps at `range` are gone or
  // read-only now.
  void OnObjectPagesRemoved(PageRange range);
  void OnObjectWriteProtected(PageRange range);

  void CheckInvariants() const;

 private:
  AddressSpace(MemoryContext* context, const AddressLayout& layout);
  ~AddressSpace() override;

  // The implementer chooses what stands here, grouped by lock.
  struct Invalidation {
    PageRange range;
    bool writes_only = false;
  };

  MemoryContext* const context_;
  const AddressLayout layout_;
  const uint64_t id_;
  std::atomic<uint64_t> generation_{1};
  sync::WaitQueue acknowledged_queue_;
};

}  // namespace remora::mm

#endif  // REMORA_MM_ADDRESS_SPACE_H_
