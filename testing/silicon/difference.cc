#include "testing/silicon/difference.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "cpu/cpuid.h"
#include "testing/silicon/makers_choice.h"

namespace remora::silicon {
namespace {

using cpu::ExitReason, cpu::kFlagAF, cpu::kFlagCF, cpu::kFlagOF, cpu::kFlagPF, cpu::kFlagSF, cpu::kFlagZF;

constexpr uint64_t kComparedFlags =
    cpu::kStatusFlags | cpu::kFlagDF | cpu::kFlagTF | cpu::kFlagNT | cpu::kFlagAC | cpu::kFlagID;
constexpr const char* kGprNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

[[gnu::format(printf, 2, 3)]] void Append(std::string* out, const char* format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof(line), format, arguments);
  va_end(arguments);
  *out += line;
}

std::string Hex(const void* bytes, size_t length) {
  std::string text;
  for (size_t i = length; i-- > 0;) Append(&text, "%02x", static_cast<const uint8_t*>(bytes)[i]);
  return text;
}

// Where a count comes from: an immediate, CL, or 1. The masked count.
unsigned ShiftCount(const Decoded& decoded, const cpu::CpuState& before) {
  const ZydisDecodedOperand& last = decoded.operands[decoded.info.operand_count_visible - 1];
  const uint64_t raw = last.type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? last.imm.value.u : before.gpr[cpu::kRcx];
  return static_cast<unsigned>(raw & (decoded.operands[0].size == 64 ? 63 : 31));
}

// SHLD and SHRD by more than 16 with 16-bit operands: the result itself is undefined (SDM volume 2, SHLD).
bool ResultIsUndefined(const Decoded& decoded, const cpu::CpuState& before) {
  return (decoded.info.mnemonic == ZYDIS_MNEMONIC_SHLD || decoded.info.mnemonic == ZYDIS_MNEMONIC_SHRD) &&
         ShiftCount(decoded, before) > decoded.operands[0].size;
}

// Bytes of the memory operand that are not compared.
struct Ignored {
  uint64_t address = 0;
  uint64_t first = 0, end = 0;
  uint64_t second_first = 0, second_end = 0;
  bool Has(uint64_t at) const {
    const uint64_t offset = at - address;
    return (offset >= first && offset < end) || (offset >= second_first && offset < second_end);
  }
};

// FIP, FDP and FOP: AMD's FXSAVE and XSAVE, which carry the state into a signal frame and out of it, leave them out
// unless an exception is pending (APM volume 2, 11.4.4), so what the native unit holds is not known. MXCSR_MASK tells
// of AMD's misaligned mode, which the interpreter does not have.
Ignored IgnoredBytes(const Decoded& decoded, uint64_t address) {
  switch (decoded.info.mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
      if (decoded.operands[0].size == 14 * 8 || decoded.operands[0].size == 94 * 8) return {address, 6, 14};
      return {address, 12, 28};
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
      return {address & ~uint64_t{15}, 6, 24, 28, 32};
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
      return {address & ~uint64_t{63}, 6, 24, 28, 32};
    default:
      return {};
  }
}

}  // namespace

// SDM volume 2, "Flags Affected" of each instruction; APM volume 3 agrees.
uint64_t UndefinedFlags(const Decoded& decoded, const cpu::CpuState& before) {
  switch (decoded.info.mnemonic) {
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_TEST:
      return kFlagAF;
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
      return kFlagCF | kFlagOF | kFlagSF | kFlagAF | kFlagPF;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
      return kFlagOF | kFlagSF | kFlagAF | kFlagPF;
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
      return cpu::kStatusFlags;
    case ZYDIS_MNEMONIC_LZCNT:
    case ZYDIS_MNEMONIC_TZCNT:
      return kFlagOF | kFlagSF | kFlagAF | kFlagPF;
    case ZYDIS_MNEMONIC_ANDN:
    case ZYDIS_MNEMONIC_BLSI:
    case ZYDIS_MNEMONIC_BLSMSK:
    case ZYDIS_MNEMONIC_BLSR:
    case ZYDIS_MNEMONIC_BZHI:
      return kFlagAF | kFlagPF;
    case ZYDIS_MNEMONIC_BEXTR:
      return kFlagSF | kFlagAF | kFlagPF;
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_IMUL:
      return kFlagSF | kFlagZF | kFlagAF | kFlagPF;
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
      return ShiftCount(decoded, before) > 1 ? kFlagOF : 0;
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR: {
      const unsigned count = ShiftCount(decoded, before);
      if (count == 0) return 0;
      uint64_t undefined = kFlagAF | (count > 1 ? kFlagOF : 0);
      if (decoded.info.mnemonic != ZYDIS_MNEMONIC_SAR && count >= decoded.operands[0].size) undefined |= kFlagCF;
      return undefined;
    }
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD: {
      const unsigned count = ShiftCount(decoded, before);
      return count == 0 ? 0 : kFlagAF | (count > 1 ? kFlagOF : 0);
    }
    default:
      return 0;
  }
}

std::string Difference(const TestCase& test_case, const Decoded& decoded, const Outcome& native,
                       const Outcome& interpreted) {
  std::string text;
  const cpu::CpuState& before = test_case.state;
  if (ResultIsUndefined(decoded, before)) return text;
  const MakersChoice makers = MakersChoiceIn(decoded, native, interpreted);
  if (makers.everything) return text;
  if (native.reason != interpreted.reason) {
    Append(&text, "  exit: native %s, Remora %s\n", std::string(cpu::ExitReasonName(native.reason)).c_str(),
           std::string(cpu::ExitReasonName(interpreted.reason)).c_str());
  } else if (native.reason == ExitReason::kFault) {
    const mm::Fault &a = native.fault, &b = interpreted.fault;
    // The images of FXSAVE and the like, and the frames of ENTER, are accessed in an order that is the maker's.
    bool large = decoded.info.mnemonic == ZYDIS_MNEMONIC_ENTER;
    for (int i = 0; i < decoded.info.operand_count; ++i)
      large = large || (decoded.operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && decoded.operands[i].size > 64);
    large = large || makers.fault_address;
    if (a.access != b.access || (!large && (a.addr != b.addr || a.kind != b.kind)))
      Append(&text, "  fault: native address %#lx access %d kind %d, Remora address %#lx access %d kind %d\n",
             a.addr.value(), static_cast<int>(a.access), static_cast<int>(a.kind), b.addr.value(),
             static_cast<int>(b.access), static_cast<int>(b.kind));
  }
  auto compare = [&](const char* name, uint64_t was, uint64_t a, uint64_t b) {
    if (a != b) Append(&text, "  %s: before %#lx, native %#lx, Remora %#lx\n", name, was, a, b);
  };
  const cpu::CpuState &x = native.state, &y = interpreted.state;
  // XGETBV: the host has components that the interpreter has not.
  const bool is_xgetbv = decoded.info.mnemonic == ZYDIS_MNEMONIC_XGETBV;
  const uint64_t compared_rax = (is_xgetbv ? cpu::EnabledXstate() : ~uint64_t{0}) & ~makers.rax;
  for (int i = 0; i < 16; ++i) {
    const uint64_t compared = i == cpu::kRax ? compared_rax : ~uint64_t{0};
    compare(kGprNames[i], before.gpr[i], x.gpr[i] & compared, y.gpr[i] & compared);
  }
  compare("rip", before.rip, x.rip, y.rip);
  const bool completed = native.reason == ExitReason::kBreakpoint;
  const uint64_t flags = makers.flags ? 0 : kComparedFlags & ~(completed ? UndefinedFlags(decoded, before) : 0);
  compare("rflags", before.rflags & flags, x.rflags & flags, y.rflags & flags);
  if (!makers.mxcsr) compare("mxcsr", before.mxcsr, x.mxcsr, y.mxcsr);
  for (int i = 0; i < 32; ++i) {
    constexpr size_t kBytes = sizeof(cpu::VectorRegister);
    if ((makers.vectors >> i & 1) != 0 || std::memcmp(&x.vector[i], &y.vector[i], kBytes) == 0) continue;
    Append(&text, "  zmm%d: before %s\n", i, Hex(&before.vector[i], kBytes).c_str());
    Append(&text, "        native %s\n", Hex(&x.vector[i], kBytes).c_str());
    Append(&text, "        Remora %s\n", Hex(&y.vector[i], kBytes).c_str());
  }
  for (int i = 0; i < 8; ++i) compare("opmask", before.opmask[i], x.opmask[i], y.opmask[i]);
  compare("fcw", before.x87.control, x.x87.control, y.x87.control);
  compare("fsw", before.x87.status, x.x87.status, y.x87.status);
  if (!makers.x87_top) compare("top", before.x87.top, x.x87.top, y.x87.top);
  compare("tags", before.x87.valid, x.x87.valid, y.x87.valid);
  for (int i = 0; i < 8; ++i) {
    const cpu::X87Register &a = x.x87.registers[i], &b = y.x87.registers[i], &was = before.x87.registers[i];
    if (a.significand == b.significand && a.sign_exponent == b.sign_exponent) continue;
    Append(&text, "  physical x87 register %d: before %04x:%016lx, native %04x:%016lx, Remora %04x:%016lx\n", i,
           was.sign_exponent, was.significand, a.sign_exponent, a.significand, b.sign_exponent, b.significand);
  }
  // What an ENTER that faults has pushed lies below RSP, as far as its microcode came.
  const bool below_stack = decoded.info.mnemonic == ZYDIS_MNEMONIC_ENTER && native.reason != ExitReason::kBreakpoint;
  if (!below_stack && !makers.memory && std::memcmp(native.data.data(), interpreted.data.data(), kDataBytes) != 0) {
    uint64_t address = 0;
    for (int i = 0; i < decoded.info.operand_count && address == 0; ++i) {
      const ZydisDecodedOperand& operand = decoded.operands[i];
      if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
      // The images are large: the first byte that changed is near enough, found by what both wrote alike.
      for (size_t at = 0; at < kDataBytes && address == 0; ++at)
        if (native.data[at] != test_case.data[at]) address = kScratchStart + at;
    }
    const Ignored ignored = IgnoredBytes(decoded, address);
    int shown = 0;
    for (size_t at = 0; at < kDataBytes && shown < 8; ++at) {
      if (native.data[at] == interpreted.data[at] || ignored.Has(kScratchStart + at)) continue;
      Append(&text, "  memory %#lx: before %02x, native %02x, Remora %02x\n", kScratchStart + at, test_case.data[at],
             native.data[at], interpreted.data[at]);
      ++shown;
    }
  }
  return text;
}

std::string Describe(const TestCase& test_case, const Decoded& decoded) {
  std::string text = " ";
  for (unsigned i = 0; i < test_case.length; ++i) Append(&text, " %02x", test_case.bytes[i]);
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  char line[256] = "";
  ZydisFormatterFormatInstruction(&formatter, &decoded.info, decoded.operands, decoded.info.operand_count_visible, line,
                                  sizeof(line), test_case.state.rip, nullptr);
  const cpu::CpuState& state = test_case.state;
  Append(&text, "  %s\n  rip %#lx mxcsr %#x fcw %#x fsw %#x top %d tags %#x rcx %#lx\n", line, state.rip, state.mxcsr,
         state.x87.control, state.x87.status, state.x87.top, state.x87.valid, state.gpr[cpu::kRcx]);
  for (int i = 0; i < decoded.info.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      const int id = ZydisRegisterGetId(operand.reg.value);
      if (ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_XMM)
        Append(&text, "  xmm%d = %s\n", id, Hex(&state.vector[id], 16).c_str());
      if (ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_YMM)
        Append(&text, "  ymm%d = %s\n", id, Hex(&state.vector[id], 32).c_str());
      if (ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_ZMM)
        Append(&text, "  zmm%d = %s\n", id, Hex(&state.vector[id], 64).c_str());
      if (ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MASK)
        Append(&text, "  k%d = %#lx\n", id, state.opmask[static_cast<size_t>(id)]);
      if (ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_X87) {
        const cpu::X87Register& reg = state.x87.registers[(state.x87.top + id) & 7];
        Append(&text, "  st%d = %04x:%016lx\n", id, reg.sign_exponent, reg.significand);
      }
    } else if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.size <= 512) {
      uint64_t address = 0;
      ZydisRegisterContext registers{};
      for (int reg = 0; reg < 16; ++reg) {
        registers.values[ZYDIS_REGISTER_RAX + reg] = state.gpr[reg];
        registers.values[ZYDIS_REGISTER_EAX + reg] = static_cast<uint32_t>(state.gpr[reg]);
      }
      registers.values[ZYDIS_REGISTER_AL] = state.gpr[0] & 0xff;
      if (!ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&decoded.info, &operand, state.rip, &registers, &address))) continue;
      if (operand.mem.segment == ZYDIS_REGISTER_GS) address += state.gs_base;
      if (address >= kScratchStart && address + operand.size / 8 <= kMappedEnd)
        Append(&text, "  [%#lx] = %s\n", address,
               Hex(test_case.data.data() + (address - kScratchStart), operand.size / 8).c_str());
      else
        Append(&text, "  [%#lx]\n", address);
    }
  }
  return text;
}

}  // namespace remora::silicon
