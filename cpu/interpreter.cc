#include "cpu/interpreter.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/populate.h"
#include "base/tsc_clock.h"
#include "cpu/canonical.h"
#include "cpu/cpuid.h"
#include "cpu/interpreter_core.h"
#include "cpu/locked.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

// A preserve_none callee may use every register, which clang 19 gets wrong in a caller with a realigned frame: so this
// one has no locals.
[[gnu::noinline]] void EnterChain(CpuState* state, RunContext* context, mm::Tlb* tlb, uint64_t flag_a, uint64_t flag_b,
                                  uint64_t flag_kind) {
  Resolve(state, nullptr, context, tlb, flag_a, flag_b, flag_kind);
}

}  // namespace

// --- the chain's ends and joints ---

REMORA_CHAINED void LeaveAt(REMORA_PARAMS) {
  state->rip += op->offset;
  context->remaining += op->uncounted;
  context->UncountAccessesBehind(op);
  context->exit_to_kernel = true;
  context->flag_a = flag_a;
  context->flag_b = flag_b;
  context->flag_kind = flag_kind;
}

REMORA_CHAINED void LeaveAfter(REMORA_PARAMS) {
  state->rip += uint64_t{op->offset} + op->length;
  context->remaining += op->uncounted - 1;
  context->UncountAccessesBehind(op);
  context->flag_a = flag_a;
  context->flag_b = flag_b;
  context->flag_kind = flag_kind;
}

REMORA_CHAINED void ContinueElsewhere(REMORA_PARAMS) {
  state->rip += uint64_t{op->offset} + op->length;
  context->remaining += op->uncounted - 1;
  context->UncountAccessesBehind(op);
  context->link_from = nullptr;
  REMORA_TAIL Resolve(REMORA_ARGS);
}

namespace {

// Out of the chain between two blocks.
REMORA_CHAINED void LeaveBetween(REMORA_PARAMS) {
  context->exit_to_kernel = true;
  context->flag_a = flag_a;
  context->flag_b = flag_b;
  context->flag_kind = flag_kind;
}

REMORA_CHAINED void ValidateTail(REMORA_PARAMS) {
  const auto* tail = reinterpret_cast<const TailBytes*>(op + 1);
  const GuestAddr next_page((state->rip | kPageMask) + 1);
  std::byte bytes[sizeof(tail->bytes)];
  const std::byte* host = tlb->Lookup<mm::Access::kFetch>(next_page);
  if (host != nullptr) {
    CopyFromGuest(bytes, host, tail->count);
    if (std::memcmp(bytes, tail->bytes.data(), tail->count) == 0) {
      ++op;
      REMORA_TAIL Next(REMORA_ARGS);
    }
  }
  // Gone, or other bytes there: decode anew.
  context->remaining += op->uncounted;
  op = context->core->FindScratch(*context, kMaxBlockInstructions);
  if (op == nullptr) REMORA_TAIL LeaveBetween(REMORA_ARGS);
  REMORA_TAIL Enter(REMORA_ARGS);
}

REMORA_CHAINED void AddAccesses(REMORA_PARAMS) {
  context->accesses += static_cast<uint64_t>(op->immediate);
  REMORA_TAIL Next(REMORA_ARGS);
}

}  // namespace

Handler CountAccessesHandler() { return &AddAccesses; }
Handler ValidateTailHandler() { return &ValidateTail; }

REMORA_CHAINED void Resolve(REMORA_PARAMS) {
  if (context->remaining == 0) {
    context->Raise(ExitReason::kBudget);
    REMORA_TAIL LeaveBetween(REMORA_ARGS);
  }
  op = context->core->Find(*context);
  if (op == nullptr) REMORA_TAIL LeaveBetween(REMORA_ARGS);
  REMORA_TAIL Enter(REMORA_ARGS);
}

REMORA_CHAINED void EnterSlow(REMORA_PARAMS) {
  if (context->remaining == 0) {
    context->Raise(ExitReason::kBudget);
    REMORA_TAIL LeaveBetween(REMORA_ARGS);
  }
  if (context->interrupt->load(std::memory_order_relaxed) != 0) {
    context->Raise(ExitReason::kInterrupt);
    REMORA_TAIL LeaveBetween(REMORA_ARGS);
  }
  if (context->core->whole_blocks()) {
    context->Raise(ExitReason::kBudget);
    REMORA_TAIL LeaveBetween(REMORA_ARGS);
  }
  op = context->core->FindScratch(*context,
                                  static_cast<uint32_t>(std::min<int64_t>(context->remaining, kMaxBlockInstructions)));
  if (op == nullptr) REMORA_TAIL LeaveBetween(REMORA_ARGS);
  DCHECK(op->uncounted <= context->remaining);
  context->remaining -= op->uncounted;
  REMORA_TAIL LoadHandler(op)(REMORA_ARGS);
}

bool RunContext::CodeChangedSlow() {
  filled_for_write_ = false;
  return core->CodeChanged(*this);
}
CpuidResult RunContext::Cpuid(uint32_t leaf, uint32_t subleaf) { return cpu::Cpuid(leaf, subleaf, core->level()); }
uint64_t RunContext::TimeStamp() { return core->TimeStamp(*this); }
bool RunContext::RandomBits(uint64_t* bits) {
  Entropy* entropy = core->entropy();
  if (entropy != nullptr) *bits = entropy->NextU64();
  return entropy != nullptr;
}
Mutex& SplitLock(RunContext& context) { return context.core->split_lock(); }

// --- the core ---

InterpreterCore::InterpreterCore(BlockCache* cache, InterpreterOptions options)
    : blocks_(cache->impl_.get()),
      options_(options),
      decoder_(options.level, options.count_accesses),
      jump_cache_(MakeZeroed<JumpCacheEntry>(kJumpCacheEntries)) {
  context_.core = this;
  context_.set_xcr0(EnabledXstate(options.level));
  context_.jump_cache = jump_cache_.get();
}

void InterpreterCore::RefreshEpoch(RunContext& context) {
  const mm::Tlb& tlb = context.tlb();
  fetch_generation_ = tlb.fetch_generation();
  const uint64_t code_generation = blocks_->generation();
  if (code_generation != code_generation_) {
    // Blocks are gone, and the jump cache may still point to them.
    code_generation_ = code_generation;
    epochs_.fill(EpochEntry());
  }
  for (EpochEntry& entry : epochs_) {
    if (entry.tlb != &tlb) continue;
    if (entry.fetch_generation != fetch_generation_) {
      entry.fetch_generation = fetch_generation_;
      entry.epoch = ++last_epoch_;
    }
    context.epoch = entry.epoch;
    return;
  }
  EpochEntry& entry = epochs_[next_epoch_entry_++ % epochs_.size()];
  entry = {&tlb, fetch_generation_, ++last_epoch_};
  context.epoch = entry.epoch;
}

bool InterpreterCore::CodeChanged(RunContext& context) {
  context.tlb().Synchronize();
  if (blocks_->generation() == code_generation_ && context.tlb().fetch_generation() == fetch_generation_) return false;
  RefreshEpoch(context);
  return true;
}

uint64_t InterpreterCore::TimeStamp(const RunContext& context) const {
  if (options_.host_tsc) return ReadTsc();
  if (options_.clock != nullptr) return static_cast<uint64_t>(options_.clock->MonotonicNanos());
  return elsewhere_ + instructions_.value() + budget_ - static_cast<uint64_t>(context.remaining);
}

bool InterpreterCore::FailFetch(RunContext& context, const mm::Fault& fault) {
  context.exit().fault = fault;
  return context.Raise(mm::IsMerelyEarly(fault.kind)                ? ExitReason::kMustWait
                       : fault.kind == mm::FaultKind::kNonCanonical ? ExitReason::kProtection
                                                                    : ExitReason::kFault);
}

std::byte* InterpreterCore::FetchPage(RunContext& context, uint64_t address) {
  if (!IsCanonical(address)) {
    context.Raise(ExitReason::kProtection);
    return nullptr;
  }
  std::byte* host = context.tlb().Lookup<mm::Access::kFetch>(GuestAddr(PageRoundDown(address)));
  if (host == nullptr) FailFetch(context, {context.tlb().last_fault().kind, mm::Access::kFetch, GuestAddr(address)});
  return host;
}

bool InterpreterCore::Decode(RunContext& context, uint32_t max_instructions) {
  const uint64_t pc = context.state().rip;
  const GuestAddr addr(pc);
  mm::Tlb& tlb = context.tlb();
  const mm::TlbSource::Translation code = tlb.source()->PrepareCode(addr.page());
  if (code.host_page == nullptr) return FailFetch(context, {code.fault, mm::Access::kFetch, addr});
  // What PrepareCode took away (our own right to write to the page) must be gone before the code runs.
  tlb.Synchronize();
  const uint32_t page_offset = static_cast<uint32_t>(addr.page_offset());
  blocks_decoded_.Add();
  if (decoder_.Decode(code.host_page, page_offset, code.frame, max_instructions, &scratch_) == Decoder::Result::kDone)
    return true;
  const uint64_t next = PageRoundDown(pc) + kPageSize;
  const std::byte* next_page = FetchPage(context, next);
  if (next_page == nullptr) return false;
  decoder_.DecodeCrossing(code.host_page, page_offset, next_page, code.frame, &scratch_);
  return true;
}

const Op* InterpreterCore::FindScratch(RunContext& context, uint32_t max_instructions) {
  context.link_from = nullptr;
  if (FetchPage(context, context.state().rip) == nullptr) return nullptr;
  if (!Decode(context, max_instructions)) return nullptr;
  return scratch_.ops.data();
}

const Op* InterpreterCore::FindSingle(RunContext& context) {
  context.link_from = nullptr;
  const GuestAddr addr(context.state().rip);
  if (FetchPage(context, addr.value()) == nullptr) return nullptr;
  if (!singles_) singles_ = std::make_unique<Single[]>(kSingles);
  const auto page_offset = static_cast<uint32_t>(addr.page_offset());
  Single& single = singles_[(page_offset ^ page_offset >> 8) % kSingles];
  const mm::FrameId frame = context.tlb().FetchFrame(addr.page());
  const uint64_t generation = blocks_->generation();
  if (single.frame == frame && single.page_offset == page_offset && single.code_generation == generation)
    return single.ops.data();
  if (!Decode(context, 1)) return nullptr;
  // Decoding may itself have dropped code, or the page may be another now.
  if (blocks_->generation() != generation || context.tlb().FetchFrame(addr.page()) != frame) return scratch_.ops.data();
  DCHECK(scratch_.num_ops <= Single::kMaxOps);
  single.frame = frame;
  single.page_offset = page_offset;
  single.code_generation = generation;
  std::memcpy(static_cast<void*>(single.ops.data()), static_cast<const void*>(scratch_.ops.data()),
              scratch_.num_ops * sizeof(Op));
  return single.ops.data();
}

const Op* InterpreterCore::Find(RunContext& context) {
  if (context.remaining == 1) return FindSingle(context);
  const uint64_t pc = context.state().rip;
  const GuestAddr addr(pc);
  BranchLinks* const links = context.link_from;
  context.link_from = nullptr;
  blocks_entered_slowly_.Add();
  // Code may have been dropped by another worker, too: then what the jump cache holds leads to dropped blocks.
  if (context.tlb().fetch_generation() != fetch_generation_ || blocks_->generation() != code_generation_)
    RefreshEpoch(context);
  constexpr int kMaxTries = 4;
  for (int i = 0; i < kMaxTries; ++i) {
    if (FetchPage(context, pc) == nullptr) return nullptr;
    const mm::FrameId frame = context.tlb().FetchFrame(addr.page());
    const auto page_offset = static_cast<uint16_t>(addr.page_offset());
    Block* block = blocks_->Find(frame, page_offset);
    if (block == nullptr) {
      const uint64_t generation_before = blocks_->generation();
      if (!Decode(context, kMaxBlockInstructions)) return nullptr;
      if (context.tlb().FetchFrame(addr.page()) != frame) continue;
      block = blocks_->Publish(frame, page_offset, scratch_.ops.data(), scratch_.num_ops, generation_before);
      if (block == nullptr) continue;
    }
    const Op* first = block->ops();
    JumpCacheEntry& entry = context.jump_cache[JumpCacheIndex(pc)];
    entry.pc = pc;
    entry.epoch = context.epoch;
    entry.first = first;
    if (links != nullptr && links->frame == frame.value() &&
        (context.link_taken ? links->taken_in_page : links->not_taken_in_page))
      (context.link_taken ? links->taken : links->not_taken).store(first, std::memory_order_release);
    return first;
  }
  // Others keep writing code: run what is there now, without sharing it.
  return FindScratch(context, kMaxBlockInstructions);
}

Exit InterpreterCore::RunWholeBlocks(CpuState& state, mm::Tlb& tlb, uint64_t budget,
                                     const std::atomic<uint32_t>& interrupt) {
  DCHECK(budget >= kMaxBlockInstructions);
  whole_blocks_ = true;
  const Exit exit = Run(state, tlb, budget, interrupt);
  whole_blocks_ = false;
  return exit;
}

Exit InterpreterCore::Run(CpuState& state, mm::Tlb& tlb, uint64_t budget, const std::atomic<uint32_t>& interrupt) {
  RunContext& context = context_;
  context.Bind(&state, &tlb);
  context.interrupt = &interrupt;
  context.exit() = Exit();
  context.link_from = nullptr;
  budget_ = std::min<uint64_t>(budget, INT64_MAX);
  context.remaining = static_cast<int64_t>(budget_);
  RefreshEpoch(context);
  if (!has_run_) [[unlikely]] {
    has_run_ = true;
    // Soon touched all over.
    Populate(jump_cache_.get(), kJumpCacheEntries * sizeof(JumpCacheEntry));
  }
  context.flag_a = state.rflags & kStatusFlags;
  context.flag_b = 0;
  context.flag_kind = kFlagWord<FlagKind::kExplicit>;
  while (true) {
    // With TF each instruction is a budget of its own.
    const bool stepping = (state.rflags & kFlagTF) != 0;
    const int64_t beyond = stepping ? context.remaining - 1 : 0;
    context.remaining -= beyond;
    context.exit_to_kernel = false;
    EnterChain(&state, &context, &tlb, context.flag_a, context.flag_b, context.flag_kind);
    const bool stepped =
        stepping && context.remaining == 0 && (!context.exit_to_kernel || context.exit().reason == ExitReason::kBudget);
    context.remaining += beyond;
    if (stepped) {
      context.Raise(ExitReason::kSingleStep);
      break;
    }
    if (context.exit_to_kernel) break;
    if (context.remaining == 0) {
      context.Raise(ExitReason::kBudget);
      break;
    }
  }
  state.rflags = (state.rflags & ~kStatusFlags) | kFlagsFixed |
                 MaterializeFlags(context.flag_a, context.flag_b, context.flag_kind);
  context.exit().instructions_retired = budget_ - static_cast<uint64_t>(context.remaining);
  instructions_.Add(context.exit().instructions_retired);
  const uint64_t slow_accesses = context.TakeSlowAccesses();
  if (options_.count_accesses) {
    memory_accesses_.Add(context.accesses);
    slow_memory_accesses_.Add(slow_accesses);
  }
  context.accesses = 0;
  return context.exit();
}

Engine::Counters InterpreterCore::counters() const {
  return {.instructions = instructions_.value(),
          .blocks_decoded = blocks_decoded_.value(),
          .blocks_entered_slowly = blocks_entered_slowly_.value(),
          .memory_accesses = memory_accesses_.value(),
          .slow_memory_accesses = slow_memory_accesses_.value()};
}

std::unique_ptr<Engine> MakeInterpreter(BlockCache* cache, InterpreterOptions options) {
  return std::make_unique<InterpreterCore>(cache, options);
}

}  // namespace remora::cpu
