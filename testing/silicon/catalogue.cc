#include "testing/silicon/catalogue.h"

#include <cpuid.h>

#include <array>
#include <cstring>
#include <set>
#include <tuple>
#include <utility>

#include "cpu/cpu_level.h"
#include "cpu/cpuid.h"
#include "cpu/host_avx512.h"

namespace remora::silicon {
namespace {

// Where CPUID tells of an instruction set. The host's own answer has the same place.
struct FeatureBit {
  ZydisISASet set;
  uint32_t leaf;
  uint32_t cpu::CpuidResult::* in;
  unsigned bit;
  uint32_t subleaf = 0;
};
constexpr auto kEax = &cpu::CpuidResult::eax, kEbx = &cpu::CpuidResult::ebx, kEcx = &cpu::CpuidResult::ecx;
constexpr FeatureBit kFeatureBits[] = {
    {ZYDIS_ISA_SET_SSE3, 1, kEcx, 0},          {ZYDIS_ISA_SET_SSE3X87, 1, kEcx, 0},
    {ZYDIS_ISA_SET_PCLMULQDQ, 1, kEcx, 1},     {ZYDIS_ISA_SET_SSSE3, 1, kEcx, 9},
    {ZYDIS_ISA_SET_SSSE3MMX, 1, kEcx, 9},      {ZYDIS_ISA_SET_CMPXCHG16B, 1, kEcx, 13},
    {ZYDIS_ISA_SET_SSE4, 1, kEcx, 19},         {ZYDIS_ISA_SET_SSE42, 1, kEcx, 20},
    {ZYDIS_ISA_SET_MOVBE, 1, kEcx, 22},        {ZYDIS_ISA_SET_POPCNT, 1, kEcx, 23},
    {ZYDIS_ISA_SET_AES, 1, kEcx, 25},          {ZYDIS_ISA_SET_RDRAND, 1, kEcx, 30},
    {ZYDIS_ISA_SET_LAHF, 0x80000001, kEcx, 0}, {ZYDIS_ISA_SET_LZCNT, 0x80000001, kEcx, 5},
    {ZYDIS_ISA_SET_RDWRFSGS, 7, kEbx, 0},      {ZYDIS_ISA_SET_BMI1, 7, kEbx, 3},
    {ZYDIS_ISA_SET_BMI2, 7, kEbx, 8},          {ZYDIS_ISA_SET_RDSEED, 7, kEbx, 18},
    {ZYDIS_ISA_SET_ADOX_ADCX, 7, kEbx, 19},    {ZYDIS_ISA_SET_CLFLUSHOPT, 7, kEbx, 23},
    {ZYDIS_ISA_SET_CLWB, 7, kEbx, 24},         {ZYDIS_ISA_SET_SHA, 7, kEbx, 29},
    {ZYDIS_ISA_SET_RDPID, 7, kEcx, 22},        {ZYDIS_ISA_SET_XSAVE, 1, kEcx, 27},
    {ZYDIS_ISA_SET_XSAVEOPT, 0xd, kEax, 0, 1}, {ZYDIS_ISA_SET_XSAVEC, 0xd, kEax, 1, 1},
    {ZYDIS_ISA_SET_AVX, 1, kEcx, 28},          {ZYDIS_ISA_SET_AVXAES, 1, kEcx, 28},
    {ZYDIS_ISA_SET_AVX2, 7, kEbx, 5},          {ZYDIS_ISA_SET_AVX2GATHER, 7, kEbx, 5},
    {ZYDIS_ISA_SET_FMA, 1, kEcx, 12},          {ZYDIS_ISA_SET_F16C, 1, kEcx, 29},
    {ZYDIS_ISA_SET_VAES, 7, kEcx, 9},          {ZYDIS_ISA_SET_VPCLMULQDQ, 7, kEcx, 10},
};

cpu::CpuidResult HostCpuid(uint32_t leaf, uint32_t subleaf) {
  cpu::CpuidResult result;
  if (__get_cpuid_count(leaf, subleaf, &result.eax, &result.ebx, &result.ecx, &result.edx) == 0) return {};
  return result;
}

// What every CPU has that this can run on.
bool IsBaseline(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_I86:
    case ZYDIS_ISA_SET_I186:
    case ZYDIS_ISA_SET_I286PROTECTED:
    case ZYDIS_ISA_SET_I286REAL:
    case ZYDIS_ISA_SET_I386:
    case ZYDIS_ISA_SET_I486:
    case ZYDIS_ISA_SET_I486REAL:
    case ZYDIS_ISA_SET_PENTIUMREAL:
    case ZYDIS_ISA_SET_PPRO:
    case ZYDIS_ISA_SET_LONGMODE:
    case ZYDIS_ISA_SET_CMOV:
    case ZYDIS_ISA_SET_FCMOV:
    case ZYDIS_ISA_SET_FAT_NOP:
    case ZYDIS_ISA_SET_PAUSE:
    case ZYDIS_ISA_SET_X87:
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSEMXCSR:
    case ZYDIS_ISA_SET_SSE_PREFETCH:
    case ZYDIS_ISA_SET_PREFETCH_NOP:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64:
    case ZYDIS_ISA_SET_CLFSH:
      return true;
    default:
      return false;
  }
}

// Null: on both sides.
const char* WhyNotThere(ZydisISASet set) {
  if (IsBaseline(set)) return nullptr;
  for (const FeatureBit& feature : kFeatureBits) {
    if (feature.set != set) continue;
    if ((cpu::Cpuid(feature.leaf, feature.subleaf).*feature.in >> feature.bit & 1) == 0) break;
    return (HostCpuid(feature.leaf, feature.subleaf).*feature.in >> feature.bit & 1) != 0
               ? nullptr
               : "the host's CPU does not have it";
  }
  return "cpuid does not advertise it";
}

bool HasOperandEncodedIn(const ZydisDecodedInstruction& info, const ZydisDecodedOperand* operands,
                         ZydisOperandEncoding encoding) {
  for (int i = 0; i < info.operand_count; ++i)
    if (operands[i].encoding == encoding) return true;
  return false;
}

// How to encode: without VEX, with it or with EVEX; the vector length, and whether vvvv names a register.
struct Coding {
  enum class Kind : uint8_t { kLegacy, kVex, kEvex };
  Kind kind = Kind::kLegacy;
  uint8_t length = 0;
  bool source = false;
  bool b = false;
  int number() const {
    return static_cast<int>(kind) << 16 | (kind == Kind::kLegacy ? 0 : length << 10 | (b ? 1 << 9 : 0));
  }
};
std::vector<Coding> AllCodings() {
  std::vector<Coding> codings = {{}};
  for (const bool source : {false, true})
    for (const uint8_t length : {0, 1}) codings.push_back({Coding::Kind::kVex, length, source, false});
  for (const bool source : {false, true})
    for (const bool b : {false, true})
      for (const uint8_t length : {0, 1, 2}) codings.push_back({Coding::Kind::kEvex, length, source, b});
  return codings;
}

// What tells two forms apart.
using Signature = std::tuple<int, int, bool, int, int, int, std::array<int, 5>>;

}  // namespace

unsigned VexPrefix(uint8_t prefix) { return prefix == 0x66 ? 1 : prefix == 0xf3 ? 2 : prefix == 0xf2 ? 3 : 0; }

const char* WhyLeftOut(const ZydisDecodedInstruction& instruction) {
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_SYSEXIT:
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
      return "enters the host's kernel";
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
      return "loads segment registers";
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
      return "shows the host kernel's descriptors";
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
      return "differs by design";
    case ZYDIS_MNEMONIC_RDFSBASE:
    case ZYDIS_MNEMONIC_RDGSBASE:
    case ZYDIS_MNEMONIC_WRFSBASE:
    case ZYDIS_MNEMONIC_WRGSBASE:
      return "the bases belong to the host's threads";
    case ZYDIS_MNEMONIC_INVALID:
      return "not an instruction";
    default:
      break;
  }
  if (instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return "loads segment registers";
  if (cpu::IsAvx512Set(instruction.meta.isa_set))
    return cpu::LevelHas(cpu::CpuLevel::kHost, instruction.meta.isa_set) ? nullptr : "cpuid does not advertise it";
  if (instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
      instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
    return "cpuid does not advertise it";
  return WhyNotThere(instruction.meta.isa_set);
}

Catalogue MakeCatalogue() {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  Catalogue catalogue;
  std::set<Signature> seen;
  std::set<ZydisMnemonic> tested;
  std::map<ZydisMnemonic, std::string> reasons;

  // Decodes one candidate; false if it has no ModRM byte, so that the others of its opcode need not be tried.
  auto consider = [&](const Coding& coding, uint8_t mask, uint8_t prefix, bool wide, uint8_t map, uint8_t opcode,
                      int mod, int reg, int rm) {
    std::array<uint8_t, 32> bytes{};
    size_t length = 0;
    const unsigned source = coding.source ? 14 : 15;
    const auto kind = coding.kind;
    if (kind == Coding::Kind::kEvex) {
      bytes[length++] = 0x62;
      bytes[length++] = 0xf0 | map;
      bytes[length++] = static_cast<uint8_t>((wide ? 0x80u : 0u) | source << 3 | 4 | VexPrefix(prefix));
      bytes[length++] = static_cast<uint8_t>(coding.length << 5 | (coding.b ? 0x10 : 0) | 8 | mask);
    } else if (kind == Coding::Kind::kVex) {
      bytes[length++] = 0xc4;
      bytes[length++] = 0xe0 | map;
      // A second source where one is wanted; another try is without (1111).
      bytes[length++] =
          static_cast<uint8_t>((wide ? 0x80u : 0u) | source << 3 | (coding.length != 0 ? 4u : 0u) | VexPrefix(prefix));
    } else {
      if (prefix != 0) bytes[length++] = prefix;
      if (wide) bytes[length++] = 0x48;
      if (map != 0) bytes[length++] = 0x0f;
      if (map >= 2) bytes[length++] = map == 2 ? 0x38 : 0x3a;
    }
    bytes[length++] = opcode;
    bytes[length++] = static_cast<uint8_t>(mod << 6 | reg << 3 | rm);
    ZydisDecodedInstruction info;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes.data(), 15, &info, operands);
    if (!ZYAN_SUCCESS(status)) return true;
    const bool has_modrm = (info.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    if (const char* reason = WhyLeftOut(info)) {
      if (info.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY || kind != Coding::Kind::kLegacy)
        reasons.emplace(info.mnemonic, reason);
      return has_modrm;
    }
    for (int i = 0; i < info.operand_count_visible; ++i) {
      const ZydisDecodedOperand& operand = operands[i];
      // MOV and POP to a segment register; the other direction is tested.
      if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
          ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT)
        return has_modrm;
    }
    const bool repeats =
        (info.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
    InstructionForm form{.vex = kind == Coding::Kind::kVex,
                         .vex_has_source = coding.source,
                         .vex_256 = kind == Coding::Kind::kVex && coding.length != 0,
                         .evex = kind == Coding::Kind::kEvex,
                         .evex_length = coding.length,
                         .evex_b = coding.b,
                         .prefix = prefix,
                         .wide = wide,
                         .map = map,
                         .opcode = opcode,
                         .has_modrm = has_modrm,
                         .memory = has_modrm && mod != 3,
                         .mnemonic = info.mnemonic,
                         .lockable = (info.attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK) != 0};
    if (has_modrm) {
      if (!HasOperandEncodedIn(info, operands, ZYDIS_OPERAND_ENCODING_MODRM_REG)) form.reg = reg;
      if (mod == 3 && !HasOperandEncodedIn(info, operands, ZYDIS_OPERAND_ENCODING_MODRM_RM)) form.rm = rm;
      // PREFETCH, FAT NOP and FCMOV-like groups: ModRM.reg is no operand, yet one form stands for all.
    }
    std::array<int, 5> sizes{};
    for (int i = 0; i < info.operand_count && i < 4; ++i) sizes[i] = operands[i].size;
    sizes[4] = repeats ? prefix : 0;
    const Signature signature{map + coding.number(), opcode, form.memory, form.reg, form.rm, info.mnemonic, sizes};
    if (!seen.insert(signature).second) return has_modrm;
    catalogue.forms[info.mnemonic].push_back(form);
    ++catalogue.num_forms;
    tested.insert(info.mnemonic);
    return has_modrm;
  };

  auto is_prefix_or_escape = [](int opcode) {
    switch (opcode) {
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
      case 0x64:
      case 0x65:
      case 0x66:
      case 0x67:
      case 0xf0:
      case 0xf2:
      case 0xf3:
      case 0x0f:
      case 0xc4:
      case 0xc5:
      case 0x62:
        return true;
      default:
        return (opcode & 0xf0) == 0x40;
    }
  };
  for (const Coding& coding : AllCodings()) {
    const bool evex = coding.kind == Coding::Kind::kEvex;
    // Some need a mask, some have none.
    const auto consider_both = [&](uint8_t prefix, bool wide, uint8_t map, uint8_t opcode, int mod, int reg, int rm) {
      return (evex && consider(coding, 1, prefix, wide, map, opcode, mod, reg, rm)) ||
             consider(coding, 0, prefix, wide, map, opcode, mod, reg, rm);
    };
    for (uint8_t map = coding.kind == Coding::Kind::kLegacy ? 0 : 1; map < 4; ++map) {
      for (int opcode = 0; opcode < 256; ++opcode) {
        if (map == 0 && is_prefix_or_escape(opcode)) continue;
        // Without a prefix first: the others are kept only where they make a difference.
        for (const uint8_t prefix : {0x00, 0x66, 0xf3, 0xf2}) {
          for (const bool wide : {false, true}) {
            bool has_modrm = true;
            for (int reg = 0; reg < 8 && has_modrm; ++reg) {
              // VSIB needs a SIB byte.
              for (const int rm : {3, 4})
                if (has_modrm) has_modrm = consider_both(prefix, wide, map, static_cast<uint8_t>(opcode), 0, reg, rm);
              for (int rm = 0; rm < 8 && has_modrm; ++rm)
                has_modrm = consider_both(prefix, wide, map, static_cast<uint8_t>(opcode), 3, reg, rm);
            }
          }
        }
      }
    }
  }
  for (int i = 1; i <= ZYDIS_MNEMONIC_MAX_VALUE; ++i) {
    const auto mnemonic = static_cast<ZydisMnemonic>(i);
    if (tested.contains(mnemonic)) continue;
    const auto known = reasons.find(mnemonic);
    catalogue.left_out[known != reasons.end() ? known->second : "no legacy encoding in 64-bit mode"].push_back(
        mnemonic);
  }
  return catalogue;
}

}  // namespace remora::silicon
