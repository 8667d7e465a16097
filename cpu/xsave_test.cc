#include "cpu/xsave.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>

#include "cpu/fxsave.h"

namespace remora::cpu {
namespace {

CpuState Filled() {
  CpuState state;
  for (int i = 0; i < 32; ++i)
    for (int byte = 0; byte < 64; ++byte) state.vector[i].bytes[byte] = static_cast<std::byte>(16 * i + byte + 1);
  for (size_t i = 0; i < state.opmask.size(); ++i) state.opmask[i] = 0x0123456789abcdef * (i + 1);
  state.avx512_live = true;
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
  EXPECT_EQ(back.opmask, state.opmask);
  EXPECT_TRUE(back.avx512_live);
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

TEST(XsaveTest, ComponentsAreWhereTheDescriptionSays) {
  const CpuState state = Filled();
  XsaveImage image;
  WriteXsaveImage(state, &image);
  const auto at = [&](size_t component, size_t offset) {
    return image.data() + kXsaveComponents[component].offset + offset;
  };
  EXPECT_EQ(std::memcmp(at(0, 16 * 5), state.vector[5].bytes.data() + 16, 16), 0);
  EXPECT_EQ(std::memcmp(at(1, 8 * 5), &state.opmask[5], 8), 0);
  EXPECT_EQ(std::memcmp(at(2, 32 * 5), state.vector[5].bytes.data() + 32, 32), 0);
  EXPECT_EQ(std::memcmp(at(3, 64 * 5), state.vector[21].bytes.data(), 64), 0);
  EXPECT_EQ(XsaveBytes(kXstateX87 | kXstateSse | kXstateAvx), 832u);
  EXPECT_EQ(XsaveBytes(kXstateAll), 2432u);
}

TEST(XsaveTest, WhatOnlyAvx512HasIsNoLongerCarriedAboutOnceItIsZero) {
  XsaveImage image;
  WriteXsaveImage(CpuState(), &image);
  CpuState back = Filled();
  ASSERT_TRUE(ReadXsaveImage(image, kXstateOpmask, kXstateAll, &back));
  EXPECT_TRUE(back.avx512_live);
  EXPECT_EQ(back.opmask[3], 0u);
  ASSERT_TRUE(ReadXsaveImage(image, kXstateAvx512, kXstateAll, &back));
  EXPECT_FALSE(back.avx512_live);
  EXPECT_NE(XstateInUse(back) & kXstateAvx, 0u);
}

TEST(XsaveTest, ComponentsThatAreNotEnabledAreRefused) {
  XsaveImage image;
  WriteXsaveImage(Filled(), &image);
  CpuState back;
  EXPECT_FALSE(ReadXsaveImage(image, kXstateAvx, kXstateX87 | kXstateSse | kXstateAvx, &back));
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
