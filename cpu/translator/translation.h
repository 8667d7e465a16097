#ifndef REMORA_CPU_TRANSLATOR_TRANSLATION_H_
#define REMORA_CPU_TRANSLATOR_TRANSLATION_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/guest_addr.h"
#include "cpu/block_arena.h"
#include "cpu/translator/generated_block.h"
#include "mm/types.h"

namespace remora::cpu::translator {

// A block's code in the CodeBuffer. Immutable once published, but for jumps that are patched.
// It belongs to a page of code as one address sees it: every address space that has the frame there may run it.
// There are many: the marks lie behind it in one piece of memory, what is within its code is 16 bits wide, as
// HostCode's size is, and all of it is one line of the host's cache.
struct Translation : BlockShape {
  struct Delete {
    void operator()(const Translation* translation) const { Free(const_cast<Translation*>(translation)); }
  };
  using Owner = std::unique_ptr<Translation, Delete>;

  // A page of code as one address space has it.
  struct Page {
    uint64_t number = 0;
    mm::FrameId frame;
  };
  static constexpr size_t kMaxPages = UINT8_MAX;

  // Of code that is written already. `path`: GeneratedBlock::path. `pages`: those that it comes through, at most
  // kMaxPages. Null: the arena is full.
  static Owner Create(BlockArena* arena, const std::byte* code, std::span<const Mark> marks,
                      std::span<const uint64_t> path = {}, std::span<const Page> pages = {});
  // Of an instruction that is to be interpreted.
  static Owner CreateWithoutCode();
  static void Free(void* translation);  // for the Reclaimer, too

  uint16_t num_marks = 0;
  uint8_t num_pages = 0;
  bool repeats : 1 = false;  // if code is null: it has a REP prefix
  bool alone : 1 = false;    // each memory operand is probed by itself
  bool is_path : 1 = false;  // its instructions may lie on several pages; see TranslationCache::PublishPath
  uint64_t pc = 0;
  const std::byte* code = nullptr;  // null: the instruction at pc is to be interpreted
  mm::FrameId frame;
  mm::FrameId tail_frame;  // of the page behind, if the first instruction goes on there; else not valid
  // The path that has taken its place, which another one may have replaced since. Null: none has.
  std::atomic<Translation*> replaced_by = nullptr;

  std::span<const Mark> marks() const { return {reinterpret_cast<const Mark*>(this + 1), num_marks}; }
  uint32_t count() const { return num_marks; }
  // Whether jumps may lead straight to its entries.
  bool can_be_joined() const { return code != nullptr && !tail_frame.valid(); }
  // Of a path: the pages that its instructions lie on.
  std::span<const Page> pages() const { return {reinterpret_cast<const Page*>(marks().data() + num_marks), num_pages}; }
  // Where the instruction is.
  uint64_t AddressOf(uint32_t instruction) const {
    const Mark& mark = marks()[instruction];
    const uint64_t from = is_path ? pages()[mark.page].number * kPageSize : pc;
    return from + static_cast<uint64_t>(int64_t{mark.guest_offset});
  }
  // The instruction whose own code `host` is in.
  uint32_t IndexOf(const std::byte* host) const {
    const auto offset = static_cast<uint32_t>(host - code);
    const std::span<const Mark> all = marks();
    const auto behind = std::upper_bound(all.begin(), all.end(), offset,
                                         [](uint32_t at, const Mark& mark) { return at < mark.host_offset; });
    return behind == all.begin() ? 0 : static_cast<uint32_t>(behind - all.begin()) - 1;
  }
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_TRANSLATION_H_
