#include "cpu/translator/stand_ins.h"

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "cpu/cpu_level.h"
#include "cpu/cpu_state.h"

namespace remora::cpu::translator {
namespace {

class StandInsTest : public testing::Test {
 protected:
  // Of at most 15 bytes; false: that is none.
  bool Decode(const uint8_t* bytes, size_t length, GuestInstruction* out) {
    *out = GuestInstruction();
    std::copy(bytes, bytes + length, out->bytes.begin());
    if (!ZYAN_SUCCESS(decoder_.Decode(out->bytes.data(), length, &out->decoded))) return false;
    Classify(out);
    return true;
  }
  std::vector<GuestInstruction> Program(std::initializer_list<std::initializer_list<uint8_t>> program) {
    std::vector<GuestInstruction> all;
    for (const auto& bytes : program) EXPECT_TRUE(Decode(bytes.begin(), bytes.size(), &all.emplace_back()));
    return all;
  }
  static std::string Text(const GuestInstruction& instruction) {
    ZydisDisassembledInstruction text;
    ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, 0, instruction.bytes.data(), kMaxInstructionBytes, &text);
    return text.text;
  }
  std::string Renamed(std::initializer_list<uint8_t> bytes, unsigned from, unsigned to) {
    GuestInstruction instruction = Program({bytes})[0];
    return RenameRegister(&instruction, from, to, &decoder_) ? Text(instruction) : "no";
  }

  InstructionDecoder decoder_{CpuLevel::kHost};
  std::vector<GuestInstruction> renamed_;
};

TEST_F(StandInsTest, ARegisterIsRenamedInWhateverField) {
  EXPECT_EQ(Renamed({0x4d, 0x89, 0xd2}, kR10, kRsi), "mov rsi, rsi");                      // mov r10, r10
  EXPECT_EQ(Renamed({0x45, 0x88, 0xd3}, kR10, kRsi), "mov r11b, sil");                     // mov r11b, r10b
  EXPECT_EQ(Renamed({0x41, 0xba, 1, 0, 0, 0}, kR10, kR14), "mov r14d, 0x01");              // mov r10d, 1
  EXPECT_EQ(Renamed({0x41, 0x52}, kR10, kRbp), "push rbp");                                // push r10
  EXPECT_EQ(Renamed({0x4b, 0x8b, 0x44, 0x9a, 8}, kR10, kR8), "mov rax, [r8+r11*4+0x08]");  // mov rax, [r10+r11*4+8]
  EXPECT_EQ(Renamed({0x4b, 0x8b, 0x44, 0x9a, 8}, kR11, kR12), "mov rax, [r10+r12*4+0x08]");
  EXPECT_EQ(Renamed({0xc4, 0xe2, 0xa8, 0xf2, 0xc1}, kR10, kRdi), "andn rax, rdi, rcx");  // andn rax, r10, rcx
  EXPECT_EQ(Renamed({0xc5, 0x7a, 0x2d, 0xd0}, kR10, kRbx), "vcvtss2si ebx, xmm0");       // vcvtss2si r10d, xmm0
}

TEST_F(StandInsTest, ABaseIsNotRenamedToWhatHasAnotherForm) {
  for (const unsigned special : {kRbp, kR12, kR13}) {
    EXPECT_EQ(Renamed({0x41, 0x8b, 0x02}, kR10, special), "no");        // mov eax, [r10]
    EXPECT_NE(Renamed({0x42, 0x8b, 0x04, 0x57}, kR10, special), "no");  // mov eax, [rdi+r10*2]
  }
  EXPECT_EQ(Renamed({0x49, 0x0f, 0x05}, kR11, kRsi), "no");  // syscall, which no field tells that it writes R11
}

// The text is the same but for the name.
TEST_F(StandInsTest, RandomInstructions) {
  constexpr const char* kNames[16][4] = {
      {"rax", "eax", "ax", "al"},      {"rcx", "ecx", "cx", "cl"},      {"rdx", "edx", "dx", "dl"},
      {"rbx", "ebx", "bx", "bl"},      {"rsp", "esp", "sp", "spl"},     {"rbp", "ebp", "bp", "bpl"},
      {"rsi", "esi", "si", "sil"},     {"rdi", "edi", "di", "dil"},     {"r8", "r8d", "r8w", "r8b"},
      {"r9", "r9d", "r9w", "r9b"},     {"r10", "r10d", "r10w", "r10b"}, {"r11", "r11d", "r11w", "r11b"},
      {"r12", "r12d", "r12w", "r12b"}, {"r13", "r13d", "r13w", "r13b"}, {"r14", "r14d", "r14w", "r14b"},
      {"r15", "r15d", "r15w", "r15b"}};
  std::mt19937 random(1);
  size_t renamed = 0, refused = 0;
  for (int i = 0; i < 3'000'000; ++i) {
    uint8_t bytes[kMaxInstructionBytes];
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    size_t at = 0;
    if (random() % 4 == 0) bytes[at++] = 0x66;
    constexpr uint8_t kVex2 = 0xc5, kVex3 = 0xc4, kEvex = 0x62;
    const uint8_t rex = static_cast<uint8_t>(0x40 | random() % 16);
    const uint8_t first[] = {rex, rex, rex, kVex2, kVex3, kEvex};
    bytes[at++] = first[random() % 6];
    if (random() % 2 == 0) bytes[at++] = 0x0f;
    GuestInstruction instruction;
    if (!Decode(bytes, kMaxInstructionBytes, &instruction)) continue;
    const unsigned from = random() % 2 == 0 ? kR10 : kR11;
    const uint32_t used = RegistersUsed(instruction);
    const unsigned to = random() % 16;
    if (((used >> from) & 1) == 0 || ((used >> to) & 1) != 0 || to == kRsp) continue;
    std::string expected = Text(instruction);
    if (expected.empty() || expected.starts_with("nop")) continue;  // the disassembler has other names for some
    for (int width = 3; width >= 0; --width) {
      const std::string name = kNames[from][width];
      // "r10" is a part of the others, which have gone already.
      for (size_t found = 0; (found = expected.find(name, found)) != std::string::npos;)
        expected.replace(found, name.size(), kNames[to][width]);
    }
    if (!RenameRegister(&instruction, from, to, &decoder_)) {
      ++refused;
      continue;
    }
    ++renamed;
    ASSERT_EQ(Text(instruction), expected);
    ASSERT_EQ(RegistersUsed(instruction), (used & ~(1u << from)) | 1u << to) << expected;
  }
  EXPECT_GT(renamed, 40'000u);
  EXPECT_LT(refused, renamed / 4);
}

TEST_F(StandInsTest, TheyAreWhatIsLeftAlone) {
  // add r10, [rbx]; imul r11, r10; add r10, r11; mov eax, [r11+8]
  const std::vector<GuestInstruction> program =
      Program({{0x4c, 0x03, 0x13}, {0x4d, 0x0f, 0xaf, 0xda}, {0x4d, 0x01, 0xda}, {0x41, 0x8b, 0x43, 0x08}});
  const StandIns found = ChooseStandIns(program, 2, &decoder_, &renamed_);
  ASSERT_NE(found[0], kNoStandIn);
  ASSERT_NE(found[1], kNoStandIn);
  EXPECT_NE(found[0], found[1]);
  ASSERT_EQ(renamed_.size(), program.size());
  for (size_t i = 0; i < program.size(); ++i) {
    const uint32_t used = RegistersUsed(renamed_[i]);
    EXPECT_EQ(used & (1u << kR10 | 1u << kR11), 0u);
    for (size_t k = 0; k < 2; ++k) EXPECT_EQ(RegistersUsed(program[i]) >> (kR10 + k) & 1, used >> found[k] & 1) << i;
  }
}

TEST_F(StandInsTest, WhatIsUsedSeldomHasNone) {
  const std::vector<GuestInstruction> program = Program({{0x4c, 0x03, 0x13}, {0x4d, 0x0f, 0xaf, 0xda}});
  EXPECT_EQ(ChooseStandIns(program, 3, &decoder_, &renamed_), kNoStandIns);
  const StandIns one = ChooseStandIns(program, 2, &decoder_, &renamed_);  // R10 twice, R11 once
  EXPECT_NE(one[0], kNoStandIn);
  EXPECT_EQ(one[1], kNoStandIn);
}

TEST_F(StandInsTest, WhereAllAreUsedThereAreNone) {
  std::vector<GuestInstruction> program = Program({{0x4d, 0x01, 0xd2}, {0x4d, 0x01, 0xd2}});
  for (uint8_t reg = 0; reg < 8; ++reg) {
    if (reg == kRsp) continue;
    for (const uint8_t rex : {0x48, 0x4d}) {
      const uint8_t bytes[] = {rex, 0x01, static_cast<uint8_t>(0xc0 | reg << 3 | reg)};
      ASSERT_TRUE(Decode(bytes, 3, &program.emplace_back()));
    }
  }
  const uint8_t r12[] = {0x4d, 0x01, 0xe4};
  ASSERT_TRUE(Decode(r12, 3, &program.emplace_back()));
  EXPECT_EQ(ChooseStandIns(program, 2, &decoder_, &renamed_), kNoStandIns);
}

}  // namespace
}  // namespace remora::cpu::translator
