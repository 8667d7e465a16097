#ifndef REMORA_CPU_TRANSLATOR_BLOCK_DUMP_H_
#define REMORA_CPU_TRANSLATOR_BLOCK_DUMP_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "cpu/translator/guest_instruction.h"
#include "cpu/translator/translation.h"

namespace remora::cpu::translator {

// What translations are shown to, as they are made. `pc` is the block's address; what it answers is called with the
// text if it is not empty.
struct BlockDumper {
  std::function<bool(uint64_t pc)> wanted;
  std::function<void(const std::string& text)> show;
};

// A block's guest instructions, each with the host's code for it beside, and the code that is seldom run behind them.
// `buffer`: where the CodeBuffer begins, for offsets such as perf reports.
// Takes milliseconds: for people.
std::string DumpBlock(std::span<const GuestInstruction> instructions, const Translation& translation,
                      const std::byte* buffer);

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_BLOCK_DUMP_H_
