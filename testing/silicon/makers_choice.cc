#include "testing/silicon/makers_choice.h"

#include <cpuid.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "cpu/x87_unit.h"

namespace remora::silicon {
namespace {

using cpu::ExitReason;

constexpr uint16_t kX87Underflow = 0x10;  // of the x87 status word

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

// Whether the vectors differ in NaNs only, of which another one was taken.
template <typename T, typename Bits>
bool OnlyNansDiffer(const cpu::CpuState& native, const cpu::CpuState& interpreted) {
  for (size_t i = 0; i < native.vector.size(); ++i) {
    constexpr size_t kBytes = sizeof(cpu::VectorRegister);
    std::array<Bits, kBytes / sizeof(T)> a, b;
    std::memcpy(&a, &native.vector[i], kBytes);
    std::memcpy(&b, &interpreted.vector[i], kBytes);
    for (size_t lane = 0; lane < a.size(); ++lane)
      if (a[lane] != b[lane] && !(std::isnan(std::bit_cast<T>(a[lane])) && std::isnan(std::bit_cast<T>(b[lane]))))
        return false;
  }
  return true;
}

// What one AMD CPU does and another one does not.
void AddModelsChoice(const Decoded& decoded, const Outcome& native, const Outcome& interpreted, MakersChoice* choice) {
  constexpr uint32_t kMisalignedMode = 1u << 17;
  // EVEX: whether a result that is refused because it is tiny or huge would have been inexact besides, was it not for
  // that. The host is asked with exceptions masked (cpu/evex_unit.h) and tells of the denormal or infinity that it
  // makes.
  constexpr uint32_t kFlags = 3 << 3, kPrecision = 1 << 5;
  const uint32_t unmasked = native.state.mxcsr & ~(native.state.mxcsr >> 7);
  if (decoded.info.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX && native.reason == ExitReason::kSimdError &&
      interpreted.reason == ExitReason::kSimdError && (unmasked & kFlags) != 0 &&
      (native.state.mxcsr ^ interpreted.state.mxcsr) == kPrecision)
    choice->mxcsr = true;
  switch (decoded.info.mnemonic) {
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
      // Which operand fails first.
      choice->fault_address = true;
      choice->everything |=
          native.reason != interpreted.reason && IsMemoryFault(native.reason) && IsMemoryFault(interpreted.reason);
      break;
    case ZYDIS_MNEMONIC_SHA1RNDS4:
    case ZYDIS_MNEMONIC_SHA1NEXTE:
    case ZYDIS_MNEMONIC_SHA1MSG1:
    case ZYDIS_MNEMONIC_SHA1MSG2:
    case ZYDIS_MNEMONIC_SHA256RNDS2:
    case ZYDIS_MNEMONIC_SHA256MSG1:
    case ZYDIS_MNEMONIC_SHA256MSG2:
      // Zen takes operands that are not aligned.
      choice->everything |= native.reason != interpreted.reason && interpreted.reason == ExitReason::kProtection;
      break;
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
      // MXCSR.MM, for misaligned operands, is a bit that the guest's CPU has not.
      choice->everything |=
          native.reason == ExitReason::kBreakpoint &&
          (interpreted.reason == ExitReason::kProtection || (interpreted.state.mxcsr & kMisalignedMode) != 0);
      break;
    default:
      break;
  }
}

}  // namespace

MakersChoice MakersChoiceIn(const Decoded& decoded, const Outcome& native, const Outcome& interpreted) {
  static const bool host_is_amd = HostIsAmd();
  MakersChoice choice;
  AddModelsChoice(decoded, native, interpreted, &choice);
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
      choice.everything |=
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
      choice.everything = (interpreted.state.x87.status & ~native.state.x87.status & kX87Underflow) != 0;
      break;
    case ZYDIS_MNEMONIC_DPPS:
    case ZYDIS_MNEMONIC_VDPPS:
      // Of several NaNs Intel takes another one for each lane.
      choice.everything = OnlyNansDiffer<float, uint32_t>(native.state, interpreted.state);
      break;
    case ZYDIS_MNEMONIC_DPPD:
    case ZYDIS_MNEMONIC_VDPPD:
      choice.everything = OnlyNansDiffer<double, uint64_t>(native.state, interpreted.state);
      break;
    case ZYDIS_MNEMONIC_VCVTPS2PH:
      // Of a conversion to nowhere Intel tells what was inexact, and of a denormal operand always.
      choice.mxcsr = IsMemoryFault(native.reason) || native.reason == ExitReason::kSimdError;
      choice.everything = native.reason == ExitReason::kSimdError && IsMemoryFault(interpreted.reason);
      break;
    case ZYDIS_MNEMONIC_VGATHERDPS:
    case ZYDIS_MNEMONIC_VGATHERDPD:
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VGATHERQPD:
    case ZYDIS_MNEMONIC_VPGATHERDD:
    case ZYDIS_MNEMONIC_VPGATHERDQ:
    case ZYDIS_MNEMONIC_VPGATHERQD:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
      // Intel makes the masks all ones or zeros before the first access, and clears what lies above with each lane.
      if (IsMemoryFault(native.reason))
        for (const int operand : {0, 2})
          choice.vectors |= 1u << ZydisRegisterGetId(decoded.operands[operand].reg.value);
      break;
    case ZYDIS_MNEMONIC_VPMOVDB:
    case ZYDIS_MNEMONIC_VPMOVDW:
    case ZYDIS_MNEMONIC_VPMOVQB:
    case ZYDIS_MNEMONIC_VPMOVQD:
    case ZYDIS_MNEMONIC_VPMOVQW:
    case ZYDIS_MNEMONIC_VPMOVWB:
    case ZYDIS_MNEMONIC_VPMOVSDB:
    case ZYDIS_MNEMONIC_VPMOVSDW:
    case ZYDIS_MNEMONIC_VPMOVSQB:
    case ZYDIS_MNEMONIC_VPMOVSQD:
    case ZYDIS_MNEMONIC_VPMOVSQW:
    case ZYDIS_MNEMONIC_VPMOVSWB:
    case ZYDIS_MNEMONIC_VPMOVUSDB:
    case ZYDIS_MNEMONIC_VPMOVUSDW:
    case ZYDIS_MNEMONIC_VPMOVUSQB:
    case ZYDIS_MNEMONIC_VPMOVUSQD:
    case ZYDIS_MNEMONIC_VPMOVUSQW:
    case ZYDIS_MNEMONIC_VPMOVUSWB:
      // A masked store that reaches into another page: Intel names its last byte, AMD the first in that page.
      choice.fault_address = true;
      break;
    case ZYDIS_MNEMONIC_XGETBV:
      // A component that is as a reset leaves it may be in use all the same (SDM volume 1, 13.6): here it was loaded.
      if (static_cast<uint32_t>(native.state.gpr[cpu::kRcx]) == 1)
        choice.rax = native.state.gpr[cpu::kRax] & ~interpreted.state.gpr[cpu::kRax];
      break;
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
      // An image that is refused: Intel has loaded parts by then, and has not looked for the rest of it.
      choice.everything = native.reason == ExitReason::kProtection &&
                          (interpreted.reason == ExitReason::kProtection || IsMemoryFault(interpreted.reason));
      break;
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
      // Where the image would fit if it were not for components that are left out, Intel stores it.
      choice.everything = native.reason == ExitReason::kBreakpoint && IsMemoryFault(interpreted.reason);
      break;
    default:
      break;
  }
  choice.x87_top = HasOperandOfClass(decoded, ZYDIS_REGCLASS_MMX) && IsMemoryFault(native.reason);
  return choice;
}

}  // namespace remora::silicon
