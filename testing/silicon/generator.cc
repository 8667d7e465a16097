#include "testing/silicon/generator.h"

#include <cpuid.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "cpu/canonical.h"
#include "cpu/cpu_level.h"
#include "cpu/cpuid.h"
#include "cpu/fxsave.h"
#include "cpu/xsave.h"
#include "testing/silicon/values.h"

namespace remora::silicon {
namespace {

using cpu::kRax, cpu::kRbp, cpu::kRcx, cpu::kRdi, cpu::kRdx, cpu::kRsi, cpu::kRsp;

constexpr int kNone = -1;

// The number of a general register of any width; kNone for other registers. AH..BH are their wide registers.
int GprNumber(ZydisRegister reg) {
  const ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  if (ZydisRegisterGetClass(wide) != ZYDIS_REGCLASS_GPR64) return kNone;
  return ZydisRegisterGetId(wide);
}

bool IsBitTest(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_BT || mnemonic == ZYDIS_MNEMONIC_BTS || mnemonic == ZYDIS_MNEMONIC_BTR ||
         mnemonic == ZYDIS_MNEMONIC_BTC;
}

// The address of a memory operand, segment base included.
uint64_t AddressOf(const ZydisDecodedInstruction& info, const ZydisDecodedOperand& operand,
                   const cpu::CpuState& state) {
  uint64_t address = operand.mem.disp.has_displacement ? static_cast<uint64_t>(operand.mem.disp.value) : 0;
  if (operand.mem.base == ZYDIS_REGISTER_RIP || operand.mem.base == ZYDIS_REGISTER_EIP) {
    address += state.rip + info.length;
  } else if (operand.mem.base != ZYDIS_REGISTER_NONE) {
    address += state.gpr[GprNumber(operand.mem.base)];
  }
  if (ZydisRegisterGetClass(operand.mem.index) != ZYDIS_REGCLASS_GPR64 &&
      ZydisRegisterGetClass(operand.mem.index) != ZYDIS_REGCLASS_GPR32 && operand.mem.index != ZYDIS_REGISTER_AL) {
    // None, or a vector register: see PlaceGather.
  } else if (operand.mem.index == ZYDIS_REGISTER_AL) {
    address += state.gpr[kRax] & 0xff;
  } else if (operand.mem.index != ZYDIS_REGISTER_NONE) {
    address += state.gpr[GprNumber(operand.mem.index)] * (operand.mem.scale == 0 ? 1 : operand.mem.scale);
  }
  if (info.address_width == 32) address &= 0xffffffff;
  return operand.mem.segment == ZYDIS_REGISTER_GS ? address + state.gs_base : address;
}

bool IsXsave(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
      return true;
    default:
      return false;
  }
}

// The memory operand's index is a vector register: a gather or scatter.
bool IsGather(const Decoded& decoded) {
  for (int i = 0; i < decoded.info.operand_count; ++i)
    if (decoded.operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && decoded.operands[i].mem.type == ZYDIS_MEMOP_TYPE_VSIB)
      return true;
  return false;
}

bool TouchesMemory(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN;
}

// An address for an operand of this size: mostly in the writable pages, now and then where it faults.
uint64_t RandomTarget(Random& random, uint64_t size) {
  const uint64_t end = kScratchStart + kScratchBytes;
  const uint64_t crossing = size > 1 ? 1 + random.Below(size - 1) : 0;
  switch (random.Below(64)) {
    case 0:
      return end - crossing;
    case 1:
      return kReadOnlyStart + random.Below(kPage - size);
    case 2:
      return kMappedEnd - crossing;
    case 3:
      return kScratchStart - crossing;
    case 4:
      return 0x800000000000 + random.Below(1 << 20);
    case 5:
      return random.Below(kPage - size);
    case 6:
    case 7:
      return kScratchStart + kPage - crossing;
    default:
      break;
  }
  const uint64_t address = kScratchStart + 640 + random.Below(kScratchBytes - 1280 - size);
  if (size >= 16) return random.OneIn(10) ? address : address & ~uint64_t{size >= 64 ? 63u : size >= 32 ? 31u : 15u};
  return random.OneIn(3) ? address : address & ~(size - 1);
}

// Small indices, and masks that are mixed.
void PlaceGather(Random& random, const Decoded& decoded, cpu::CpuState* state) {
  const bool evex = decoded.info.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
  const auto is_memory = [](const ZydisDecodedOperand& operand) { return operand.type == ZYDIS_OPERAND_TYPE_MEMORY; };
  const ZydisDecodedOperand& memory = *std::ranges::find_if(decoded.operands, is_memory);
  const std::string_view name = ZydisMnemonicGetString(decoded.info.mnemonic);
  // vgatherdps, vpscatterqd: behind that stem is the index's letter.
  const bool wide = name[name.find("er") + 2] == 'q';
  std::byte* index = state->vector[ZydisRegisterGetId(memory.mem.index)].bytes.data();
  const int bytes = state->avx512_live ? 64 : 32;
  for (int i = 0; i < bytes; i += wide ? 8 : 4) {
    const int64_t value = random.Between(-60, 60);
    std::memcpy(index + i, &value, wide ? 8 : 4);
  }
  if (evex) return;
  std::byte* masks = state->vector[ZydisRegisterGetId(decoded.operands[2].reg.value)].bytes.data();
  for (int i = 0; i < 32; ++i) masks[i] = static_cast<std::byte>(random.Next());
}

// Vector and opmask registers; now and then without what only AVX-512 has.
void RandomizeVectors(Random& random, LaneKind kind, cpu::CpuState* state) {
  const bool avx512 = cpu::LevelHasAvx512(cpu::CpuLevel::kHost) && !random.OneIn(4);
  state->avx512_live = avx512;
  for (unsigned i = 0; i < (avx512 ? 32u : 16u); ++i)
    FillLanes(random, kind, reinterpret_cast<uint8_t*>(state->vector[i].bytes.data()), avx512 ? 64 : 32);
  if (random.OneIn(4)) state->vector[random.Below(16)] = state->vector[random.Below(16)];
  if (!avx512) return;
  if (random.OneIn(4)) state->vector[random.Below(32)] = state->vector[random.Below(32)];
  for (uint64_t& mask : state->opmask)
    mask = random.OneIn(8)   ? 0
           : random.OneIn(8) ? ~uint64_t{0}
                             : RandomInteger(random) ^ random.Next() >> random.Below(64);
}

size_t HostOffset(unsigned component) {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid_count(0xd, component, &eax, &ebx, &ecx, &edx) == 0 ? 0 : ebx;
}

// The components of XSAVE's image that Remora and the host have in the same place.
uint64_t SharedXstate() {
  static const uint64_t shared = [] {
    uint64_t components = cpu::kXstateX87 | cpu::kXstateSse | cpu::kXstateAvx;
    for (const cpu::XsaveComponent& component : cpu::kXsaveComponents)
      if ((cpu::EnabledXstate() >> component.number & 1) != 0 && HostOffset(component.number) == component.offset)
        components |= uint64_t{1} << component.number;
    return components;
  }();
  return shared;
}

uint64_t RandomCodeTarget(Random& random, const TestCase& test_case) {
  switch (random.Below(40)) {
    case 0:
      return 0x800000000000 + random.Below(1 << 20);
    case 1:
      return kScratchStart + random.Below(kPage);
    default:
      break;
  }
  while (true) {
    const uint64_t target = kCodeStart + kPage + random.Below((kCodePages - 2) * kPage);
    if (target + 1 <= test_case.state.rip || target >= test_case.state.rip + 16) return target;
  }
}

// Bytes of the case's memory, where they are within it.
void Poke(TestCase* test_case, uint64_t address, const void* bytes, size_t length) {
  if (address < kScratchStart || address > kMappedEnd - length) return;
  std::memcpy(test_case->data.data() + (address - kScratchStart), bytes, length);
}
bool Peek(const TestCase& test_case, uint64_t address, void* bytes, size_t length) {
  if (address < kScratchStart || address > kMappedEnd - length) return false;
  std::memcpy(bytes, test_case.data.data() + (address - kScratchStart), length);
  return true;
}

LaneKind KindFor(Random& random, const ZydisDecodedInstruction& info, uint64_t size_bits) {
  if (info.meta.isa_ext == ZYDIS_ISA_EXT_X87) {
    const std::string_view name = ZydisMnemonicGetString(info.mnemonic);
    if (name.starts_with("fi")) return LaneKind::kInteger;
    return size_bits == 32 ? LaneKind::kFloat : size_bits == 64 ? LaneKind::kDouble : LaneKind::kExtended;
  }
  switch (info.meta.isa_ext) {
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE2:
    case ZYDIS_ISA_EXT_SSE3:
    case ZYDIS_ISA_EXT_SSE4:
    case ZYDIS_ISA_EXT_AVX:
    case ZYDIS_ISA_EXT_AVX2:
    case ZYDIS_ISA_EXT_AVX512EVEX:
    case ZYDIS_ISA_EXT_AVX512VEX:
    case ZYDIS_ISA_EXT_FMA:
    case ZYDIS_ISA_EXT_F16C:
      break;
    default:
      return LaneKind::kInteger;
  }
  if (random.OneIn(6)) return static_cast<LaneKind>(random.Below(3));
  std::string_view name = ZydisMnemonicGetString(info.mnemonic);
  if (name.starts_with('v')) name.remove_prefix(1);
  // cvtXX2YY converts from XX.
  const size_t two = name.starts_with("cvt") ? name.find('2') : std::string_view::npos;
  const std::string_view kind = two != std::string_view::npos ? name.substr(two - 2, 2) : name.substr(name.size() - 2);
  if (kind == "ps" || kind == "ss") return LaneKind::kFloat;
  if (kind == "pd" || kind == "sd") return LaneKind::kDouble;
  return LaneKind::kInteger;
}

}  // namespace

Generator::Generator(const Catalogue* catalogue, std::string_view only) : catalogue_(catalogue) {
  ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  for (const auto& [mnemonic, forms] : catalogue->forms)
    if (std::string_view(ZydisMnemonicGetString(mnemonic)).find(only) != std::string_view::npos)
      mnemonics_.push_back(mnemonic);
}

bool Generator::Decode(const TestCase& test_case, Decoded* decoded) const {
  ZydisDecodedInstruction& info = decoded->info;
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, test_case.bytes.data(), 15, &info, decoded->operands)))
    return false;
  // Zydis 4.0.0 takes R13D for the base where a SIB byte without base meets REX.B and 32-bit addresses.
  if ((info.attributes & ZYDIS_ATTRIB_HAS_SIB) && info.raw.modrm.mod == 0 && info.raw.sib.base == 5) {
    for (int i = 0; i < info.operand_count; ++i) {
      if (decoded->operands[i].encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM) continue;
      decoded->operands[i].mem.base = ZYDIS_REGISTER_NONE;
      decoded->operands[i].mem.disp.has_displacement = ZYAN_TRUE;
      decoded->operands[i].mem.disp.value = info.raw.disp.value;
    }
  }
  return true;
}

bool Generator::Make(Random& random, TestCase* test_case, Decoded* decoded) {
  const std::vector<InstructionForm>& forms = catalogue_->forms.at(mnemonics_[random.Below(mnemonics_.size())]);
  const InstructionForm& form = forms[random.Below(forms.size())];
  for (int attempt = 0; attempt < 20; ++attempt)
    if (TryMake(random, form, test_case, decoded)) return true;
  return false;
}

bool Generator::TryMake(Random& random, const InstructionForm& form, TestCase* test_case, Decoded* decoded) {
  Encode(random, form, test_case);
  if (!Decode(*test_case, decoded) || WhyLeftOut(decoded->info) != nullptr) return false;
  test_case->length = decoded->info.length;

  cpu::CpuState& state = test_case->state;
  state = {};
  state.rip = kCodeStart + kPage * (1 + random.Below(kCodePages - 2)) + random.Below(kPage - 16);
  for (uint64_t& reg : state.gpr) reg = RandomInteger(random);
  state.rflags = cpu::kFlagsFixed | (random.Next() & cpu::kStatusFlags) | (random.OneIn(4) ? cpu::kFlagDF : 0);
  state.gs_base = random.OneIn(2) ? 0 : kPage;
  RandomizeX87(random, &state.x87);
  state.mxcsr = RandomMxcsr(random);
  const LaneKind kind = KindFor(random, decoded->info, 80);
  RandomizeVectors(random, kind, &state);
  for (size_t i = 0; i < kScratchBytes; i += 8) {
    const uint64_t filler = random.Next();
    std::memcpy(test_case->data.data() + i, &filler, 8);
  }
  for (size_t i = kScratchBytes; i < kDataBytes; ++i) test_case->data[i] = static_cast<uint8_t>(i * 37);

  PrepareSpecial(random, *decoded, test_case);
  if (!PlaceMemory(random, *decoded, test_case)) return false;
  if (!Decode(*test_case, decoded)) return false;  // displacements have changed
  for (int i = 0; i < decoded->info.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded->operands[i];
    if (!TouchesMemory(operand) || operand.size > 512 || IsGather(*decoded)) continue;
    uint8_t bytes[64];
    FillLanes(random, KindFor(random, decoded->info, operand.size), bytes, sizeof(bytes));
    Poke(test_case, AddressOf(decoded->info, operand, state), bytes, operand.size / 8);
  }
  PrepareSpecial(random, *decoded, test_case);
  return IsSafe(*decoded, *test_case);
}

void Generator::Encode(Random& random, const InstructionForm& form, TestCase* test_case) const {
  uint8_t* bytes = test_case->bytes.data();
  unsigned length = 0;
  auto put = [&](unsigned byte) { bytes[length++] = static_cast<uint8_t>(byte); };
  if (random.OneIn(12)) {
    static constexpr uint8_t kSegments[] = {0x26, 0x2e, 0x36, 0x3e, 0x65, 0x65};
    put(kSegments[random.Below(std::size(kSegments))]);
  }
  if (random.OneIn(24)) put(0x67);
  if (form.lockable && form.memory && random.OneIn(5)) put(0xf0);
  if (form.evex) {
    const bool source = form.vex_has_source;
    const unsigned register_bits = random.OneIn(3) ? 15 : static_cast<unsigned>(random.Below(16));
    put(0x62);
    put(register_bits << 4 | form.map);
    put((form.wide ? 0x80u : 0u) | (source ? static_cast<unsigned>(random.Below(16)) : 15u) << 3 | 4u |
        VexPrefix(form.prefix));
    const unsigned length = form.evex_b && !form.memory ? static_cast<unsigned>(random.Below(4)) : form.evex_length;
    const unsigned upper = random.OneIn(source ? 2 : 4) ? 0 : 8;
    const unsigned mask = random.OneIn(3) ? 0 : static_cast<unsigned>(random.Below(8));
    put((random.OneIn(3) ? 0x80u : 0u) | length << 5 | (form.evex_b ? 0x10u : 0u) | upper | mask);
  } else if (form.vex) {
    const unsigned source = form.vex_has_source ? static_cast<unsigned>(random.Below(16)) : 15;
    const unsigned inverted_rxb = random.OneIn(2) ? 7 : static_cast<unsigned>(random.Below(8));
    const unsigned last = source << 3 | (form.vex_256 ? 4u : 0u) | VexPrefix(form.prefix);
    if (form.map == 1 && !form.wide && (inverted_rxb & 3) == 3 && random.OneIn(2)) {
      put(0xc5);
      put((inverted_rxb & 4) << 5 | last);
    } else {
      put(0xc4);
      put(inverted_rxb << 5 | form.map);
      put((form.wide ? 0x80u : 0u) | last);
    }
  } else {
    if (form.prefix != 0) put(form.prefix);
    unsigned rex = form.wide ? 8 : 0;
    if (random.OneIn(2)) rex |= static_cast<unsigned>(random.Below(8));
    if (rex != 0 || random.OneIn(8)) put(0x40 | rex);
    if (form.map != 0) put(0x0f);
    if (form.map >= 2) put(form.map == 2 ? 0x38 : 0x3a);
  }
  put(form.opcode);
  if (form.has_modrm) {
    const unsigned reg = form.reg >= 0 ? static_cast<unsigned>(form.reg) : static_cast<unsigned>(random.Below(8));
    if (!form.memory) {
      const unsigned rm = form.rm >= 0 ? static_cast<unsigned>(form.rm) : static_cast<unsigned>(random.Below(8));
      put(0xc0 | reg << 3 | rm);
    } else {
      const unsigned mod = static_cast<unsigned>(random.Below(3));
      unsigned rm = static_cast<unsigned>(random.Below(8));
      put(mod << 6 | reg << 3 | rm);
      bool wide_displacement = mod == 2 || (mod == 0 && rm == 5);
      if (rm == 4) {
        const unsigned sib = static_cast<unsigned>(random.Below(256));
        put(sib);
        if (mod == 0 && (sib & 7) == 5) wide_displacement = true;
      }
      if (mod == 1) put(static_cast<unsigned>(random.Below(256)));
      if (wide_displacement) {
        const auto displacement = static_cast<uint32_t>(random.Between(-600, 600));
        for (int i = 0; i < 4; ++i) put((displacement >> (8 * i)) & 0xff);
      }
    }
  }
  const uint64_t immediate = RandomInteger(random);
  for (unsigned i = 0; length < 16; ++i, ++length) bytes[length] = static_cast<uint8_t>(immediate >> (8 * (i & 7)));
}

bool Generator::PlaceMemory(Random& random, const Decoded& decoded, TestCase* test_case) const {
  const ZydisDecodedInstruction& info = decoded.info;
  cpu::CpuState& state = test_case->state;
  uint8_t* bytes = test_case->bytes.data();
  uint32_t pinned = 0;
  auto pin = [&](int reg, uint64_t value) {
    state.gpr[reg] = value;
    pinned |= 1u << reg;
  };
  auto patch = [&](uint64_t offset, unsigned bits, uint64_t value) {
    for (unsigned i = 0; i < bits / 8; ++i) bytes[offset + i] = static_cast<uint8_t>(value >> (8 * i));
  };
  pin(kRsp, RandomTarget(random, 8));

  if (info.raw.imm[0].is_relative) {
    const uint64_t next = state.rip + info.length;
    for (int attempt = 0; attempt < 50; ++attempt) {
      const int64_t distance = info.raw.imm[0].size == 8 ? random.Between(-128, 127) : random.Between(-3000, 3000);
      const uint64_t target = next + static_cast<uint64_t>(distance);
      if (target + 1 > state.rip && target < state.rip + 16) continue;
      patch(info.raw.imm[0].offset, info.raw.imm[0].size, static_cast<uint64_t>(distance));
      break;
    }
  }

  const bool repeats = (info.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
  if (repeats) pin(kRcx, random.Below(40));
  // Implicit operands first: their registers are not to choose.
  for (int i = 0; i < info.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) continue;
    const int base = operand.mem.base == ZYDIS_REGISTER_NONE ? kNone : GprNumber(operand.mem.base);
    if (base == kNone || (pinned >> base & 1)) continue;
    pin(base, RandomTarget(random, std::max<uint64_t>(operand.size / 8, 1)));
    if (operand.mem.segment == ZYDIS_REGISTER_GS) state.gpr[base] -= state.gs_base;
  }
  if (info.mnemonic == ZYDIS_MNEMONIC_LEAVE || info.mnemonic == ZYDIS_MNEMONIC_ENTER)
    pin(kRbp, RandomTarget(random, 8));

  for (int i = 0; i < info.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (!TouchesMemory(operand)) continue;
    const uint64_t size = std::max<uint64_t>(operand.size / 8, 1);
    uint64_t target = RandomTarget(random, size);
    if (operand.mem.segment == ZYDIS_REGISTER_GS) target -= state.gs_base;
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64) {
      patch(info.raw.disp.offset, info.raw.disp.size, target);
      continue;
    }
    if (operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM) continue;
    const uint64_t scale = operand.mem.scale == 0 ? 1 : operand.mem.scale;
    if (IsGather(decoded)) PlaceGather(random, decoded, &state);
    const int index =
        operand.mem.index == ZYDIS_REGISTER_NONE || IsGather(decoded) ? kNone : GprNumber(operand.mem.index);
    const bool from_rip = operand.mem.base == ZYDIS_REGISTER_RIP || operand.mem.base == ZYDIS_REGISTER_EIP;
    const int base = operand.mem.base == ZYDIS_REGISTER_NONE || from_rip ? kNone : GprNumber(operand.mem.base);
    const auto displacement = static_cast<uint64_t>(operand.mem.disp.value);
    if (from_rip) {
      if (!cpu::IsCanonical(target)) target = kScratchStart;
      patch(info.raw.disp.offset, 32, target - (state.rip + info.length));
      continue;
    }
    if (index != kNone && !(pinned >> index & 1) && (base == kNone || random.OneIn(2)))
      state.gpr[index] = static_cast<uint64_t>(random.Between(-20, 20));
    if (base == kNone) {
      if (!cpu::IsCanonical(target)) target = kScratchStart;
      patch(info.raw.disp.offset, 32, target - (index == kNone ? 0 : state.gpr[index] * scale));
      continue;
    }
    if (pinned >> base & 1) {
      if (index != kNone && !(pinned >> index & 1)) state.gpr[index] = random.Below(16);
      continue;
    }
    if (index == base)
      state.gpr[base] = (target - displacement) / (1 + scale);
    else
      state.gpr[base] = target - displacement - (index == kNone ? 0 : state.gpr[index] * scale);
  }
  return true;
}

// Called before memory is placed, for registers, and again afterwards, for what lies there.
void Generator::PrepareSpecial(Random& random, const Decoded& decoded, TestCase* test_case) const {
  const ZydisDecodedInstruction& info = decoded.info;
  cpu::CpuState& state = test_case->state;
  const ZydisDecodedOperand* memory = nullptr;
  bool explicit_memory = false;
  for (int i = 0; i < info.operand_count; ++i) {
    if (memory != nullptr || !TouchesMemory(decoded.operands[i])) continue;
    memory = &decoded.operands[i];
    explicit_memory = memory->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
  }
  const uint64_t address = memory == nullptr ? 0 : AddressOf(info, *memory, state);
  auto base_is = [&](int reg) {
    return explicit_memory && memory->mem.base != ZYDIS_REGISTER_NONE && memory->mem.base != ZYDIS_REGISTER_RIP &&
           memory->mem.base != ZYDIS_REGISTER_EIP && GprNumber(memory->mem.base) == reg;
  };
  auto uses = [&](int reg) {
    return base_is(reg) ||
           (explicit_memory && memory->mem.index != ZYDIS_REGISTER_NONE && GprNumber(memory->mem.index) == reg);
  };
  auto set = [&](int reg, uint64_t value) {
    if (!uses(reg)) state.gpr[reg] = value;
  };
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV: {
      if (random.OneIn(3)) break;
      const bool is_signed = info.mnemonic == ZYDIS_MNEMONIC_IDIV;
      if (info.operand_width == 8) {
        set(kRax, (state.gpr[kRax] & ~uint64_t{0xff00}) |
                      (is_signed && (state.gpr[kRax] & 0x80) ? 0xff00 : random.Below(4) << 8));
      } else if (is_signed) {
        const unsigned shift = 64u - info.operand_width;
        set(kRdx, static_cast<uint64_t>(static_cast<int64_t>(state.gpr[kRax] << shift) >> 63));
      } else {
        set(kRdx, random.Below(4));
      }
      break;
    }
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
    case ZYDIS_MNEMONIC_JRCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
      if (random.OneIn(2)) state.gpr[kRcx] = random.Below(3) | (random.OneIn(4) ? uint64_t{1} << 32 : 0);
      break;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
      if (explicit_memory && decoded.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
        set(GprNumber(decoded.operands[1].reg.value), static_cast<uint64_t>(random.Between(-4000, 4000)));
      break;
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_RET: {
      const uint64_t target = RandomCodeTarget(random, *test_case);
      if (info.mnemonic == ZYDIS_MNEMONIC_RET || explicit_memory) {
        Poke(test_case, info.mnemonic == ZYDIS_MNEMONIC_RET ? state.gpr[kRsp] : address, &target, 8);
      } else if (decoded.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        state.gpr[GprNumber(decoded.operands[0].reg.value)] = target;
      }
      break;
    }
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFQ: {
      // No TF, NT, RF and AC: they act on what comes behind the instruction. No ID: the kernel would not take it back.
      uint64_t flags = random.Next() & ~uint64_t{0x254100};
      Poke(test_case, state.gpr[kRsp], &flags, info.operand_width / 8);
      break;
    }
    case ZYDIS_MNEMONIC_CMPXCHG: {
      if (random.OneIn(2)) break;
      uint64_t value = 0;
      if (!explicit_memory)
        value = state.gpr[GprNumber(decoded.operands[0].reg.value)];
      else if (!Peek(*test_case, address, &value, decoded.operands[0].size / 8))
        break;
      set(kRax, value);
      break;
    }
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B: {
      if (random.OneIn(2) || uses(kRax) || uses(kRdx)) break;
      const size_t half = memory->size / 16;
      Peek(*test_case, address, &state.gpr[kRax], half);
      Peek(*test_case, address + half, &state.gpr[kRdx], half);
      break;
    }
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_VPCMPESTRI:
    case ZYDIS_MNEMONIC_VPCMPESTRM:
      if (random.OneIn(8)) break;
      set(kRax, static_cast<uint64_t>(random.Between(-17, 17)));
      set(kRdx, static_cast<uint64_t>(random.Between(-17, 17)));
      [[fallthrough]];
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
    case ZYDIS_MNEMONIC_VPCMPISTRI:
    case ZYDIS_MNEMONIC_VPCMPISTRM:
      // Few letters, so that there is something to find.
      if (random.OneIn(4)) break;
      for (int i = 0; i < 16; ++i)
        for (int byte = 0; byte < 16; ++byte)
          state.vector[i].bytes[byte] = static_cast<std::byte>(random.OneIn(12) ? 0 : 'a' + random.Below(3));
      break;
    case ZYDIS_MNEMONIC_BEXTR:
    case ZYDIS_MNEMONIC_BZHI: {
      const int control = GprNumber(decoded.operands[2].reg.value);
      if (random.OneIn(4) || control == kNone) break;
      set(control, random.Below(70) | random.Below(70) << 8);
      break;
    }
    case ZYDIS_MNEMONIC_LDMXCSR: {
      const uint32_t value = random.OneIn(16) ? static_cast<uint32_t>(random.Next()) & 0xfffdffff : RandomMxcsr(random);
      Poke(test_case, address, &value, 4);
      break;
    }
    case ZYDIS_MNEMONIC_FLDCW: {
      const uint16_t value = random.OneIn(2) ? static_cast<uint16_t>(random.Next()) : uint16_t{0x37f};
      Poke(test_case, address, &value, 2);
      break;
    }
    case ZYDIS_MNEMONIC_FBLD: {
      uint8_t digits[10];
      for (uint8_t& pair : digits) pair = static_cast<uint8_t>(random.Below(10) << 4 | random.Below(10));
      digits[9] = static_cast<uint8_t>(random.Next() & 0x80);
      Poke(test_case, address, digits, sizeof(digits));
      break;
    }
    case ZYDIS_MNEMONIC_XGETBV:
      set(kRcx, random.Below(3));
      break;
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
      // Of other components the host knows more.
      if (uses(kRax) || uses(kRdx)) break;
      state.gpr[kRdx] = random.Next() << 32;
      state.gpr[kRax] = (random.Next() & SharedXstate()) | random.Next() << 32;
      break;
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64: {
      if (!uses(kRax) && !uses(kRdx)) {
        state.gpr[kRdx] = random.Next() << 32;
        state.gpr[kRax] = (random.Next() & SharedXstate()) | random.Next() << 32;
      }
      cpu::CpuState other = state;
      RandomizeX87(random, &other.x87);
      other.mxcsr = random.OneIn(16) ? static_cast<uint32_t>(random.Next()) & 0xfffdffff : RandomMxcsr(random);
      FillLanes(random, LaneKind::kInteger, reinterpret_cast<uint8_t*>(other.vector[3].bytes.data()), 64);
      cpu::XsaveImage image;
      cpu::WriteXsaveImage(other, &image);
      image[cpu::kXsaveComponentsOffset] &= static_cast<std::byte>(random.Next() & SharedXstate());
      if (random.OneIn(3)) {
        image[cpu::kXsaveCompactionOffset] =
            image[cpu::kXsaveComponentsOffset] | static_cast<std::byte>(random.Next() & SharedXstate());
        image[cpu::kXsaveCompactionOffset + 7] = std::byte{0x80};
      }
      if (random.OneIn(20)) image[cpu::kXsaveHeaderOffset + 8 + random.Below(56)] = std::byte{1};
      Poke(test_case, address, image.data(), image.size());
      break;
    }
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64: {
      cpu::CpuState other = state;
      RandomizeX87(random, &other.x87);
      other.mxcsr = random.OneIn(16) ? static_cast<uint32_t>(random.Next()) & 0xfffdffff : RandomMxcsr(random);
      FillLanes(random, LaneKind::kInteger, reinterpret_cast<uint8_t*>(other.vector[3].bytes.data()), 16);
      std::array<std::byte, cpu::kFxsaveBytes> image;
      cpu::WriteFxsaveImage(other, image);
      Poke(test_case, address, image.data(), image.size());
      break;
    }
    default:
      break;
  }
}

bool Generator::IsSafe(const Decoded& decoded, const TestCase& test_case) const {
  const ZydisDecodedInstruction& info = decoded.info;
  const cpu::CpuState& state = test_case.state;
  auto harmless = [](uint64_t start, uint64_t size) {
    if (!cpu::IsCanonical(start) && !cpu::IsCanonical(start + size - 1)) return true;
    if (start + size <= kPage && start < kPage) return true;
    return start >= kScratchStart - 0x800 && start + size <= kMappedEnd + 0x800;
  };
  if (!harmless(state.gpr[kRsp], 8)) return false;
  // Of XSAVE's components only those that both sides have.
  if (IsXsave(info.mnemonic) &&
      ((static_cast<uint32_t>(state.gpr[kRax]) & ~SharedXstate()) != 0 || static_cast<uint32_t>(state.gpr[kRdx]) != 0))
    return false;
  for (int i = 0; i < info.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.segment == ZYDIS_REGISTER_FS) return false;
    if (!TouchesMemory(operand)) continue;
    uint64_t address = AddressOf(info, operand, state);
    if (IsBitTest(info.mnemonic) && decoded.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
      const unsigned shift = 64u - decoded.operands[1].size;
      const auto offset = static_cast<int64_t>(state.gpr[GprNumber(decoded.operands[1].reg.value)] << shift) >> shift;
      address += static_cast<uint64_t>((offset >> 3) & ~int64_t{operand.size / 8 - 1});
    }
    if (IsGather(decoded) && !(harmless(address - 512, 1024 + 64) && info.address_width == 64)) return false;
    if (!harmless(address, std::max<uint64_t>(operand.size / 8, 1))) return false;
  }
  // Where control goes: code full of INT3, or nowhere.
  uint64_t target = 0;
  bool known = false;
  if (info.raw.imm[0].is_relative) {
    known = ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&info, &decoded.operands[0], state.rip, &target));
    if (!known) return false;
  } else if (info.mnemonic == ZYDIS_MNEMONIC_RET) {
    known = Peek(test_case, state.gpr[kRsp], &target, 8);
  } else if (info.mnemonic == ZYDIS_MNEMONIC_JMP || info.mnemonic == ZYDIS_MNEMONIC_CALL) {
    if (decoded.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
      target = state.gpr[GprNumber(decoded.operands[0].reg.value)];
      known = true;
    } else {
      known = Peek(test_case, AddressOf(info, decoded.operands[0], state), &target, 8);
    }
  }
  if (!known) return true;
  if (!cpu::IsCanonical(target)) return true;
  if (target >= kScratchStart && target < kMappedEnd) return true;
  const bool inside_itself = target + 1 > state.rip && target < state.rip + 16;
  return !inside_itself && target >= kCodeStart && target < kCodeStart + kCodePages * kPage;
}

}  // namespace remora::silicon
