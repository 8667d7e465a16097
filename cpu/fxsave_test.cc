#include "cpu/fxsave.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>

namespace remora::cpu {
namespace {

TEST(FxsaveTest, ImageRestoresTheState) {
  std::mt19937_64 random(1);
  CpuState state;
  for (VectorRegister& reg : state.vector)
    for (std::byte& byte : reg.bytes) byte = static_cast<std::byte>(random());
  for (X87Register& reg : state.x87.registers) reg = {random(), static_cast<uint16_t>(random())};
  state.x87.top = 5;
  state.x87.valid = 0xa5;
  state.x87.status = 0x4100;
  state.x87.control = 0x27f;
  state.mxcsr = 0x9fa5;
  std::array<std::byte, kFxsaveBytes> image;
  WriteFxsaveImage(state, image);

  CpuState restored;
  ReadFxsaveImage(image, &restored);
  EXPECT_EQ(restored.mxcsr, state.mxcsr);
  EXPECT_EQ(restored.x87.top, 5);
  EXPECT_EQ(restored.x87.valid, 0xa5);
  EXPECT_EQ(restored.x87.status, 0x4100);
  EXPECT_EQ(restored.x87.control, 0x27f);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(restored.x87.registers[i].significand, state.x87.registers[i].significand);
    EXPECT_EQ(restored.x87.registers[i].sign_exponent, state.x87.registers[i].sign_exponent);
  }
  for (int i = 0; i < 16; ++i) EXPECT_EQ(std::memcmp(&restored.vector[i], &state.vector[i], 16), 0);
}

TEST(FxsaveTest, ReservedMxcsrBitsAreDropped) {
  std::array<std::byte, kFxsaveBytes> image{};
  const uint32_t mxcsr = 0xffff1f80;
  std::memcpy(image.data() + kFxsaveMxcsrOffset, &mxcsr, sizeof(mxcsr));
  CpuState state;
  ReadFxsaveImage(image, &state);
  EXPECT_EQ(state.mxcsr, 0x1f80u);
}

}  // namespace
}  // namespace remora::cpu
