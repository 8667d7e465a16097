#ifndef REMORA_CPU_TRANSLATOR_OPERAND_FORECAST_H_
#define REMORA_CPU_TRANSLATOR_OPERAND_FORECAST_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "cpu/cpu_state.h"
#include "cpu/translator/guest_instruction.h"
#include "mm/tlb.h"

namespace remora::cpu::translator {

// Where a block's memory operands will be when it is run for the first time: a block is translated when it is come to,
// so what registers and memory have then is known. What is found there is a guess: stores of the block itself are not
// followed, and the block may be run later with other values.
//
//     mov rax, [rdi + 8]      RDI is known
//     mov rcx, [rax]          RAX will be what is at RDI + 8 now
//     call [rcx + 16]         likewise
//
// Thread safety: none.
class OperandForecast {
 public:
  // For a block that begins in `state`.
  void Find(std::span<const GuestInstruction> instructions, const CpuState& state, const mm::Tlb& tlb);
  // Of the instruction's memory operand; nothing: not known.
  std::optional<uint64_t> AddressOf(uint32_t instruction) const { return addresses_[instruction]; }

 private:
  using Value = std::optional<uint64_t>;

  Value Address(const DecodedOperand::Memory& memory, const GuestInstruction& instruction) const;
  // What the instruction leaves in the general register that is its first operand.
  Value Result(const GuestInstruction& instruction, const mm::Tlb& tlb) const;
  Value Source(const DecodedOperand& operand, const GuestInstruction& instruction, const mm::Tlb& tlb) const;

  std::array<Value, std::tuple_size_v<decltype(CpuState::gpr)>> registers_;
  std::vector<Value> addresses_;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_OPERAND_FORECAST_H_
