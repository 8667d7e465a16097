// Of BlockWriter: calls and returns that the host's CPU predicts as such.
//
// Its return predictor knows where a RET goes by the calls before it, however many places that may be. So a call is one
// of the host's, whose return address leads to the block behind it, and a RET ends with one of the host's. Neither
// leaves RSP elsewhere, so nothing depends on the guest's calls and returns to be in order; that is only what is
// likely.

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "base/check.h"
#include "cpu/translator/block_frame.h"
#include "cpu/translator/block_writer.h"

namespace remora::cpu::translator {
namespace {

constexpr int32_t kWord = 8;

// By RSP, without its low three bits: 8 of the others, which are RSP's and R10's alike.
static_assert(GuestContext::kReturns == 256 && sizeof(GuestContext::returns) <= kPageSize);

}  // namespace

void BlockWriter::FindInlinedCalls() {
  is_inlined_.assign(count_, false);
  if (!is_path_) return;
  std::vector<uint32_t> open;
  for (uint32_t i = 0; i < count_; ++i) {
    const Action action = instructions_[i].action;
    if (action == Action::kCall) {
      open.push_back(i);
    } else if (action == Action::kRet && !open.empty()) {
      // That the path does not end with: it knows where to.
      const bool is_known = i + 1 < count_ || goes_round_;
      is_inlined_[i] = is_inlined_[open.back()] = is_known;
      open.pop_back();
    }
  }
}

void BlockWriter::BeginInlinedCall(uint64_t returns_to) {
  inlined_calls_.push_back({.outer = inlined_call_,
                            .returns_to = returns_to,
                            .stack_moved = settled_ + stack_moved_,
                            .stack_writes = stack_writes_});
  inlined_call_ = static_cast<uint32_t>(inlined_calls_.size()) - 1;
}

uint32_t BlockWriter::AroundInlinedCall(uint32_t call) const {
  return call == kNoInlinedCall ? kNoInlinedCall : inlined_calls_[call].outer;
}

void BlockWriter::MakeInlinedCalls(uint32_t innermost) {
  // The host's CPU remembers some twenty.
  constexpr size_t kMost = 16;
  absl::InlinedVector<uint32_t, kMost> calls;
  for (uint32_t call = innermost; call != kNoInlinedCall && calls.size() < kMost; call = AroundInlinedCall(call))
    calls.push_back(call);
  for (; !calls.empty() && code_.has_room(); calls.pop_back()) {
    DCHECK(stack_moved_ == 0);
    const InlinedCall& call = inlined_calls_[calls.back()];
    const bool knows_stack = call.stack_writes == stack_writes_;
    if (knows_stack) LoadReturnIndex(call.stack_moved - settled_ + kWord);
    WriteHostCall(call.returns_to, knows_stack);
  }
}

void BlockWriter::MakeCall(uint64_t returns_to) {
  KeepHeld(index_);
  held_ = OperandGroups::kNone;
  LoadReturnIndex(stack_moved_ + kWord);
  SettleStack();
  WriteHostCall(returns_to, /*is_kept=*/true);
}

void BlockWriter::LoadReturnIndex(int32_t displacement) {
  if (displacement != 0) {
    code_.Lea(kScratch, {.base = kGuestRspHost, .displacement = displacement});
    for (const unsigned byte : {0xc4u, 0x43u, 0xfbu, 0xf0u, 0xdbu, 0x03u}) code_.Byte(byte);  // RORX R11, R11, 3
  } else {
    for (const unsigned byte : {0xc4u, 0x43u, 0xfbu, 0xf0u, 0xdau, 0x03u}) code_.Byte(byte);  // RORX R11, R10, 3
  }
}

HostPlace BlockWriter::ReturnField() {
  for (const unsigned byte : {0x45u, 0x0fu, 0xb6u, 0xdbu}) code_.Byte(byte);  // MOVZX R11D, R11B
  return {.base = kHostRsp, .index = kScratch, .shift = 3, .displacement = REMORA_FRAME(returns)};
}

void BlockWriter::WriteHostCall(uint64_t returns_to, bool is_kept) {
  const uint32_t call = code_.Call();
  // Where the host returns to: flags are saved, and the guest's return address is where it was popped from.
  constexpr HostPlace kPopped = {.base = kGuestRspHost, .displacement = -kWord};
  if (FitsSigned32(returns_to)) {
    code_.CompareConstant64(kPopped, static_cast<int32_t>(returns_to));
  } else {
    constexpr unsigned kCompareWith = 0x3b;
    code_.Constant(kScratch, returns_to);
    code_.Memory(kCompareWith, kScratch, kPopped);
  }
  out_.relocations.push_back({code_.JumpIf(kNotEqual), routines_.return_by_table});
  GoToReturn(returns_to);
  code_.Land(call);
  if (is_kept) {
    constexpr unsigned kPop = 0x8f;
    const HostPlace kept = ReturnField();
    code_.Memory(kPop, 0, kept, /*wide=*/false);
  } else {
    code_.Lea(kHostRsp, {.base = kHostRsp, .displacement = kWord});
  }
}

// Whoever returns may come from anywhere: that is counted, and nothing is known of the block there, though it be this
// one.
void BlockWriter::GoToReturn(uint64_t pc) {
  const Flags flags = std::exchange(flags_, Flags::kSaved);
  const uint64_t index_pc = std::exchange(index_pc_, pc);
  DCHECK(!NeedNotCount(pc));
  if (!InPage(pc))
    GoAcross(pc, /*live=*/0);
  else if (!optimizations_.chain)
    GoByTable(pc, /*live=*/0);
  else if (pc == pc_)
    code_.Land(code_.Jump(), out_.saved_entry);
  else
    LinkedJump(kAlways, pc, /*live=*/0);
  flags_ = flags;
  index_pc_ = index_pc;
}

void BlockWriter::WriteHostReturn() {
  constexpr unsigned kIndirect = 0xff, kPush = 6, kRet = 0xc3;
  SaveFlagsBehind();
  stack_moved_ += kWord;
  SettleStack();
  ReturnStandIns();
  NoteBranch(/*popped=*/true);
  LoadReturnIndex(0);
  const HostPlace kept = ReturnField();
  code_.Memory(kIndirect, kPush, kept, /*wide=*/false);
  code_.Byte(kRet);
}

}  // namespace remora::cpu::translator
