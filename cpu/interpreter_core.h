#ifndef REMORA_CPU_INTERPRETER_CORE_H_
#define REMORA_CPU_INTERPRETER_CORE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/counter.h"
#include "base/mutex.h"
#include "base/zeroed.h"
#include "cpu/block_cache_impl.h"
#include "cpu/chain.h"
#include "cpu/decoder.h"
#include "cpu/engine.h"
#include "cpu/evex_unit.h"
#include "cpu/interpreter.h"

namespace remora::cpu {

// How it runs: Run sets up the RunContext and calls Resolve, the first handler of the chain. Resolve asks Find for the
// block at state->rip; the block's handlers tail-call each other, then the next block's, found through links or the
// jump cache; only a miss comes back to Find. The chain ends when a handler returns without a tail call, after it wrote
// the lazy flags into the context and the exit's reason into context->exit().
//
// Blocks that are not to be shared (those cut short by the budget, and crossing instructions whose tail is another
// than the cache's) are built in a buffer of this engine, used once, never linked to.
class InterpreterCore final : public Engine {
 public:
  InterpreterCore(BlockCache* cache, InterpreterOptions options);

  Exit Run(CpuState& state, mm::Tlb& tlb, uint64_t budget, const std::atomic<uint32_t>& interrupt) override;
  // Likewise, but stops between two blocks where the rest of the budget is less than the second one has. `budget`: at
  // least kMaxBlockInstructions, so that some instructions are retired.
  Exit RunWholeBlocks(CpuState& state, mm::Tlb& tlb, uint64_t budget, const std::atomic<uint32_t>& interrupt);
  std::string_view name() const override { return "interpreter"; }
  Counters counters() const override;

  // The first op of the block at state.rip; null: the exit is recorded.
  const Op* Find(RunContext& context);
  // As Find, of at most `max_instructions`, in this engine's buffer.
  const Op* FindScratch(RunContext& context, uint32_t max_instructions);
  // As Find, of one instruction: for who runs with a budget of one (the translator, TF).
  const Op* FindSingle(RunContext& context);
  bool CodeChanged(RunContext& context);
  uint64_t TimeStamp(const RunContext& context) const;
  // Before Run, by an engine that this one is a part of: how many instructions both have retired. RDTSC counts all.
  void set_retired_so_far(uint64_t instructions) { elsewhere_ = instructions - instructions_.value(); }
  // Null where there is none.
  Entropy* entropy() const { return options_.entropy; }
  CpuLevel level() const { return options_.level; }
  // A block that is longer than the rest of the budget is not to be cut short.
  bool whole_blocks() const { return whole_blocks_; }
  EvexUnit& evex() {
    if (!evex_) evex_ = std::make_unique<EvexUnit>();
    return *evex_;
  }
  // What it decodes by: for an engine that has an interpreter of its own.
  InstructionDecoder* instructions() { return decoder_.instructions(); }
  Mutex& split_lock() { return blocks_->split_lock(); }

 private:
  // Which epoch of the jump cache belongs to a TLB as it is now.
  struct EpochEntry {
    const mm::Tlb* tlb = nullptr;
    uint64_t fetch_generation = 0;
    uint64_t epoch = 0;
  };

  // One instruction decoded by itself; good while code_generation stands.
  struct Single {
    static constexpr uint32_t kMaxOps = 8;
    mm::FrameId frame;
    uint32_t page_offset = 0;
    uint64_t code_generation = 0;
    alignas(32) std::array<Op, kMaxOps> ops;
  };
  static constexpr uint32_t kSingles = 256;

  void RefreshEpoch(RunContext& context);
  // Looks the code page of state.rip up; null: the exit is recorded.
  std::byte* FetchPage(RunContext& context, uint64_t address);
  bool FailFetch(RunContext& context, const mm::Fault& fault);
  // Decodes into scratch_. False: the exit is recorded.
  bool Decode(RunContext& context, uint32_t max_instructions);

  BlockCache::Impl* const blocks_;
  const InterpreterOptions options_;
  Decoder decoder_;
  BlockBuffer scratch_;
  RunContext context_;
  const Zeroed<JumpCacheEntry> jump_cache_;
  std::unique_ptr<Single[]> singles_;  // by page offset; made when first needed
  std::unique_ptr<EvexUnit> evex_;     // made when first needed
  std::array<EpochEntry, 64> epochs_;
  uint32_t next_epoch_entry_ = 0;
  uint64_t last_epoch_ = 0;
  uint64_t code_generation_ = 0;  // of the block cache, when epochs_ were last known to be good
  uint64_t fetch_generation_ = 0;
  uint64_t budget_ = 0;
  uint64_t elsewhere_ = 0;
  bool whole_blocks_ = false;
  bool has_run_ = false;
  Counter instructions_, blocks_decoded_, blocks_entered_slowly_, memory_accesses_, slow_memory_accesses_;
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_INTERPRETER_CORE_H_
