#include "cpu/xsave.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>

#include "cpu/fxsave.h"

namespace remora::cpu {
namespace {

CpuState Filled() {
  CpuState state;
  for (int i = 0; i < 16; ++i)
    for (int byte = 0; byte < 32; ++byte) state.vector[i].bytes[byte] = static_cast<std::byte>(16 * i + byte + 1);
  state.x87.valid = 0x80;
  state.x87.top = 7;
  state.x87.registers[7] = {.significand = 0x8000000000000000, .sign_exponent = 0x3fff};
  state.mxcsr = 0x1f85;
  return state;
}

TEST(XsaveTest, ImageBringsAllComponentsBack) {
  const CpuState state = Filled();
  XsaveImage image;
  WriteXsaveImage(state, &image);
  CpuState back;
  ASSERT_TRUE(ReadXsaveImage(image, kXstateAll, kXstateAll, &back));
  EXPECT_EQ(std::memcmp(&back.vector, &state.vector, sizeof(state.vector)), 0);
  EXPECT_EQ(back.mxcsr, state.mxcsr);
  EXPECT_EQ(back.x87.registers[7].sign_exponent, 0x3fff);
  EXPECT_EQ(back.x87.top, 7);
}

TEST(XsaveTest, OnlyWhatIsWantedIsLoaded) {
  XsaveImage image;
  WriteXsaveImage(Filled(), &image);
  CpuState back;
  ASSERT_TRUE(ReadXsaveImage(image, kXstateAvx, kXstateAll, &back));
  EXPECT_EQ(back.vector[2].bytes[0], std::byte{0});
  EXPECT_EQ(back.vector[2].bytes[16], std::byte{49});
  EXPECT_EQ(back.x87.valid, 0);
}

TEST(XsaveTest, ComponentsThatAreNotThereAreInitialized) {
  XsaveImage image;
  WriteXsaveImage(CpuState(), &image);
  CpuState back = Filled();
  ASSERT_TRUE(ReadXsaveImage(image, kXstateAvx | kXstateX87, kXstateAll, &back));
  EXPECT_EQ(back.vector[2].bytes[0], std::byte{33});
  EXPECT_EQ(back.vector[2].bytes[16], std::byte{0});
  EXPECT_EQ(back.x87.valid, 0);
}

TEST(XsaveTest, ABadHeaderIsRefused) {
  XsaveImage image;
  WriteXsaveImage(Filled(), &image);
  CpuState back;
  image[kXsaveComponentsOffset + 1] = std::byte{1};  // a component that is not there
  EXPECT_FALSE(ReadXsaveImage(image, kXstateAll, kXstateAll, &back));
  WriteXsaveImage(Filled(), &image);
  image[kFxsaveMxcsrOffset + 2] = std::byte{1};  // a reserved bit of MXCSR
  EXPECT_FALSE(ReadXsaveImage(image, kXstateAll, kXstateAll, &back));
  EXPECT_EQ(XstateInUse(back), 0u);
}

}  // namespace
}  // namespace remora::cpu
