#include "cpu/translator/code_buffer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/large_pages_for_testing.h"

namespace remora::cpu::translator {
namespace {

constexpr uint64_t kMegabyte = uint64_t{1} << 20;

TEST(CodeBufferTest, WhatIsWrittenAtOnePlaceRunsAtTheOther) {
  CodeBuffer buffer(kMegabyte);
  const CodeBuffer::Piece piece = buffer.Allocate(16);
  ASSERT_NE(piece.code, nullptr);
  EXPECT_TRUE(buffer.Contains(piece.code));
  EXPECT_FALSE(buffer.Contains(buffer.permanent()));
  const uint8_t code[] = {0xb8, 42, 0, 0, 0, 0xc3};  // mov eax, 42; ret
  std::memcpy(buffer.Writable(piece.code), code, sizeof(code));
  EXPECT_EQ(reinterpret_cast<int (*)()>(const_cast<std::byte*>(piece.code))(), 42);
}

TEST(CodeBufferTest, CodeLiesInLargePagesOfTheHost) {
  CodeBuffer buffer(64 * kMegabyte);
  const std::byte* const first = buffer.Allocate(16).code;
  const auto use = [&](uint64_t bytes) {
    for (uint64_t used = 0; used < bytes; used += 4096)
      std::memset(buffer.Writable(buffer.Allocate(4096).code), 0xcc, 4096);
  };
  const auto expect_large = [&](uint64_t bytes) {
    EXPECT_EQ(BytesInLargePages(first), bytes);
    EXPECT_EQ(BytesInLargePages(buffer.Writable(first)), bytes);
  };
  if (!HostGivesLargePages()) return;
  use(kMegabyte / 2);
  expect_large(0);
  use(kMegabyte / 2);
  expect_large(2 * kMegabyte);
  use(kMegabyte / 2);
  expect_large(2 * kMegabyte);
  use(kMegabyte / 2);  // what is before the regions counts
  expect_large(4 * kMegabyte);
}

TEST(CodeBufferTest, TheOldestRegionComesBackAfterItsEviction) {
  CodeBuffer buffer(kMegabyte);
  const auto whole = static_cast<uint32_t>(buffer.region_bytes());
  uint32_t region;
  for (uint32_t i = 0; i < CodeBuffer::kNumRegions; ++i) {
    EXPECT_FALSE(buffer.BeginEviction(&region));
    const CodeBuffer::Piece piece = buffer.Allocate(whole);
    ASSERT_NE(piece.code, nullptr);
    EXPECT_EQ(piece.region, i);
  }
  EXPECT_EQ(buffer.Allocate(16).code, nullptr);
  ASSERT_TRUE(buffer.BeginEviction(&region));
  EXPECT_EQ(region, 0u);
  EXPECT_FALSE(buffer.BeginEviction(&region));
  EXPECT_EQ(buffer.Allocate(16).code, nullptr);  // somebody may still be in there
  buffer.FinishEviction(0);
  const CodeBuffer::Piece piece = buffer.Allocate(16);
  ASSERT_NE(piece.code, nullptr);
  EXPECT_EQ(piece.region, 0u);
}

TEST(CodeBufferTest, PiecesDoNotOverlap) {
  CodeBuffer buffer(kMegabyte);
  const std::byte* end = nullptr;
  for (uint32_t size = 1; size < 200; ++size) {
    const CodeBuffer::Piece piece = buffer.Allocate(size);
    ASSERT_NE(piece.code, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece.code) % 16, 0u);
    EXPECT_GE(piece.code, end);
    end = piece.code + size;
  }
}

}  // namespace
}  // namespace remora::cpu::translator
