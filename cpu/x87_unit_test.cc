#include "cpu/x87_unit.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>

namespace remora::cpu {
namespace {

Unpacked From(double value) { return Unpack64(std::bit_cast<uint64_t>(value)); }

double Pop(X87State& state) {
  uint64_t bits = 0;
  EXPECT_TRUE(X87Unit(state).Store64(&bits, true));
  return std::bit_cast<double>(bits);
}

TEST(X87UnitTest, PushedValuesComeBackInReverse) {
  X87State state;
  for (const double value : {1.0, 2.0, 3.0}) X87Unit(state).Load(From(value));
  EXPECT_EQ(Pop(state), 3.0);
  EXPECT_EQ(Pop(state), 2.0);
  EXPECT_EQ(Pop(state), 1.0);
  EXPECT_EQ(state.valid, 0);
  EXPECT_EQ(state.status, 0);
}

TEST(X87UnitTest, NinthPushIsAStackOverflow) {
  X87State state;
  for (int i = 0; i < 9; ++i) X87Unit(state).Load(From(1.0));
  EXPECT_EQ(state.status, kInvalid | kX87StackFault | kX87C1);
  EXPECT_EQ(state.registers[state.top].sign_exponent, 0xffff) << "the default NaN takes the place";
}

TEST(X87UnitTest, UnmaskedDivisionByZeroLeavesItsOperands) {
  X87State state;
  X87Unit(state).LoadControl(0x37f & ~kZeroDivide);
  X87Unit(state).Load(From(1.0));
  EXPECT_FALSE(X87Unit::Pending(state));
  X87Unit(state).ArithmeticWithMemory(X87Unit::Arithmetic::kDivide, From(0.0));
  EXPECT_TRUE(X87Unit::Pending(state));
  X87Unit(state).ClearExceptions();
  EXPECT_FALSE(X87Unit::Pending(state));
  EXPECT_EQ(Pop(state), 1.0);
}

TEST(X87UnitTest, PrecisionControlRoundsToSingle) {
  X87State state;
  X87Unit(state).LoadControl(0x07f);
  X87Unit(state).Load(From(1.0));
  X87Unit(state).ArithmeticWithMemory(X87Unit::Arithmetic::kDivide, From(3.0));
  EXPECT_EQ(Pop(state), static_cast<double>(1.0f / 3.0f));
  EXPECT_EQ(state.status & kAllFloatFlags, kInexact);
}

TEST(X87UnitTest, EnvironmentImageRestoresTheState) {
  X87State state;
  X87Unit(state).Load(From(0.0));
  X87Unit(state).Load(From(2.0));
  X87Unit(state).CompareRegister(1, false, 0);
  const X87State before = state;
  std::byte image[X87Unit::kEnvironmentBytes32];
  X87Unit(state).StoreEnvironment(image, true);
  X87Unit(state).Initialize();
  X87Unit(state).LoadEnvironment(image, true);
  EXPECT_EQ(state.control, before.control);
  EXPECT_EQ(state.status, before.status);
  EXPECT_EQ(state.top, before.top);
  EXPECT_EQ(state.valid, before.valid);
  EXPECT_EQ(X87Unit(state).FullTagWord(), 0x4fff) << "register 7 is zero, register 6 valid, the rest empty";
}

TEST(X87UnitTest, RemainderOfFarExponentsIsPartial) {
  X87State state;
  X87Unit(state).Load(From(3.0));
  X87Unit(state).Load(From(1e300));
  int steps = 0;
  do {
    X87Unit(state).PartialRemainder(false);
  } while ((state.status & kX87C2) && ++steps < 100);
  EXPECT_GT(steps, 1);
  EXPECT_EQ(Pop(state), __builtin_fmod(1e300, 3.0));
}

TEST(X87UnitTest, SineOfOneIsTheHosts) {
  X87State state;
  X87Unit(state).Load(From(1.0));
  X87Unit(state).RunTranscendental(X87Unit::Transcendental::kFsin);
  EXPECT_NEAR(Pop(state), 0.8414709848078965, 1e-15);
}

}  // namespace
}  // namespace remora::cpu
