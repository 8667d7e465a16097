#include "cpu/string_form.h"

namespace remora::cpu {
namespace {

std::optional<String> StringOf(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ:
      return String::kMovs;
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
      return String::kStos;
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ:
      return String::kLods;
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
      return String::kScas;
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
      return String::kCmps;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<StringForm> FormOfString(const InstructionInfo& info) {
  if (info.category != ZYDIS_CATEGORY_STRINGOP) return std::nullopt;
  const std::optional<String> string = StringOf(info.mnemonic);
  if (!string) return std::nullopt;
  // The last prefix counts, even where the instruction is not in the manual's list for it: MOVS with REPNE repeats as
  // REP.
  const auto repeat = info.repeat_prefix == 0xf3   ? Repeat::kWhileEqual
                      : info.repeat_prefix == 0xf2 ? Repeat::kWhileUnequal
                                                   : Repeat::kNone;
  // The opcode of bytes is even.
  const unsigned size_log2 = (info.opcode & 1) == 0     ? 0
                             : info.operand_width == 16 ? 1
                             : info.operand_width == 32 ? 2
                                                        : 3;
  return StringForm{.string = *string,
                    .size_log2 = static_cast<uint8_t>(size_log2 & 3),
                    .repeat = repeat,
                    .segment = static_cast<uint8_t>((info.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS) != 0   ? 1
                                                    : (info.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS) != 0 ? 2
                                                                                                           : 0),
                    .address32 = info.address_width == 32};
}

}  // namespace remora::cpu
