#include "cpu/soft_float.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>

namespace remora::cpu {
namespace {

double ToDouble(const Unpacked& value) { return std::bit_cast<double>(Pack64(value)); }
Unpacked From(double value) { return Unpack64(std::bit_cast<uint64_t>(value)); }
Unpacked From(float value) { return Unpack32(std::bit_cast<uint32_t>(value)); }

// Doubles of all kinds, near each other often enough that sums cancel.
double RandomDouble(std::mt19937_64& random) {
  const uint64_t bits = random();
  switch (random() % 6) {
    case 0:
      return std::bit_cast<double>(bits);
    case 1:
      return std::bit_cast<double>(bits & 0x800fffffffffffff);
    case 2:
      return static_cast<double>(static_cast<int64_t>(bits) >> (bits & 63));
    default:
      return std::bit_cast<double>((bits & 0x800fffffffffffff) | (1000 + random() % 48) << 52);
  }
}

bool SameNumber(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

TEST(SoftFloatTest, ArithmeticAgreesWithTheHostsDoubles) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200'000; ++i) {
    const double a = RandomDouble(random), b = RandomDouble(random);
    FloatEnvironment env;
    EXPECT_TRUE(SameNumber(ToDouble(Add(From(a), From(b), kBinary64, env)), a + b)) << a << " + " << b;
    EXPECT_TRUE(SameNumber(ToDouble(Subtract(From(a), From(b), kBinary64, env)), a - b)) << a << " - " << b;
    EXPECT_TRUE(SameNumber(ToDouble(Multiply(From(a), From(b), kBinary64, env)), a * b)) << a << " * " << b;
    EXPECT_TRUE(SameNumber(ToDouble(Divide(From(a), From(b), kBinary64, env)), a / b)) << a << " / " << b;
    EXPECT_TRUE(SameNumber(ToDouble(SquareRoot(From(a), kBinary64, env)), std::sqrt(a))) << a;
    const float narrow = static_cast<float>(a);
    EXPECT_EQ(Pack32(Convert(From(a), kBinary32, env)) << 1 > 0xff000000u, std::isnan(narrow));
    if (!std::isnan(narrow)) EXPECT_EQ(Pack32(Convert(From(a), kBinary32, env)), std::bit_cast<uint32_t>(narrow)) << a;
  }
}

TEST(SoftFloatTest, PackingRestoresWhatWasUnpacked) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t bits = random();
    EXPECT_EQ(Pack64(Unpack64(bits)), bits);
    EXPECT_EQ(Pack32(Unpack32(static_cast<uint32_t>(bits))), static_cast<uint32_t>(bits));
    const Float80 extended{random() | uint64_t{1} << 63, static_cast<uint16_t>(bits)};
    if ((extended.sign_exponent & 0x7fff) != 0) EXPECT_EQ(Pack80(Unpack80(extended)), extended);
  }
}

TEST(SoftFloatTest, FlagsTellWhatHappened) {
  auto flags_of = [](auto operation) {
    FloatEnvironment env;
    operation(env);
    return env.flags;
  };
  const double infinity = INFINITY, huge = 1.7e308, tiny = 5e-324;
  EXPECT_EQ(flags_of([](auto& env) { Add(From(1.0), From(2.0), kBinary64, env); }), 0);
  EXPECT_EQ(flags_of([](auto& env) { Divide(From(1.0), From(3.0), kBinary64, env); }), kInexact);
  EXPECT_EQ(flags_of([](auto& env) { Divide(From(1.0), From(0.0), kBinary64, env); }), kZeroDivide);
  EXPECT_EQ(flags_of([](auto& env) { Divide(From(0.0), From(0.0), kBinary64, env); }), kInvalid);
  EXPECT_EQ(flags_of([&](auto& env) { Subtract(From(infinity), From(infinity), kBinary64, env); }), kInvalid);
  EXPECT_EQ(flags_of([&](auto& env) { Add(From(huge), From(huge), kBinary64, env); }), kOverflow | kInexact);
  EXPECT_EQ(flags_of([&](auto& env) { Multiply(From(tiny), From(0.5), kBinary64, env); }),
            kDenormal | kUnderflow | kInexact);
  EXPECT_EQ(flags_of([&](auto& env) { Add(From(tiny), From(0.0), kBinary64, env); }), kDenormal);
  EXPECT_EQ(flags_of([](auto& env) { SquareRoot(From(-1.0), kBinary64, env); }), kInvalid);
}

TEST(SoftFloatTest, RoundingModesBracketTheExactResult) {
  for (const double numerator : {1.0, -1.0}) {
    double results[4];
    for (int mode = 0; mode < 4; ++mode) {
      FloatEnvironment env{.rounding = static_cast<Rounding>(mode)};
      results[mode] = ToDouble(Divide(From(numerator), From(3.0), kBinary64, env));
    }
    const double down = results[static_cast<int>(Rounding::kDown)], up = results[static_cast<int>(Rounding::kUp)];
    EXPECT_EQ(std::nextafter(down, 2.0), up);
    EXPECT_EQ(results[static_cast<int>(Rounding::kTruncate)], numerator > 0 ? down : up);
  }
}

TEST(SoftFloatTest, FirstNanWinsForSseAndTheLargerOneForX87) {
  const Unpacked small = Unpack64(0x7ff8000000000001), large = Unpack64(0x7ff8000000000002);
  FloatEnvironment sse, x87{.x87 = true};
  EXPECT_EQ(Pack64(Add(small, large, kBinary64, sse)), 0x7ff8000000000001u);
  EXPECT_EQ(Pack64(Add(small, large, kBinary64, x87)), 0x7ff8000000000002u);
  EXPECT_EQ(sse.flags | x87.flags, 0);
  EXPECT_EQ(Pack64(Add(Unpack64(0x7ff0000000000001), large, kBinary64, sse)), 0x7ff8000000000001u);
  EXPECT_EQ(sse.flags, kInvalid);
}

TEST(SoftFloatTest, MultiplyAddRoundsOnce) {
  FloatEnvironment env;
  std::mt19937_64 random(7);
  for (int i = 0; i < 200000; ++i) {
    // Exponents near each other, so that product and addend often meet, or nearly cancel.
    const auto number = [&] {
      const uint64_t bits = random();
      return std::bit_cast<double>((bits & 0x800fffffffffffff) | (1023 - 60 + (bits >> 52) % 120) << 52);
    };
    const double a = number(), b = number(), c = i % 4 == 0 ? -(a * b) : number();
    EXPECT_EQ(Pack64(MultiplyAdd(From(a), From(b), From(c), false, false, kBinary64, env)),
              std::bit_cast<uint64_t>(std::fma(a, b, c)))
        << a << " " << b << " " << c;
    EXPECT_EQ(Pack64(MultiplyAdd(From(a), From(b), From(c), true, true, kBinary64, env)),
              std::bit_cast<uint64_t>(std::fma(-a, b, -c)));
  }
}

TEST(SoftFloatTest, IntegersOutOfRangeAreIndefinite) {
  FloatEnvironment env;
  EXPECT_EQ(ToInteger(From(-2147483648.0), 32, Rounding::kNearest, env), INT32_MIN);
  EXPECT_EQ(env.flags, 0);
  EXPECT_EQ(ToInteger(From(2147483648.0), 32, Rounding::kNearest, env), INT32_MIN);
  EXPECT_EQ(env.flags, kInvalid);
  env.flags = 0;
  EXPECT_EQ(ToInteger(From(2.5), 64, Rounding::kNearest, env), 2);
  EXPECT_EQ(ToInteger(From(-2.5f), 64, Rounding::kDown, env), -3);
  EXPECT_EQ(env.flags, kInexact);
}

}  // namespace
}  // namespace remora::cpu
