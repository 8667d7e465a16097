#ifndef REMORA_CPU_TRANSLATOR_GUEST_CONTEXT_H_
#define REMORA_CPU_TRANSLATOR_GUEST_CONTEXT_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/guest_addr.h"
#include "cpu/cpu_state.h"
#include "mm/tlb.h"

namespace remora::cpu::translator {

struct Translation;

// A run of guest pages that lie side by side in the host's memory with the same right, as one site of translated code
// last found it. An address of `size` bytes belongs to it if address - start < limit: the limit is the run's length
// less size, plus 1. A limit of 0 holds nothing.
struct Extent {
  uint64_t start = 0;
  uint64_t limit = 0;
  uint64_t host = 0;   // where `start` is
  uint64_t delta = 0;  // host - start
};
static_assert(sizeof(Extent) == 32);

// Why translated code came back.
enum class Leave : uint32_t {
  kLookup,     // on at exit_pc, through a lookup
  kInterpret,  // the instruction at exit_pc is not in the table
  kRepeat,     // likewise, and it has a REP prefix
  kString,     // the string instruction at exit_pc, of form `site`, is not done
  kGoOn,       // on at exit_pc: a call has changed what is known
  kShort,      // `remaining` is less than the block around exit_host_pc has, which has been charged, but not begun
  kDropped,    // on at the beginning of the block around exit_host_pc, which was come to, but is not to be run
  kUnlinked,   // on where a link leads, whose cold code exit_host_pc is in (Routines::unlinked_saved_flags)
  kSyscall,    // SYSCALL; the state is settled already, and the gate, if there is one, has been asked
  kNoAccess,   // the memory operand of site `site`, in the block around exit_host_pc, has no plain host address
  kTrap,       // the host's CPU refused the instruction at exit_host_pc; trap_flags are the flags there
};

// Extents are numbered by the access's size, so that all users of one extent mean the same limit. A class of sizes, 1
// to 512 bytes, has the more the more sites want it.
inline constexpr uint32_t kSizeClasses = 10;
inline constexpr std::array<uint32_t, kSizeClasses> kExtentsOfClass = {256, 256, 512, 1280, 512, 512, 512, 128, 64, 64};
constexpr uint32_t FirstExtentOf(uint32_t size_class) {
  uint32_t first = 0;
  for (uint32_t smaller = 0; smaller < size_class; ++smaller) first += kExtentsOfClass[smaller];
  return first;
}
constexpr uint32_t SizeClassOf(uint32_t extent) {
  uint32_t size_class = 0;
  while (extent >= FirstExtentOf(size_class + 1)) ++size_class;
  return size_class;
}
inline constexpr uint32_t kNumExtents = FirstExtentOf(kSizeClasses);

// What a site that missed its extent tells the miss path: one word, an immediate of the site's code.
struct AccessSite {
  uint32_t extent : 12;        // of the stack, which has none: one of its size, see pinned()
  uint32_t write : 1;          // the right that is wanted; there are extents for each
  uint32_t size_less_one : 9;  // bytes: 1 to 512
  uint32_t instruction : 10;   // of the block

  static constexpr uint32_t kMaxInstructions = 1 << 10;
  // Of the stack: what is known of it is still needed by others in the block.
  bool pinned() const { return extent != FirstExtentOf(SizeClassOf(extent)); }

  uint64_t size() const { return uint64_t{size_less_one} + 1; }
  // What the extent's limit allows for.
  uint64_t extent_size() const { return uint64_t{1} << SizeClassOf(extent); }
};
static_assert(sizeof(AccessSite) == 4 && kNumExtents <= 1 << 12);

// Likewise what a site tells that found a place not known: a page, by its number, or GuestContext::kFsPlace.
struct PlaceSite {
  uint32_t place : 22;
  uint32_t instruction : 10;  // where AccessSite has it

  static constexpr uint32_t kMaxPlace = (1 << 22) - 1;
};
static_assert(sizeof(PlaceSite) == sizeof(AccessSite));

// Which RET or JMP it was that went to a target: its own code's offset in the CodeBuffer. Where there cannot be any
// code, the interpreter carries the branch out once more, and makes the exception.
struct BranchSite {
  uint32_t host_offset : 31;
  uint32_t popped : 1;  // 8 bytes
};
static_assert(sizeof(BranchSite) == 4);

// The host's CPU gives what is stored behind its stack pointer a register of its own (memory renaming), and knows such
// a place by the low ten bits of its displacement. What is loaded from elsewhere with the same ten bits may be taken
// for it, until that is found out, and all that was begun behind it undone: 30 cycles each time on a Zen 4, and where
// code is in a loop, twice its time. So what blocks store lies at the beginning and at the end of the first kAlikeBytes
// behind RSP, and what they only load, there and further on, has low bits between these: of extents rows are made, and
// numbers of pages and gates that would look stored are left out (LooksStored). What is jumped through does not mind.
inline constexpr size_t kAlikeBytes = 1024;
struct alignas(kAlikeBytes) ExtentRow {
  static constexpr uint32_t kExtents = 21, kArrivals = 64;
  std::array<std::byte, 96> looks_stored;
  std::array<Extent, kExtents> extents;
  std::array<int32_t, kArrivals> arrivals;  // see GuestContext::arrivals()
};
static_assert(sizeof(ExtentRow) == kAlikeBytes);

// What translated code reaches by the host's RSP, which points at `r10`: one for each worker and TLB. The guest's
// registers are in the host's own while it runs, but for R10 and R11, which live here, and RSP: the host's R10 is where
// the guest's stack is on the host, RSP + stack_delta, so that code can use it as it is. The host's R11 is scratch.
// (Compilers use R10 and R11 least.) The host's CPU gives loads and stores behind its stack pointer registers of their
// own (memory renaming), so what is in reach of a one-byte displacement costs about as much as a register.
//
// Routines reach it by the GS base, because they push and call.
//
// Plain data with known offsets. Thread safety: its worker's alone.
struct alignas(kAlikeBytes) GuestContext {
  static constexpr uint32_t kIndirectEntries = 1 << 15;

  // What routines push, and room for a signal's frame. C++ is called on the host's own stack.
  static constexpr uint32_t kStackBytes = 32768;
  alignas(64) std::array<std::byte, kStackBytes> stack;

  uint64_t r10 = 0, r11 = 0;
  int32_t remaining = 0;
  // 1: XMM, YMM and MXCSR are in the host's registers, not in *state; what only AVX-512 has is all zero, there and
  // here. 2: ZMM and opmask registers are in the host's, too.
  uint8_t vectors_live = 0;
  uint8_t x87_live = 0;  // 1: so is the x87 unit; 2: it is in x87_image
  // Where the guest's status flags are while the host's are spoilt: OF in the low byte, the others as LAHF has them in
  // the high one. Arbitrary while nothing can read them (docs/engines.md).
  uint16_t flags = 0;
  uint64_t target = 0;  // where an indirect or far branch goes
  uint64_t spill[2] = {};
  uint32_t site = 0;         // AccessSite, PlaceSite; of a string instruction: StringForm
  uint32_t branch_site = 0;  // which indirect branch was the last: BranchSite
  uint64_t held = 0;         // R11, while something else needs it
  // The guest's values of the registers that stand in for R10 and R11 in the loop under way.
  uint64_t lent[2] = {};
  uint64_t value = 0;  // between two accesses of one instruction

  // From here on up to the deltas, blocks only load.

  // host - guest, and guest - host, of the run of pages that the stack was found in last; kept whatever happens to the
  // run, since R10 goes by it. The run begins at stack_start on the host.
  uint64_t stack_delta = 0, minus_stack_delta = 0, stack_start = 0;
  // Between what R10 has to be so that what is as far below, or above, as StackReach(i) lies in that run, which is for
  // writing. Where that is not known (any more) nothing is between them.
  static constexpr uint32_t kStackReaches = 9;
  static constexpr int64_t StackReach(uint32_t i) { return int64_t{128} << i; }
  struct StackBounds {
    uint64_t first = UINT64_MAX, last = 0;
  };
  std::array<StackBounds, kStackReaches> stack_bounds{};
  // As Extent::limit, for each class of size. All 0: as above.
  std::array<uint64_t, kSizeClasses> stack_limits{};
  // Where fs_base is on the host, if the bytes from there on, kFsBytes, lie in one piece and may be written; else 0.
  static constexpr int64_t kFsBytes = 128;
  uint64_t fs_host = 0;
  CpuState* state = nullptr;
  uint64_t fs_base = 0, gs_base = 0;
  uint64_t exit_pc = 0, exit_host_pc = 0, trap_flags = 0;
  Leave leave = Leave::kLookup;
  static constexpr uint32_t kDefaultMxcsr = 0x1f80;
  uint32_t host_mxcsr = kDefaultMxcsr;
  uint64_t host_rsp = 0, entry = 0;
  uint64_t frame = 0;        // the address of r10: RSP in translated code
  uint64_t routine_rsp = 0;  // of a routine that has called C++
  GuestContext* self = nullptr;
  mm::Tlb* tlb = nullptr;
  void* engine = nullptr;  // for the miss path
  // The budget beyond `remaining`, which comes in portions, and what ends it early.
  static constexpr uint32_t kPortion = 16384;
  uint64_t reserve = 0;
  const std::atomic<uint32_t>* interrupt = nullptr;

  // host - guest of what a block's groups of memory operands lie in, or where they are on the host; within one run
  // through the block. They end the first kAlikeBytes, so there is a gap before them.
  static constexpr uint32_t kMaxDeltas = 32;
  alignas(512) std::array<std::byte, 256> gap;
  uint64_t deltas[kMaxDeltas] = {};

  alignas(64) std::array<std::byte, 576> x87_image{};  // FXSAVE's, with the header that XRSTOR wants
  static constexpr uint32_t kExtentRows = (2 * kNumExtents + ExtentRow::kExtents - 1) / ExtentRow::kExtents;
  std::array<ExtentRow, kExtentRows> extent_rows{};
  uint32_t num_used_extents = 0;
  // A miss adds kOneMiss; where that overflows, at about each 8th, the site's extent is recorded again, from `recents`
  // or, where kOneRecord overflows as well, at about each 16th record, by FastAccess. No fractions of 2^32, so that in
  // a loop each site's turn comes.
  static constexpr uint32_t kOneMiss = 0x2191ef43, kOneRecord = 0x10c6f7a1;
  uint32_t misses = 0, records = 0;
  uint32_t short_runs = 0;          // recorded, see FastAccess
  const void* tlb_front = nullptr;  // mm::Tlb::front() of `tlb`
  uint64_t stack_bytes = 0;         // of the run, if its limits are set
  // The runs that were recorded last, for reading and for writing, by which 2 MiB they were wanted in: the first thing
  // that a site looks at that has missed its extent. The limit allows for the largest access.
  struct alignas(32) Recent {
    uint64_t start = 0, limit = 0, delta = 0, host = 0;  // as Extent's
  };
  static constexpr uint32_t kRecents = 32;
  static constexpr int kRecentShift = 21;
  static uint32_t RecentIndex(uint64_t address) { return static_cast<uint32_t>(address >> kRecentShift) % kRecents; }
  std::array<std::array<Recent, kRecents>, 2> recents{};
  // Where code for the target of an indirect branch is, flags being saved, and whose it is.
  struct IndirectTarget {
    uint64_t pc = 0;
    const void* code = nullptr;
  };
  // By the target's low bits; the lowest makes no difference.
  static constexpr uint32_t TargetEntry(uint64_t pc) { return static_cast<uint32_t>(pc >> 1) % kIndirectEntries; }
  // What an entry is that nobody has: no address which may have it is its.
  static constexpr IndirectTarget NoTargetAt(uint32_t entry) { return {.pc = entry == 0 ? uint64_t{2} : 0}; }
  alignas(64) std::array<IndirectTarget, kIndirectEntries> indirect{};
  // Where the host's code for a return is, by what RSP is then: calls leave it here, and it stays (block_returns.cc).
  // What is found there compares the word that was popped last with the address that it is for. RSP is a multiple of 16
  // where compilers call.
  static constexpr uint32_t kReturns = 256, kReturnShift = 4;
  std::array<const void*, kReturns> returns{};
  // And by all of it, for those whose low bits another one has: see FastTarget.
  struct Target {
    uint64_t pc = 0;
    const Translation* translation = nullptr;
  };
  static constexpr uint32_t kTargets = 1 << 15;
  static uint32_t TargetIndex(uint64_t pc) { return static_cast<uint32_t>(pc ^ pc >> 15) % kTargets; }
  std::array<Target, kTargets> targets{};
  uint32_t displaced = 0;  // how often an entry of `indirect` was found to be another's
  // Where direct branches to other pages go: one entry for each address that there are such branches to, numbered by
  // the TranslationCache. What is there is meant, nothing is compared.
  struct Way {
    // For who comes with the flags in the host's register, and for who has saved them; the second where nothing need be
    // counted (IsForward).
    const void* host_flags[2] = {};
    const void* saved_flags[2] = {};
  };
  static constexpr uint32_t kWays = 1 << 14;
  alignas(64) std::array<Way, kWays> ways{};
  uint32_t num_used_ways = 0;
  const std::atomic<uint64_t>* way_targets = nullptr;  // the guest's address for each
  static constexpr uint32_t kNoWay = kWays;
  uint32_t way = kNoWay;  // that translated code left by, to be set
  // Where ways lead that are not set: code of their own (TranslationCache::WayTo), which calls, as the last one did
  // from before way_return.
  uint64_t way_thunks = 0, way_return = 0;
  static constexpr uint32_t kWayThunkBytes = 8;  // there are two for each way: flags in the host's register, and saved
  // Where pages are on the host that code accesses by their address, with the right that it wants; 0: not known.
  // Numbered by the TranslationCache, which leaves a third out.
  static constexpr uint32_t kPages = 1 << 13;
  alignas(64) std::array<uint64_t, kPages> pages{};
  uint32_t num_known_pages = 0;
  const std::atomic<uint64_t>* page_keys = nullptr;  // the guest's page for each, see PageKey
  static constexpr uint32_t kNoPage = kPages, kFsPlace = kPages + 1;
  static uint64_t PageKey(uint64_t address, bool write) { return (address & ~kPageMask) | (write ? 1 : 0); }
  uint64_t page_key(uint32_t page) const { return page_keys[page].load(std::memory_order_relaxed); }
  uint64_t address_of_page(uint32_t page) const { return page_key(page) & ~kPageMask; }
  bool is_written(uint32_t page) const { return (page_key(page) & 1) != 0; }

  // Whether the pages of a path are those that it was made for, by GeneratedBlock::gate: 1, or not known. Gate 0 is no
  // path's, nor is a third of the others.
  static constexpr uint32_t kGates = 1 << 13, kNoGate = 0;
  std::array<uint8_t, kGates> gates{};
  uint32_t num_open_gates = 0;

  // Lists for the engine and the miss path, the first of what need not lie in the large page. What was ever set since
  // all was forgotten, by number: extents (their `host` is not 0), those for writing from kNumExtents on; ways; pages
  // that are known; gates that are open.
  std::array<uint16_t, 2 * kNumExtents> used_extents{};
  std::array<uint16_t, kWays> used_ways{};
  std::array<uint16_t, kPages> known_pages{};
  std::array<uint16_t, kGates> open_gates{};

  // By number, as in used_extents.
  Extent& extent(uint32_t number) {
    return extent_rows[number / ExtentRow::kExtents].extents[number % ExtentRow::kExtents];
  }
  Extent& extent(bool write, uint32_t number) { return extent(number + (write ? kNumExtents : 0)); }
  // How often an indirect branch that its inline cache does not answer may go through the tables before it is learned
  // where to (TranslationCache::LearnBranch), by the block it is in; less than 0: now.
  static constexpr uint32_t kArrivals = 1 << 10;
  static constexpr int32_t kFirstArrivals = 4096;
  static uint32_t ArrivalIndex(uint64_t pc) { return static_cast<uint32_t>(pc ^ pc >> 10) % kArrivals; }
  int32_t& arrivals(uint32_t index) {
    return extent_rows[index / ExtentRow::kArrivals].arrivals[index % ExtentRow::kArrivals];
  }

  void ForgetStack() {
    stack_bounds.fill(StackBounds());
    stack_limits.fill(0);
  }
};
static_assert(std::is_standard_layout_v<GuestContext>);
static_assert(GuestContext::kArrivals <= GuestContext::kExtentRows * ExtentRow::kArrivals);

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_GUEST_CONTEXT_H_
