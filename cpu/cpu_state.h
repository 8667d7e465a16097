#ifndef REMORA_CPU_CPU_STATE_H_
#define REMORA_CPU_CPU_STATE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace remora::cpu {

// General registers in the encoding's order.
enum Gpr : uint8_t { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR11, kR12, kR13, kR14, kR15 };

// RFLAGS bits.
inline constexpr uint64_t kFlagCF = 1 << 0, kFlagPF = 1 << 2, kFlagAF = 1 << 4, kFlagZF = 1 << 6, kFlagSF = 1 << 7,
                          kFlagTF = 1 << 8, kFlagIF = 1 << 9, kFlagDF = 1 << 10, kFlagOF = 1 << 11, kFlagNT = 1 << 14,
                          kFlagRF = 1 << 16, kFlagAC = 1 << 18, kFlagID = 1 << 21;
inline constexpr uint64_t kFlagsFixed = 0x202;  // bit 1 and IF read as one in user mode
inline constexpr uint64_t kStatusFlags = kFlagCF | kFlagPF | kFlagAF | kFlagZF | kFlagSF | kFlagOF;

// One vector register, wide enough for ZMM. Bytes in memory order.
struct alignas(64) VectorRegister {
  std::array<std::byte, 64> bytes;
};

// One x87 register: 64-bit significand, then sign and exponent.
struct X87Register {
  uint64_t significand;
  uint16_t sign_exponent;
};

struct X87State {
  std::array<X87Register, 8> registers{};  // physical: ST(i) is registers[(top + i) & 7]
  uint16_t control = 0x37f;
  uint16_t status = 0;  // without TOP, which is below
  uint8_t top = 0;      // 0..7
  uint8_t valid = 0;    // bit n: physical register n is not empty
  uint16_t last_opcode = 0;
  uint64_t last_ip = 0;
  uint64_t last_data = 0;
};

// All that one guest thread's CPU holds. Plain data: copied by fork, saved in signal frames, compared in tests.
// Between two Engine::Run calls rip, rflags and all registers are exact; inside, an engine may keep them elsewhere.
struct CpuState {
  std::array<uint64_t, 16> gpr{};
  uint64_t rip = 0;
  uint64_t rflags = kFlagsFixed;
  uint64_t fs_base = 0;
  uint64_t gs_base = 0;

  uint32_t mxcsr = 0x1f80;
  uint32_t tsc_aux = 0;  // what RDTSCP and RDPID tell: the kernel's business, as TSC_AUX is
  X87State x87;
  // False only if k0-7, ZMM16-31 and the upper halves of ZMM0-15 are all zero: most programs' are, and nobody need then
  // carry them about. Who writes one of them sets it; whoever has looked at all of them may clear it.
  bool avx512_live = false;
  std::array<VectorRegister, 32> vector{};
  std::array<uint64_t, 8> opmask{};  // k0-k7
};

static_assert(std::is_trivially_copyable_v<CpuState>);
static_assert(offsetof(CpuState, gpr) == 0 && offsetof(CpuState, rip) == 128 && offsetof(CpuState, rflags) == 136 &&
              offsetof(CpuState, fs_base) == 144 && offsetof(CpuState, gs_base) == 152);

}  // namespace remora::cpu

#endif  // REMORA_CPU_CPU_STATE_H_
