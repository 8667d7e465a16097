// Of BlockWriter: calls and returns that the host's CPU predicts as such.
//
// Its return predictor knows where a RET goes by the calls before it, however many places that may be. So a call is one
// of the host's, whose return address leads to a landing right behind it, and a RET ends with one of the host's.
// Neither leaves the host's RSP elsewhere, and the landing compares the guest's return address: that the guest's calls
// and returns are in order is only what is likely. (Where each RET had to match, a process with a shadow stack of the
// host's would not do: Remora is not built for one.)

#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "base/check.h"
#include "cpu/translator/block_frame.h"
#include "cpu/translator/block_writer.h"

namespace remora::cpu::translator {
namespace {

constexpr int32_t kWord = 8;

}  // namespace

// --- inlined calls ---

void BlockWriter::FindInlinedCalls() {
  is_inlined_.assign(count_, false);
  if (!is_path_) return;
  std::vector<uint32_t> open;
  for (uint32_t i = 0; i < count_; ++i) {
    const GuestInstruction& instruction = instructions_[i];
    if (instruction.is_returned_to()) {
      open.push_back(i);
    } else if (instruction.action == Action::kRet && !open.empty()) {
      // One that the path ends with goes anywhere.
      is_inlined_[open.back()] = i + 1 < count_ || goes_round_;
      open.pop_back();
    }
  }
}

void BlockWriter::EnterInlinedCall(uint64_t returns_to) {
  Nesting outside = nesting_;
  outside.settled += stack_moved_;
  nesting_.call = static_cast<uint32_t>(inlined_calls_.size());
  inlined_calls_.push_back({.outside = outside, .returns_to = returns_to});
}

void BlockWriter::LeaveInlinedCall() {
  if (nesting_.call != Nesting::kNone) nesting_.call = inlined_calls_[nesting_.call].outside.call;
}

void BlockWriter::TellHostOfInlinedCalls() {
  // More are rare, and each takes some 60 bytes at each way out of the path. (HostCode::kReserve allows for them.)
  constexpr size_t kMost = 4;
  DCHECK(stack_moved_ == 0);
  absl::InlinedVector<const InlinedCall*, kMost> calls;
  for (uint32_t call = nesting_.call; call != Nesting::kNone && calls.size() < kMost;) {
    calls.push_back(&inlined_calls_[call]);
    call = calls.back()->outside.call;
  }
  for (; !calls.empty(); calls.pop_back()) {
    const InlinedCall& call = *calls.back();
    // Where RSP is not known only the predictor is told.
    if (call.outside.stack_writes == nesting_.stack_writes)
      TellHostOfCall(call.returns_to, call.outside.settled - nesting_.settled + kWord);
    else
      WriteHostCall(call.returns_to, nullptr);
  }
}

// --- calls ---

HostPlace BlockWriter::ReturnPlace(int32_t rsp) {
  const auto put = [this](std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) code_.Byte(byte);
  };
  static_assert(GuestContext::kReturns == 256);
  if (rsp != 0) {
    code_.Lea(kScratch, {.base = kGuestRspHost, .displacement = rsp});
    put({0xc4, 0x43, 0xfb, 0xf0, 0xdb, GuestContext::kReturnShift});  // RORX R11, R11, n
  } else {
    put({0xc4, 0x43, 0xfb, 0xf0, 0xda, GuestContext::kReturnShift});  // RORX R11, R10, n
  }
  put({0x45, 0x0f, 0xb6, 0xdb});  // MOVZX R11D, R11B
  return {.base = kHostRsp, .index = kScratch, .shift = 3, .displacement = REMORA_FRAME(returns)};
}

void BlockWriter::TellHostOfCall(uint64_t returns_to, int32_t rsp) {
  KeepHeld(index_);
  held_ = OperandGroups::kNone;
  const HostPlace place = ReturnPlace(rsp);
  SettleStack();
  WriteHostCall(returns_to, &place);
}

void BlockWriter::WriteHostCall(uint64_t returns_to, const HostPlace* place) {
  const uint32_t call = code_.Call();
  // The landing: flags are saved, R11 is free, and the guest's return address is still where it was popped from.
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
  // Behind the call.
  code_.Land(call);
  if (place != nullptr) {
    constexpr unsigned kPop = 0x8f;
    code_.Memory(kPop, 0, *place, /*wide=*/false);
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

// --- returns ---

void BlockWriter::WriteHostReturn() {
  constexpr unsigned kIndirect = 0xff, kPush = 6, kRet = 0xc3;
  SaveFlagsBehind();
  stack_moved_ += kWord;
  SettleStack();
  ReturnStandIns();
  NoteBranch(/*popped=*/true);
  const HostPlace place = ReturnPlace(0);
  code_.Memory(kIndirect, kPush, place, /*wide=*/false);
  code_.Byte(kRet);
}

}  // namespace remora::cpu::translator
