#include "cpu/translator/operand_groups.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "cpu/cpu_state.h"

namespace remora::cpu::translator {
namespace {

bool NamesHighByte(const DecodedInstruction& in) {
  for (int i = 0; i < in.info.operand_count; ++i)
    if (in.operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER && IsHighByte(in.operands[i].reg.value)) return true;
  return false;
}

// By how much the instruction moves `reg`, which it writes; nothing: in some other way.
std::optional<int64_t> Moves(const GuestInstruction& instruction, unsigned reg) {
  const DecodedInstruction& in = instruction.decoded;
  switch (instruction.action) {
    case Action::kPush:
    case Action::kCall:
      if (reg == kRsp) return -8;
      return std::nullopt;
    case Action::kRet:
      if (reg == kRsp) return 8 + instruction.drops();
      return std::nullopt;
    case Action::kPop:
      if (reg == kRsp && GeneralRegister(in.operands[0].reg.value) != kRsp) return 8;
      return std::nullopt;
    default:
      break;
  }
  const DecodedOperand& to = in.operands[0];
  if (to.type != ZYDIS_OPERAND_TYPE_REGISTER || to.size != 64 || GeneralRegister(to.reg.value) != static_cast<int>(reg))
    return std::nullopt;
  const DecodedOperand& from = in.operands[1];
  switch (in.info.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
      if (from.type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return std::nullopt;
      return in.info.mnemonic == ZYDIS_MNEMONIC_ADD ? from.imm.value.s : -from.imm.value.s;
    case ZYDIS_MNEMONIC_INC:
      return 1;
    case ZYDIS_MNEMONIC_DEC:
      return -1;
    default:
      return std::nullopt;
  }
}

// MOV from another register, LEA of a register and a constant. RSP is another thing on the host, so its copies are not
// followed.
struct Copy {
  unsigned from;
  int64_t more;
};
std::optional<Copy> CopyOf(const DecodedInstruction& in) {
  const DecodedOperand &to = in.operands[0], &from = in.operands[1];
  if (to.type != ZYDIS_OPERAND_TYPE_REGISTER || to.size != 64) return std::nullopt;
  int source = -1;
  int64_t more = 0;
  if (in.info.mnemonic == ZYDIS_MNEMONIC_MOV && from.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    source = GeneralRegister(from.reg.value);
  } else if (in.info.mnemonic == ZYDIS_MNEMONIC_LEA && from.mem.index == ZYDIS_REGISTER_NONE &&
             in.info.address_width == 64) {
    source = GeneralRegister(from.mem.base);
    if (from.mem.has_displacement) more = from.mem.displacement;
  }
  const bool of_stack = source == kRsp && GeneralRegister(to.reg.value) != kRsp;
  const bool to_stack = source != kRsp && GeneralRegister(to.reg.value) == kRsp;
  if (source < 0 || of_stack || to_stack) return std::nullopt;
  return Copy{static_cast<unsigned>(source), more};
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
  const DecodedOperand& operand = instruction.memory_operand();
  if (in.info.address_width != 64) return {};
  const int base = GeneralRegister(operand.mem.base);
  const int index = GeneralRegister(operand.mem.index);
  const bool write = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  if (operand.mem.segment == ZYDIS_REGISTER_GS) return {};
  if (operand.mem.segment == ZYDIS_REGISTER_FS) {
    const int64_t low = operand.mem.has_displacement ? operand.mem.displacement : 0;
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
  const int64_t displacement = operand.mem.has_displacement ? operand.mem.displacement : 0;
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
  const DecodedOperand::Memory& memory = instruction.memory_operand().mem;
  const int64_t displacement = memory.has_displacement ? memory.displacement : 0;
  return memory.base == ZYDIS_REGISTER_NONE ? displacement : displacement + static_cast<int64_t>(instruction.next_pc());
}

void OperandGroups::FollowValues(const GuestInstruction& instruction) {
  for (uint32_t left = instruction.registers_written; left != 0; left &= left - 1) {
    const auto reg = static_cast<unsigned>(std::countr_zero(left));
    Value value = {static_cast<uint32_t>(users_.size()), 0};
    if (const std::optional<int64_t> moved = Moves(instruction, reg)) {
      value = {values_[reg].origin, values_[reg].moved + *moved};
    } else if (const std::optional<Copy> copy = CopyOf(instruction.decoded)) {
      value = {values_[copy->from].origin, values_[copy->from].moved + copy->more};
    }
    if (value.origin == users_.size()) users_.push_back(0);
    ++users_[value.origin];
    const uint32_t before = std::exchange(values_[reg], value).origin;
    if (--users_[before] != 0 || open_.empty()) continue;
    // Nobody has it any more.
    std::erase_if(open_, [&](const Open& open) {
      const Group& group = groups_[static_cast<uint32_t>(open.group)];
      return group.base < kConstant &&
             (open.base.origin == before || (group.index >= 0 && open.index.origin == before));
    });
  }
}

std::optional<int64_t> OperandGroups::MovedSince(const Open& open, const Operand& operand) const {
  const Group& group = groups_[static_cast<uint32_t>(open.group)];
  const auto base = static_cast<unsigned>(operand.base);
  if (base >= kConstant || group.base >= kConstant) {
    if (base != group.base) return std::nullopt;
    return 0;
  }
  const Value& value = values_[base];
  if (value.origin != open.base.origin || (group.index < 0) != (operand.index < 0)) return std::nullopt;
  const int64_t moved = value.moved - open.base.moved;
  if (group.keeps_place() && moved != 0) return std::nullopt;
  if (group.index < 0) return moved;
  const Value& index = values_[static_cast<unsigned>(operand.index)];
  if (index.origin != open.index.origin || group.scale != operand.scale) return std::nullopt;
  return moved + (index.moved - open.index.moved) * group.scale;
}

bool OperandGroups::ProbeEarlier(uint32_t number, uint32_t first) {
  Group& group = groups_[number];
  if (group.slot < 0 && group.needs_slot()) {
    TakeSlot(&group, first);
    if (group.slot < 0) return false;
  }
  if (group.slot >= 0 && first < group.slot_since) return false;
  group.first = first;
  return true;
}

void OperandGroups::TakeSlot(Group* group, uint32_t first) {
  const auto free = std::ranges::min_element(slots_);
  if (*free > first) return;
  group->slot = static_cast<int>(free - slots_.begin());
  group->slot_since = *free;
  *free = group->last + 1;
}

bool OperandGroups::ChangesPlace(const GuestInstruction& instruction, uint32_t number) const {
  const Group& group = groups_[number];
  return (group.base < kConstant && instruction.writes_register(group.base)) ||
         (group.index >= 0 && instruction.writes_register(static_cast<unsigned>(group.index)));
}

int OperandGroups::Join(const Operand& operand, uint32_t instruction) {
  for (const Open& open : open_) {
    const std::optional<int64_t> moved = MovedSince(open, operand);
    if (!moved) continue;
    Group& group = groups_[static_cast<uint32_t>(open.group)];
    const int64_t low = std::min(group.low, operand.low + *moved);
    const int64_t high = std::max(group.high, operand.high + *moved);
    if (high - low > kMaxBytes) continue;
    const bool grows = low != group.low || high != group.high;
    if (open.closed && !group.on_stack() &&
        ((operand.write && !group.write) || (grows && high - low > kMaxBytesBehindBranch)))
      continue;
    group.low = low;
    group.high = high;
    group.write |= operand.write;
    ++group.members;
    group.last = instruction;
    return open.group;
  }
  if (groups_.size() == kMaxGroups) return kNone;
  const auto number = static_cast<int>(groups_.size());
  groups_.push_back({.base = static_cast<unsigned>(operand.base),
                     .index = operand.index,
                     .scale = operand.scale,
                     .low = operand.low,
                     .high = operand.high,
                     .write = operand.write,
                     .first = instruction,
                     .members = 1,
                     .last = instruction});
  const auto value = [&](int reg) { return reg >= 0 && reg < static_cast<int>(kConstant) ? values_[reg] : Value(); };
  open_.push_back({number, value(operand.base), value(operand.index), false});
  return number;
}

void OperandGroups::Find(std::span<const GuestInstruction> instructions, bool coalesce) {
  groups_.clear();
  open_.clear();
  group_of_.assign(instructions.size(), kNone);
  slots_.fill(0);
  if (!coalesce) return;
  for (uint32_t reg = 0; reg < values_.size(); ++reg) values_[reg] = {reg, 0};
  users_.assign(values_.size(), 1);
  for (uint32_t i = 0; i < instructions.size(); ++i) {
    const GuestInstruction& instruction = instructions[i];
    if (const Operand operand = OperandOf(instruction); operand.base >= 0) group_of_[i] = Join(operand, i);
    if (instruction.action == Action::kJcc || (instruction.ends_block() && !instruction.is_direct_branch()))
      for (Open& open : open_) open.closed = true;
    FollowValues(instruction);
  }
  for (Group& group : groups_)
    if (group.members > 1 && group.needs_slot()) TakeSlot(&group, group.first);
  for (int& number : group_of_) {
    if (number == kNone) continue;
    const Group& group = groups_[static_cast<uint32_t>(number)];
    if (group.members > 1 && group.slot < 0 && group.needs_slot()) number = kNone;
  }
}

}  // namespace remora::cpu::translator
