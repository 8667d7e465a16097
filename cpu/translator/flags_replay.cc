#include "cpu/translator/flags_replay.h"

#include <algorithm>

#include "cpu/cpu_state.h"

namespace remora::cpu::translator {
namespace {

// Those that a result alone tells.
constexpr auto kOfResult = static_cast<uint32_t>(kFlagZF | kFlagSF | kFlagPF);

// Which guest register it is, if the host has it in the one of the same name; else -1.
int InPlace(const DecodedOperand& operand) {
  if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return -1;
  const int guest = GeneralRegister(operand.reg.value);
  return guest == kRsp || IsInContext(guest) ? -1 : guest;
}

FlagsReplay ByItself(const GuestInstruction& instruction) {
  FlagsReplay replay;
  for (int i = 0; i < 2; ++i) {
    const DecodedOperand& operand = instruction.decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) continue;
    const int guest = InPlace(operand);
    if (guest < 0) return {};
    replay.registers |= 1u << guest;
  }
  replay.length = instruction.decoded.info.length;
  std::copy_n(instruction.bytes.begin(), replay.length, replay.bytes.begin());
  return replay;
}

void Append(FlagsReplay* replay, unsigned byte) { replay->bytes[replay->length++] = static_cast<uint8_t>(byte); }

FlagsReplay ByResult(const GuestInstruction& instruction) {
  const DecodedOperand& result = instruction.decoded.operands[0];
  const int guest = InPlace(result);
  if (guest < 0 || IsHighByte(result.reg.value)) return {};
  FlagsReplay replay;
  const auto number = static_cast<unsigned>(guest);
  constexpr unsigned kOperandSize = 0x66, kRex = 0x40, kWide = 8, kBothUpper = 5, kTest = 0x84, kRegisters = 0xc0;
  if (result.size == 16) Append(&replay, kOperandSize);
  const unsigned rex = (result.size == 64 ? kWide : 0) | (number >= 8 ? kBothUpper : 0);
  // Without a prefix SIL and its kin would be DH and its.
  if (rex != 0 || (result.size == 8 && number >= 4)) Append(&replay, kRex | rex);
  Append(&replay, kTest | (result.size == 8 ? 0 : 1));
  Append(&replay, kRegisters | (number & 7) << 3 | (number & 7));
  replay.registers = 1u << number;
  return replay;
}

// ADD or SUB: R11 becomes what the result was before, and then the result. RSP's is told by the host's R10, if it does
// not move far: see BlockWriter::WriteStackPointer.
FlagsReplay ByUndoing(const GuestInstruction& instruction) {
  const DecodedOperand &to = instruction.decoded.operands[0], &from = instruction.decoded.operands[1];
  const bool constant = from.type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  constexpr int64_t kSmall = 32768;
  const bool of_stack = constant && to.type == ZYDIS_OPERAND_TYPE_REGISTER && to.reg.value == ZYDIS_REGISTER_RSP &&
                        from.imm.value.s > -kSmall && from.imm.value.s < kSmall;
  const int result = of_stack ? int{kR10} : InPlace(to), other = InPlace(from);
  if (result < 0 || to.size < 32 || result == other || (other < 0 && !constant)) return {};
  FlagsReplay replay;
  replay.registers = 1u << (of_stack ? int{kRsp} : result) | (constant ? 0 : 1u << other);
  replay.spoils_scratch = true;
  constexpr unsigned kRexToR11 = 0x41, kWide = 8, kUpper = 4, kRegisters = 0xc0, kR11Low = 3;
  constexpr unsigned kMov = 0x89, kAdd = 0x01, kSub = 0x29, kWithConstant = 0x81;
  const unsigned rex = kRexToR11 | (to.size == 64 ? kWide : 0);
  const auto with_register = [&](unsigned opcode, int reg) {
    const auto number = static_cast<unsigned>(reg);
    Append(&replay, rex | (number >= 8 ? kUpper : 0));
    Append(&replay, opcode);
    Append(&replay, kRegisters | (number & 7) << 3 | kR11Low);
  };
  const auto with_operand = [&](unsigned opcode) {
    if (!constant) return with_register(opcode, other);
    Append(&replay, rex);
    Append(&replay, kWithConstant);
    Append(&replay, kRegisters | (opcode & 0x38) | kR11Low);
    for (unsigned i = 0; i < 32; i += 8) Append(&replay, static_cast<unsigned>(from.imm.value.u >> i) & 0xff);
  };
  const bool adds = instruction.decoded.info.mnemonic == ZYDIS_MNEMONIC_ADD;
  with_register(kMov, result);
  with_operand(adds ? kSub : kAdd);
  with_operand(adds ? kAdd : kSub);
  return replay;
}

}  // namespace

FlagsReplay ReplayOf(const GuestInstruction& instruction, uint32_t flags) {
  if (instruction.action != Action::kReemit) return {};
  const bool of_result = (flags & ~kOfResult) == 0;
  switch (instruction.decoded.info.mnemonic) {
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
      return ByItself(instruction);
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
      return ByResult(instruction);
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
      return of_result ? ByResult(instruction) : ByUndoing(instruction);
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_SBB:
      return of_result ? ByResult(instruction) : FlagsReplay();
    default:
      return {};
  }
}

}  // namespace remora::cpu::translator
