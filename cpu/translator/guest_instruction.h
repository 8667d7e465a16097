#ifndef REMORA_CPU_TRANSLATOR_GUEST_INSTRUCTION_H_
#define REMORA_CPU_TRANSLATOR_GUEST_INSTRUCTION_H_

#include <array>
#include <cstdint>

#include "cpu/cpu_state.h"
#include "cpu/decoded_instruction.h"
#include "cpu/instruction_decoder.h"
#include "cpu/op.h"

namespace remora::cpu::translator {

// What becomes of an instruction.
enum class Action : uint8_t {
  kInterpret,  // not in the table: translated code leaves before it
  kReemit,     // as it is, operands re-encoded: reemit_table.inc
  kNothing,    // NOP, prefetches
  kLea,
  kPush,
  kPop,
  kLeaveFrame,  // LEAVE
  kCall,
  kRet,
  kJmp,
  kJcc,
  kLoop,
  kJrcxz,
  kSyscall,
  kString,  // string instructions, but LODS with REP
};

inline constexpr uint32_t kMaxInstructionBytes = 15;

// One instruction of a block with what its translation needs to know. Flags are bits as RFLAGS has them.
struct GuestInstruction {
  GuestInstruction() {}  // `decoded` is not cleared

  DecodedInstruction decoded;
  uint64_t pc = 0;
  std::array<uint8_t, kMaxInstructionBytes> bytes{};
  Action action = Action::kInterpret;
  uint32_t flags_read = 0;     // those that it may keep count as read
  uint32_t flags_written = 0;  // those that it may leave undefined count as written
  // General registers that it writes, or a part of, in full view or not: a bit each.
  uint16_t registers_written = 0;
  bool may_leave = false;  // it may fault or trap: the state before it can be seen
  bool uses_vectors = false, uses_x87 = false;
  bool uses_avx512 = false;        // then it uses vectors, too
  bool goes_on_at_target = false;  // a conditional branch in a trace: the trace is where it is taken
  int memory = -1;                 // which operand is the memory operand that is accessed or, for LEA, computed

  uint64_t next_pc() const { return pc + decoded.info.length; }
  const DecodedOperand& memory_operand() const { return decoded.operands[memory]; }
  // Of RET: how many bytes of the stack go beside the address.
  uint16_t drops() const {
    const bool has_operand =
        decoded.info.operand_count_visible > 0 && decoded.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    return has_operand ? static_cast<uint16_t>(decoded.operands[0].imm.value.u) : uint16_t{0};
  }
  bool is_direct_branch() const {
    const bool has_operand = action >= Action::kCall && action <= Action::kJrcxz && action != Action::kRet;
    return has_operand && decoded.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  }
  // Of a direct branch.
  uint64_t target() const;
  // Whether it is a call that one expects a return of: not what only asks where it is.
  bool is_returned_to() const { return action == Action::kCall && !(is_direct_branch() && target() == next_pc()); }
  // A string instruction with REP: one iteration is one instruction of the budget.
  bool repeats() const {
    constexpr uint64_t kRepeat = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
    return decoded.info.category == ZYDIS_CATEGORY_STRINGOP && (decoded.info.attributes & kRepeat) != 0;
  }
  // Of a conditional branch within a trace: where the trace is left.
  uint64_t side_exit() const { return goes_on_at_target ? next_pc() : target(); }
  bool writes_register(unsigned guest) const { return ((registers_written >> guest) & 1) != 0; }
  bool ends_block() const { return action >= Action::kCall || action == Action::kInterpret; }
};

// Bits as RFLAGS has them; see GuestInstruction.
struct FlagsOfInstruction {
  uint32_t read = 0, written = 0;
};
FlagsOfInstruction FlagsOf(const InstructionInfo& info);

// Fills in all behind `bytes` from what was decoded.
void Classify(GuestInstruction* instruction);

// The same, where *notes (may be null) may have it.
void ClassifyWithNotes(GuestInstruction* instruction, InstructionDecoder::Notes* notes);

// The number of the 64-bit general register that `reg` is or is a part of; -1: it is none. Asked several times for each
// operand.
constexpr int GeneralRegister(ZydisRegister reg) {
  constexpr int kFirst = ZYDIS_REGISTER_AL, kNumbers = ZYDIS_REGISTER_R15 - kFirst + 1;
  constexpr auto kTable = [] {
    std::array<int8_t, kNumbers> numbers{};
    for (int i = 0; i < kNumbers; ++i) {
      const int number = kFirst + i;
      const int of_width = number >= ZYDIS_REGISTER_RAX   ? number - ZYDIS_REGISTER_RAX
                           : number >= ZYDIS_REGISTER_EAX ? number - ZYDIS_REGISTER_EAX
                           : number >= ZYDIS_REGISTER_AX  ? number - ZYDIS_REGISTER_AX
                           : number >= ZYDIS_REGISTER_SPL ? number - ZYDIS_REGISTER_SPL + kRsp
                           : number >= ZYDIS_REGISTER_AH  ? number - ZYDIS_REGISTER_AH
                                                          : number - ZYDIS_REGISTER_AL;
      numbers[static_cast<size_t>(i)] = static_cast<int8_t>(of_width);
    }
    return numbers;
  }();
  const auto index = static_cast<unsigned>(reg) - static_cast<unsigned>(kFirst);
  return index < kTable.size() ? kTable[index] : -1;
}
// Whether a general register's number is one of the two that live in the GuestContext while translated code runs.
template <typename Number>
constexpr bool IsInContext(Number guest) {
  return guest == Number{kR10} || guest == Number{kR11};
}
// AH, CH, DH, BH.
constexpr bool IsHighByte(ZydisRegister reg) { return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH; }

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_GUEST_INSTRUCTION_H_
