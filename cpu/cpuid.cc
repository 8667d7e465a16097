#include "cpu/cpuid.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

namespace remora::cpu {
namespace {

constexpr uint32_t Bit(unsigned n) { return uint32_t{1} << n; }

// Leaf 1, EDX: FPU TSC CX8 CMOV CLFSH MMX FXSR SSE SSE2.
constexpr uint32_t kBasicFeatures =
    Bit(0) | Bit(4) | Bit(8) | Bit(15) | Bit(19) | Bit(23) | Bit(24) | Bit(25) | Bit(26);
constexpr uint32_t kCx16 = Bit(13);
// Leaf 0x80000001, EDX: what AMD repeats of the above, and SYSCALL NX LM.
constexpr uint32_t kExtendedFeatures =
    Bit(0) | Bit(4) | Bit(8) | Bit(15) | Bit(23) | Bit(24) | Bit(11) | Bit(20) | Bit(29);
constexpr uint32_t kLahf = Bit(0);
constexpr uint32_t kInvariantTsc = Bit(8);
constexpr uint32_t kSignature = kCpuFamily << 8 | kCpuModel << 4 | kCpuStepping;

struct Leaf {
  uint32_t number;
  CpuidResult result;
};
constexpr Leaf kLeaves[] = {
    {0x00000001, {kSignature, 8 << 8 /* CLFLUSH: 64 bytes */, kCx16, kBasicFeatures}},
    {0x80000001, {kSignature, 0, kLahf, kExtendedFeatures}},
    // L1: 64 KiB, 2 ways, lines of 64 bytes, data and instructions; TLBs as a K8 has them.
    {0x80000005, {0xff08ff08, 0xff20ff20, 64u << 24 | 2 << 16 | 1 << 8 | 64, 64u << 24 | 2 << 16 | 1 << 8 | 64}},
    // L2: 512 KiB, 16 ways; L3: 8 MiB, 32 ways.
    {0x80000006, {0, 0x42004200, 512u << 16 | 8 << 12 | 1 << 8 | 64, 16u << 18 | 0xa << 12 | 1 << 8 | 64}},
    {0x80000007, {0, 0, 0, kInvariantTsc}},
    {0x80000008, {48 << 8 | 48, 0, 0, 0}},
};

uint32_t Word(std::string_view text, size_t at) {
  uint32_t word = 0;
  if (at < text.size()) std::memcpy(&word, text.data() + at, std::min<size_t>(4, text.size() - at));
  return word;
}

}  // namespace

CpuidResult Cpuid(uint32_t leaf, uint32_t) {
  if (leaf == 0) return {1, Word(kCpuVendor, 0), Word(kCpuVendor, 8), Word(kCpuVendor, 4)};
  if (leaf == 0x80000000) return {0x80000008, Word(kCpuVendor, 0), Word(kCpuVendor, 8), Word(kCpuVendor, 4)};
  if (leaf >= 0x80000002 && leaf <= 0x80000004) {
    const size_t at = (leaf - 0x80000002) * 16;
    return {Word(kCpuBrand, at), Word(kCpuBrand, at + 4), Word(kCpuBrand, at + 8), Word(kCpuBrand, at + 12)};
  }
  for (const Leaf& entry : kLeaves)
    if (entry.number == leaf) return entry.result;
  return {};
}

}  // namespace remora::cpu
