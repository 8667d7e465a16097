#ifndef REMORA_CPU_CHAIN_H_
#define REMORA_CPU_CHAIN_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "cpu/cpu_state.h"
#include "cpu/cpuid.h"
#include "cpu/flags.h"
#include "cpu/handler_env.h"
#include "cpu/op.h"
#include "mm/tlb.h"

// What chained handlers are written with: parameters, registers, memory operands, and the ways to go on.
//
// A handler has a fast form, which calls nothing, and where it touches memory a slow form of the same template
// (kSlow), to which the fast one tail-calls when the TLB probe misses or the operand crosses a page. So no fast form
// has a stack frame, and the state of the chain never leaves its registers.

#define REMORA_PARAMS                                                                               \
  [[maybe_unused]] ::remora::cpu::CpuState *state, [[maybe_unused]] const ::remora::cpu::Op *op,    \
      [[maybe_unused]] ::remora::cpu::RunContext *context, [[maybe_unused]] ::remora::mm::Tlb *tlb, \
      [[maybe_unused]] uint64_t flag_a, [[maybe_unused]] uint64_t flag_b, [[maybe_unused]] uint64_t flag_kind
#define REMORA_ARGS state, op, context, tlb, flag_a, flag_b, flag_kind
#define REMORA_TAIL [[clang::musttail]] return

namespace remora::cpu {

// Follows a branch op (or one that ends a block): where its blocks are, once known. Only blocks of the same frame are
// linked, so that a link holds for every process that maps the frame, and dies with the frame's blocks.
struct BranchLinks {
  Handler unused = nullptr;
  std::atomic<const Op*> taken{nullptr};
  std::atomic<const Op*> not_taken{nullptr};
  uint32_t frame = ~0u;
  // Whether they lead to the page they come from. Where not, another process may have another frame there.
  bool taken_in_page = false;
  bool not_taken_in_page = false;
  uint16_t padding = 0;
};
static_assert(sizeof(BranchLinks) == sizeof(Op) && alignof(BranchLinks) == alignof(Op));

// pc -> first op of its block, direct mapped. Entries of other epochs are stale: see Interpreter.
struct JumpCacheEntry {
  uint64_t pc = 0;
  uint64_t epoch = 0;
  const Op* first = nullptr;
  uint64_t padding = 0;
};
inline constexpr uint64_t kJumpCacheEntries = 4096;
inline uint64_t JumpCacheIndex(uint64_t pc) { return (pc ^ (pc >> 12)) & (kJumpCacheEntries - 1); }

class InterpreterCore;

// What one Run carries along beside the registers.
struct RunContext final : HandlerEnv {
  int64_t remaining = 0;  // of the budget; the running block's instructions are taken off when it is entered
  const std::atomic<uint32_t>* interrupt = nullptr;
  JumpCacheEntry* jump_cache = nullptr;
  uint64_t epoch = 0;
  InterpreterCore* core = nullptr;
  BranchLinks* link_from = nullptr;  // to be filled by Resolve: which links, and which of them
  bool link_taken = false;
  bool exit_to_kernel = false;                     // false: the chain ended only to be entered again (TF, for one)
  uint64_t flag_a = 0, flag_b = 0, flag_kind = 0;  // as the chain left them
  uint64_t accesses = 0;                           // of memory in this Run; see InterpreterOptions::count_accesses
  std::atomic<uint32_t> fence{0};

  void Bind(CpuState* state, mm::Tlb* tlb) {
    state_ = state;
    tlb_ = tlb;
  }
  Exit& exit() { return exit_; }
  uint64_t TakeSlowAccesses() { return std::exchange(slow_accesses_, 0); }
  // `op` is the last one of its block that was begun: takes back what was counted for those behind it.
  void UncountAccessesBehind(const Op* op) {
    // Slots that are no instructions (EvexDetails) have none, and so do not shift what is behind them out of reach.
    int instructions = op->uncounted - 1;
    for (++op; instructions > 0; ++op) {
      accesses -= op->accesses;
      if (!op->is_details()) --instructions;
    }
  }
  CpuidResult Cpuid(uint32_t leaf, uint32_t subleaf);
  uint64_t TimeStamp();
  bool RandomBits(uint64_t* bits);  // false: there are none
  // After a write that may have gone the slow way: whether code that this engine may be about to run is gone or
  // elsewhere.
  bool CodeChanged() { return filled_for_write_ && CodeChangedSlow(); }

 private:
  bool CodeChangedSlow();
};

// --- registers ---

// An 8-bit register's number is its byte offset from the first general register, so AH needs no case of its own.
template <typename T>
[[gnu::always_inline]] inline T ReadRegister(const CpuState* state, uint8_t number) {
  if constexpr (sizeof(T) == 1) {
    return static_cast<T>(reinterpret_cast<const uint8_t*>(state)[number]);
  } else {
    return static_cast<T>(reinterpret_cast<const uint64_t*>(state)[number]);
  }
}
template <typename T>
[[gnu::always_inline]] inline void WriteRegister(CpuState* state, uint8_t number, T value) {
  if constexpr (sizeof(T) == 1) {
    reinterpret_cast<uint8_t*>(state)[number] = static_cast<uint8_t>(value);
  } else if constexpr (sizeof(T) == 2) {
    std::memcpy(reinterpret_cast<uint64_t*>(state) + number, &value, 2);
  } else {
    reinterpret_cast<uint64_t*>(state)[number] = static_cast<std::make_unsigned_t<T>>(value);
  }
}

// --- memory operands ---

// How an operand's address is made; kAny covers all, the others what is common.
enum class AddressKind : uint8_t { kBase, kBaseIndex, kAny };
inline AddressKind AddressKindOf(const Op& op) {
  if (op.segment != 0 || op.address32 || op.base == kNoRegister) return AddressKind::kAny;
  return op.index == kNoRegister ? AddressKind::kBase : AddressKind::kBaseIndex;
}

template <AddressKind kKind>
[[gnu::always_inline]] inline uint64_t OperandOffset(const CpuState* state, const Op* op) {
  const auto* registers = reinterpret_cast<const uint64_t*>(state);
  uint64_t address = static_cast<uint64_t>(int64_t{op->displacement});
  if constexpr (kKind == AddressKind::kBase) return address + registers[op->base];
  if constexpr (kKind == AddressKind::kBaseIndex)
    return address + registers[op->base] + (registers[op->index] << op->scale_shift);
  if (op->base != kNoRegister) address += registers[op->base];
  if (op->index != kNoRegister) address += registers[op->index] << op->scale_shift;
  return op->address32 ? static_cast<uint32_t>(address) : address;
}
template <AddressKind kKind>
[[gnu::always_inline]] inline uint64_t OperandAddress(const CpuState* state, const Op* op) {
  const uint64_t offset = OperandOffset<kKind>(state, op);
  if constexpr (kKind != AddressKind::kAny) return offset;
  if (op->segment == 0) return offset;
  return offset + (op->segment == 1 ? state->fs_base : state->gs_base);
}

// The host address of `size` bytes in one page that the TLB has in its first way; else null.
template <mm::Access kAccess, size_t kSize>
[[gnu::always_inline]] inline std::byte* ProbeGuest(const mm::Tlb* tlb, uint64_t address) {
  return tlb->Probe<kAccess, kSize>(GuestAddr(address));
}

// --- ways to go on ---

[[gnu::always_inline]] inline Handler LoadHandler(const Op* op) {
  return __atomic_load_n(&op->handler, __ATOMIC_RELAXED);
}

REMORA_CHAINED [[gnu::always_inline]] inline void Next(REMORA_PARAMS) {
  ++op;
  REMORA_TAIL LoadHandler(op)(REMORA_ARGS);
}

// Out of the chain at this instruction, which did not happen; context->exit() says why.
REMORA_CHAINED void LeaveAt(REMORA_PARAMS);
// Out of the chain behind this instruction.
REMORA_CHAINED void LeaveAfter(REMORA_PARAMS);
// On behind this instruction, but through a lookup: what follows in this block may no longer be the guest's code.
REMORA_CHAINED void ContinueElsewhere(REMORA_PARAMS);
// The end of a handler that may have written memory the slow way.
REMORA_CHAINED [[gnu::always_inline]] inline void NextAfterSlowWrite(REMORA_PARAMS) {
  if (context->CodeChanged()) [[unlikely]]
    REMORA_TAIL ContinueElsewhere(REMORA_ARGS);
  REMORA_TAIL Next(REMORA_ARGS);
}
// What PlainTrampoline chooses from: calls op->plain. kFlags: it reads or writes the flags.
template <bool kFlags>
REMORA_CHAINED void CallPlain(REMORA_PARAMS);
extern template void CallPlain<false>(REMORA_PARAMS);
extern template void CallPlain<true>(REMORA_PARAMS);
// Finds (or decodes) the block at state->rip and enters it.
REMORA_CHAINED void Resolve(REMORA_PARAMS);
// The block at `op` cannot be entered as it is: interrupt, or more instructions than the budget has left.
REMORA_CHAINED void EnterSlow(REMORA_PARAMS);

// `op` is the first op of a block, state->rip its address.
REMORA_CHAINED [[gnu::always_inline]] inline void Enter(REMORA_PARAMS) {
  const int64_t remaining = context->remaining - op->uncounted;
  if (remaining < 0 || context->interrupt->load(std::memory_order_relaxed) != 0) [[unlikely]]
    REMORA_TAIL EnterSlow(REMORA_ARGS);
  context->remaining = remaining;
  REMORA_TAIL LoadHandler(op)(REMORA_ARGS);
}

// The first op of the block at `pc`, if the jump cache knows it.
[[gnu::always_inline]] inline const Op* FindJump(const RunContext* context, uint64_t pc) {
  const JumpCacheEntry& entry = context->jump_cache[JumpCacheIndex(pc)];
  return ((entry.pc ^ pc) | (entry.epoch ^ context->epoch)) == 0 ? entry.first : nullptr;
}

// `op` is a branch whose links follow it. To immediate (taken), or behind it.
template <bool kTaken>
REMORA_CHAINED [[gnu::always_inline]] inline void Branch(REMORA_PARAMS) {
  const uint64_t pc =
      state->rip + (kTaken ? static_cast<uint64_t>(op->immediate) : uint64_t{op->offset} + uint64_t{op->length});
  auto* links = reinterpret_cast<BranchLinks*>(const_cast<Op*>(op + 1));
  const Op* first = (kTaken ? links->taken : links->not_taken).load(std::memory_order_acquire);
  state->rip = pc;
  if (first != nullptr) [[likely]] {
    op = first;
    REMORA_TAIL Enter(REMORA_ARGS);
  }
  if (const Op* known = FindJump(context, pc)) [[likely]] {
    op = known;
    REMORA_TAIL Enter(REMORA_ARGS);
  }
  context->link_from = links;
  context->link_taken = kTaken;
  REMORA_TAIL Resolve(REMORA_ARGS);
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_CHAIN_H_
