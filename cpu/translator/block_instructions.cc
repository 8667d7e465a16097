// Of BlockWriter: the instructions that are no branches.

#include <array>
#include <bit>
#include <cstdint>

#include "base/check.h"
#include "cpu/translator/block_frame.h"
#include "cpu/translator/block_writer.h"

namespace remora::cpu::translator {

namespace {

bool IsStackOperation(Action action) {
  return action == Action::kPush || action == Action::kPop || action == Action::kCall || action == Action::kRet;
}

}  // namespace

int BlockWriter::UsableInContext(const GuestInstruction& instruction, Placement* placement) {
  const DecodedInstruction& in = instruction.decoded;
  // Instructions of opmask registers have other opcodes for memory.
  if (instruction.memory >= 0 || instruction.uses_x87 || instruction.uses_avx512 ||
      (in.info.attributes & ZYDIS_ATTRIB_HAS_MODRM) == 0)
    return -1;
  switch (in.info.mnemonic) {
    // These mean something else with memory: a LOCK, a string of bits.
    case ZYDIS_MNEMONIC_XCHG:
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
      return -1;
    default:
      break;
  }
  const DecodedOperand *rm = nullptr, *reg = nullptr;
  uint32_t named = 0, twice = 0;
  for (int i = 0; i < in.info.operand_count; ++i) {
    const DecodedOperand& operand = in.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const int guest = GeneralRegister(operand.reg.value);
    if (guest < 0) continue;
    if (IsHighByte(operand.reg.value)) return -1;
    twice |= named & 1u << guest;
    named |= 1u << guest;
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) rm = &operand;
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) reg = &operand;
  }
  const auto usable = [&](const DecodedOperand* operand) {
    if (operand == nullptr) return -1;
    const int guest = GeneralRegister(operand->reg.value);
    return IsInContext(guest) && ((twice >> guest) & 1) == 0 ? guest : -1;
  };
  const auto in_context = [&](int guest) {
    const HostPlace place = InContext(static_cast<unsigned>(guest));
    placement->memory = place.base;
    placement->displacement = place.displacement;
    return guest;
  };
  // A 32-bit result clears the upper half of a register, but not of memory; and after a narrower one a load of more
  // than that would have to wait for it to reach the cache.
  constexpr int kWhole = 64;
  if (const int guest = usable(rm);
      guest >= 0 && ((rm->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0 || rm->size == kWhole)) {
    placement->rm_in_memory = true;
    return in_context(guest);
  }
  const int source = usable(reg);
  if (source < 0 || rm == nullptr || (reg->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) return -1;
  if (in.info.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) return -1;
  const unsigned opcode = in.info.opcode;
  const bool arithmetic = opcode < 0x40 && (opcode & 7) < 2;
  if (!arithmetic && in.info.mnemonic != ZYDIS_MNEMONIC_MOV && in.info.mnemonic != ZYDIS_MNEMONIC_TEST) return -1;
  placement->reg_in_memory = true;
  return in_context(source);
}

void BlockWriter::LoadRsp(unsigned to) {
  code_.Load(to, Frame(REMORA_FRAME(minus_stack_delta)));
  code_.Lea(to, {.base = static_cast<uint8_t>(to), .index = kGuestRspHost});
}

void BlockWriter::StoreRsp(unsigned from) {
  code_.Load(kGuestRspHost, Frame(REMORA_FRAME(stack_delta)));
  code_.Lea(kGuestRspHost, {.base = static_cast<uint8_t>(from), .index = kGuestRspHost});
}

bool BlockWriter::WritesStackPointer(const GuestInstruction& instruction) const {
  switch (instruction.action) {
    case Action::kPush:
    case Action::kCall:
    case Action::kRet:
      return false;
    case Action::kPop:
      return instruction.memory < 0 && GeneralRegister(instruction.decoded.operands[0].reg.value) == kRsp;
    default:
      return instruction.writes_register(kRsp) && StackMoveOf(instruction) == 0;
  }
}

void BlockWriter::SettleStack() {
  if (stack_moved_ != 0) code_.Lea(kGuestRspHost, OnStack(0));
  nesting_.settled += stack_moved_;
  stack_moved_ = 0;
}

int32_t BlockWriter::StackMoveOf(const GuestInstruction& instruction) const {
  const DecodedInstruction& in = instruction.decoded;
  const ZydisMnemonic mnemonic = in.info.mnemonic;
  if (instruction.action != Action::kReemit || (mnemonic != ZYDIS_MNEMONIC_ADD && mnemonic != ZYDIS_MNEMONIC_SUB))
    return 0;
  const DecodedOperand &to = in.operands[0], &from = in.operands[1];
  if (to.type != ZYDIS_OPERAND_TYPE_REGISTER || to.reg.value != ZYDIS_REGISTER_RSP ||
      from.type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
    return 0;
  // As far as Mark can tell.
  constexpr int64_t kFar = 16384;
  const int64_t move = mnemonic == ZYDIS_MNEMONIC_ADD ? from.imm.value.s : -from.imm.value.s;
  if (move <= -kFar || move >= kFar || stack_moved_ <= -kFar || stack_moved_ >= kFar) return 0;
  return (live_flags_[index_ + 1] & instruction.flags_written) == 0 ? static_cast<int32_t>(move) : 0;
}

bool BlockWriter::NeedsSettledStack(const GuestInstruction& instruction) const {
  if (stack_moved_ == 0) return false;
  constexpr int32_t kFar = 8192;
  if (stack_moved_ <= -kFar || stack_moved_ >= kFar) return true;
  const bool memory = instruction.memory >= 0;
  const DecodedOperand& first = instruction.decoded.operands[0];
  const bool names_rsp = first.type == ZYDIS_OPERAND_TYPE_REGISTER && GeneralRegister(first.reg.value) == kRsp;
  switch (instruction.action) {
    case Action::kNothing:
    case Action::kRet:
      return false;
    case Action::kJcc:
      return !GoesOn();
    case Action::kPush:
    case Action::kPop:
    case Action::kCall:
      return memory || names_rsp;
    case Action::kJmp:
      return index_ + 1 == count_ || memory || names_rsp;
    case Action::kLea:
      return names_rsp || GeneralRegister(instruction.memory_operand().mem.base) == kRsp;
    case Action::kReemit: {
      if (StackMoveOf(instruction) != 0) return false;
      for (int i = 0; i < instruction.decoded.info.operand_count; ++i) {
        const DecodedOperand& operand = instruction.decoded.operands[i];
        if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && GeneralRegister(operand.reg.value) == kRsp) return true;
      }
      return memory && GroupOf(index_) == OperandGroups::kNone &&
             GeneralRegister(instruction.memory_operand().mem.base) == kRsp;
    }
    default:
      return true;
  }
}

bool BlockWriter::WriteStackPointer(const GuestInstruction& instruction) {
  const DecodedInstruction& in = instruction.decoded;
  if (const int32_t move = StackMoveOf(instruction)) {
    stack_moved_ += move;
    // What the flags were before nobody reads either.
    flags_ = Flags::kSaved;
    held_behind_ = held_;
    return true;
  }
  const DecodedOperand &to = in.operands[0], &from = in.operands[1];
  if (in.info.operand_count_visible != 2 || to.type != ZYDIS_OPERAND_TYPE_REGISTER || to.size != 64) return false;
  const int to_guest = GeneralRegister(to.reg.value);
  if (in.info.mnemonic == ZYDIS_MNEMONIC_MOV && from.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    const int from_guest = GeneralRegister(from.reg.value);
    if (to_guest < 0 || from_guest < 0 || (to_guest == kRsp) == (from_guest == kRsp)) return false;
    held_behind_ = held_;
    if (to_guest == kRsp) {
      if (!IsInContext(from_guest)) return StoreRsp(HostRegister(static_cast<unsigned>(from_guest))), true;
      code_.Load(kScratch, InContext(static_cast<unsigned>(from_guest)));
      StoreRsp(kScratch);
      held_behind_ = OperandGroups::kNone;
    } else if (!IsInContext(to_guest)) {
      LoadRsp(HostRegister(static_cast<unsigned>(to_guest)));
    } else {
      LoadRsp(kScratch);
      code_.Store(InContext(static_cast<unsigned>(to_guest)), kScratch);
      held_behind_ = OperandGroups::kNone;
    }
    return true;
  }
  if (to_guest != kRsp || from.type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return false;
  // Where there is a stack, both RSP and R10 are addresses of the lower half, far from its ends; and they are alike in
  // what is less than a page. So the flags are the same, if they count at all.
  constexpr int64_t kSmall = 32768;
  const int64_t value = from.imm.value.s;
  if (value <= -kSmall || value >= kSmall) return false;
  const bool flags_count = (live_flags_[index_ + 1] & instruction.flags_written) != 0;
  const bool stack_is_used = index_ + 1 < count_ && GroupOf(index_ + 1) != OperandGroups::kNone &&
                             IsStackOperation(instructions_[index_ + 1].action);
  if (flags_count && (optimizations_.exact_flags || !stack_is_used)) return false;
  switch (in.info.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
      break;
    case ZYDIS_MNEMONIC_AND:
      if (value >= 0 || value < -static_cast<int64_t>(kPageSize)) return false;
      break;
    default:
      return false;
  }
  Placement placement;
  placement.general[kRsp] = kGuestRspHost;
  std::array<uint8_t, kMaxReencodedBytes> bytes;
  const unsigned length = Reencode(instruction, placement, bytes.data());
  code_.Append(bytes, length);
  held_behind_ = held_;
  NoteFlags(instruction);
  return true;
}

// Nothing has to be patched.
void BlockWriter::WriteAsItIs(const GuestInstruction& instruction) {
  code_.Append(instruction.bytes, instruction.decoded.info.length);
  NoteFlags(instruction);
}

void BlockWriter::WriteReemitted(const GuestInstruction& instruction) {
  if (WriteStackPointer(instruction)) return;
  const DecodedInstruction& in = instruction.decoded;
  const bool memory = instruction.memory >= 0;
  uint32_t used = 0, named = 0;
  bool high_byte = false;
  for (int i = 0; i < in.info.operand_count; ++i) {
    if (in.operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegister reg = in.operands[i].reg.value;
    const int guest = GeneralRegister(reg);
    if (guest < 0) continue;
    used |= 1u << guest;
    if (i < in.info.operand_count_visible) named |= 1u << guest;
    high_byte |= IsHighByte(reg);
  }
  const int group = memory ? GroupOf(index_) : OperandGroups::kNone;
  Placement placement;
  placement.memory = kScratch;
  // What still needs the scratch register when the instruction itself runs.
  bool scratch_free = !memory;
  if (group != OperandGroups::kNone) {
    for (const ZydisRegister reg : {instruction.memory_operand().mem.base, instruction.memory_operand().mem.index})
      if (const int guest = GeneralRegister(reg); guest >= 0 && !IsInContext(guest)) used |= 1u << guest;
    scratch_free = groups_.group(group).on_stack();
    const HostPlace place = PlaceInGroup(instruction, group);
    placement.memory = place.base;
    placement.index = place.index;
    placement.shift = place.shift;
    placement.displacement = place.displacement;
  } else if (memory) {
    ProbeOperand(instruction);
    const bool locked = (in.info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0 || in.info.mnemonic == ZYDIS_MNEMONIC_XCHG;
    if (locked) RequireAligned(instruction.memory_operand().size / 8u);
  } else {
    held_behind_ = held_;
  }
  PrepareFlags(instruction);

  // Loads that need nothing of what their destination was.
  const bool pure_load = in.info.mnemonic == ZYDIS_MNEMONIC_MOV || in.info.mnemonic == ZYDIS_MNEMONIC_MOVZX ||
                         in.info.mnemonic == ZYDIS_MNEMONIC_MOVSX || in.info.mnemonic == ZYDIS_MNEMONIC_MOVSXD;
  const bool pure = pure_load && in.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && in.operands[0].size >= 32;

  int spilled = -1;
  const auto spill = [&](bool for_high_byte) {
    CHECK(spilled < 0);
    // RBP as an address takes a displacement; with AH..BH there is no REX to name the upper ones.
    constexpr uint8_t kCandidates[] = {kRsi, kRdi, kRbx, kRdx, kRcx, kRax, kR8, kR9, kR12};
    for (const uint8_t candidate : kCandidates) {
      if (((used >> candidate) & 1) != 0 || (for_high_byte && candidate >= kR8)) continue;
      spilled = candidate;
      code_.Store(Frame(REMORA_FRAME(spill[0])), candidate);
      out_.marks.back().spilled = candidate & 0xf;
      return candidate;
    }
    CHECK_MSG(false, "no register left");
    return uint8_t{0};
  };
  if (high_byte && memory) {
    placement.memory = spill(true);
    code_.Move(placement.memory, kScratch);
  }
  const bool clears = (in.info.mnemonic == ZYDIS_MNEMONIC_XOR || in.info.mnemonic == ZYDIS_MNEMONIC_SUB) && !memory &&
                      in.operands[0].size >= 32 && in.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                      in.operands[0].reg.value == in.operands[1].reg.value;
  constexpr uint32_t kElsewhere = 1u << kRsp | 1u << kR10 | 1u << kR11;
  if (!memory && (named & kElsewhere) == 0) return WriteAsItIs(instruction);
  const int used_in_context = UsableInContext(instruction, &placement);
  struct Moved {
    unsigned guest;
    uint8_t host;
  };
  std::array<Moved, 3> moved;
  size_t num_moved = 0;
  for (const unsigned guest : {unsigned{kRsp}, unsigned{kR10}, unsigned{kR11}}) {
    if (((named >> guest) & 1) == 0 || static_cast<int>(guest) == used_in_context) continue;
    const bool is_destination = pure && GeneralRegister(in.operands[0].reg.value) == static_cast<int>(guest);
    const bool is_source = in.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                           GeneralRegister(in.operands[1].reg.value) == static_cast<int>(guest);
    const bool overwritten = clears || (is_destination && !is_source);
    uint8_t host = kScratch;
    if (scratch_free || (memory && overwritten)) {
      scratch_free = false;
      held_behind_ = OperandGroups::kNone;
    } else {
      host = spill(false);
    }
    if (!overwritten) guest == kRsp ? LoadRsp(host) : code_.Load(host, InContext(guest));
    placement.general[guest] = host;
    moved[num_moved++] = {guest, host};
  }

  std::array<uint8_t, kMaxReencodedBytes> bytes;
  const unsigned length = Reencode(instruction, placement, bytes.data());
  code_.Append(bytes, length);

  for (size_t i = 0; i < num_moved; ++i) {
    bool written = false;
    for (int k = 0; k < in.info.operand_count_visible; ++k)
      written |= in.operands[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                 GeneralRegister(in.operands[k].reg.value) == static_cast<int>(moved[i].guest) &&
                 (in.operands[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    if (written)
      moved[i].guest == kRsp ? StoreRsp(moved[i].host) : code_.Store(InContext(moved[i].guest), moved[i].host);
  }
  if (spilled >= 0) code_.Load(static_cast<unsigned>(spilled), Frame(REMORA_FRAME(spill[0])));
  NoteFlags(instruction);
}

void BlockWriter::WriteLea(const GuestInstruction& instruction) {
  const DecodedOperand& destination = instruction.decoded.operands[0];
  const auto guest = static_cast<unsigned>(GeneralRegister(destination.reg.value));
  const int bits = destination.size;
  const DecodedOperand::Memory& memory = instruction.memory_operand().mem;
  const int base = GeneralRegister(memory.base), index = GeneralRegister(memory.index);
  const bool to_context = IsInContext(guest), to_rsp = guest == kRsp, from_rsp = base == kRsp;
  if (bits == 64 && instruction.decoded.info.address_width == 64 && index < 0 && (to_rsp || from_rsp) && !to_context &&
      base >= 0 && !IsInContext(base)) {
    // By what is added to go from the one to the other, where R10 is not on both sides.
    HostPlace place = {.base = HostRegister(static_cast<unsigned>(base)), .displacement = Displacement(memory)};
    if (to_rsp != from_rsp) {
      place.index = HostRegister(guest);
      code_.Load(place.index, Frame(to_rsp ? REMORA_FRAME(stack_delta) : REMORA_FRAME(minus_stack_delta)));
    }
    code_.Lea(HostRegister(guest), place);
    held_behind_ = held_;
    return;
  }
  const uint8_t to = to_context ? kScratch : HostRegister(guest);
  const auto is_moved = [](int number) { return number == kRsp || IsInContext(number); };
  if (!to_context && !to_rsp && !is_moved(base) && !is_moved(index) && memory.base != ZYDIS_REGISTER_RIP &&
      memory.base != ZYDIS_REGISTER_EIP) {
    // As it is.
    code_.Append(instruction.bytes.data(), instruction.decoded.info.length);
    held_behind_ = held_;
    return;
  }
  const bool two_in_context = IsInContext(base) && IsInContext(index) && base != index;
  if (bits >= 32 && instruction.decoded.info.address_width == 64 && !to_rsp && !from_rsp) {
    const auto keep = [&] {
      if (to_context) code_.Store(InContext(guest), kScratch);
    };
    if (base >= 0 && !two_in_context) {
      const auto place_of = [&](int number) {
        const auto which = static_cast<unsigned>(number);
        if (!IsInContext(which)) return HostRegister(which);
        code_.Load(kScratch, InContext(which));
        return kScratch;
      };
      HostPlace place = {.base = place_of(base), .displacement = Displacement(memory)};
      if (index >= 0) {
        place.index = index == base ? place.base : place_of(index);
        place.shift = static_cast<uint8_t>(std::countr_zero(memory.scale));
      }
      code_.Memory(0x8d, to, place, /*wide=*/bits == 64);
      keep();
      if (!IsInContext(base) && !IsInContext(index) && !to_context) held_behind_ = held_;
      return;
    }
    if (memory.base == ZYDIS_REGISTER_RIP) {
      const uint64_t address = instruction.next_pc() + static_cast<uint64_t>(int64_t{Displacement(memory)});
      code_.Constant(to, bits == 64 ? address : static_cast<uint32_t>(address));
      keep();
      if (!to_context) held_behind_ = held_;
      return;
    }
  }
  ComputeAddress(instruction, /*keep_flags=*/true);
  if (bits == 32) code_.Move32(kScratch, kScratch);
  if (bits == 16) code_.Byte(0x66);
  if (to_rsp) {
    StoreRsp(kScratch);
  } else if (IsInContext(guest)) {
    code_.Memory(0x89, kScratch, InContext(guest), /*wide=*/bits != 16);
  } else if (bits == 16) {
    code_.Move32(HostRegister(guest), kScratch);
  } else {
    code_.Move(HostRegister(guest), kScratch);
  }
}

void BlockWriter::PushField(uint32_t field) {
  const HostPlace to = ProbeStack(Right::kWrite, -8);
  const HostPlace spill = Frame(REMORA_FRAME(spill[1]));
  code_.Store(spill, kHostRax);
  code_.Load(kHostRax, Frame(static_cast<int32_t>(field)));
  code_.Store(to, kHostRax);
  code_.Load(kHostRax, spill);
}

void BlockWriter::WritePush(const GuestInstruction& instruction) {
  const DecodedOperand& operand = instruction.decoded.operands[0];
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    code_.StoreConstant64(ProbeStack(Right::kWrite, -8), static_cast<int32_t>(operand.imm.value.s));
  } else if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    const auto guest = static_cast<unsigned>(GeneralRegister(operand.reg.value));
    if (guest == kRsp) {
      LoadRsp(kScratch);
      held_ = OperandGroups::kNone;
      code_.Store(Frame(REMORA_FRAME(value)), kScratch);
      PushField(static_cast<uint32_t>(REMORA_FRAME(value)));
    } else if (IsInContext(guest)) {
      PushField(static_cast<uint32_t>(InContext(guest).displacement));
    } else {
      code_.Store(ProbeStack(Right::kWrite, -8), HostRegister(guest));
    }
  } else {
    ProbeOperand(instruction);
    code_.Load(kScratch, {.base = kScratch});
    held_ = OperandGroups::kNone;
    code_.Store(Frame(REMORA_FRAME(value)), kScratch);
    PushField(static_cast<uint32_t>(REMORA_FRAME(value)));
  }
  stack_moved_ -= 8;
  held_behind_ = held_;
}

void BlockWriter::WritePop(const GuestInstruction& instruction) {
  const auto guest = static_cast<unsigned>(GeneralRegister(instruction.decoded.operands[0].reg.value));
  const HostPlace place = ProbeStack(Right::kRead, 0);
  if (guest == kRsp) {
    code_.Load(kScratch, place);
    return StoreRsp(kScratch);  // nothing has moved: it needs a settled stack
  }
  if (IsInContext(guest)) {
    code_.Load(kScratch, place);
    code_.Store(InContext(guest), kScratch);
  } else {
    code_.Load(HostRegister(guest), place);
    held_behind_ = held_;
  }
  stack_moved_ += 8;
}

void BlockWriter::WriteLeaveFrame() {
  KeepFlagsBefore();
  const uint32_t address_code = code_.size();
  code_.Move(kScratch, kHostRbp);
  constexpr unsigned kWord = 8;
  Probe(Right::kRead, kWord, Result::kHost, kNoOperand, address_code);
  code_.Load(kGuestRspHost, Frame(REMORA_FRAME(stack_delta)));
  code_.Lea(kGuestRspHost, {.base = kHostRbp, .index = kGuestRspHost, .displacement = 8});
  code_.Load(kHostRbp, {.base = kScratch});
}

}  // namespace remora::cpu::translator
