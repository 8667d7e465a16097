#include "cpu/cpuid.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "cpu/host_avx512.h"
#include "cpu/xsave.h"

namespace remora::cpu {
namespace {

enum class Register : uint8_t { kEax, kEbx, kEcx, kEdx, kNone };

// A bit of CPUID and its name in /proc/cpuinfo, which is empty where Linux shows none; the lowest level that has it. In
// Linux's order.
struct Feature {
  std::string_view name;
  uint32_t leaf = 0;
  Register in = Register::kNone;  // kNone: Linux's own finding, no bit
  uint8_t bit = 0;
  uint32_t subleaf = 0;
  CpuLevel level = CpuLevel::kV1;
  ZydisISASet set = ZYDIS_ISA_SET_INVALID;  // of AVX-512: what the host's CPU has to have
};
constexpr uint32_t kBasic = 1, kStructured = 7, kXsave = 0xd, kExtended = 0x80000001;
constexpr Feature kFeatures[] = {
    {"fpu", kBasic, Register::kEdx, 0},
    {"tsc", kBasic, Register::kEdx, 4},
    {"cx8", kBasic, Register::kEdx, 8},
    {"cmov", kBasic, Register::kEdx, 15},
    {"clflush", kBasic, Register::kEdx, 19},
    {"mmx", kBasic, Register::kEdx, 23},
    {"fxsr", kBasic, Register::kEdx, 24},
    {"sse", kBasic, Register::kEdx, 25},
    {"sse2", kBasic, Register::kEdx, 26},
    // What AMD repeats of the above.
    {"", kExtended, Register::kEdx, 0},
    {"", kExtended, Register::kEdx, 4},
    {"", kExtended, Register::kEdx, 8},
    {"", kExtended, Register::kEdx, 15},
    {"", kExtended, Register::kEdx, 23},
    {"", kExtended, Register::kEdx, 24},
    {"syscall", kExtended, Register::kEdx, 11},
    {"nx", kExtended, Register::kEdx, 20},
    {"rdtscp", kExtended, Register::kEdx, 27},
    {"lm", kExtended, Register::kEdx, 29},
    {.name = "constant_tsc"},
    {.name = "nopl"},
    {"nonstop_tsc", 0x80000007, Register::kEdx, 8},
    {.name = "cpuid"},
    {"pni", kBasic, Register::kEcx, 0, 0, CpuLevel::kV2},
    {"pclmulqdq", kBasic, Register::kEcx, 1, 0, CpuLevel::kHost},
    {"ssse3", kBasic, Register::kEcx, 9, 0, CpuLevel::kV2},
    {"fma", kBasic, Register::kEcx, 12, 0, CpuLevel::kV3},
    {"cx16", kBasic, Register::kEcx, 13, 0, CpuLevel::kV2},
    {"sse4_1", kBasic, Register::kEcx, 19, 0, CpuLevel::kV2},
    {"sse4_2", kBasic, Register::kEcx, 20, 0, CpuLevel::kV2},
    {"movbe", kBasic, Register::kEcx, 22, 0, CpuLevel::kV3},
    {"popcnt", kBasic, Register::kEcx, 23, 0, CpuLevel::kV2},
    {"aes", kBasic, Register::kEcx, 25, 0, CpuLevel::kHost},
    {"xsave", kBasic, Register::kEcx, 26, 0, CpuLevel::kV3},
    {"", kBasic, Register::kEcx, 27, 0, CpuLevel::kV3},  // OSXSAVE
    {"avx", kBasic, Register::kEcx, 28, 0, CpuLevel::kV3},
    {"f16c", kBasic, Register::kEcx, 29, 0, CpuLevel::kV3},
    {"rdrand", kBasic, Register::kEcx, 30, 0, CpuLevel::kHost},
    {"lahf_lm", kExtended, Register::kEcx, 0, 0, CpuLevel::kV2},
    {"abm", kExtended, Register::kEcx, 5, 0, CpuLevel::kV3},
    {"3dnowprefetch", kExtended, Register::kEcx, 8, 0, CpuLevel::kHost},
    {"fsgsbase", kStructured, Register::kEbx, 0, 0, CpuLevel::kHost},
    {"bmi1", kStructured, Register::kEbx, 3, 0, CpuLevel::kV3},
    {"avx2", kStructured, Register::kEbx, 5, 0, CpuLevel::kV3},
    {"bmi2", kStructured, Register::kEbx, 8, 0, CpuLevel::kV3},
    {"avx512f", kStructured, Register::kEbx, 16, 0, CpuLevel::kV4, ZYDIS_ISA_SET_AVX512F_512},
    {"avx512dq", kStructured, Register::kEbx, 17, 0, CpuLevel::kV4, ZYDIS_ISA_SET_AVX512DQ_512},
    {"rdseed", kStructured, Register::kEbx, 18, 0, CpuLevel::kHost},
    {"adx", kStructured, Register::kEbx, 19, 0, CpuLevel::kHost},
    {"avx512ifma", kStructured, Register::kEbx, 21, 0, CpuLevel::kHost, ZYDIS_ISA_SET_AVX512_IFMA_512},
    {"clflushopt", kStructured, Register::kEbx, 23, 0, CpuLevel::kHost},
    {"clwb", kStructured, Register::kEbx, 24, 0, CpuLevel::kHost},
    {"avx512cd", kStructured, Register::kEbx, 28, 0, CpuLevel::kV4, ZYDIS_ISA_SET_AVX512CD_512},
    {"sha_ni", kStructured, Register::kEbx, 29, 0, CpuLevel::kHost},
    {"avx512bw", kStructured, Register::kEbx, 30, 0, CpuLevel::kV4, ZYDIS_ISA_SET_AVX512BW_512},
    {"avx512vl", kStructured, Register::kEbx, 31, 0, CpuLevel::kV4, ZYDIS_ISA_SET_AVX512F_256},
    {"xsaveopt", kXsave, Register::kEax, 0, 1, CpuLevel::kHost},
    {"xsavec", kXsave, Register::kEax, 1, 1, CpuLevel::kHost},
    {"xgetbv1", kXsave, Register::kEax, 2, 1, CpuLevel::kHost},
    {"avx512_bf16", kStructured, Register::kEax, 5, 1, CpuLevel::kHost, ZYDIS_ISA_SET_AVX512_BF16_512},
    {"avx512vbmi", kStructured, Register::kEcx, 1, 0, CpuLevel::kHost, ZYDIS_ISA_SET_AVX512_VBMI_512},
    {"avx512_vbmi2", kStructured, Register::kEcx, 6, 0, CpuLevel::kHost, ZYDIS_ISA_SET_AVX512_VBMI2_512},
    {"vaes", kStructured, Register::kEcx, 9, 0, CpuLevel::kHost, ZYDIS_ISA_SET_AVX512_VAES_512},
    {"vpclmulqdq", kStructured, Register::kEcx, 10, 0, CpuLevel::kHost, ZYDIS_ISA_SET_AVX512_VPCLMULQDQ_512},
    {"avx512_vnni", kStructured, Register::kEcx, 11, 0, CpuLevel::kHost, ZYDIS_ISA_SET_AVX512_VNNI_512},
    {"avx512_bitalg", kStructured, Register::kEcx, 12, 0, CpuLevel::kHost, ZYDIS_ISA_SET_AVX512_BITALG_512},
    {"avx512_vpopcntdq", kStructured, Register::kEcx, 14, 0, CpuLevel::kHost, ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_512},
    {"rdpid", kStructured, Register::kEcx, 22, 0, CpuLevel::kHost},
};

constexpr uint32_t kSignature = kCpuFamily << 8 | kCpuModel << 4 | kCpuStepping;
constexpr uint32_t kLastLeaf = kXsave, kLastExtendedLeaf = 0x80000008;

struct Leaf {
  uint32_t number;
  CpuidResult result;
};
// What is no feature bit.
constexpr Leaf kLeaves[] = {
    {0x00000001, {kSignature, 8 << 8 /* CLFLUSH: 64 bytes */, 0, 0}},
    {0x80000001, {kSignature, 0, 0, 0}},
    // L1: 64 KiB, 2 ways, lines of 64 bytes, data and instructions; TLBs as a K8 has them.
    {0x80000005, {0xff08ff08, 0xff20ff20, 64u << 24 | 2 << 16 | 1 << 8 | 64, 64u << 24 | 2 << 16 | 1 << 8 | 64}},
    // L2: 512 KiB, 16 ways; L3: 8 MiB, 32 ways.
    {0x80000006, {0, 0x42004200, 512u << 16 | 8 << 12 | 1 << 8 | 64, 16u << 18 | 0xa << 12 | 1 << 8 | 64}},
    {0x80000008, {48 << 8 | 48, 0, 0, 0}},
};

// The parts of XSAVE's image: which, its size as they are enabled and at most; then that of each.
CpuidResult DescribeXsave(uint32_t subleaf, uint64_t xcr0) {
  const auto size = static_cast<uint32_t>(XsaveBytes(xcr0));
  if (subleaf == 0) return {static_cast<uint32_t>(xcr0), size, size, 0};
  if (subleaf == 1) return {0, size, 0, 0};
  for (const XsaveComponent& component : kXsaveComponents)
    if (component.number == subleaf && (xcr0 >> subleaf & 1) != 0)
      return {static_cast<uint32_t>(component.bytes), static_cast<uint32_t>(component.offset), 0, 0};
  return {};
}

// VAES and VPCLMULQDQ have VEX forms, which need nothing of the host, and EVEX forms beside AVX-512.
bool Has(const Feature& feature, CpuLevel level) {
  if (feature.level > level) return false;
  if (feature.set == ZYDIS_ISA_SET_INVALID) return true;
  const bool has_vex_form =
      feature.set == ZYDIS_ISA_SET_AVX512_VAES_512 || feature.set == ZYDIS_ISA_SET_AVX512_VPCLMULQDQ_512;
  return LevelHasAvx512(level) ? HostHasAvx512Set(feature.set) : has_vex_form;
}

// Leaves whose answers depend on ECX.
bool HasSubleaves(uint32_t leaf) { return leaf == kStructured || leaf == kXsave; }

uint32_t Word(std::string_view text, size_t at) {
  uint32_t word = 0;
  if (at < text.size()) std::memcpy(&word, text.data() + at, std::min<size_t>(4, text.size() - at));
  return word;
}

}  // namespace

CpuidResult Cpuid(uint32_t leaf, uint32_t subleaf, CpuLevel level) {
  if (leaf == 0) return {kLastLeaf, Word(kCpuVendor, 0), Word(kCpuVendor, 8), Word(kCpuVendor, 4)};
  if (leaf == 0x80000000) return {kLastExtendedLeaf, Word(kCpuVendor, 0), Word(kCpuVendor, 8), Word(kCpuVendor, 4)};
  if (leaf >= 0x80000002 && leaf <= 0x80000004) {
    const size_t at = (leaf - 0x80000002) * 16;
    return {Word(kCpuBrand, at), Word(kCpuBrand, at + 4), Word(kCpuBrand, at + 8), Word(kCpuBrand, at + 12)};
  }
  if (!HasSubleaves(leaf)) subleaf = 0;
  CpuidResult result;
  if (leaf == kXsave && level >= CpuLevel::kV3) result = DescribeXsave(subleaf, EnabledXstate(level));
  for (const Leaf& entry : kLeaves)
    if (entry.number == leaf) result = entry.result;
  for (const Feature& feature : kFeatures) {
    if (feature.in == Register::kNone || !Has(feature, level)) continue;
    // How many subleaves there are.
    if (leaf == kStructured && subleaf == 0 && feature.leaf == kStructured)
      result.eax = std::max(result.eax, feature.subleaf);
    if (feature.leaf != leaf || feature.subleaf != subleaf) continue;
    uint32_t* const registers[] = {&result.eax, &result.ebx, &result.ecx, &result.edx};
    *registers[static_cast<size_t>(feature.in)] |= uint32_t{1} << feature.bit;
  }
  return result;
}

uint64_t EnabledXstate(CpuLevel level) {
  return kXstateX87 | kXstateSse | kXstateAvx | (LevelHasAvx512(level) ? kXstateAvx512 : 0);
}

std::string CpuFlagNames(CpuLevel level) {
  std::string names;
  for (const Feature& feature : kFeatures) {
    if (feature.name.empty() || !Has(feature, level)) continue;
    if (!names.empty()) names += ' ';
    names += feature.name;
  }
  return names;
}

}  // namespace remora::cpu
