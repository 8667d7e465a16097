#ifndef REMORA_CPU_TRANSLATOR_TRANSLATOR_CORE_H_
#define REMORA_CPU_TRANSLATOR_TRANSLATOR_CORE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/counter.h"
#include "base/zeroed.h"
#include "cpu/engine.h"
#include "cpu/interpreter_core.h"
#include "cpu/translator/block_collector.h"
#include "cpu/translator/block_writer.h"
#include "cpu/translator/extent_sharing.h"
#include "cpu/translator/flag_lookahead.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/host_traps.h"
#include "cpu/translator/hot_spots.h"
#include "cpu/translator/operand_forecast.h"
#include "cpu/translator/path_reviews.h"
#include "cpu/translator/path_shape.h"
#include "cpu/translator/stored_paths.h"
#include "cpu/translator/translation_cache.h"
#include "cpu/translator/translator.h"

namespace remora::cpu::translator {

// An engine that is asked to run on is not interrupted while it carries out one instruction for another.
inline const std::atomic<uint32_t> kNeverInterrupt{0};

// How it runs: Run looks the block at rip up (or translates it), and enters it; translated code goes from block to
// block by itself, through links within a page and through the context's table of targets. It comes back for what it
// cannot do: the reason is a Leave. An instruction that is not in the table, or whose memory operand has no plain host
// address, is carried out by the interpreter, which so is the one place where faults are made.
//
// `remaining` is filled in portions, so that the interrupt flag is looked at every few thousand instructions without a
// load in each block.
class TranslatorCore final : public Engine {
 public:
  TranslatorCore(BlockCache* blocks, TranslationCache* cache, TranslatorOptions options);
  ~TranslatorCore() override;

  Exit Run(CpuState& state, mm::Tlb& tlb, uint64_t budget, const std::atomic<uint32_t>& interrupt) override;
  void set_syscall_gate(SyscallGate* gate) override { gate_ = gate; }
  std::string_view name() const override { return "translator"; }
  Counters counters() const override;

  // After something may have been taken away from the context's TLB: drops the extents concerned. False if translated
  // code may be gone or elsewhere.
  bool FollowChanges(GuestContext& context) {
    if (context.tlb->losses() != bound_->seen_losses) [[unlikely]]
      ForgetLost(context);
    return bound_->fetch_generation == context.tlb->fetch_generation() &&
           bound_->code_generation == cache_->generation();
  }

  // Of a SYSCALL in translated code, behind which exit_pc is: the gate carries the call out. The state if code may go
  // on there, by the blocks that are known; null: context.leave tells what is next.
  static CpuState* CarryOutSyscall(GuestContext* context);
  // Of an indirect branch whose code has called `site` from: its inline cache learns that it goes to `target`.
  static void LearnBranch(GuestContext* context, const std::byte* site, uint64_t target);

 private:
  // A TLB's context, with what C++ alone knows of it.
  struct Bound {
    Zeroed<GuestContext> context;
    // Whether ways and returns lead to the routines for what is not known: half a MiB that a short program which runs
    // no translated code in this context need not touch.
    bool tables_filled = false;
    const mm::Tlb* tlb = nullptr;
    uint64_t last_used = 0;
    uint64_t seen_losses = 0;
    uint64_t fetch_generation = 0;
    uint64_t code_generation = 0;
    std::vector<uint16_t> used_entries;  // of the table of targets
    std::vector<uint16_t> used_targets;  // of the larger one
    struct Page {
      mm::CodeMapping mapping;
      uint64_t generation = 0;    // of the space, when that was asked for; 0: it is not known
      bool is_installed = false;  // all that others had translated of it has been put into the tables
    };
    absl::flat_hash_map<uint64_t, Page> pages;  // of code, that were come to
  };

  // What the cache was once asked for: a look-up without its lock, whatever space asks, for as long as nothing is
  // dropped. Direct mapped.
  struct Found {
    uint64_t pc = 0, generation = 0;
    mm::FrameId frame;
    bool alone = false;
    Translation* translation = nullptr;
    mm::CodeMapping mapping;
  };
  static constexpr uint32_t kFound = 8192;
  Found& FoundAt(uint64_t pc, bool alone) { return found_.get()[(pc ^ pc >> 12 ^ uint64_t{alone} << 5) % kFound]; }

  void Bind(CpuState* state, mm::Tlb* tlb);
  void FillTables(Bound* bound);
  // What leads to the way's thunks.
  GuestContext::Way UnsetWay(uint32_t way) const;
  void ForgetTargets(Bound* bound);
  void ForgetExtents(Bound* bound);
  // What the TLB has lost since the last time.
  void ForgetLost(GuestContext& context);
  // The translation of the block at `pc`; null: let the interpreter go on there. `alone`: see Translation.
  Translation* Find(uint64_t pc, bool alone);
  Translation* Translate(uint64_t pc, bool alone, mm::FrameId frame);
  // The page, whose frame that is as far as the TLB knows, with its mapping; what others translated of it is installed.
  // Nothing: it has just changed.
  std::optional<CodePage> ComeTo(PageNumber page, mm::FrameId frame);
  // False: the page has changed since the TLB looked, so its frame there may be another one's than the mapping's.
  bool AskForMapping(PageNumber page, Bound::Page* known);
  // What has just been prepared, with the mapping that it has at the same time. Nothing: that has changed.
  std::optional<CodePage> Prepared(PageNumber page, mm::FrameId frame);
  // Publishes what the store has of the code at `pc`. True: it has something of the page, so the program is not the
  // first to come here.
  bool TakeFromStore(uint64_t pc, const CodePage& page);
  void AskStore(PageNumber page, mm::FrameId frame);
  // Whether the block at `pc` is worth translating: the engine has run for a while, or it is come to often; counts.
  bool IsWarm(uint64_t pc);
  // The page's bytes, to translate them; null: it cannot be executed here (any more).
  const std::byte* PrepareCode(PageNumber page);
  // What is counted and shown of a new translation.
  void NoteTranslated(const Translation& made, std::span<const GuestInstruction> instructions, size_t num_far_links);

  // --- paths (translator_paths.cc) ---
  // A slice has ended at `pc`.
  void NoteHotSpot(uint64_t pc);
  // Whether a path from `pc` on would replace a block.
  bool BeginsPath(uint64_t pc);
  // Has the interpreter run from state.rip on, and translates the path that it takes. Answers what Run has to know.
  Exit FollowPath(CpuState& state, mm::Tlb& tlb, const std::atomic<uint32_t>& interrupt);
  // Has the interpreter run from state.rip on, where the path begins, and puts a steady round in its place if it is
  // left where it was left before.
  Exit ReviewPath(const Translation& path, CpuState& state, mm::Tlb& tlb, const std::atomic<uint32_t>& interrupt);
  // A round that is run, but may not begin where it should: the path that is there is left, and awaited. False: there
  // is none, or nothing to spend for it.
  bool AwaitReview(std::span<const uint64_t> round);
  // Goes on at an awaited state.rip, by one of the three. False: there is nothing to follow.
  bool FollowAwaited(CpuState& state, mm::Tlb& tlb, const std::atomic<uint32_t>& interrupt, Exit* exit);
  // Has the interpreter run from state.rip on, along stored_places_, and makes the path that it has gone along for a
  // while. *made: whether there is one.
  Exit FollowStoredPaths(CpuState& state, mm::Tlb& tlb, bool* made);
  void MakeStoredPath(const StoredPath& path);
  // Whether code can be at `pc`, as far as the TLB knows.
  bool CanFetch(uint64_t pc) const;
  // The path that begins at `pc`; null: none.
  const Translation* PathAt(uint64_t pc) const;
  // What path_shape_ has found, if that is possible now. False: it is not worth while.
  bool TranslatePath();
  // `replaces_path`: it may begin where another path does, if that is no beginning of the same round.
  bool TranslateRound(std::span<const uint64_t> round, bool replaces_path);
  // Where the instructions are, and path_pages_. Fewer: they are not there any more, or on too many pages.
  std::vector<BlockCollector::Step> StepsOf(std::span<const uint64_t> path);
  // What has been collected, from path_pages_. `bytes`: of the page that it begins on. `replaces_path`: there may be a
  // path already, and what does not fit is not cut. False: it is not worth while.
  bool PublishPath(const std::byte* bytes, bool goes_round, uint64_t generation, bool replaces_path = false);
  // Whether the pages of a path are those that it was made for, as far as the TLB knows.
  bool HasItsPages(const Translation& path);

  void OpenGate(uint16_t gate);
  // Into the tables of targets, and to the way that has been missed, if it is its.
  void Install(const Translation& translation);
  void InstallTarget(const Translation& translation);
  // What has been translated of a page, by others and for other spaces: once, when code first comes to it here.
  void InstallPage(const CodePage& page);
  // Runs translated code from state.rip for at most what is left of the budget. Between two portions it sees whether it
  // is to come back earlier.
  void Enter(const Translation& translation);
  // What translated code may retire, and has, since.
  void GiveBudget(GuestContext* context) const;
  uint64_t RetiredIn(const GuestContext& context) const;
  [[gnu::always_inline]] CpuState* CallGate(GuestContext& context);
  // To run what translated code does not.
  InterpreterCore& interpreter();
  // What is in x87_image goes into the state.
  static void SettleX87(GuestContext* context);
  // RFLAGS with the status flags of `flags`.
  static uint64_t WithFlags(uint64_t rflags, uint64_t flags);
  // Puts rip, the count and the flags right after translated code left; what is to be done next.
  enum class Next : uint8_t { kLookup, kAlone, kInterpret, kRepeat };
  Next Settle(uint64_t* retired);

  static constexpr uint32_t kNumContexts = 8;

  TranslationCache* const cache_;
  const TranslatorOptions options_;
  InterpreterCore interpreter_;
  BlockCollector collector_;
  OperandForecast forecast_;
  ExtentSharing extent_sharing_;
  BlockWriter writer_;
  FlagLookahead lookahead_{interpreter_.instructions()};
  std::array<Bound, kNumContexts> contexts_;
  Bound* bound_ = nullptr;
  uint64_t binds_ = 0;
  const Zeroed<Found> found_ = MakeZeroed<Found>(kFound);
  std::vector<const Translation*> adopted_;  // of TakeFromStore, InstallPage
  const Translation* last_left_ = nullptr;   // in this Run, in the middle
  SyscallGate* gate_ = nullptr;
  // Of this Run, since it began or since the gate last carried out a call.
  struct {
    uint64_t budget = 0, left = 0;
    uint64_t first_pc = 0;
  } run_;
  bool traps_installed_ = false;
  bool found_cold_ = false;  // Find has found a block that is not to be translated yet
  static constexpr uint32_t kVisited = 8192;
  std::array<uint8_t, kVisited> visits_{};
  HotSpots hot_spots_;
  PathReviews reviews_;
  // Where slices have ended that it is worth while to look closer when a task comes to go on there; by address.
  struct Awaited {
    uint64_t pc = 0;  // 0: nothing
    // A path may begin there, or does; one begins there that is left. Neither: one of an earlier run's goes on there.
    bool is_hot = false, is_left = false;
  };
  static constexpr uint32_t kAwaited = 16;
  Awaited& AwaitedAt(uint64_t pc) { return awaited_[(pc ^ pc >> 4) % kAwaited]; }
  std::array<Awaited, kAwaited> awaited_{};
  std::vector<StoredPaths::Place> stored_places_;  // being followed
  // The path being made.
  PathShape path_shape_;
  uint64_t steps_for_rounds_ = 0;  // instructions that have been followed to find rounds, of all paths
  std::vector<Translation::Page> path_pages_;
  Counter instructions_retired_, blocks_translated_, blocks_adopted_, paths_made_again_, guest_bytes_, host_bytes_,
      lookups_, interpreted_;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_TRANSLATOR_CORE_H_
