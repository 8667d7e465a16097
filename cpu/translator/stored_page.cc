#include "cpu/translator/stored_page.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "cpu/translator/code_buffer.h"
#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {
namespace {

constexpr size_t kAlignment = 8, kCodeAlignment = 16;
// What a block has of each is told in 16 bits; so is the index of a key, which is looked for one by one.
constexpr size_t kMostOfABlock = UINT16_MAX, kMostKeys = 4096;

struct Header {
  uint64_t page_number = 0;
  uint32_t num_blocks = 0, num_keys = 0, num_marks = 0, num_relocations = 0, num_links = 0, num_branches = 0;
  uint32_t num_numbered = 0, code_bytes = 0;
};
static_assert(sizeof(Header) % kAlignment == 0);

constexpr size_t Padded(size_t bytes) { return (bytes + kAlignment - 1) & ~(kAlignment - 1); }

template <typename T>
void WriteArray(std::span<const T> array, ByteSink sink) {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
  constexpr std::byte kZeros[kAlignment] = {};
  const std::span<const std::byte> bytes = std::as_bytes(array);
  sink(bytes);
  sink(std::span(kZeros).first(Padded(bytes.size()) - bytes.size()));
}

// Reads arrays one behind the other.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}
  // False: there are fewer bytes.
  template <typename T>
  bool Take(size_t number, std::span<const T>* array) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
    const size_t bytes = Padded(number * sizeof(T));
    if (bytes > left_.size()) return false;
    *array = {reinterpret_cast<const T*>(left_.data()), number};
    left_ = left_.subspan(bytes);
    return true;
  }
  bool at_end() const { return left_.empty(); }

 private:
  std::span<const std::byte> left_;
};

}  // namespace

uint32_t StrideOf(GeneratedBlock::Numbered::Kind kind) {
  switch (kind) {
    case GeneratedBlock::Numbered::Kind::kWayField:
      return sizeof(GuestContext::Way);
    case GeneratedBlock::Numbered::Kind::kPageField:
      return sizeof(GuestContext::pages[0]);
    case GeneratedBlock::Numbered::Kind::kPage:
      return 1;
  }
  return 0;
}

// --- reading ---

std::optional<StoredPageView> StoredPageView::Parse(std::span<const std::byte> record) {
  if (reinterpret_cast<uintptr_t>(record.data()) % kAlignment != 0) return std::nullopt;
  Reader reader(record);
  std::span<const Header> header;
  std::span<const std::byte> bytes;
  if (!reader.Take(1, &header) || !reader.Take(kPageSize, &bytes)) return std::nullopt;
  const Header& of = header[0];
  StoredPageView view{.page_number = of.page_number, .bytes = bytes.first<kPageSize>()};
  const bool complete = reader.Take(of.num_blocks, &view.blocks) && reader.Take(of.num_keys, &view.keys) &&
                        reader.Take(of.num_marks, &view.marks) && reader.Take(of.num_relocations, &view.relocations) &&
                        reader.Take(of.num_links, &view.links) && reader.Take(of.num_branches, &view.branches) &&
                        reader.Take(of.num_numbered, &view.numbered) && reader.Take(of.code_bytes, &view.code) &&
                        reader.at_end();
  if (!complete) return std::nullopt;
  // Each block has its parts.
  size_t marks = 0, relocations = 0, links = 0, branches = 0, numbered = 0, code = 0;
  for (const StoredBlock& block : view.blocks) {
    marks += block.num_marks;
    relocations += block.num_relocations;
    links += block.num_links;
    branches += block.num_branches;
    numbered += block.num_numbered;
    if (block.code_offset % kCodeAlignment != 0 || block.code_offset < code) return std::nullopt;
    code = size_t{block.code_offset} + block.shape.code_bytes;
    if (code > view.code.size()) return std::nullopt;
  }
  if (marks != view.marks.size() || relocations != view.relocations.size() || links != view.links.size() ||
      branches != view.branches.size() || numbered != view.numbered.size())
    return std::nullopt;
  return view;
}

// --- writing ---

StoredPage::StoredPage(uint64_t page_number, std::span<const std::byte, kPageSize> bytes)
    : page_number_(page_number), bytes_(std::make_unique<std::byte[]>(kPageSize)) {
  std::ranges::copy(bytes, bytes_.get());
}

uint16_t StoredPage::IndexOfKey(uint64_t key) {
  const auto found = std::ranges::find(keys_, key);
  const auto index = static_cast<uint16_t>(found - keys_.begin());
  if (found == keys_.end()) keys_.push_back(key);
  return index;
}

uint32_t StoredPage::AddCode(std::span<const uint8_t> code) {
  const size_t offset = (code_.size() + kCodeAlignment - 1) & ~(kCodeAlignment - 1);
  code_.resize(offset);
  code_.insert(code_.end(), code.begin(), code.end());
  return static_cast<uint32_t>(offset);
}

bool StoredPage::Add(uint32_t page_offset, const GeneratedBlock& block, const std::byte* buffer, KeyOf key_of) {
  DCHECK(page_offset < kPageSize && block.path.empty());
  if (begins_.test(page_offset) || keys_.size() + block.numbered.size() > kMostKeys) return false;
  for (const size_t number :
       {block.relocations.size(), block.links.size(), block.branches.size(), block.numbered.size(), block.marks.size()})
    if (number > kMostOfABlock) return false;
  const auto target_of = [buffer](const GeneratedBlock::Relocation& relocation) {
    return static_cast<uint64_t>(static_cast<const std::byte*>(relocation.target) - buffer);
  };
  for (const GeneratedBlock::Relocation& relocation : block.relocations)
    if (target_of(relocation) >= CodeBuffer::kPermanentBytes) return false;
  begins_.set(page_offset);
  const uint32_t offset = AddCode(block.code);
  const auto narrow = [](auto value) { return static_cast<uint16_t>(value); };
  blocks_.push_back({.code_offset = offset,
                     .page_offset = narrow(page_offset),
                     .num_marks = narrow(block.marks.size()),
                     .num_relocations = narrow(block.relocations.size()),
                     .num_links = narrow(block.links.size()),
                     .num_branches = narrow(block.branches.size()),
                     .num_numbered = narrow(block.numbered.size()),
                     .shape = block});
  marks_.insert(marks_.end(), block.marks.begin(), block.marks.end());
  for (const GeneratedBlock::Relocation& relocation : block.relocations)
    relocations_.push_back({relocation.displacement_offset, static_cast<uint32_t>(target_of(relocation))});
  for (const Link& link : block.links)
    links_.push_back({.displacement_offset = link.displacement_offset,
                      .page_offset = narrow(link.target % kPageSize),
                      .flags_saved = link.flags_saved,
                      .forward = link.forward});
  for (const GeneratedBlock::Branch& branch : block.branches)
    branches_.push_back(
        {.word_offset = branch.word_offset, .code_offset = branch.code_offset & INT32_MAX, .popped = branch.popped});
  for (const GeneratedBlock::Numbered& numbered : block.numbered) {
    numbered_.push_back(
        {.word_offset = numbered.word_offset, .key = IndexOfKey(key_of(numbered)), .kind = numbered.kind});
    uint8_t* const at = &code_[offset + numbered.word_offset];
    uint32_t word;
    std::memcpy(&word, at, sizeof(word));
    word -= numbered.number * StrideOf(numbered.kind);
    std::memcpy(at, &word, sizeof(word));
  }
  return true;
}

void StoredPage::AddAllOf(const StoredPageView& other) {
  DCHECK(other.page_number == page_number_ && std::ranges::equal(other.bytes, bytes()));
  const auto append = [](const auto& from, auto* to) { to->insert(to->end(), from.begin(), from.end()); };
  for (StoredBlockWalk walk(other); walk.Next();) {
    const StoredPageView& parts = walk.parts();
    const uint32_t begins = walk.block().page_offset;
    if (begins_.test(begins) || keys_.size() + parts.numbered.size() > kMostKeys) continue;
    begins_.set(begins);
    blocks_.push_back(walk.block());
    blocks_.back().code_offset = AddCode(parts.code);
    append(parts.marks, &marks_);
    append(parts.relocations, &relocations_);
    append(parts.links, &links_);
    append(parts.branches, &branches_);
    for (StoredNumber number : parts.numbered) {
      number.key = IndexOfKey(parts.keys[number.key]);
      numbered_.push_back(number);
    }
  }
}

StoredPageView StoredPage::view() const {
  return {.page_number = page_number_,
          .bytes = bytes(),
          .blocks = blocks_,
          .keys = keys_,
          .marks = marks_,
          .relocations = relocations_,
          .links = links_,
          .branches = branches_,
          .numbered = numbered_,
          .code = code_};
}

size_t StoredPage::size_bytes() const {
  const StoredPageView all = view();
  return sizeof(Header) + kPageSize + Padded(all.blocks.size_bytes()) + Padded(all.keys.size_bytes()) +
         Padded(all.marks.size_bytes()) + Padded(all.relocations.size_bytes()) + Padded(all.links.size_bytes()) +
         Padded(all.branches.size_bytes()) + Padded(all.numbered.size_bytes()) + Padded(all.code.size_bytes());
}

void StoredPage::WriteTo(ByteSink sink) const {
  const Header header = {.page_number = page_number_,
                         .num_blocks = static_cast<uint32_t>(blocks_.size()),
                         .num_keys = static_cast<uint32_t>(keys_.size()),
                         .num_marks = static_cast<uint32_t>(marks_.size()),
                         .num_relocations = static_cast<uint32_t>(relocations_.size()),
                         .num_links = static_cast<uint32_t>(links_.size()),
                         .num_branches = static_cast<uint32_t>(branches_.size()),
                         .num_numbered = static_cast<uint32_t>(numbered_.size()),
                         .code_bytes = static_cast<uint32_t>(code_.size())};
  WriteArray(std::span(&header, 1), sink);
  WriteArray(std::span<const std::byte>(bytes()), sink);
  WriteArray(std::span<const StoredBlock>(blocks_), sink);
  WriteArray(std::span<const uint64_t>(keys_), sink);
  WriteArray(std::span<const Mark>(marks_), sink);
  WriteArray(std::span<const StoredRelocation>(relocations_), sink);
  WriteArray(std::span<const StoredLink>(links_), sink);
  WriteArray(std::span<const StoredBranch>(branches_), sink);
  WriteArray(std::span<const StoredNumber>(numbered_), sink);
  WriteArray(std::span<const uint8_t>(code_), sink);
}

}  // namespace remora::cpu::translator
