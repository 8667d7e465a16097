#ifndef REMORA_CPU_TRANSLATOR_BLOCK_DUMP_H_
#define REMORA_CPU_TRANSLATOR_BLOCK_DUMP_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "cpu/translator/guest_instruction.h"
#include "cpu/translator/translation.h"
#include "mm/tlb.h"

namespace remora::cpu::translator {

// What translations are shown to, as they are made, on the thread that makes them. `pc` is the block's address, `tlb`
// that of its address space. Each may be null.
struct BlockDumper {
  // Where true, `show` is called with the text of DumpBlock.
  std::function<bool(uint64_t pc, const mm::Tlb& tlb)> wanted = nullptr;
  std::function<void(const std::string& text)> show = nullptr;
  // A routine that translated code calls; each once, before there is any.
  std::function<void(std::string_view name, std::span<const std::byte> code)> on_routine = nullptr;
  // The host's code, where it runs.
  std::function<void(uint64_t pc, const mm::Tlb& tlb, std::span<const std::byte> code)> on_translated = nullptr;
};

// A block's guest instructions, each with the host's code for it beside, and the code that is seldom run behind them.
// `buffer`: where the CodeBuffer begins, for offsets such as perf reports.
// Takes milliseconds: for people.
std::string DumpBlock(std::span<const GuestInstruction> instructions, const Translation& translation,
                      const std::byte* buffer);

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_BLOCK_DUMP_H_
