#ifndef REMORA_CPU_TRANSLATOR_STORED_PAGE_H_
#define REMORA_CPU_TRANSLATOR_STORED_PAGE_H_

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/guest_addr.h"
#include "cpu/translator/generated_block.h"

namespace remora::cpu::translator {

// What was translated of one page of code, in a form that another run of the same Remora can publish: numbers that
// BlockNumbers gave are taken out of the code, routines are named by where they are in the CodeBuffer. It belongs to
// the page's bytes at its address, which stand beside it.
//
// Layout in an image: a Header, the page's bytes, then the arrays of StoredPageView in their order, each
// padded to 8 bytes. The blocks' parts of the arrays follow each other in the blocks' order.

struct StoredBlock {
  uint32_t code_offset = 0;  // in the page's code, a multiple of 16
  uint16_t page_offset = 0;  // of the block's first instruction
  uint16_t num_marks = 0, num_relocations = 0, num_links = 0, num_branches = 0, num_numbered = 0;
  BlockShape shape;
};
static_assert(sizeof(StoredBlock) == 44);

// Offsets are from the beginning of their block's code.
struct StoredRelocation {
  uint32_t displacement_offset = 0;
  uint32_t target = 0;  // from the beginning of the CodeBuffer
};
struct StoredLink {
  uint32_t displacement_offset = 0;
  uint16_t page_offset = 0;  // the target's
  bool flags_saved = false;
  bool forward = false;
};
struct StoredBranch {
  uint32_t word_offset = 0;
  uint32_t code_offset : 31 = 0;
  uint32_t popped : 1 = 0;
};
// Zero is taken for the number in the word itself.
struct StoredNumber {
  uint32_t word_offset = 0;
  uint16_t key = 0;  // index in StoredPageView::keys
  GeneratedBlock::Numbered::Kind kind = GeneratedBlock::Numbered::Kind::kWayField;
  uint8_t unused = 0;
};

// Takes bytes, one piece behind the other.
using ByteSink = absl::FunctionRef<void(std::span<const std::byte> bytes)>;

// What another one of the number's kind adds to the word.
uint32_t StrideOf(GeneratedBlock::Numbered::Kind kind);

struct StoredPageView {
  uint64_t page_number = 0;
  std::span<const std::byte, kPageSize> bytes;
  std::span<const StoredBlock> blocks = {};
  std::span<const uint64_t> keys = {};  // what is numbered: a way's address, or a GuestContext::PageKey
  std::span<const Mark> marks = {};
  std::span<const StoredRelocation> relocations = {};
  std::span<const StoredLink> links = {};
  std::span<const StoredBranch> branches = {};
  std::span<const StoredNumber> numbered = {};
  std::span<const uint8_t> code = {};

  // Nothing if `record`, aligned to 8 bytes, is too short for what it says is in it. What a block says of its code is
  // not looked at: whoever asks knows by a sum that it is what WriteTo wrote.
  static std::optional<StoredPageView> Parse(std::span<const std::byte> record);
};

// The blocks of a page, in order: while (walk.Next()) walk.block() is one of them, and walk.parts() what belongs to it.
class StoredBlockWalk {
 public:
  // `page` outlives it.
  explicit StoredBlockWalk(const StoredPageView& page) : page_(page), left_(page), parts_(page) {}
  bool Next() {
    if (left_.blocks.empty()) return false;
    const auto take = [](auto* from, size_t number) {
      const auto taken = from->first(number);
      *from = from->subspan(number);
      return taken;
    };
    parts_.blocks = take(&left_.blocks, 1);
    parts_.marks = take(&left_.marks, block().num_marks);
    parts_.relocations = take(&left_.relocations, block().num_relocations);
    parts_.links = take(&left_.links, block().num_links);
    parts_.branches = take(&left_.branches, block().num_branches);
    parts_.numbered = take(&left_.numbered, block().num_numbered);
    parts_.code = page_.code.subspan(block().code_offset, block().shape.code_bytes);
    return true;
  }
  const StoredBlock& block() const { return parts_.blocks[0]; }
  const StoredPageView& parts() const { return parts_; }

 private:
  const StoredPageView& page_;
  StoredPageView left_, parts_;
};

// One that is being put together. Thread safety: none.
class StoredPage {
 public:
  StoredPage(uint64_t page_number, std::span<const std::byte, kPageSize> bytes);

  std::span<const std::byte, kPageSize> bytes() const {
    return std::span<const std::byte, kPageSize>(bytes_.get(), kPageSize);
  }
  // Of what WriteTo writes.
  size_t size_bytes() const;

  // A block that begins at `page_offset`, for code in `buffer`. `key_of`: what has been numbered. False, and nothing is
  // done: one begins there already, or it refers to what cannot be named.
  using KeyOf = absl::FunctionRef<uint64_t(const GeneratedBlock::Numbered&)>;
  bool Add(uint32_t page_offset, const GeneratedBlock& block, const std::byte* buffer, KeyOf key_of);
  // Those of `other`, of the same page, that begin where none here does.
  void AddAllOf(const StoredPageView& other);
  StoredPageView view() const;
  // A record that StoredPageView::Parse can read, piece by piece.
  void WriteTo(ByteSink sink) const;

 private:
  uint16_t IndexOfKey(uint64_t key);
  uint32_t AddCode(std::span<const uint8_t> code);

  const uint64_t page_number_;
  const std::unique_ptr<std::byte[]> bytes_;
  std::bitset<kPageSize> begins_;  // where blocks begin
  std::vector<StoredBlock> blocks_;
  std::vector<uint64_t> keys_;
  std::vector<Mark> marks_;
  std::vector<StoredRelocation> relocations_;
  std::vector<StoredLink> links_;
  std::vector<StoredBranch> branches_;
  std::vector<StoredNumber> numbered_;
  std::vector<uint8_t> code_;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_STORED_PAGE_H_
