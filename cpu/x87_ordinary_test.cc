#include "cpu/x87_ordinary.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <random>

namespace remora::cpu {
namespace {

// Normal numbers, near each other often enough that sums cancel, with significands long and short.
Float80 RandomNumber(std::mt19937_64& random) {
  uint64_t significand = random() | kSignificandTop;
  switch (random() % 4) {
    case 0:
      significand &= ~uint64_t{0} << (random() & 63);
      break;
    case 1:
      significand |= (uint64_t{1} << (random() & 63)) - 1;
      break;
    default:
      break;
  }
  significand |= kSignificandTop;
  const unsigned exponent = random() % 8 == 0 ? 1 + random() % 0x7ffe : kBias80 - 70 + random() % 140;
  return {significand, static_cast<uint16_t>((random() & 1) << 15 | exponent)};
}

// Where the short way answers at all, it answers what the long way does; and it does answer for most operands.
template <typename Ordinary, typename Soft>
void ExpectTheSame(const char* name, Ordinary ordinary, Soft soft) {
  std::mt19937_64 random(1);
  int answered = 0;
  constexpr int kCases = 500'000;
  for (int i = 0; i < kCases; ++i) {
    const Float80 a = RandomNumber(random), b = RandomNumber(random);
    OrdinaryResult result;
    if (!ordinary(a, b, &result)) continue;
    ++answered;
    FloatEnvironment env;
    env.x87 = true;
    const Float80 expected = Pack80(soft(Unpack80(a), Unpack80(b), kExtended, env));
    ASSERT_EQ(result.value, expected) << name << std::hex << " " << a.sign_exponent << ":" << a.significand << " "
                                      << b.sign_exponent << ":" << b.significand;
    ASSERT_EQ(result.inexact ? kInexact : 0, env.flags) << name << " " << i;
    ASSERT_EQ(result.rounded_up, env.rounded_up) << name << " " << i;
  }
  EXPECT_GT(answered, kCases / 4 * 3) << name;
}

TEST(X87OrdinaryTest, AgreesWithSoftFloat) {
  ExpectTheSame("add", AddOrdinary, Add);
  ExpectTheSame("multiply", MultiplyOrdinary, Multiply);
  ExpectTheSame("divide", DivideOrdinary, Divide);
}

TEST(X87OrdinaryTest, LeavesTheEndsOfTheRangeAlone) {
  const Float80 smallest{kSignificandTop, 1}, largest{~uint64_t{0}, 0x7ffe}, half{kSignificandTop, kBias80 - 1};
  OrdinaryResult result;
  EXPECT_FALSE(MultiplyOrdinary(smallest, half, &result));
  EXPECT_FALSE(AddOrdinary(largest, largest, &result));
  EXPECT_FALSE(DivideOrdinary(largest, half, &result));
  EXPECT_FALSE(IsNormal80({kSignificandTop, 0x7fff}));
  EXPECT_FALSE(IsNormal80({kSignificandTop, 0}));
  EXPECT_FALSE(IsNormal80({1, kBias80})) << "unsupported";
  EXPECT_TRUE(IsNormal80(largest));
}

}  // namespace
}  // namespace remora::cpu
