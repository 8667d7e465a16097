#include "cpu/translator/operand_groups.h"

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "cpu/cpu_state.h"

namespace remora::cpu::translator {
namespace {

class OperandGroupsTest : public testing::Test {
 protected:
  OperandGroupsTest() { ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); }

  void Find(std::initializer_list<uint8_t> code) {
    const std::vector<uint8_t> bytes(code);
    std::vector<GuestInstruction> instructions;
    for (size_t at = 0; at < bytes.size();) {
      GuestInstruction& instruction = instructions.emplace_back();
      instruction.pc = 0x1000 + at;
      std::copy_n(bytes.begin() + static_cast<int64_t>(at), std::min<size_t>(kMaxInstructionBytes, bytes.size() - at),
                  instruction.bytes.begin());
      ASSERT_TRUE(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, instruction.bytes.data(), kMaxInstructionBytes,
                                                      &instruction.decoded.info, instruction.decoded.operands)));
      Classify(&instruction);
      at += instruction.decoded.info.length;
    }
    groups_.Find(instructions);
  }

  ZydisDecoder decoder_;
  OperandGroups groups_;
};

TEST_F(OperandGroupsTest, APrologueIsOneGroup) {
  Find({0x55,                      // push rbp
        0x48, 0x89, 0xe5,          // mov rbp, rsp
        0x53,                      // push rbx
        0x48, 0x83, 0xec, 0x18,    // sub rsp, 24
        0x48, 0x89, 0x3c, 0x24});  // mov [rsp], rdi
  const int group = groups_.group_of(0);
  ASSERT_NE(group, OperandGroups::kNone);
  EXPECT_EQ(groups_.group_of(2), group);
  EXPECT_EQ(groups_.group_of(4), group);
  EXPECT_EQ(groups_.group(group).base, unsigned{kRsp});
  EXPECT_EQ(groups_.group(group).low, -40);
  EXPECT_EQ(groups_.group(group).high, 0);
  EXPECT_TRUE(groups_.group(group).write);
}

TEST_F(OperandGroupsTest, AnotherValueInTheBaseEndsAGroup) {
  Find({0x48, 0x8b, 0x03,        // mov rax, [rbx]
        0x48, 0x8b, 0x5b, 0x08,  // mov rbx, [rbx+8]
        0x48, 0x8b, 0x0b});      // mov rcx, [rbx]
  EXPECT_NE(groups_.group_of(0), OperandGroups::kNone);
  EXPECT_EQ(groups_.group_of(0), groups_.group_of(1));
  EXPECT_NE(groups_.group_of(2), groups_.group_of(0));
}

TEST_F(OperandGroupsTest, BehindABranchAGroupStaysWithinALineAndItsRight) {
  Find({0x48, 0x8b, 0x03,          // mov rax, [rbx]
        0x48, 0x8b, 0x4b, 0x10,    // mov rcx, [rbx+16]
        0x74, 0x02,                // jz +2
        0x48, 0x8b, 0x53, 0x08,    // mov rdx, [rbx+8]: covered
        0x48, 0x89, 0x53, 0x08,    // mov [rbx+8], rdx: no right to write
        0x48, 0x8b, 0x73, 0x20,    // mov rsi, [rbx+32]: near enough
        0x48, 0x8b, 0x73, 0x60});  // mov rsi, [rbx+96]: too far
  EXPECT_EQ(groups_.group_of(3), groups_.group_of(0));
  EXPECT_FALSE(groups_.group(groups_.group_of(0)).write);
  EXPECT_NE(groups_.group_of(4), groups_.group_of(0));
  EXPECT_EQ(groups_.group_of(5), groups_.group_of(0));
  EXPECT_NE(groups_.group_of(6), groups_.group_of(0));
  EXPECT_EQ(groups_.group(groups_.group_of(0)).high, 40);
}

TEST_F(OperandGroupsTest, TheStackIsOneGroupOnBothSidesOfABranch) {
  Find({0x48, 0x8b, 0x04, 0x24,                          // mov rax, [rsp]
        0x74, 0x02,                                      // jz +2
        0x48, 0x89, 0x84, 0x24, 0x80, 0x00, 0x00, 0x00,  // mov [rsp+128], rax
        0xc3});                                          // ret
  EXPECT_EQ(groups_.group_of(2), groups_.group_of(0));
  EXPECT_EQ(groups_.group_of(3), groups_.group_of(0));
  EXPECT_TRUE(groups_.group(groups_.group_of(0)).write);
}

TEST_F(OperandGroupsTest, AnIndexThatMovesByAConstantIsFollowed) {
  Find({0x66, 0x0f, 0x28, 0x04, 0x01,    // movapd xmm0, [rcx+rax]
        0x48, 0x83, 0xc0, 0x10,          // add rax, 16
        0x66, 0x0f, 0x28, 0x04, 0x01,    // movapd xmm0, [rcx+rax]
        0x48, 0xff, 0xc1,                // inc rcx
        0x66, 0x0f, 0x28, 0x04, 0x01});  // movapd xmm0, [rcx+rax]
  const int group = groups_.group_of(0);
  EXPECT_EQ(groups_.group_of(2), group);
  EXPECT_EQ(groups_.group(group).low, 0);
  EXPECT_EQ(groups_.group(group).high, 32);
  EXPECT_NE(groups_.group_of(4), group);
}

TEST_F(OperandGroupsTest, OperandsRelativeToRipAreGroupedByAddress) {
  Find({0x48, 0x8b, 0x05, 0x00, 0x01, 0x00, 0x00,    // mov rax, [rip+0x100]: 0x1107
        0x48, 0x8b, 0x0d, 0x00, 0x01, 0x00, 0x00});  // mov rcx, [rip+0x100]: 0x110e
  const int group = groups_.group_of(0);
  ASSERT_NE(group, OperandGroups::kNone);
  EXPECT_EQ(groups_.group_of(1), group);
  EXPECT_EQ(groups_.group(group).base, OperandGroups::kConstant);
  EXPECT_EQ(groups_.group(group).low, 0x1107);
  EXPECT_EQ(groups_.group(group).high, 0x1116);
}

TEST_F(OperandGroupsTest, WhatIsFarApartIsProbedAlone) {
  Find({0x48, 0x8b, 0x03,                            // mov rax, [rbx]
        0x48, 0x8b, 0x8b, 0x00, 0x10, 0x00, 0x00});  // mov rcx, [rbx+4096]
  EXPECT_NE(groups_.group_of(0), groups_.group_of(1));
  EXPECT_EQ(groups_.group(groups_.group_of(0)).members, 1u);
  EXPECT_EQ(groups_.group(groups_.group_of(1)).members, 1u);
}

// Else the bytes that both cover would begin below what four bytes of displacement can say.
TEST_F(OperandGroupsTest, WhatIsFarFromItsBaseIsProbedAlone) {
  Find({0x48, 0x8b, 0x83, 0x00, 0x00, 0x00, 0x80,        // mov rax, [rbx-0x80000000]
        0x48, 0x83, 0xeb, 0x08,                          // sub rbx, 8
        0x48, 0x8b, 0x8b, 0x00, 0x00, 0x00, 0x80,        // mov rcx, [rbx-0x80000000]
        0x48, 0x8b, 0x84, 0x24, 0x04, 0x00, 0x00, 0x80,  // mov rax, [rsp-0x7ffffffc]
        0x50,                                            // push rax
        0x48, 0x8b, 0x8c, 0x24, 0x04, 0x00, 0x00, 0x80,  // mov rcx, [rsp-0x7ffffffc]
        0x48, 0x8b, 0x83, 0x01, 0x00, 0x00, 0x40});      // mov rax, [rbx+0x40000001]
  for (const uint32_t far : {0, 2, 3, 5, 6}) EXPECT_EQ(groups_.group_of(far), OperandGroups::kNone) << far;
}

}  // namespace
}  // namespace remora::cpu::translator
