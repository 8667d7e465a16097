#include "cpu/flags.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>

#include "cpu/alu.h"

namespace remora::cpu {
namespace {

// The manual's definitions, bit by bit.
template <typename T>
uint64_t AddFlags(T a, T b, bool carry_in, bool subtract) {
  constexpr unsigned kBits = 8 * sizeof(T);
  if (subtract) {
    b = static_cast<T>(~b);
    carry_in = !carry_in;
  }
  bool carry = carry_in, into_top = false, half = false;
  T result = 0;
  for (unsigned i = 0; i < kBits; ++i) {
    const int sum = static_cast<int>((a >> i) & 1) + static_cast<int>((b >> i) & 1) + (carry ? 1 : 0);
    if (i == kBits - 1) into_top = carry;
    result = static_cast<T>(result | static_cast<T>(static_cast<T>(sum & 1) << i));
    carry = sum > 1;
    if (i == 3) half = carry;
  }
  uint64_t flags = 0;
  if (carry != subtract) flags |= kFlagCF;
  if (half != subtract) flags |= kFlagAF;
  if (carry != into_top) flags |= kFlagOF;
  if (result == 0) flags |= kFlagZF;
  if ((result >> (kBits - 1)) & 1) flags |= kFlagSF;
  int ones = 0;
  for (int i = 0; i < 8; ++i) ones += (result >> i) & 1;
  if (ones % 2 == 0) flags |= kFlagPF;
  return flags;
}

bool HoldsByManual(int condition, uint64_t flags) {
  const bool c = flags & kFlagCF, z = flags & kFlagZF, s = flags & kFlagSF, o = flags & kFlagOF, p = flags & kFlagPF;
  const bool values[8] = {o, c, z, c || z, s, p, s != o, z || s != o};
  return values[condition / 2] != (condition % 2 == 1);
}

template <int kFirst = 0>
void ExpectConditions(uint64_t a, uint64_t b, uint64_t kind, uint64_t flags) {
  if constexpr (kFirst < 16) {
    EXPECT_EQ(Holds<static_cast<Condition>(kFirst)>(a, b, kind), HoldsByManual(kFirst, flags)) << kFirst;
    ExpectConditions<kFirst + 1>(a, b, kind, flags);
  }
}

template <typename T>
class FlagsTest : public ::testing::Test {};
using Widths = ::testing::Types<uint8_t, uint16_t, uint32_t, uint64_t>;
TYPED_TEST_SUITE(FlagsTest, Widths);

template <Alu kAlu, typename T>
void ExpectAddLike(T left, T right, bool carry_in) {
  uint64_t a = carry_in ? kFlagCF : 0, b = 0, kind = kFlagWord<FlagKind::kExplicit>;
  constexpr bool kSubtract = kAlu == Alu::kSub || kAlu == Alu::kSbb || kAlu == Alu::kCmp;
  constexpr bool kWithCarry = kAlu == Alu::kAdc || kAlu == Alu::kSbb;
  Compute<kAlu, T>(left, right, a, b, kind);
  const uint64_t expected = AddFlags<T>(left, right, kWithCarry && carry_in, kSubtract);
  EXPECT_EQ(MaterializeFlags(a, b, kind), expected) << +left << " " << +right << " carry " << carry_in;
  ExpectConditions(a, b, kind, expected);
}

TYPED_TEST(FlagsTest, ArithmeticMatchesTheManualsDefinitions) {
  using T = TypeParam;
  std::mt19937_64 random(1);
  const T corners[] = {0,
                       1,
                       0x7f,
                       static_cast<T>(-1),
                       static_cast<T>(T{1} << (8 * sizeof(T) - 1)),
                       static_cast<T>((T{1} << (8 * sizeof(T) - 1)) - 1)};
  for (int i = 0; i < 500; ++i) {
    const uint64_t bits = random();
    const T left = bits & 1 ? corners[random() % std::size(corners)] : static_cast<T>(random());
    const T right = bits & 2 ? corners[random() % std::size(corners)] : static_cast<T>(random());
    const bool carry = (bits & 4) != 0;
    ExpectAddLike<Alu::kAdd, T>(left, right, carry);
    ExpectAddLike<Alu::kAdc, T>(left, right, carry);
    ExpectAddLike<Alu::kSub, T>(left, right, carry);
    ExpectAddLike<Alu::kSbb, T>(left, right, carry);
    ExpectAddLike<Alu::kCmp, T>(left, right, carry);
  }
}

TYPED_TEST(FlagsTest, LogicClearsCarryAndOverflow) {
  using T = TypeParam;
  std::mt19937_64 random(2);
  for (int i = 0; i < 200; ++i) {
    const T left = static_cast<T>(random()), right = i % 3 == 0 ? static_cast<T>(~left) : static_cast<T>(random());
    uint64_t a = kFlagCF, b = 0, kind = kFlagWord<FlagKind::kExplicit>;
    const T result = Compute<Alu::kAnd, T>(left, right, a, b, kind);
    const uint64_t expected = AddFlags<T>(result, 0, false, false);
    EXPECT_EQ(MaterializeFlags(a, b, kind), expected);
    ExpectConditions(a, b, kind, expected);
  }
}

TEST(ExplicitFlagsTest, StayAsTheyAre) {
  for (uint64_t bits = 0; bits < 64; ++bits) {
    const uint64_t flags = (bits & 1 ? kFlagCF : 0) | (bits & 2 ? kFlagPF : 0) | (bits & 4 ? kFlagAF : 0) |
                           (bits & 8 ? kFlagZF : 0) | (bits & 16 ? kFlagSF : 0) | (bits & 32 ? kFlagOF : 0);
    EXPECT_EQ(MaterializeFlags(flags, 0, kFlagWord<FlagKind::kExplicit>), flags);
    ExpectConditions(flags, 0, kFlagWord<FlagKind::kExplicit>, flags);
  }
}

}  // namespace
}  // namespace remora::cpu
