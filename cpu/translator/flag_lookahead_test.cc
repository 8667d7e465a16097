#include "cpu/translator/flag_lookahead.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "base/guest_addr.h"
#include "cpu/cpu_level.h"
#include "cpu/cpu_state.h"
#include "cpu/instruction_decoder.h"

namespace remora::cpu::translator {
namespace {

constexpr auto kAllFlags = static_cast<uint32_t>(kStatusFlags);
constexpr uint64_t kPageStart = 0x400000;

class FlagLookaheadTest : public testing::Test {
 protected:
  uint32_t LiveAt(std::initializer_list<uint8_t> code, uint64_t offset = 0) {
    page_.fill(std::byte{0x90});
    for (size_t i = 0; const uint8_t byte : code) page_[offset + i++] = static_cast<std::byte>(byte);
    lookahead_.Begin(kPageStart, page_.data(), mm::FrameId(), ++generation_);
    return lookahead_.LiveAt(kPageStart + offset);
  }

  InstructionDecoder decoder_{CpuLevel::kHost};
  FlagLookahead lookahead_{&decoder_};
  std::array<std::byte, kPageSize> page_;
  uint64_t generation_ = 0;
};

TEST_F(FlagLookaheadTest, WhatIsWrittenFirstIsDead) {
  EXPECT_EQ(LiveAt({0x48, 0x8b, 0x03, 0x48, 0x39, 0xc8}), 0u);  // mov rax, [rbx]; cmp rax, rcx
}

TEST_F(FlagLookaheadTest, IncLeavesTheCarry) {
  EXPECT_EQ(LiveAt({0x48, 0xff, 0xc0, 0x0f, 0x05}), uint32_t{kFlagCF});  // inc rax; syscall
}

TEST_F(FlagLookaheadTest, AShiftByNoneLeavesThemAll) {
  EXPECT_EQ(LiveAt({0x48, 0xd3, 0xe0, 0x48, 0x39, 0xc8}), kAllFlags);        // shl rax, cl; cmp
  EXPECT_EQ(LiveAt({0x48, 0xc1, 0xe0, 0x04, 0x48, 0x39, 0xc8}), 0u);         // shl rax, 4; cmp
  EXPECT_EQ(LiveAt({0x48, 0xd1, 0xe0, 0x48, 0x39, 0xc8}), 0u);               // shl rax, 1; cmp
  EXPECT_EQ(LiveAt({0x48, 0xc1, 0xe0, 0x40, 0x48, 0x39, 0xc8}), kAllFlags);  // shl rax, 64; cmp
  EXPECT_EQ(LiveAt({0xf3, 0xa6, 0x48, 0x39, 0xc8}), kAllFlags);              // repe cmpsb; cmp
}

TEST_F(FlagLookaheadTest, BothWaysOfABranchCount) {
  // jmp over a syscall, to: cmp
  EXPECT_EQ(LiveAt({0xeb, 0x02, 0x0f, 0x05, 0x48, 0x39, 0xc8}), 0u);
  // jz over a setc, to: cmp. ZF is read by the branch, CF by the SETC.
  EXPECT_EQ(LiveAt({0x74, 0x03, 0x0f, 0x92, 0xc0, 0x48, 0x39, 0xc8}), uint32_t{kFlagZF | kFlagCF});
}

TEST_F(FlagLookaheadTest, WhatCannotBeSeenReadsThemAll) {
  EXPECT_EQ(LiveAt({0xc3}), kAllFlags);
  EXPECT_EQ(LiveAt({0x0f, 0x05}), kAllFlags);
  EXPECT_EQ(LiveAt({0xff, 0xe0}), kAllFlags);
  EXPECT_EQ(LiveAt({0x9c, 0x48, 0x39, 0xc8}), kAllFlags);        // pushfq; cmp
  EXPECT_EQ(LiveAt({0x48, 0x39}, kPageSize - 2), kAllFlags);     // goes on in the next page
  EXPECT_EQ(LiveAt({0xe9, 0x00, 0x10, 0x00, 0x00}), kAllFlags);  // jmp out of the page
}

}  // namespace
}  // namespace remora::cpu::translator
