#include "cpu/evex_unit.h"

#include <gtest/gtest.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <bit>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "cpu/host_avx512.h"

namespace remora::cpu {
namespace {

uint64_t Packed(std::initializer_list<uint8_t> bytes) {
  uint64_t packed = 0;
  std::memcpy(&packed, bytes.begin(), bytes.size());
  return packed;
}

template <typename T>
void Fill(CpuState* state, unsigned number, T value) {
  for (size_t i = 0; i < 64; i += sizeof(T)) std::memcpy(state->vector[number].bytes.data() + i, &value, sizeof(T));
}
template <typename T>
T Lane(const CpuState& state, unsigned number, size_t lane) {
  T value;
  std::memcpy(&value, state.vector[number].bytes.data() + lane * sizeof(T), sizeof(T));
  return value;
}

class EvexUnitTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HostHasAvx512()) GTEST_SKIP() << "the host has no AVX-512";
  }
  EvexUnit unit_;
  CpuState state_;
};

constexpr uint8_t kDivide[] = {0x62, 0xf1, 0x6c, 0x48, 0x5e, 0xcb};  // vdivps zmm1, zmm2, zmm3
constexpr uint8_t kZeroDivideFlag = 4;

TEST_F(EvexUnitTest, RegistersComeFromTheStateAndGoThere) {
  Fill<float>(&state_, 2, 6);
  Fill<float>(&state_, 3, 2);
  EXPECT_EQ(unit_.Run(&state_, Packed({kDivide[0], kDivide[1], kDivide[2], kDivide[3], kDivide[4], kDivide[5]})), 0);
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(Lane<float>(state_, 1, i), 3);
  EXPECT_EQ(Lane<float>(state_, 2, 0), 6);
}

TEST_F(EvexUnitTest, AnUnmaskedExceptionKeepsTheRegisters) {
  const uint64_t divide = Packed({kDivide[0], kDivide[1], kDivide[2], kDivide[3], kDivide[4], kDivide[5]});
  Fill<float>(&state_, 1, 5);
  Fill<float>(&state_, 2, 6);
  state_.mxcsr &= ~(uint32_t{kZeroDivideFlag} << 7);
  EXPECT_EQ(unit_.Run(&state_, divide), kZeroDivideFlag);
  EXPECT_EQ(Lane<float>(state_, 1, 15), 5);
  state_.mxcsr |= uint32_t{kZeroDivideFlag} << 7;
  EXPECT_EQ(unit_.Run(&state_, divide), kZeroDivideFlag);
  EXPECT_GT(Lane<float>(state_, 1, 15), 1e38f);
  EXPECT_EQ(state_.mxcsr, CpuState().mxcsr);
}

TEST_F(EvexUnitTest, AnUnmaskedUnderflowIsATinyResultThoughItBeExact) {
  // vmulps zmm1, zmm2, zmm3
  const uint64_t multiply = Packed({0x62, 0xf1, 0x6c, 0x48, 0x59, 0xcb});
  constexpr uint8_t kUnderflow = 1 << 4;
  Fill<float>(&state_, 2, 0x1p-126f);
  Fill<float>(&state_, 3, 0x1p-4f);
  EXPECT_EQ(unit_.Run(&state_, multiply), 0);
  EXPECT_EQ(Lane<float>(state_, 1, 3), 0x1p-130f);
  Fill<float>(&state_, 1, 5);
  state_.mxcsr &= ~(uint32_t{kUnderflow} << 7);
  EXPECT_EQ(unit_.Run(&state_, multiply), kUnderflow);
  EXPECT_EQ(Lane<float>(state_, 1, 3), 5);
}

TEST_F(EvexUnitTest, SoIsAHalfThatIsNotFlushedToZero) {
  const uint64_t convert = Packed({0x62, 0xf3, 0x7d, 0x48, 0x1d, 0xd1, 0x00});  // vcvtps2ph ymm1, zmm2, 0
  const uint64_t some = Packed({0x62, 0xf3, 0x7d, 0x49, 0x1d, 0xd1, 0x00});     // ymm1 {k1}
  const uint64_t upper = Packed({0x62, 0xa3, 0x7d, 0x08, 0x1d, 0xe2, 0x00});    // xmm18, xmm20
  constexpr uint8_t kUnderflow = 1 << 4, kInexact = 1 << 5, kDenormal = 1 << 1;
  struct Case {
    float value;
    uint8_t masked, unmasked;
  };
  constexpr uint8_t kTiny = kUnderflow | kInexact;
  const Case cases[] = {{0x1p-18f, 0, kUnderflow},
                        {-0x1p-24f, 0, kUnderflow},
                        {0x1.8p-23f, 0, kUnderflow},
                        {0x1.ff8p-15f, 0, kUnderflow},
                        {0x1p-14f, 0, 0},
                        {1, 0, 0},
                        {0, 0, 0},
                        {0x1p-25f, kTiny, kTiny},
                        {0x1.8p-24f, kTiny, kTiny},
                        {0x1p-130f, kTiny | kDenormal, kTiny | kDenormal}};
  for (const Case& each : cases) {
    for (const bool unmask : {false, true}) {
      state_.mxcsr = CpuState().mxcsr;
      if (unmask) state_.mxcsr &= ~(uint32_t{kUnderflow} << 7);
      const uint8_t expected = unmask ? each.unmasked : each.masked;
      Fill<float>(&state_, 2, 1);
      Fill<float>(&state_, 20, 1);
      std::memcpy(state_.vector[2].bytes.data() + 7 * sizeof(float), &each.value, sizeof(float));
      std::memcpy(state_.vector[20].bytes.data() + 3 * sizeof(float), &each.value, sizeof(float));
      EXPECT_EQ(unit_.Run(&state_, convert), expected) << each.value;
      EXPECT_EQ(unit_.Run(&state_, upper), expected) << each.value;
      state_.opmask[1] = 0xff7f;
      EXPECT_EQ(unit_.Run(&state_, some), 0) << each.value;
      state_.opmask[1] = 0x0080;
      EXPECT_EQ(unit_.Run(&state_, some), expected) << each.value;
    }
  }
}

#if defined(__x86_64__)
// The host's own instruction, with what MXCSR says.
__attribute__((target("avx512f,avx512dq"))) uint32_t ReduceNatively(const CpuState& state, uint8_t* flags) {
  const unsigned before = _mm_getcsr();
  const __m512 source = _mm512_loadu_ps(state.vector[2].bytes.data());
  _mm_setcsr(state.mxcsr);
  __m512 result;
  asm volatile("vreduceps $0, %1, %0" : "=v"(result) : "v"(source));
  *flags = static_cast<uint8_t>(_mm_getcsr() & 0x3f);
  _mm_setcsr(before);
  float lane;
  std::memcpy(&lane, &result, sizeof(lane));
  return std::bit_cast<uint32_t>(lane);
}

// A remainder that is tiny: it raises no underflow, and whether an unmasked one keeps it from being flushed is up to
// the host's maker.
TEST_F(EvexUnitTest, ATinyRemainderIsFlushedAsTheHostFlushesIt) {
  const uint64_t reduce = Packed({0x62, 0xf3, 0x7d, 0x48, 0x56, 0xca, 0x00});  // vreduceps zmm1, zmm2, 0
  constexpr uint32_t kUnderflowMask = 1 << 11, kFlushToZero = 1 << 15;
  for (const uint32_t mxcsr :
       {0x1f80u, 0x1f80 | kFlushToZero, 0x1f80 & ~kUnderflowMask, (0x1f80 & ~kUnderflowMask) | kFlushToZero}) {
    for (const float value : {0x1p-130f, 0x1.8p-126f, 1.25f}) {
      Fill<float>(&state_, 2, value);
      state_.mxcsr = mxcsr;
      uint8_t flags;
      const uint32_t expected = ReduceNatively(state_, &flags);
      EXPECT_EQ(unit_.Run(&state_, reduce), flags) << value << " with " << mxcsr;
      EXPECT_EQ(Lane<uint32_t>(state_, 1, 0), expected) << value << " with " << mxcsr;
    }
  }
}
#endif

// More instructions than there are places for, twice.
TEST_F(EvexUnitTest, RoutinesThatWereThrownAwayAreMadeAgain) {
  Fill<uint32_t>(&state_, 3, 1);
  for (int round = 0; round < 2; ++round) {
    for (unsigned shift = 0; shift < 256; ++shift) {
      for (unsigned to = 0; to < 8; ++to) {
        if (to == 3) continue;
        // vpslld zmm(to), zmm3, shift, whose destination is inverted EVEX.vvvv
        const auto source = static_cast<uint8_t>((15 - to) << 3 | 5);
        unit_.Run(&state_, Packed({0x62, 0xf1, source, 0x48, 0x72, 0xf3, static_cast<uint8_t>(shift)}));
        ASSERT_EQ(Lane<uint32_t>(state_, to, 7), shift < 32 ? 1u << shift : 0u) << shift << " to " << to;
      }
    }
  }
}

}  // namespace
}  // namespace remora::cpu
