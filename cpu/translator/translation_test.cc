#include "cpu/translator/translation.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace remora::cpu::translator {
namespace {

const std::byte code[64] = {};

TEST(TranslationTest, ABlocksInstructionsAreAroundItsBeginning) {
  const std::vector<Mark> marks = {{.host_offset = 8, .guest_offset = 0},
                                   {.host_offset = 20, .guest_offset = 5},
                                   {.host_offset = 30, .guest_offset = -4000}};
  BlockArena arena(1);
  const Translation::Owner block = Translation::Create(&arena, code, marks);
  block->pc = 0x7ffff7ffeff0;
  EXPECT_FALSE(block->is_path);
  EXPECT_EQ(block->AddressOf(0), 0x7ffff7ffeff0u);
  EXPECT_EQ(block->AddressOf(1), 0x7ffff7ffeff5u);
  EXPECT_EQ(block->AddressOf(2), 0x7ffff7ffe050u);
}

TEST(TranslationTest, APathsInstructionsAreOnItsPages) {
  std::vector<Translation::Page> pages;
  std::vector<uint64_t> path;
  std::vector<Mark> marks;
  for (uint64_t i = 0; i < Translation::kMaxPages; ++i) {
    const uint64_t number = 0x7ffff7fff - i * 77;
    pages.push_back({number, mm::FrameId(static_cast<uint32_t>(i))});
    for (const uint64_t offset : {0u, 1u, 0x800u, 0xfffu}) path.push_back(number << 12 | offset);
  }
  for (size_t i = 0; i < path.size(); ++i) marks.push_back({.host_offset = static_cast<uint16_t>(3 * i)});
  BlockArena arena(1);
  const Translation::Owner made = Translation::Create(&arena, code, marks, path, pages);
  EXPECT_TRUE(made->is_path);
  ASSERT_EQ(made->count(), path.size());
  for (uint32_t i = 0; i < path.size(); ++i) EXPECT_EQ(made->AddressOf(i), path[i]) << i;
  ASSERT_EQ(made->pages().size(), pages.size());
  for (size_t i = 0; i < pages.size(); ++i) EXPECT_EQ(made->pages()[i].number, pages[i].number);
}

TEST(TranslationTest, TheHostsAddressTellsTheInstruction) {
  const std::vector<Mark> marks = {{.host_offset = 8}, {.host_offset = 20}, {.host_offset = 20}, {.host_offset = 30}};
  BlockArena arena(1);
  const Translation::Owner block = Translation::Create(&arena, code, marks);
  EXPECT_EQ(block->IndexOf(code), 0u);  // an entry
  EXPECT_EQ(block->IndexOf(code + 8), 0u);
  EXPECT_EQ(block->IndexOf(code + 19), 0u);
  EXPECT_EQ(block->IndexOf(code + 20), 2u);
  EXPECT_EQ(block->IndexOf(code + 63), 3u);
}

TEST(TranslationTest, AFullArenaIsSaid) {
  BlockArena arena(0);
  EXPECT_EQ(Translation::Create(&arena, code, {}), nullptr);
  EXPECT_EQ(Translation::CreateWithoutCode()->code, nullptr);
}

}  // namespace
}  // namespace remora::cpu::translator
