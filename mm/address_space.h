#ifndef REMORA_MM_ADDRESS_SPACE_H_
#define REMORA_MM_ADDRESS_SPACE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "mm/frame_pool.h"
#include "mm/hole_tracker.h"
#include "mm/mappable.h"
#include "mm/memory_context.h"
#include "mm/page_table.h"
#include "mm/retired_frames.h"
#include "mm/tlb.h"
#include "mm/types.h"
#include "mm/vma_set.h"
#include "sync/futex_table.h"
#include "sync/wait_queue.h"

namespace remora::mm {

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
  bool deny_write = false;  // MAP_DENYWRITE: nobody changes the object meanwhile, as is usual with programs
  Ref<Mappable> object;     // null: anonymous (private: zero pages; shared: the caller passes shared anonymous memory)
  uint64_t offset_bytes = 0;  // into object, page-aligned
  std::string name;           // for /proc/PID/maps: "[heap]", "[stack]", else empty
};

struct ProtectOptions {
  // PROT_GROWSDOWN: from where the first mapping begins. EINVAL if that does not grow down.
  bool whole_stack = false;
  // Whoever may read may execute, in mappings that can ever be executed.
  bool read_implies_exec = false;
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
//  1. A page-table entry exists only inside a VMA. Rights are not stored: they follow from the VMA and, for writing a
//     private page in place, from the page being exclusive (PageTable::IsExclusive).
//  2. Every change that takes a translation or a right away is recorded (ring of invalidations) and bumps generation()
//     before the call that made it returns; frames it unmapped are released through the Reclaimer, after the bump.
//  3. No guest instruction of the changing task runs before each worker that was in guest code of this space
//     acknowledged the generation (AcknowledgedByOthers). Workers in kernel mode count as having acknowledged: they
//     synchronize before guest code. The calls here do not wait for it: the worker does, before it enters guest code.
//  4. A hole of holes_ is exactly a range without VMA.
// Linux twin: mm_struct. Differences: no kernel addresses; page-table nodes are shared at fork (cost independent of
// size). Thread safety: all methods from any thread. Lock: kAddressSpace, never held while a caller's code runs, nor
// while a file is waited for.
class AddressSpace final : public RefCounted, public TlbSource, private PageTableOwner {
 public:
  static Ref<AddressSpace> Create(MemoryContext* context, const AddressLayout& layout);

  // --- mappings. Errors as mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), mincore(2), msync(2) tell.
  // ---
  ErrnoOr<GuestAddr> Map(MapRequest request);
  ErrnoOr<void> Unmap(GuestAddr start, uint64_t length_bytes);
  ErrnoOr<void> Protect(GuestAddr start, uint64_t length_bytes, Protection protection, ProtectOptions options = {});
  struct RemapRequest {
    GuestAddr old_address;
    uint64_t old_length_bytes = 0, new_length_bytes = 0;
    bool may_move = false, fixed = false, keep_old = false;  // MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP
    GuestAddr new_address{};                                 // for fixed
  };
  ErrnoOr<GuestAddr> Remap(const RemapRequest& request);
  // MADV_DONTNEED: private anonymous pages read as zero again, file pages are read anew.
  ErrnoOr<void> DiscardPages(GuestAddr start, uint64_t length_bytes);
  // MADV_NOHUGEPAGE (true) and MADV_HUGEPAGE: whether faults map one page each. ENOMEM: not all of it is mapped.
  ErrnoOr<void> SetPageByPage(GuestAddr start, uint64_t length_bytes, bool page_by_page);
  ErrnoOr<void> CheckMapped(GuestAddr start, uint64_t length_bytes) const;  // ENOMEM where a page of it is in no VMA
  bool IsResident(PageNumber page) const;
  // The heap: exec sets where it starts; SetBreak answers the break after the call, unchanged where it cannot grow (as
  // brk(2) itself does).
  void InitializeBreak(GuestAddr start);
  GuestAddr SetBreak(GuestAddr wanted, Protection protection = Protection(Protection::kRead | Protection::kWrite));
  // The stack's limit, for grows_down VMAs.
  void set_stack_limit(uint64_t bytes);

  // A copy: shares all page-table nodes, takes write rights away from private pages (shootdown of write rights only).
  ErrnoOr<Ref<AddressSpace>> Fork();

  // --- TlbSource ---
  Translation Translate(PageNumber page, Access access) override;
  uint64_t generation() const override { return generation_.load(std::memory_order_seq_cst); }
  uint64_t ReplayInvalidations(uint64_t since, Tlb* tlb) override;

  // --- shootdown ---
  // A worker's mailbox: whether it is in guest code of this space, and which generation it has seen. Lives in the
  // worker, registered while it runs a task of this space.
  struct Runner {
    enum class Where : uint8_t {
      kOutside,
      kInCall,  // has left guest code for a system call, and may be back before others see it
      kInGuest,
    };
    std::atomic<uint64_t> seen_generation{0};
    std::atomic<Where> where{Where::kOutside};
    std::atomic<uint32_t>* interrupt = nullptr;  // the flag that makes the engine leave at the next block boundary
    std::atomic<uintptr_t> host_thread{0};       // set by RegisterRunner: whose faults are the runner's own
  };
  void RegisterRunner(Runner* runner);  // by the thread that will enter guest code
  void UnregisterRunner(Runner* runner);
  // Before guest code: shows that the runner is there, then synchronizes the TLB; loops until both agree.
  void EnterGuest(Runner* runner, Tlb* tlb) {
    // Either an initiator that bumps the generation sees us, or we see its generation: both store first and load then,
    // sequentially consistent.
    runner->where.store(Runner::Where::kInGuest, std::memory_order_seq_cst);
    const uint64_t seen = tlb->seen_generation();
    if (generation() != seen || runner->seen_generation.load(std::memory_order_relaxed) != seen) [[unlikely]]
      FollowBeforeGuest(runner, tlb);
    if (context_->acknowledged_queue.has_waiters()) [[unlikely]]
      NotifyAcknowledged();
  }
  // After guest code. Wakes whoever waits, unless it has begun to only just now: who waits has to ask again after some
  // time.
  void LeaveGuest(Runner* runner) { Leave(runner, Runner::Where::kOutside); }
  // Around a system call behind which guest code goes on at once. ReenterGuest is for a runner that was not interrupted
  // and has, as its TLB has, seen `generation`. False: there is a newer one, and it is not in guest code.
  void LeaveGuestForCall(Runner* runner) { Leave(runner, Runner::Where::kInCall); }
  bool ReenterGuest(Runner* runner, uint64_t generation) {
    // As in EnterGuest, but this is a part of each system call: the fence is the initiator's.
    runner->where.store(Runner::Where::kInGuest, std::memory_order_relaxed);
    context_->guest_fence.Light();
    if (this->generation() == generation) [[likely]]
      return true;
    LeaveGuest(runner);
    return false;
  }
  // True if every other runner in guest code has seen `generation`. Where false: those have been interrupted; wait on
  // acknowledged_queue() and ask again.
  bool AcknowledgedByOthers(uint64_t generation, const Runner* self);
  // One queue for all spaces of the context: after each wake, ask again.
  sync::WaitQueue& acknowledged_queue() { return context_->acknowledged_queue; }

  // --- code ---
  // Before decoding code of `page` (present and executable): sets kHasCode on its frame; if the frame was ever
  // writable, takes write rights to it away in every space that maps it. kMustWait in the answer's fault: decode again
  // once those spaces' runners acknowledged. The calling thread's own TLB is not waited for: it synchronizes after the
  // call, before the code runs.
  Translation PrepareCode(PageNumber page) override;
  CodeMapping CodeMappingOf(PageNumber page) override;
  bool IsOfHostFile(PageNumber page) override;
  bool StoreIfUnchanged(uint64_t generation, absl::FunctionRef<void()> store) override;

  // --- pages of slow files (FaultKind::kNotReady) ---
  // Asks for the page; false while it is on its way: wait for a notice of page_arrivals() and ask again.
  bool IsReady(PageNumber page, Access access) { return Translate(page, access).fault != FaultKind::kNotReady; }
  sync::WaitQueue* page_arrivals() { return context_->page_arrivals; }
  void AwaitPage(PageNumber page, Access access) override;

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
  uint64_t num_faults() const;          // pages made present, or copied, because they were touched
  // membarrier(2): a change without a page. The worker of the calling task waits until all others have seen it, as for
  // any change. The generation that they have to see.
  uint64_t RequestBarrier();
  // Set by exec, read by /proc/PID/{cmdline,environ,stat,auxv}.
  struct ProgramInfo {
    GuestAddr start_code, end_code, start_data, end_data, start_brk, start_stack;
    GuestAddr arg_start, arg_end, env_start, env_end;
    std::vector<uint64_t> auxv;
  };
  void set_program_info(ProgramInfo info);
  ProgramInfo program_info() const;

  // For Mappable implementations, called without any lock behind kAddressSpace: pages [first_index, first_index +
  // num_pages) of `object` are gone or may not be written now. Removing leaves private copies alone unless
  // `private_copies_too` (truncation takes them, punching a hole does not).
  void OnObjectPagesRemoved(const Mappable* object, uint64_t first_index, uint64_t num_pages, bool private_copies_too);
  void OnObjectWriteProtected(const Mappable* object, uint64_t first_index, uint64_t num_pages);

  void CheckInvariants() const;

 private:
  struct Invalidation {
    PageRange range;
    bool writes_only = false;
  };
  // What an operation took away, let go after the lock: frames, and objects whose end may run a file system's code.
  struct Removed {
    explicit Removed(const MemoryContext* context) : frames(context->frames, context->reclaimer) {}
    absl::InlinedVector<Ref<Mappable>, 4> objects;
    RetiredFrames frames;
  };
  // Invalidations that a TLB can replay; one that missed more flushes.
  static constexpr uint64_t kRingSize = 128;
  static constexpr uint64_t kStackGuardPages = 256;
  static constexpr size_t kMaxMappings = 65530;
  static constexpr uint64_t kMaxPopulatedPages = uint64_t{1} << 18;  // 1 GiB by one MAP_POPULATE
  static constexpr uint64_t kLowestAddress = 65536;                  // vm.mmap_min_addr

  AddressSpace(MemoryContext* context, const AddressLayout& layout);
  explicit AddressSpace(const AddressSpace& parent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(parent.mu_);
  ~AddressSpace() override;

  // address_space_map.cc
  PageRange UsualPlace(uint64_t place_key, uint64_t num_pages) const;
  ErrnoOr<PageRange> PlaceLocked(const MapRequest& request, uint64_t length_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ErrnoOr<PageRange> FindHoleLocked(uint64_t num_pages, bool below_2g) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasEntriesLocked(PageRange range) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasRoomLocked(PageRange range) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // False if unmapping `range` would cut a VMA in two where there are as many as there may be.
  bool MaySplitLocked(PageRange range) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void InsertLocked(Vma vma) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void UnmapLocked(PageRange range, Removed* removed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ErrnoOr<GuestAddr> MoveLocked(const Vma& vma, PageRange from, uint64_t new_pages, const RemapRequest& request,
                                Removed* removed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Populate(PageRange range, Access access);

  // address_space_fault.cc
  const Vma* FindVmaOrGrowStackLocked(PageNumber page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Translation ReadFaultLocked(const Vma& vma, PageNumber page, RetiredFrames* retired)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Maps the pages around `page`, which has just become present, as far as the object has them.
  void MapAroundLocked(const Vma& vma, PageNumber page, RetiredFrames* retired) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Gives `take` what the object has of the pages of `range` that the space has not, with the references.
  void TakePresentLocked(const Vma& vma, PageRange range, absl::FunctionRef<void(PageNumber, FrameId)> take)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Has the object read what is worth having with a page of a program's data: PageTable::PagesAround.
  PageRange ReadAroundLocked(const Vma& vma, PageNumber page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Likewise, and gives the space copies of it, which may be written.
  void CopyAroundLocked(const Vma& vma, PageNumber page, RetiredFrames* retired) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Translation WriteFaultLocked(const Vma& vma, PageNumber page, RetiredFrames* retired)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Translation WriteInPlaceLocked(const Vma& vma, PageNumber page, FrameId frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Puts a frame in place that may be written from now on.
  Translation InstallWritableLocked(PageNumber page, PageTableEntry entry, RetiredFrames* retired)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Translation Present(FrameId frame, bool writable) const;
  // The same of a page that is so in the table, with the run around it, at most `farthest` pages each way.
  Translation PresentInRowLocked(const Vma& vma, PageNumber page, FrameId frame, bool writable,
                                 uint64_t farthest = kNear) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static constexpr uint64_t kNear = 32;
  static Translation Failed(FaultKind kind) { return {nullptr, FrameId(), false, kind}; }

  // address_space_shootdown.cc
  void RecordLocked(PageRange range, bool writes_only) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What CodeMappingOf has answered for and that has changed. Part of each change of VMAs.
  void RecordChangedCodeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RevokeWriteRights(PageNumber page);
  void Leave(Runner* runner, Runner::Where to) {
    // Whoever begins to wait just now may be overlooked, and then asks again in time: it is not worth a locked
    // instruction in each syscall.
    runner->where.store(to, std::memory_order_release);
    if (context_->acknowledged_queue.has_waiters()) [[unlikely]]
      NotifyAcknowledged();
  }
  void FollowBeforeGuest(Runner* runner, Tlb* tlb);
  void NotifyAcknowledged();
  // No other host thread has a runner here, so none is in guest code of this space or in a system call of it.
  bool IsRunByThisThreadOnly() ABSL_LOCKS_EXCLUDED(runners_mu_);
  // Whether other runners are in guest code and have not seen `generation`: those are interrupted.
  bool LaggardExists(uint64_t generation, const Runner* self, bool skip_this_thread) ABSL_LOCKS_EXCLUDED(runners_mu_);
  struct Laggards {
    bool found = false;
    bool may_be_more = false;  // in calls: they may be back in guest code, which need not be visible yet
  };
  Laggards InterruptLaggards(uint64_t generation, const Runner* self, bool skip_this_thread)
      ABSL_LOCKS_EXCLUDED(runners_mu_);

  MemoryContext* const context_;
  const AddressLayout layout_;
  const uint64_t id_;
  std::atomic<uint64_t> generation_{1};  // written under mu_

  mutable Mutex mu_{LockRank::kAddressSpace};
  VmaSet vmas_ ABSL_GUARDED_BY(mu_);
  HoleTracker holes_ ABSL_GUARDED_BY(mu_);
  PageTable table_ ABSL_GUARDED_BY(mu_);
  std::array<Invalidation, kRingSize> ring_ ABSL_GUARDED_BY(mu_);  // generation g stands at g % kRingSize
  PageNumber deferred_page_ ABSL_GUARDED_BY(mu_);  // whose writer last stepped back, and how often in a row
  uint32_t num_deferrals_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t num_faults_ ABSL_GUARDED_BY(mu_) = 0;
  GuestAddr break_start_ ABSL_GUARDED_BY(mu_);
  GuestAddr break_end_ ABSL_GUARDED_BY(mu_);
  uint64_t stack_limit_bytes_ ABSL_GUARDED_BY(mu_) = uint64_t{8} << 20;
  ProgramInfo program_info_ ABSL_GUARDED_BY(mu_);

  Mutex runners_mu_{LockRank::kSpaceRunners};
  std::vector<Runner*> runners_ ABSL_GUARDED_BY(runners_mu_);
};

}  // namespace remora::mm

#endif  // REMORA_MM_ADDRESS_SPACE_H_
