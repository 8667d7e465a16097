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

// Both answers are of memory that was cleared, so padding is equal, too.
void ExpectAsZydis(InstructionDecoder* decoder, const Bytes& bytes, size_t available) {
  DecodedInstruction want, got;
  std::memset(static_cast<void*>(&want), 0, sizeof(want));
  std::memset(static_cast<void*>(&got), 0, sizeof(got));
  const ZyanStatus status =
      ZydisDecoderDecodeFull(decoder->zydis(), bytes.data(), available, &want.info, want.operands);
  ASSERT_EQ(decoder->Decode(bytes.data(), available, &got), status) << Hex(bytes);
  if (!ZYAN_SUCCESS(status)) return;
  ASSERT_EQ(std::memcmp(&got.info, &want.info, sizeof(want.info)), 0) << Hex(bytes);
  ASSERT_EQ(std::memcmp(got.operands, want.operands, want.info.operand_count * sizeof(ZydisDecodedOperand)), 0)
      << Hex(bytes);
}

void ExpectTheSameWithoutOperands(InstructionDecoder* decoder, const Bytes& bytes, size_t available) {
  DecodedInstruction want;
  const ZyanStatus status =
      ZydisDecoderDecodeFull(decoder->zydis(), bytes.data(), available, &want.info, want.operands);
  const ZydisDecodedInstruction* got = decoder->DecodeWithoutOperands(bytes.data(), available);
  ASSERT_EQ(got != nullptr, ZYAN_SUCCESS(status)) << Hex(bytes);
  if (got == nullptr) return;
  ASSERT_EQ(got->length, want.info.length) << Hex(bytes);
  ASSERT_EQ(got->mnemonic, want.info.mnemonic) << Hex(bytes);
  ASSERT_EQ(got->attributes, want.info.attributes) << Hex(bytes);
  ASSERT_EQ(got->cpu_flags, want.info.cpu_flags) << Hex(bytes);
  ASSERT_EQ(got->meta.category, want.info.meta.category) << Hex(bytes);
  ASSERT_EQ(got->meta.branch_type, want.info.meta.branch_type) << Hex(bytes);
  ASSERT_EQ(got->raw.disp.value, want.info.raw.disp.value) << Hex(bytes);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(got->raw.imm[i].value.u, want.info.raw.imm[i].value.u) << Hex(bytes);
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
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(InstructionDecoderTest, NotesStayWithTheInstruction) {
  InstructionDecoder decoder(CpuLevel::kHost);
  DecodedInstruction in;
  InstructionDecoder::Notes* notes = nullptr;
  Bytes bytes = {0x48, 0x8b, 0x43, 0x08};  // mov rax, [rbx+8]
  decoder.Decode(bytes.data(), bytes.size(), &in, &notes);
  ASSERT_NE(notes, nullptr);
  EXPECT_FALSE(notes->made);
  notes->made = true;
  notes->words[2] = 4711;
  bytes[3] = 0x10;
  decoder.Decode(bytes.data(), bytes.size(), &in, &notes);
  EXPECT_EQ(in.operands[1].mem.disp.value, 16);
  EXPECT_TRUE(notes->made);
  EXPECT_EQ(notes->words[2], 4711u);
  bytes[2] = 0x4b;  // mov rcx, [rbx+16]
  decoder.Decode(bytes.data(), bytes.size(), &in, &notes);
  EXPECT_FALSE(notes->made);
}

}  // namespace
}  // namespace remora::cpu
