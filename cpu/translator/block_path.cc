// Of BlockWriter: what only paths have.

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "cpu/translator/block_frame.h"
#include "cpu/translator/block_writer.h"

namespace remora::cpu::translator {
namespace {

constexpr unsigned kImmediate = 0x81, kCmp = 7;

}  // namespace

const GeneratedBlock* BlockWriter::WritePath(std::span<const GuestInstruction> instructions, uint32_t gate,
                                             bool goes_round, LiveAt live_at) {
  is_path_ = true;
  goes_round_ = goes_round;
  gate_ = gate;
  Write(instructions, /*crosses_page=*/false, /*alone=*/false, live_at, NoneShared);
  is_path_ = goes_round_ = false;
  gate_ = GuestContext::kNoGate;
  return code_.has_room() ? &out_ : nullptr;
}

bool BlockWriter::HasRoom() const {
  CHECK(is_path_ || code_.has_room());
  return code_.has_room();
}

bool BlockWriter::IsOnPath(uint64_t pc) const {
  return is_path_ && std::ranges::any_of(instructions_.first(count_), [&](const GuestInstruction& instruction) {
           return (instruction.pc ^ pc) / kPageSize == 0;
         });
}

void BlockWriter::RequireTarget(const GuestInstruction& instruction) {
  const uint64_t expected = NextOnPath(index_);
  Cold cold = {.kind = Cold::Kind::kOtherTarget, .index = index_, .moved = stack_moved_};
  const DecodedOperand& operand = instruction.decoded.operands[0];
  HostPlace place;
  bool in_memory = false, in_register = false;
  if (instruction.action == Action::kRet) {
    place = ProbeStack(Right::kRead, 0);
    in_memory = place.base != kScratch;
  } else if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    const int guest = GeneralRegister(operand.reg.value);
    in_register = !IsInContext(guest) && guest != kRsp;
  }
  KeepFlagsBefore();
  if (FitsSigned32(expected) && in_memory) {
    code_.CompareConstant64(place, static_cast<int32_t>(expected));
  } else if (FitsSigned32(expected) && in_register) {
    const uint8_t target = HostRegister(static_cast<unsigned>(GeneralRegister(operand.reg.value)));
    for (const unsigned byte : {target >= 8 ? 0x49u : 0x48u, kImmediate, 0xc0u | kCmp << 3 | (target & 7u)})
      code_.Byte(byte);
    code_.Dword(static_cast<uint32_t>(expected));
  } else {
    KeepHeld(index_);
    if (instruction.action == Action::kRet)
      code_.Load(kScratch, place);
    else
      LoadTarget(instruction);
    held_ = OperandGroups::kNone;
    cold.loaded = true;
    if (FitsSigned32(expected)) {
      for (const unsigned byte : {0x49u, kImmediate, 0xfbu}) code_.Byte(byte);  // CMP R11, expected
      code_.Dword(static_cast<uint32_t>(expected));
    } else {
      for (const unsigned byte : {0x4cu, 0x3bu, 0x1du}) code_.Byte(byte);  // CMP R11, [RIP + n]
      cold.constant = code_.size();
      code_.Dword(0);
    }
  }
  SpoilFlags();
  cold.jump = code_.JumpIf(kNotEqual);
  AddCold(cold);
  held_behind_ = held_;
}

void BlockWriter::WriteOtherTarget(const Cold& cold) {
  const GuestInstruction& instruction = instructions_[cold.index];
  index_pc_ = instruction.pc;
  held_ = OperandGroups::kNone;
  if (!cold.loaded) {
    if (instruction.action == Action::kRet)
      code_.Load(kScratch, OnStack(0));
    else
      code_.Move(kScratch,
                 HostRegister(static_cast<unsigned>(GeneralRegister(instruction.decoded.operands[0].reg.value))));
  }
  code_.Store(Frame(REMORA_FRAME(target)), kScratch);
  Refusable refusable = Refusable::kYes;
  if (instruction.action == Action::kRet) {
    refusable = DropFrame(instruction);
    LeaveInlinedCall();
  } else if (instruction.action == Action::kCall) {
    RequireCanonicalTarget();
    PushReturnAddress(instruction);
    refusable = Refusable::kNo;
  }
  SettleStack();
  TellHostOfInlinedCalls();
  if (host_returns_ && instruction.action == Action::kCall) TellHostOfCall(instruction.next_pc(), /*rsp=*/8);
  code_.Load(kScratch, Frame(REMORA_FRAME(target)));
  GiveBack();
  ReturnStandIns();
  GoThroughTable(refusable);
}

void BlockWriter::GiveBack() {
  constexpr unsigned kAdd = 0;
  if (!optimizations_.exact_count) return;
  code_.Immediate32(kAdd, Frame(REMORA_FRAME(remaining)), static_cast<int32_t>(count_ - index_ - 1));
}

}  // namespace remora::cpu::translator
