#include "cpu/translator/flags_replay.h"

#include <algorithm>

#include "cpu/cpu_state.h"

namespace remora::cpu::translator {
namespace {

constexpr auto kAll = static_cast<uint32_t>(kStatusFlags);
// Those that a result alone tells.
constexpr auto kOfResult = static_cast<uint32_t>(kFlagZF | kFlagSF | kFlagPF);

// Which guest register it is, if the host has it in the one of the same name; else -1.
int InPlace(const ZydisDecodedOperand& operand) {
  if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return -1;
  const int guest = GeneralRegister(operand.reg.value);
  return guest == kRsp || IsInContext(guest) ? -1 : guest;
}

FlagsReplay ByItself(const GuestInstruction& instruction) {
  FlagsReplay replay;
  for (int i = 0; i < 2; ++i) {
    const ZydisDecodedOperand& operand = instruction.decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) continue;
    const int guest = InPlace(operand);
    if (guest < 0) return {};
    replay.registers |= 1u << guest;
  }
  replay.length = instruction.decoded.info.length;
  std::copy_n(instruction.bytes.begin(), replay.length, replay.bytes.begin());
  replay.flags = kAll;
  return replay;
}

FlagsReplay ByResult(const GuestInstruction& instruction, uint32_t flags) {
  const ZydisDecodedOperand& result = instruction.decoded.operands[0];
  const int guest = InPlace(result);
  if (guest < 0 || IsHighByte(result.reg.value)) return {};
  FlagsReplay replay;
  const auto byte = [&](unsigned value) { replay.bytes[replay.length++] = static_cast<uint8_t>(value); };
  const auto number = static_cast<unsigned>(guest);
  constexpr unsigned kOperandSize = 0x66, kRex = 0x40, kWide = 8, kBothUpper = 5, kTest = 0x84, kRegisters = 0xc0;
  if (result.size == 16) byte(kOperandSize);
  const unsigned rex = (result.size == 64 ? kWide : 0) | (number >= 8 ? kBothUpper : 0);
  // Without a prefix SIL and its kin would be DH and its.
  if (rex != 0 || (result.size == 8 && number >= 4)) byte(kRex | rex);
  byte(kTest | (result.size == 8 ? 0 : 1));
  byte(kRegisters | (number & 7) << 3 | (number & 7));
  replay.flags = flags;
  replay.registers = 1u << number;
  return replay;
}

}  // namespace

FlagsReplay ReplayOf(const GuestInstruction& instruction) {
  if (instruction.action != Action::kReemit) return {};
  switch (instruction.decoded.info.mnemonic) {
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
      return ByItself(instruction);
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
      return ByResult(instruction, kAll);
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_SUB:
      return ByResult(instruction, kOfResult);
    default:
      return {};
  }
}

}  // namespace remora::cpu::translator
