#include "cpu/translator/reencode.h"

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <string>

#include "cpu/cpu_level.h"
#include "cpu/instruction_decoder.h"

namespace remora::cpu::translator {
namespace {

class ReencodeTest : public testing::Test {
 protected:
  ReencodeTest() {
    ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisFormatterInit(&formatter_, ZYDIS_FORMATTER_STYLE_INTEL);
  }

  GuestInstruction Decode(std::initializer_list<uint8_t> bytes) {
    GuestInstruction instruction;
    std::copy(bytes.begin(), bytes.end(), instruction.bytes.begin());
    InstructionDecoder decoder(CpuLevel::kHost);
    EXPECT_TRUE(ZYAN_SUCCESS(decoder.Decode(instruction.bytes.data(), bytes.size(), &instruction.decoded)));
    Classify(&instruction);
    return instruction;
  }
  std::string Reencoded(std::initializer_list<uint8_t> bytes, const Placement& placement) {
    const GuestInstruction instruction = Decode(bytes);
    uint8_t out[kMaxReencodedBytes];
    const unsigned length = Reencode(instruction, placement, out);
    ZydisDecodedInstruction info;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, out, length, &info, operands))) return "undecodable";
    EXPECT_EQ(info.length, length);
    char text[128];
    ZydisFormatterFormatInstruction(&formatter_, &info, operands, info.operand_count_visible, text, sizeof(text), 0,
                                    nullptr);
    return text;
  }
  // Memory at [r14]; RSP in R15, for example.
  static Placement AtScratch() {
    Placement placement;
    placement.memory = 14;
    placement.general[4] = 15;
    return placement;
  }

  ZydisDecoder decoder_;
  ZydisFormatter formatter_;
};

TEST_F(ReencodeTest, MemoryBecomesOneRegister) {
  // add rax, fs:[rcx+rdx*4+0x10]
  EXPECT_EQ(Reencoded({0x64, 0x48, 0x03, 0x44, 0x91, 0x10}, AtScratch()), "add rax, [r14]");
  // mov byte [rip+0x100], 7
  EXPECT_EQ(Reencoded({0xc6, 0x05, 0x00, 0x01, 0x00, 0x00, 0x07}, AtScratch()), "mov byte ptr [r14], 0x07");
  // lock cmpxchg [rdi], esi
  EXPECT_EQ(Reencoded({0xf0, 0x0f, 0xb1, 0x37}, AtScratch()), "lock cmpxchg [r14], esi");
}

TEST_F(ReencodeTest, MemoryBehindABaseAndWhatIsAddedToIt) {
  Placement placement;
  placement.memory = 3;
  placement.index = 14;
  placement.displacement = -24;
  EXPECT_EQ(Reencoded({0x48, 0x8b, 0x4b, 0xe8}, placement), "mov rcx, [rbx+r14*1-0x18]");
  placement.memory = 13;  // R13 has no form without displacement
  placement.displacement = 0;
  EXPECT_EQ(Reencoded({0x49, 0x8b, 0x4d, 0x00}, placement), "mov rcx, [r13+r14*1]");
  placement.memory = 15;
  placement.displacement = 0x12345;
  EXPECT_EQ(Reencoded({0x48, 0x8b, 0x8c, 0x24, 0x45, 0x23, 0x01, 0x00}, placement), "mov rcx, [r15+r14*1+0x12345]");
}

TEST_F(ReencodeTest, MemoryWithAnIndexThatStays) {
  Placement placement;
  placement.memory = 14;
  placement.index = 9;
  placement.shift = 3;
  placement.displacement = 0x40;
  EXPECT_EQ(Reencoded({0x4a, 0x8b, 0x4c, 0xcb, 0x40}, placement), "mov rcx, [r14+r9*8+0x40]");
}

TEST_F(ReencodeTest, RegistersMove) {
  EXPECT_EQ(Reencoded({0x48, 0x83, 0xec, 0x20}, AtScratch()), "sub r15, 0x20");  // sub rsp, 32
  EXPECT_EQ(Reencoded({0x89, 0xe5}, AtScratch()), "mov ebp, r15d");              // mov ebp, esp
  EXPECT_EQ(Reencoded({0x40, 0x0f, 0x94, 0xc4}, AtScratch()), "setz r15b");      // setz spl
  Placement placement = AtScratch();
  placement.general[14] = 6;
  EXPECT_EQ(Reencoded({0x49, 0x01, 0xc6}, placement), "add rsi, rax");  // add r14, rax
  EXPECT_EQ(Reencoded({0x41, 0x88, 0xc6}, placement), "mov sil, al");   // mov r14b, al
  EXPECT_EQ(Reencoded({0x49, 0xbe, 1, 2, 3, 4, 5, 6, 7, 8}, placement), "mov rsi, 0x807060504030201");
}

TEST_F(ReencodeTest, HighBytesGetNoRex) {
  Placement placement;
  placement.memory = 6;
  EXPECT_EQ(Reencoded({0x8a, 0x60, 0x10}, placement), "mov ah, [rsi]");  // mov ah, [rax+16]
}

TEST_F(ReencodeTest, VexKeepsItsShortFormWhereItCan) {
  EXPECT_EQ(Reencoded({0xc5, 0xfc, 0x58, 0x08}, AtScratch()), "vaddps ymm1, ymm0, [r14]");
  Placement placement = AtScratch();
  placement.general[15] = 7;
  // andn rax, r15, [rbx+8]
  EXPECT_EQ(Reencoded({0xc4, 0xe2, 0x80, 0xf2, 0x43, 0x08}, placement), "andn rax, rdi, [r14]");
}

TEST_F(ReencodeTest, EvexHasNoShortDisplacements) {
  // vaddps zmm27, zmm3, [rax+rcx*4+0x40]
  EXPECT_EQ(Reencoded({0x62, 0x61, 0x64, 0x48, 0x58, 0x5c, 0x88, 0x01}, AtScratch()), "vaddps zmm27, zmm3, [r14]");
  // vpaddd zmm1 {k1} {z}, zmm2, [rax+0x10] {1to16}, which is one displacement byte of 4
  Placement placement;
  placement.memory = 9;
  placement.index = 14;
  placement.displacement = 0x10;
  EXPECT_EQ(Reencoded({0x62, 0xf1, 0x6d, 0xd9, 0xfe, 0x48, 0x04}, placement),
            "vpaddd zmm1 {k1} {z}, zmm2, [r9+r14*1+0x10] {1to16}");
  // vpcmpeqb k1, zmm1, [rbx+0x80]
  EXPECT_EQ(Reencoded({0x62, 0xf1, 0x75, 0x48, 0x74, 0x4b, 0x02}, AtScratch()), "vpcmpeqb k1, zmm1, [r14]");
}

TEST_F(ReencodeTest, GeneralRegistersOfEvexMove) {
  Placement placement;
  placement.general[14] = 6;
  // vpbroadcastd zmm1, r14d; kmovd r14d, k3
  EXPECT_EQ(Reencoded({0x62, 0xd2, 0x7d, 0x48, 0x7c, 0xce}, placement), "vpbroadcastd zmm1, esi");
  EXPECT_EQ(Reencoded({0xc5, 0x7b, 0x93, 0xf3}, placement), "kmovd esi, k3");
}

TEST_F(ReencodeTest, ImmediatesBehindADisplacementStay) {
  // pshufd xmm1, [rsp+0x80], 0x1b
  EXPECT_EQ(Reencoded({0x66, 0x0f, 0x70, 0x8c, 0x24, 0x80, 0x00, 0x00, 0x00, 0x1b}, AtScratch()),
            "pshufd xmm1, [r14], 0x1B");
}

TEST_F(ReencodeTest, WhatIsNotInTheTableIsInterpreted) {
  EXPECT_EQ(Decode({0x0f, 0xa2}).action, Action::kInterpret);  // cpuid
  EXPECT_EQ(Decode({0xf3, 0xac}).action, Action::kInterpret);  // rep lodsb
  EXPECT_TRUE(Decode({0xf3, 0xac}).repeats());
  EXPECT_EQ(Decode({0xf3, 0xa4}).action, Action::kString);                    // rep movsb
  EXPECT_EQ(Decode({0xac}).action, Action::kString);                          // lodsb
  EXPECT_EQ(Decode({0x48, 0x0f, 0xa3, 0x03}).action, Action::kInterpret);     // bt [rbx], rax
  EXPECT_EQ(Decode({0x48, 0x0f, 0xba, 0x23, 0x05}).action, Action::kReemit);  // bt qword [rbx], 5
  EXPECT_EQ(Decode({0x8e, 0xd8}).action, Action::kInterpret);                 // mov ds, eax
  EXPECT_EQ(Decode({0x4d, 0x01, 0x1a}).action, Action::kReemit);              // add [r10], r11
  EXPECT_EQ(Decode({0xd9, 0x33}).action, Action::kInterpret);                 // fnstenv
  // vpgatherdd zmm1 {k1}, [rax+zmm2]
  EXPECT_EQ(Decode({0x62, 0xf2, 0x7d, 0x49, 0x90, 0x0c, 0x10}).action, Action::kInterpret);
}

}  // namespace
}  // namespace remora::cpu::translator
