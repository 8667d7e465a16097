#include "cpu/instruction_decoder.h"

#include <algorithm>
#include <cstring>

namespace remora::cpu {
namespace {

constexpr uint8_t kEscape = 0x0f;

// Bits of a 256-bit set by rows of 16.
using OpcodeSet = std::array<uint16_t, 16>;
constexpr bool Has(const OpcodeSet& set, uint8_t opcode) { return ((set[opcode >> 4] >> (opcode & 15)) & 1) != 0; }

constexpr OpcodeSet kHasModRm = {
    0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f,  // 00..3f: the arithmetic, four of eight each
    0x0000, 0x0000, 0x0a08, 0x0000,  // 63, 69, 6b
    0xffff, 0x0000, 0x0000, 0x0000,  // 80..8f
    0x00c3, 0xff0f, 0x0000, 0xc0c0,  // c0 c1 c6 c7, d0..d3 d8..df, f6 f7 fe ff
};
constexpr OpcodeSet kEscapedHasModRm = {
    0xa00f, 0xffff, 0xff0f, 0x0000,  // 00..03 0d 0f, 10..1f, 20..23 28..2f
    0xffff, 0xffff, 0xffff, 0xff7f,  // 40..7f without 77
    0x0000, 0xffff, 0xf8f8, 0xffff,  // 90..9f, a3..a7 ab..af, b0..bf
    0x00ff, 0xffff, 0xffff, 0xffff,  // c0..c7, d0..ff
};

constexpr bool IsPrefix(uint8_t byte) {
  constexpr OpcodeSet kPrefixes = {0, 0, 0x4040, 0x4040, 0xffff, 0, 0x00f0, 0, 0, 0, 0, 0, 0, 0, 0, 0x000d};
  return Has(kPrefixes, byte);  // 26 2e 36 3e, REX, 64..67, f0 f2 f3
}

// How many bytes there are before displacement and immediates; 0: not to be remembered. `bytes` has 15.
uint32_t KeyBytes(const uint8_t* bytes) {
  constexpr uint32_t kMaxPrefixes = 4;
  uint32_t at = 0;
  while (IsPrefix(bytes[at]))
    if (++at > kMaxPrefixes) return 0;
  uint8_t opcode = bytes[at++];
  bool has_modrm;
  switch (opcode) {
    case 0x62:  // EVEX
    case 0x8f:  // XOP, if it is not POP
      return 0;
    case 0xc4: {
      // Of its maps the first one has VZEROUPPER.
      const uint8_t map = bytes[at] & 31;
      opcode = bytes[at + 2];
      at += 3;
      has_modrm = map != 1 || opcode != 0x77;
      break;
    }
    case 0xc5:
      opcode = bytes[at + 1];
      at += 2;
      has_modrm = opcode != 0x77;
      break;
    case kEscape:
      opcode = bytes[at++];
      if (opcode == kEscape) return 0;  // 3DNow!
      has_modrm = Has(kEscapedHasModRm, opcode);
      if (opcode == 0x38 || opcode == 0x3a) {
        ++at;
        has_modrm = true;
      }
      break;
    default:
      has_modrm = Has(kHasModRm, opcode);
  }
  if (has_modrm) {
    const uint8_t modrm = bytes[at++];
    if (modrm < 0xc0 && (modrm & 7) == 4) ++at;
  }
  constexpr uint32_t kMaxBytes = 7;
  return at <= kMaxBytes ? at : 0;
}

bool ComesFromBytes(ZydisOperandEncoding encoding) {
  return encoding >= ZYDIS_OPERAND_ENCODING_UIMM8 && encoding <= ZYDIS_OPERAND_ENCODING_JIMM16_32_32;
}

// `bits`: 8 to 64, a multiple of 8.
uint64_t Value(const uint8_t* bytes, uint32_t bits, bool is_signed) {
  uint64_t value = 0;
  std::memcpy(&value, bytes, bits / 8);
  const uint32_t unused = 64 - bits;
  return is_signed ? static_cast<uint64_t>(static_cast<int64_t>(value << unused) >> unused) : value;
}

}  // namespace

InstructionDecoder::InstructionDecoder(CpuLevel level) { InitializeDecoder(level, &zydis_); }

bool InstructionDecoder::CanBeRemembered(const ZydisDecodedInstruction& info, const ZydisDecodedOperand* operands,
                                         uint32_t key_bytes, Entry* entry) {
  if (info.operand_count > kMaxOperands) return false;
  // A displacement of one byte counts operands there.
  if (info.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) return false;
  const uint32_t behind_key = info.raw.disp.size != 0     ? info.raw.disp.offset
                              : info.raw.imm[0].size != 0 ? info.raw.imm[0].offset
                                                          : info.length;
  if (behind_key != key_bytes) return false;
  entry->displaced = kNone;
  entry->immediate[0] = entry->immediate[1] = kNone;
  uint32_t immediates = 0;
  for (uint8_t i = 0; i < info.operand_count; ++i) {
    const ZydisDecodedOperand& operand = operands[i];
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_IS4) return false;
    if (operand.type == ZYDIS_OPERAND_TYPE_POINTER) return false;
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.disp.has_displacement) {
      if (entry->displaced != kNone) return false;
      entry->displaced = i;
    }
    if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && ComesFromBytes(operand.encoding)) {
      if (immediates == 2 || info.raw.imm[immediates].size == 0) return false;
      entry->immediate[immediates++] = i;
    }
  }
  return (info.raw.disp.size == 0) == (entry->displaced == kNone);
}

void InstructionDecoder::PutValuesIn(const uint8_t* bytes, InstructionInfo* info) {
  if (info->displacement_size != 0)
    info->displacement = static_cast<int64_t>(Value(bytes + info->displacement_offset, info->displacement_size, true));
  for (int i = 0; i < 2 && info->immediate_sizes[i] != 0; ++i)
    info->immediates[i] = static_cast<int64_t>(
        Value(bytes + info->immediate_offsets[i], info->immediate_sizes[i], (info->immediate_is_signed >> i & 1) != 0));
}

void InstructionDecoder::CopyOperands(const Entry& entry, DecodedInstruction* out) {
  const InstructionInfo& info = out->info;
  for (uint32_t i = 0; i < kMaxOperands; ++i) out->operands[i] = entry.operands[i];
  out->operands[kMaxOperands].type = ZYDIS_OPERAND_TYPE_UNUSED;
  if (entry.displaced != kNone) out->operands[entry.displaced].mem.displacement = info.displacement;
  for (int i = 0; i < 2; ++i)
    if (entry.immediate[i] != kNone) out->operands[entry.immediate[i]].imm.value.s = info.immediates[i];
}

InstructionDecoder::Question InstructionDecoder::Ask(const void* bytes, size_t available) {
  Question question;
  if (available >= sizeof(question.bytes))
    std::memcpy(question.bytes, bytes, sizeof(question.bytes));
  else
    std::memcpy(question.bytes, bytes, available);
  question.key_bytes = KeyBytes(question.bytes);
  uint64_t key;
  std::memcpy(&key, question.bytes, sizeof(key));
  question.key = (key & ((uint64_t{1} << 8 * question.key_bytes) - 1)) | uint64_t{question.key_bytes} << 56;
  return question;
}

uint32_t InstructionDecoder::HashOf(const Question& question) {
  constexpr unsigned kBits = 13;
  static_assert(kEntries == 1 << kBits);
  return static_cast<uint32_t>(question.key * 0x9e3779b97f4a7c15 >> (64 - kBits));
}

InstructionDecoder::Entry* InstructionDecoder::Find(const Question& question, size_t available) {
  if (question.key_bytes == 0) return nullptr;
  Entry& entry = entries_.get()[places_[HashOf(question)]];
  return entry.key == question.key && entry.info.length <= available ? &entry : nullptr;
}

ZyanStatus InstructionDecoder::AskZydis(const Question& question, size_t available, DecodedInstruction* out,
                                        Entry** entry) {
  *entry = nullptr;
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  const ZyanStatus status =
      ZydisDecoderDecodeFull(&zydis_, question.bytes, std::min(available, sizeof(question.bytes)), &info, operands);
  if (!ZYAN_SUCCESS(status)) {
    out->info = {};
    return status;
  }
  Abridge(info, operands, out);
  for (uint32_t i = info.operand_count; i <= kMaxOperands; ++i) out->operands[i] = {};
  if (question.key_bytes == 0) return status;
  uint16_t& place = places_[HashOf(question)];
  if (place == 0) {
    place = ++num_places_;
    entries_ahead_.Reach(entries_.get(), (place + 1) * sizeof(Entry), (kEntries + 1) * sizeof(Entry));
  }
  Entry& made = entries_.get()[place];
  made.key = 0;
  if (!CanBeRemembered(info, operands, question.key_bytes, &made)) return status;
  made.key = question.key;
  made.info = out->info;
  made.notes = Notes();
  std::copy_n(out->operands, kMaxOperands, made.operands.data());
  *entry = &made;
  return status;
}

ZyanStatus InstructionDecoder::Decode(const void* bytes, size_t available, DecodedInstruction* out, Notes** notes) {
  const Question question = Ask(bytes, available);
  ZyanStatus status = ZYAN_STATUS_SUCCESS;
  Entry* entry = Find(question, available);
  if (entry != nullptr) [[likely]] {
    out->info = entry->info;
    PutValuesIn(question.bytes, &out->info);
    CopyOperands(*entry, out);
  } else {
    status = AskZydis(question, available, out, &entry);
  }
  if (notes != nullptr) *notes = entry == nullptr ? nullptr : &entry->notes;
  return status;
}

const InstructionInfo* InstructionDecoder::DecodeWithoutOperands(const void* bytes, size_t available) {
  const Question question = Ask(bytes, available);
  if (Entry* entry = Find(question, available)) {
    // Its own values are nobody's.
    PutValuesIn(question.bytes, &entry->info);
    return &entry->info;
  }
  Entry* entry;
  return ZYAN_SUCCESS(AskZydis(question, available, &answer_, &entry)) ? &answer_.info : nullptr;
}

}  // namespace remora::cpu
