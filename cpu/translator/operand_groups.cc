#include "cpu/translator/operand_groups.h"

#include <algorithm>
#include <optional>

#include "cpu/cpu_state.h"
#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {
namespace {

bool NamesHighByte(const DecodedInstruction& in) {
  for (int i = 0; i < in.info.operand_count; ++i)
    if (in.operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER && IsHighByte(in.operands[i].reg.value)) return true;
  return false;
}

// By how much the instruction moves `base`; nothing: in some other way, or not at all.
std::optional<int64_t> Moves(const GuestInstruction& instruction, unsigned base) {
  const DecodedInstruction& in = instruction.decoded;
  switch (instruction.action) {
    case Action::kPush:
    case Action::kCall:
      if (base == kRsp) return -8;
      return std::nullopt;
    case Action::kRet:
      if (base == kRsp) return 8 + instruction.drops();
      return std::nullopt;
    case Action::kPop:
      if (base == kRsp && GeneralRegister(in.operands[0].reg.value) != kRsp) return 8;
      return std::nullopt;
    default:
      break;
  }
  const ZydisDecodedOperand& to = in.operands[0];
  if (to.type != ZYDIS_OPERAND_TYPE_REGISTER || to.size != 64 ||
      GeneralRegister(to.reg.value) != static_cast<int>(base))
    return std::nullopt;
  const ZydisDecodedOperand& from = in.operands[1];
  switch (in.info.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
      if (from.type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return std::nullopt;
      return in.info.mnemonic == ZYDIS_MNEMONIC_ADD ? from.imm.value.s : -from.imm.value.s;
    case ZYDIS_MNEMONIC_INC:
      return 1;
    case ZYDIS_MNEMONIC_DEC:
      return -1;
    case ZYDIS_MNEMONIC_LEA:
      if (from.mem.index != ZYDIS_REGISTER_NONE || in.info.address_width != 64 ||
          GeneralRegister(from.mem.base) != static_cast<int>(base))
        return std::nullopt;
      return from.mem.disp.has_displacement ? from.mem.disp.value : 0;
    default:
      return std::nullopt;
  }
}

}  // namespace

OperandGroups::Operand OperandGroups::OperandOf(const GuestInstruction& instruction) {
  const DecodedInstruction& in = instruction.decoded;
  constexpr int64_t kWord = 8;
  switch (instruction.action) {
    case Action::kJmp:
      if (instruction.memory < 0) return {};
      break;
    case Action::kPush:
    case Action::kCall:
      // Of two operands the other one is probed by itself.
      return {.base = kRsp, .low = -kWord, .high = 0, .write = true};
    case Action::kPop:
    case Action::kRet:
      return {.base = kRsp, .low = 0, .high = kWord, .write = false};
    case Action::kReemit:
      break;
    default:
      return {};
  }
  if (instruction.memory < 0 || NamesHighByte(in)) return {};
  if ((in.info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0 || in.info.mnemonic == ZYDIS_MNEMONIC_XCHG) return {};
  const ZydisDecodedOperand& operand = instruction.memory_operand();
  if (in.info.address_width != 64) return {};
  const int base = GeneralRegister(operand.mem.base);
  const int index = GeneralRegister(operand.mem.index);
  const bool write = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  if (operand.mem.segment == ZYDIS_REGISTER_GS) return {};
  if (operand.mem.segment == ZYDIS_REGISTER_FS) {
    const int64_t low = operand.mem.disp.has_displacement ? operand.mem.disp.value : 0;
    const int64_t high = low + operand.size / 8;
    if (operand.mem.base != ZYDIS_REGISTER_NONE || index >= 0 || low < 0 || high > GuestContext::kFsBytes) return {};
    return {.base = kFs, .low = low, .high = high, .write = write};
  }
  if (IsInContext(index)) return {};
  if (base < 0) {
    if (index >= 0) return {};
    const int64_t address = ConstantAddress(instruction);
    return {.base = kConstant, .low = address, .high = address + operand.size / 8, .write = write};
  }
  const int64_t displacement = operand.mem.disp.has_displacement ? operand.mem.disp.value : 0;
  // What a group covers has to be in reach of the instructions that use it, however far its registers have moved.
  if (displacement < -kMaxDisplacement || displacement > kMaxDisplacement) return {};
  return {.base = base,
          .index = index,
          .scale = index < 0 ? uint8_t{0} : operand.mem.scale,
          .low = displacement,
          .high = displacement + operand.size / 8,
          .write = write};
}

int64_t OperandGroups::ConstantAddress(const GuestInstruction& instruction) {
  const ZydisDecodedOperandMem_& memory = instruction.memory_operand().mem;
  const int64_t displacement = memory.disp.has_displacement ? memory.disp.value : 0;
  return memory.base == ZYDIS_REGISTER_NONE ? displacement : displacement + static_cast<int64_t>(instruction.next_pc());
}

void OperandGroups::MoveBases(const GuestInstruction& instruction) {
  std::erase_if(open_, [&](Open& open) {
    const Group& group = groups_[static_cast<uint32_t>(open.group)];
    const unsigned base = group.base;
    std::optional<int64_t> moved;
    if (group.index >= 0) {
      // What is kept has the base in it.
      const auto index = static_cast<unsigned>(group.index);
      if (WritesRegister(instruction, base)) return true;
      if (!WritesRegister(instruction, index)) return false;
      moved = Moves(instruction, index);
      if (moved) *moved *= group.scale;
    } else {
      if (base >= kConstant || !WritesRegister(instruction, base)) return false;
      moved = Moves(instruction, base);
    }
    if (!moved || *moved > INT32_MAX || *moved < INT32_MIN) return true;
    open.moved += *moved;
    return open.moved > INT32_MAX || open.moved < INT32_MIN;
  });
}

bool OperandGroups::ProbeEarlier(uint32_t number, uint32_t first) {
  Group& group = groups_[number];
  if (group.slot < 0 && group.needs_slot()) {
    if (num_slots_ == static_cast<int>(GuestContext::kMaxDeltas)) return false;
    group.slot = num_slots_++;
  }
  group.first = first;
  return true;
}

bool OperandGroups::ChangesPlace(const GuestInstruction& instruction, uint32_t number) const {
  const Group& group = groups_[number];
  return (group.base < kConstant && WritesRegister(instruction, group.base)) ||
         (group.index >= 0 && WritesRegister(instruction, static_cast<unsigned>(group.index)));
}

void OperandGroups::Find(std::span<const GuestInstruction> instructions, bool coalesce) {
  groups_.clear();
  open_.clear();
  group_of_.assign(instructions.size(), kNone);
  num_slots_ = 0;
  if (!coalesce) return;
  for (uint32_t i = 0; i < instructions.size(); ++i) {
    const GuestInstruction& instruction = instructions[i];
    if (const Operand operand = OperandOf(instruction); operand.base >= 0) {
      int joined = kNone;
      for (const Open& open : open_) {
        Group& group = groups_[static_cast<uint32_t>(open.group)];
        if (group.base != static_cast<unsigned>(operand.base) || group.index != operand.index ||
            group.scale != operand.scale)
          continue;
        const int64_t low = std::min(group.low, operand.low + open.moved);
        const int64_t high = std::max(group.high, operand.high + open.moved);
        if (high - low > kMaxBytes) continue;
        const bool grows = low != group.low || high != group.high;
        if (open.closed && !group.on_stack() &&
            ((operand.write && !group.write) || (grows && high - low > kMaxBytesBehindBranch)))
          continue;
        group.low = low;
        group.high = high;
        group.write |= operand.write;
        ++group.members;
        group.last = i;
        joined = open.group;
        break;
      }
      if (joined == kNone && groups_.size() < kMaxGroups) {
        joined = static_cast<int>(groups_.size());
        groups_.push_back({.base = static_cast<unsigned>(operand.base),
                           .index = operand.index,
                           .scale = operand.scale,
                           .low = operand.low,
                           .high = operand.high,
                           .write = operand.write,
                           .first = i,
                           .members = 1,
                           .last = i});
        open_.push_back({joined, 0, false});
      }
      group_of_[i] = joined;
    }
    if (instruction.action == Action::kJcc || (instruction.ends_block() && !instruction.is_direct_branch()))
      for (Open& open : open_) open.closed = true;
    MoveBases(instruction);
  }
  for (Group& group : groups_)
    if (group.members > 1 && group.needs_slot() && num_slots_ < static_cast<int>(GuestContext::kMaxDeltas))
      group.slot = num_slots_++;
  for (int& number : group_of_) {
    if (number == kNone) continue;
    const Group& group = groups_[static_cast<uint32_t>(number)];
    if (group.members > 1 && group.slot < 0 && group.needs_slot()) number = kNone;
  }
}

}  // namespace remora::cpu::translator
