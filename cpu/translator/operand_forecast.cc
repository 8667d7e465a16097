#include "cpu/translator/operand_forecast.h"

#include <Zydis/Zydis.h>

#include <bit>
#include <cstddef>

#include "base/guest_addr.h"
#include "cpu/guest_access.h"

namespace remora::cpu::translator {
namespace {

std::optional<uint64_t> Load(const mm::Tlb& tlb, uint64_t address, uint64_t bytes) {
  if ((address & kPageMask) + bytes > kPageSize) return std::nullopt;
  const std::byte* host = tlb.Probe<mm::Access::kRead>(GuestAddr(address));
  if (host == nullptr) return std::nullopt;
  uint64_t value = 0;
  CopyFromGuest(&value, host, bytes);
  return value;
}

bool IsWholeRegister(const DecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_REGISTER && operand.size >= 32 && GeneralRegister(operand.reg.value) >= 0;
}

}  // namespace

OperandForecast::Value OperandForecast::Address(const DecodedOperand::Memory& memory,
                                                const GuestInstruction& instruction) const {
  if (instruction.decoded.info.address_width != 64 || memory.segment == ZYDIS_REGISTER_FS ||
      memory.segment == ZYDIS_REGISTER_GS)
    return std::nullopt;
  uint64_t address = memory.has_displacement ? static_cast<uint64_t>(memory.displacement) : 0;
  if (memory.base == ZYDIS_REGISTER_RIP) return address + instruction.next_pc();
  const int base = GeneralRegister(memory.base), index = GeneralRegister(memory.index);
  if (base >= 0) {
    const Value value = registers_[static_cast<size_t>(base)];
    if (!value) return std::nullopt;
    address += *value;
  }
  if (index >= 0) {
    const Value value = registers_[static_cast<size_t>(index)];
    if (!value) return std::nullopt;
    address += *value * memory.scale;
  }
  return address;
}

OperandForecast::Value OperandForecast::Source(const DecodedOperand& operand, const GuestInstruction& instruction,
                                               const mm::Tlb& tlb) const {
  switch (operand.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
      return IsWholeRegister(operand) ? registers_[static_cast<size_t>(GeneralRegister(operand.reg.value))]
                                      : std::nullopt;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      return operand.imm.value.u;
    case ZYDIS_OPERAND_TYPE_MEMORY: {
      const Value address = Address(operand.mem, instruction);
      return address && operand.size >= 32 && operand.size <= 64 ? Load(tlb, *address, operand.size / 8u)
                                                                 : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

OperandForecast::Value OperandForecast::Result(const GuestInstruction& instruction, const mm::Tlb& tlb) const {
  const DecodedInstruction& decoded = instruction.decoded;
  const auto source = [&](size_t operand) { return Source(decoded.operands[operand], instruction, tlb); };
  switch (decoded.info.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
      return source(1);
    case ZYDIS_MNEMONIC_LEA:
      return Address(decoded.operands[1].mem, instruction);
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB: {
      const Value left = source(0), right = source(1);
      if (!left || !right) return std::nullopt;
      return decoded.info.mnemonic == ZYDIS_MNEMONIC_ADD ? *left + *right : *left - *right;
    }
    case ZYDIS_MNEMONIC_POP:
      return registers_[kRsp] ? Load(tlb, *registers_[kRsp], 8) : std::nullopt;
    default:
      return std::nullopt;
  }
}

void OperandForecast::Find(std::span<const GuestInstruction> instructions, const CpuState& state, const mm::Tlb& tlb) {
  for (size_t i = 0; i < registers_.size(); ++i) registers_[i] = state.gpr[i];
  addresses_.clear();
  for (const GuestInstruction& instruction : instructions) {
    const DecodedInstruction& decoded = instruction.decoded;
    addresses_.push_back(instruction.memory < 0 ? std::nullopt
                                                : Address(instruction.memory_operand().mem, instruction));
    if (instruction.registers_written == 0) continue;
    const bool names_register = IsWholeRegister(decoded.operands[0]);
    Value result = names_register ? Result(instruction, tlb) : std::nullopt;
    if (result && decoded.operands[0].size == 32) result = static_cast<uint32_t>(*result);
    const Value rsp = registers_[kRsp];
    for (uint32_t left = instruction.registers_written; left != 0; left &= left - 1)
      registers_[static_cast<size_t>(std::countr_zero(left))] = std::nullopt;
    if (decoded.info.mnemonic == ZYDIS_MNEMONIC_PUSH && rsp) registers_[kRsp] = *rsp - decoded.info.operand_width / 8;
    if (decoded.info.mnemonic == ZYDIS_MNEMONIC_POP && rsp) registers_[kRsp] = *rsp + decoded.info.operand_width / 8;
    if (names_register && decoded.info.mnemonic != ZYDIS_MNEMONIC_PUSH)
      registers_[static_cast<size_t>(GeneralRegister(decoded.operands[0].reg.value))] = result;
  }
}

}  // namespace remora::cpu::translator
