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
// Layout in an image: the page's bytes, the directory (a Header, a StoredPlace for each block, by where the blocks
// begin), the blocks. The directory has a sum, beside it; the bytes are compared anyway. A block lies in one piece,
// with a sum of its own: who wants one of a thousand reads and sums up no other. All parts are padded to 8 bytes.

// Where a block is, and what it is known by.
struct StoredPlace {
  uint64_t sum = 0;     // of the block's bytes
  uint32_t offset = 0;  // from the end of the directory
  uint32_t bytes = 0;
  uint16_t page_offset = 0;  // of the block's first instruction
  uint8_t unused[6] = {};
};
static_assert(sizeof(StoredPlace) == 24);

// The beginning of a block, before its numbers, marks, relocations, links, far links, branches and code.
struct StoredBlock {
  static constexpr uint16_t kNowhere = kPageSize;
  uint16_t num_numbered = 0, num_marks = 0, num_relocations = 0, num_links = 0, num_far_links = 0, num_branches = 0;
  uint16_t comes_back_at = kNowhere;  // as GeneratedBlock, in the page
  BlockShape shape;
};

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
struct StoredFarLink {
  uint64_t target = 0;
  uint16_t displacement_offset = 0, cold_offset = 0;
  bool flags_saved = false;
  bool forward = false;
  uint8_t unused[2] = {};
};
struct StoredBranch {
  uint32_t word_offset = 0;
  uint32_t code_offset : 31 = 0;
  uint32_t popped : 1 = 0;
};
// Zero is taken for the number in the word itself.
struct StoredNumber {
  uint64_t key = 0;  // what is numbered: a way's address, or a GuestContext::PageKey
  uint32_t word_offset = 0;
  GeneratedBlock::Numbered::Kind kind = GeneratedBlock::Numbered::Kind::kWayField;
  uint8_t unused[3] = {};
};

// Takes bytes, one piece behind the other.
using ByteSink = absl::FunctionRef<void(std::span<const std::byte> bytes)>;

// What tells that a disk or somebody else has changed what was written.
uint64_t SumOf(std::span<const std::byte> bytes);

// What another one of the number's kind adds to the word.
uint32_t StrideOf(GeneratedBlock::Numbered::Kind kind);

struct StoredBlockView {
  const StoredBlock* block = nullptr;
  std::span<const StoredNumber> numbered = {};
  std::span<const Mark> marks = {};
  std::span<const StoredRelocation> relocations = {};
  std::span<const StoredLink> links = {};
  std::span<const StoredFarLink> far_links = {};
  std::span<const StoredBranch> branches = {};
  std::span<const uint8_t> code = {};

  // Nothing if `bytes`, aligned to 8, is not as long as what it says is in it. What it says of its code is not looked
  // at: whoever asks knows by a sum that it is what StoredPage wrote.
  static std::optional<StoredBlockView> Parse(std::span<const std::byte> bytes);
};

struct StoredPageView {
  uint64_t page_number = 0;
  std::span<const std::byte, kPageSize> bytes;
  std::span<const StoredPlace> places = {};
  std::span<const std::byte> blocks = {};

  // Nothing if `record`, aligned to 8 bytes, has no directory of `directory_bytes`, with that sum.
  static std::optional<StoredPageView> Parse(std::span<const std::byte> record, size_t directory_bytes,
                                             uint64_t directory_sum);
  // The block that begins there. Nothing where there is none that is intact.
  std::optional<StoredBlockView> Find(uint32_t page_offset) const;
  // Its bytes; empty where they are not intact.
  std::span<const std::byte> BytesOf(const StoredPlace& place) const;
};

// One that is being put together. Thread safety: none.
class StoredPage {
 public:
  StoredPage(uint64_t page_number, std::span<const std::byte, kPageSize> bytes);

  std::span<const std::byte, kPageSize> bytes() const {
    return std::span<const std::byte, kPageSize>(bytes_.get(), kPageSize);
  }
  bool Has(uint32_t page_offset) const { return begins_.test(page_offset); }
  // Of the directory; of the whole record.
  size_t directory_bytes() const;
  size_t size_bytes() const { return kPageSize + directory_bytes() + blocks_.size(); }

  // A block that begins at `page_offset`, for code in `buffer`. `key_of`: what has been numbered. False, and nothing is
  // done: one begins there already, or it refers to what cannot be named.
  using KeyOf = absl::FunctionRef<uint64_t(const GeneratedBlock::Numbered&)>;
  bool Add(uint32_t page_offset, const GeneratedBlock& block, const std::byte* buffer, KeyOf key_of);
  // Those of `other`, of the same page, that begin where none here does, and are intact.
  void AddAllOf(const StoredPageView& other);
  void AddAllOf(const StoredPage& other);
  // A record that StoredPageView::Parse can read, piece by piece; the sum of its directory.
  uint64_t WriteRecord(ByteSink sink) const;

 private:
  // The bytes are there already, from `offset` on.
  void Place(uint32_t page_offset, size_t offset);
  void AddBytes(uint32_t page_offset, std::span<const std::byte> block);

  const uint64_t page_number_;
  const std::unique_ptr<std::byte[]> bytes_;
  std::bitset<kPageSize> begins_;  // where blocks begin
  std::vector<StoredPlace> places_;
  std::vector<std::byte> blocks_;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_STORED_PAGE_H_
