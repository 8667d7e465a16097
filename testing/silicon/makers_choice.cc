#include "testing/silicon/makers_choice.h"

#include <cpuid.h>

#include "cpu/x87_unit.h"

namespace remora::silicon {
namespace {

using cpu::ExitReason;

constexpr uint16_t kUnderflow = 0x10;  // of the x87 status word

bool HostIsAmd() {
  unsigned eax, ebx, ecx, edx;
  if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return ebx == signature_AMD_ebx && edx == signature_AMD_edx && ecx == signature_AMD_ecx;
}

bool HasOperandOfClass(const Decoded& decoded, ZydisRegisterClass register_class) {
  for (int i = 0; i < decoded.info.operand_count; ++i)
    if (decoded.operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ZydisRegisterGetClass(decoded.operands[i].reg.value) == register_class)
      return true;
  return false;
}

bool HasPrefix(const Decoded& decoded, ZydisInstructionAttributes prefixes) {
  return (decoded.info.attributes & prefixes) != 0;
}

bool IsMemoryFault(ExitReason reason) {
  return reason == ExitReason::kFault || reason == ExitReason::kProtection || reason == ExitReason::kAlignment;
}

}  // namespace

MakersChoice MakersChoiceIn(const Decoded& decoded, const Outcome& native, const Outcome& interpreted) {
  static const bool host_is_amd = HostIsAmd();
  MakersChoice choice;
  if (host_is_amd) return choice;
  switch (decoded.info.mnemonic) {
    case ZYDIS_MNEMONIC_PAUSE:
      // With REX.B AMD exchanges r8 and rax, as without the F3; for Intel it stays PAUSE.
      choice.everything = (decoded.info.raw.rex.B & 1) != 0;
      break;
    case ZYDIS_MNEMONIC_NOP:
      // 0F 0D with a register operand: AMD's PREFETCH has none (#UD), Intel's reserved NOP has.
      choice.everything = decoded.info.opcode_map == ZYDIS_OPCODE_MAP_0F && decoded.info.opcode == 0x0d;
      break;
    case ZYDIS_MNEMONIC_CALL:
      // To a non-canonical address: Intel pushes first.
      choice.memory = native.reason == ExitReason::kProtection;
      break;
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
      choice.fault_address = true;
      choice.everything =
          native.reason != interpreted.reason && IsMemoryFault(native.reason) && IsMemoryFault(interpreted.reason);
      // A repetition that faults: Intel leaves the flags as they were before the first comparison.
      choice.flags = HasPrefix(decoded, ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE) && IsMemoryFault(native.reason);
      break;
    case ZYDIS_MNEMONIC_FST:
    case ZYDIS_MNEMONIC_FSTP:
    case ZYDIS_MNEMONIC_FIST:
    case ZYDIS_MNEMONIC_FISTP:
    case ZYDIS_MNEMONIC_FISTTP:
    case ZYDIS_MNEMONIC_FBSTP:
      // An unmasked exception of the conversion and an address that cannot be written: Intel sees the exception first
      // and stores nothing, so it completes with the exception pending.
      choice.everything = native.reason == ExitReason::kBreakpoint && IsMemoryFault(interpreted.reason) &&
                          (native.state.x87.status & cpu::kX87ErrorSummary) != 0;
      // Ten bytes that reach into a page that cannot be written: Intel has stored the others by then.
      choice.memory = IsMemoryFault(native.reason);
      break;
    case ZYDIS_MNEMONIC_MOVSXD:
      // Into a 16-bit register AMD reads four bytes, Intel two.
      choice.everything = decoded.info.operand_width == 16 && native.reason == ExitReason::kBreakpoint &&
                          IsMemoryFault(interpreted.reason);
      break;
    case ZYDIS_MNEMONIC_FSCALE:
    case ZYDIS_MNEMONIC_FPREM:
    case ZYDIS_MNEMONIC_FPREM1:
      // A denormal that comes out as it went in: for AMD an unmasked underflow, for Intel none.
      choice.everything = (interpreted.state.x87.status & ~native.state.x87.status & kUnderflow) != 0;
      break;
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
      // An image that is refused for a reserved bit of MXCSR: Intel has loaded parts by then.
      choice.everything = native.reason == ExitReason::kProtection && interpreted.reason == ExitReason::kProtection;
      break;
    default:
      break;
  }
  choice.x87_top = HasOperandOfClass(decoded, ZYDIS_REGCLASS_MMX) && IsMemoryFault(native.reason);
  return choice;
}

}  // namespace remora::silicon
