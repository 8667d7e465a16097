#include "cpu/instruction_decoder.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>

namespace remora::cpu {
namespace {

using Bytes = std::array<uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH>;

std::string Hex(const Bytes& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += "0123456789abcdef"[byte >> 4], text += "0123456789abcdef"[byte & 15];
  return text;
}

void ExpectSameOperand(const DecodedOperand& got, const ZydisDecodedOperand& want, const ZydisDecodedInstruction& in) {
  EXPECT_EQ(got.type, want.type);
  EXPECT_EQ(got.visibility, want.visibility);
  EXPECT_EQ(got.encoding, want.encoding);
  EXPECT_EQ(got.actions, want.actions);
  EXPECT_EQ(got.size, want.size);
  EXPECT_EQ(got.element_size, want.element_size);
  if (want.type == ZYDIS_OPERAND_TYPE_REGISTER) EXPECT_EQ(got.reg.value, want.reg.value);
  if (want.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    EXPECT_EQ(got.imm.value.u, want.imm.value.u);
    EXPECT_EQ(got.imm.is_relative, want.imm.is_relative != 0);
  }
  if (want.type != ZYDIS_OPERAND_TYPE_MEMORY) return;
  EXPECT_EQ(got.mem.type, want.mem.type);
  EXPECT_EQ(got.mem.segment, want.mem.segment);
  EXPECT_EQ(got.mem.index, want.mem.index);
  EXPECT_EQ(got.mem.scale, want.mem.scale);
  const bool no_base = (in.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0 && in.raw.modrm.mod == 0 && in.raw.sib.base == 5 &&
                       want.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
  EXPECT_EQ(got.mem.base, no_base ? ZYDIS_REGISTER_NONE : want.mem.base);
  EXPECT_EQ(got.mem.has_displacement, no_base || want.mem.disp.has_displacement != 0);
  EXPECT_EQ(got.mem.displacement, no_base ? in.raw.disp.value : want.mem.disp.value);
}

void ExpectSameInfo(const InstructionInfo& got, const ZydisDecodedInstruction& want) {
  EXPECT_EQ(got.attributes, want.attributes);
  EXPECT_EQ(got.cpu_flags, want.cpu_flags);
  EXPECT_EQ(got.mnemonic, want.mnemonic);
  EXPECT_EQ(got.isa_set, want.meta.isa_set);
  EXPECT_EQ(got.category, want.meta.category);
  EXPECT_EQ(got.exception_class, want.meta.exception_class);
  EXPECT_EQ(got.branch_type, want.meta.branch_type);
  EXPECT_EQ(got.encoding, want.encoding);
  EXPECT_EQ(got.opcode_map, want.opcode_map);
  EXPECT_EQ(got.length, want.length);
  EXPECT_EQ(got.opcode, want.opcode);
  EXPECT_EQ(got.operand_count, want.operand_count);
  EXPECT_EQ(got.operand_count_visible, want.operand_count_visible);
  EXPECT_EQ(got.operand_width, want.operand_width);
  EXPECT_EQ(got.address_width, want.address_width);
  EXPECT_EQ(got.modrm.mod, want.raw.modrm.mod);
  EXPECT_EQ(got.modrm.reg, want.raw.modrm.reg);
  EXPECT_EQ(got.modrm.rm, want.raw.modrm.rm);
  EXPECT_EQ(got.modrm.offset, want.raw.modrm.offset);
  uint8_t repeat = 0;
  for (int i = 0; i < want.raw.prefix_count; ++i)
    if ((want.raw.prefixes[i].value & 0xfe) == 0xf2) repeat = want.raw.prefixes[i].value;
  EXPECT_EQ(got.repeat_prefix, repeat);
  if (want.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
    EXPECT_EQ(got.rex_b, want.raw.rex.B != 0);
    EXPECT_EQ(got.wide, want.raw.rex.W != 0);
  } else if (want.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
    EXPECT_EQ(got.vector_prefix_offset, want.raw.vex.offset);
    EXPECT_EQ(got.wide, want.raw.vex.W != 0);
  } else if (want.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) {
    EXPECT_EQ(got.vector_prefix_offset, want.raw.evex.offset);
    EXPECT_EQ(got.wide, want.raw.evex.W != 0);
  }
  EXPECT_EQ(got.vector_length, want.avx.vector_length);
  EXPECT_EQ(got.mask, want.avx.mask.reg);
  EXPECT_EQ(got.broadcast, want.avx.broadcast.mode);
  EXPECT_EQ(got.displacement_size, want.raw.disp.size);
  EXPECT_EQ(got.displacement_offset, want.raw.disp.offset);
  EXPECT_EQ(got.displacement, want.raw.disp.value);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(got.immediate_sizes[i], want.raw.imm[i].size);
    EXPECT_EQ(got.immediate_offsets[i], want.raw.imm[i].offset);
    EXPECT_EQ((got.immediate_is_signed >> i & 1) != 0, want.raw.imm[i].is_signed != 0);
    EXPECT_EQ(got.immediates[i], want.raw.imm[i].value.s);
  }
  EXPECT_EQ(got.immediate_is_relative, want.raw.imm[0].is_relative != 0);
}

struct ZydisAnswer {
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

void ExpectAsZydis(InstructionDecoder* decoder, const Bytes& bytes, size_t available) {
  SCOPED_TRACE(Hex(bytes));
  ZydisAnswer want;
  DecodedInstruction got;
  const ZyanStatus status =
      ZydisDecoderDecodeFull(decoder->zydis(), bytes.data(), available, &want.info, want.operands);
  std::memset(static_cast<void*>(&got), 0xa5, sizeof(got));
  ASSERT_EQ(decoder->Decode(bytes.data(), available, &got), status);
  if (!ZYAN_SUCCESS(status)) {
    EXPECT_EQ(got.info.mnemonic, ZYDIS_MNEMONIC_INVALID);
    EXPECT_EQ(got.info.operand_count, 0);
    EXPECT_EQ(got.info.category, ZYDIS_CATEGORY_INVALID);
    EXPECT_EQ(got.info.attributes, 0u);
    return;
  }
  ExpectSameInfo(got.info, want.info);
  for (int i = 0; i < want.info.operand_count; ++i) ExpectSameOperand(got.operands[i], want.operands[i], want.info);
}

void ExpectTheSameWithoutOperands(InstructionDecoder* decoder, const Bytes& bytes, size_t available) {
  SCOPED_TRACE(Hex(bytes));
  ZydisAnswer want;
  const ZyanStatus status =
      ZydisDecoderDecodeFull(decoder->zydis(), bytes.data(), available, &want.info, want.operands);
  const InstructionInfo* got = decoder->DecodeWithoutOperands(bytes.data(), available);
  ASSERT_EQ(got != nullptr, ZYAN_SUCCESS(status));
  if (got != nullptr) ExpectSameInfo(*got, want.info);
}

// Each opcode of each map under each of some prefixes, twice in a row with other displacements and immediates, and cut
// short.
TEST(InstructionDecoderTest, AnswersAsZydisDoes) {
  InstructionDecoder decoder(CpuLevel::kHost);
  std::minstd_rand random(1);
  const std::string prefixes[] = {"",         "\x66",     "\x48",    "\x41",     "\xf2",         "\xf3",
                                  "\xf0",     "\x66\x4d", "\x67",    "\x64\x49", "\xf3\x66\x45", "\xf3\x48",
                                  "\x48\x66", "\x2e",     "\xf2\x4f"};
  const std::string escapes[] = {"",
                                 "\x0f",
                                 "\x0f\x38",
                                 "\x0f\x3a",
                                 "\xc5\xf8",
                                 "\xc5\x7d",
                                 "\xc4\xe2\x79",
                                 "\xc4\x43\xfd",
                                 "\xc4\xc1\x02",
                                 "\x62\xf1\x7c\x48",
                                 "\x8f\xe8\x78"};
  for (const std::string& prefix : prefixes) {
    for (const std::string& escape : escapes) {
      for (int opcode = 0; opcode < 256; ++opcode) {
        for (int round = 0; round < 40; ++round) {
          const std::string begin = prefix + escape + static_cast<char>(opcode);
          Bytes bytes;
          for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
          std::memcpy(bytes.data(), begin.data(), begin.size());
          ExpectAsZydis(&decoder, bytes, bytes.size());
          for (size_t i = begin.size() + 2; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(random());
          ExpectTheSameWithoutOperands(&decoder, bytes, bytes.size());
          ExpectAsZydis(&decoder, bytes, bytes.size());
          ExpectAsZydis(&decoder, bytes, random() % bytes.size() + 1);
          ExpectTheSameWithoutOperands(&decoder, bytes, random() % bytes.size() + 1);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(InstructionDecoderTest, KnowsThatASibByteMayHaveNoBase) {
  InstructionDecoder decoder(CpuLevel::kHost);
  const Bytes bytes = {0x67, 0x43, 0x8b, 0x04, 0x4d, 0x10, 0x00, 0x00, 0x80};  // mov eax, [r9d*2 - 0x7ffffff0]
  for (int round = 0; round < 2; ++round) {
    DecodedInstruction in;
    ASSERT_TRUE(ZYAN_SUCCESS(decoder.Decode(bytes.data(), bytes.size(), &in)));
    EXPECT_EQ(in.operands[1].mem.base, ZYDIS_REGISTER_NONE);
    EXPECT_EQ(in.operands[1].mem.index, ZYDIS_REGISTER_R9D);
    EXPECT_TRUE(in.operands[1].mem.has_displacement);
    EXPECT_EQ(in.operands[1].mem.displacement, -0x7ffffff0);
    EXPECT_EQ(in.operands[2].type, ZYDIS_OPERAND_TYPE_UNUSED);
  }
}

TEST(InstructionDecoderTest, NotesStayWithTheInstruction) {
  InstructionDecoder decoder(CpuLevel::kHost);
  DecodedInstruction in;
  InstructionDecoder::Notes* notes = nullptr;
  Bytes bytes = {0x48, 0x8b, 0x43, 0x08};  // mov rax, [rbx+8]
  decoder.Decode(bytes.data(), bytes.size(), &in, &notes);
  ASSERT_NE(notes, nullptr);
  EXPECT_EQ(notes->words[2], 0u);
  notes->words[2] = 4711;
  bytes[3] = 0x10;
  decoder.Decode(bytes.data(), bytes.size(), &in, &notes);
  EXPECT_EQ(in.operands[1].mem.displacement, 16);
  EXPECT_EQ(notes->words[2], 4711u);
  bytes[2] = 0x4b;  // mov rcx, [rbx+16]
  decoder.Decode(bytes.data(), bytes.size(), &in, &notes);
  EXPECT_EQ(notes->words[2], 0u);
}

}  // namespace
}  // namespace remora::cpu
