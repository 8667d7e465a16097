#include "cpu/translator/block_dump.h"

#include <Zydis/Zydis.h>

#include <cstdio>
#include <string>
#include <vector>

namespace remora::cpu::translator {
namespace {

constexpr int kGuestColumn = 44;

class Disassembler {
 public:
  Disassembler() {
    ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisFormatterInit(&formatter_, ZYDIS_FORMATTER_STYLE_INTEL);
  }

  // The instruction at `bytes`, which runs at `address`; its length, at least 1.
  unsigned Format(const uint8_t* bytes, size_t length, uint64_t address, std::string* text) const {
    ZydisDecodedInstruction info;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, bytes, length, &info, operands))) {
      *text = "?";
      return 1;
    }
    char line[128];
    ZydisFormatterFormatInstruction(&formatter_, &info, operands, info.operand_count_visible, line, sizeof(line),
                                    address, nullptr);
    *text = line;
    return info.length;
  }

 private:
  ZydisDecoder decoder_;
  ZydisFormatter formatter_;
};

}  // namespace

std::string DumpBlock(std::span<const GuestInstruction> instructions, const Translation& translation,
                      const std::byte* buffer) {
  const Disassembler disassembler;
  const auto* code = reinterpret_cast<const uint8_t*>(translation.code);
  std::string text;
  const auto append = [&](const std::string& left, uint32_t offset, const std::string& right) {
    char line[256];
    std::snprintf(line, sizeof(line), "%-*s | %5x  %s\n", kGuestColumn, left.c_str(), offset, right.c_str());
    text += line;
  };
  // The host's code from `from` to `to`, with `left` beside its first line.
  const auto show = [&](uint32_t from, uint32_t to, std::string left) {
    if (from == to) append(left, from, "");
    while (from < to) {
      std::string host;
      const unsigned length = disassembler.Format(code + from, to - from, from, &host);
      append(left, from, host);
      left.clear();
      from += length;
    }
  };
  char heading[128];
  std::snprintf(heading, sizeof(heading), "%s %lx: %u instructions, %u bytes of host code at %lx\n",
                !translation.is_path ? "block"
                : translation.loops  ? "round"
                                     : "path",
                translation.pc, translation.count(), translation.code_bytes, translation.code - buffer);
  text += heading;
  for (unsigned i = 0; i < translation.stand_ins.size(); ++i) {
    if (translation.stand_ins[i] == kNoStandIn) continue;
    constexpr int kFirst = ZYDIS_REGISTER_RAX;
    const auto name = [](unsigned number) {
      return ZydisRegisterGetString(static_cast<ZydisRegister>(kFirst + static_cast<int>(number)));
    };
    text.insert(text.size() - 1, std::string(", ") + name(kR10 + i) + " in " + name(translation.stand_ins[i]));
  }
  const std::span<const Mark> marks = translation.marks();
  show(0, marks.empty() ? translation.code_bytes : marks[0].host_offset, "(entries)");
  for (size_t i = 0; i < marks.size(); ++i) {
    const GuestInstruction& instruction = instructions[i];
    std::string guest;
    disassembler.Format(instruction.bytes.data(), instruction.bytes.size(), instruction.pc, &guest);
    char at[32];
    std::snprintf(at, sizeof(at), "%lx  ", instruction.pc);
    show(marks[i].host_offset, i + 1 < marks.size() ? marks[i + 1].host_offset : translation.cold_offset, at + guest);
  }
  show(translation.cold_offset, translation.code_bytes, "(seldom run)");
  return text;
}

}  // namespace remora::cpu::translator
