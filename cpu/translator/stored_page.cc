#include "cpu/translator/stored_page.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "cpu/translator/code_buffer.h"
#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {
namespace {

constexpr size_t kAlignment = 8;
// What a block has of each is told in 16 bits.
constexpr size_t kMostOfABlock = UINT16_MAX;

struct Header {
  uint64_t page_number = 0;
  uint64_t num_blocks = 0;
};

constexpr size_t Padded(size_t bytes) { return (bytes + kAlignment - 1) & ~(kAlignment - 1); }

// Reads arrays one behind the other.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}
  // False: there are fewer bytes.
  template <typename T>
  bool Take(size_t number, std::span<const T>* array) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
    if (number > left_.size() / sizeof(T) || Padded(number * sizeof(T)) > left_.size()) return false;
    *array = {reinterpret_cast<const T*>(left_.data()), number};
    left_ = left_.subspan(Padded(number * sizeof(T)));
    return true;
  }
  bool at_end() const { return left_.empty(); }
  std::span<const std::byte> left() const { return left_; }

 private:
  std::span<const std::byte> left_;
};

// Puts arrays one behind the other: `from`, each as `convert` has it.
template <typename From, typename Convert>
void AppendEach(const std::vector<From>& from, std::vector<std::byte>* to, Convert convert) {
  using To = decltype(convert(from[0]));
  static_assert(std::is_trivially_copyable_v<To> && alignof(To) <= kAlignment);
  size_t at = to->size();
  to->resize(Padded(at + from.size() * sizeof(To)));
  for (const From& one : from) {
    const To converted = convert(one);
    std::memcpy(to->data() + at, &converted, sizeof(To));
    at += sizeof(To);
  }
}
template <typename T>
void Append(std::span<const T> array, std::vector<std::byte>* to) {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
  const size_t at = to->size();
  to->resize(Padded(at + array.size_bytes()));
  if (!array.empty()) std::memcpy(to->data() + at, array.data(), array.size_bytes());
}

uint16_t Narrow(uint64_t value) { return static_cast<uint16_t>(value); }

}  // namespace

uint64_t SumOf(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

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

std::optional<StoredBlockView> StoredBlockView::Parse(std::span<const std::byte> bytes) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % kAlignment != 0) return std::nullopt;
  Reader reader(bytes);
  std::span<const StoredBlock> beginning;
  if (!reader.Take(1, &beginning)) return std::nullopt;
  const StoredBlock& block = beginning[0];
  StoredBlockView view{.block = &block};
  const bool complete =
      reader.Take(block.num_numbered, &view.numbered) && reader.Take(block.num_marks, &view.marks) &&
      reader.Take(block.num_relocations, &view.relocations) && reader.Take(block.num_links, &view.links) &&
      reader.Take(block.num_far_links, &view.far_links) && reader.Take(block.num_branches, &view.branches) &&
      reader.Take(block.shape.code_bytes, &view.code) && reader.at_end();
  return complete ? std::optional(view) : std::nullopt;
}

std::optional<StoredPageView> StoredPageView::Parse(std::span<const std::byte> record, size_t directory_bytes,
                                                    uint64_t directory_sum) {
  if (reinterpret_cast<uintptr_t>(record.data()) % kAlignment != 0) return std::nullopt;
  if (record.size() < kPageSize || directory_bytes > record.size() - kPageSize) return std::nullopt;
  const std::span<const std::byte> directory = record.subspan(kPageSize, directory_bytes);
  if (SumOf(directory) != directory_sum) return std::nullopt;
  Reader reader(directory);
  std::span<const Header> header;
  if (!reader.Take(1, &header)) return std::nullopt;
  StoredPageView view{.page_number = header[0].page_number, .bytes = record.first<kPageSize>()};
  if (!reader.Take(header[0].num_blocks, &view.places) || !reader.at_end()) return std::nullopt;
  view.blocks = record.subspan(kPageSize + directory_bytes);
  return view;
}

std::span<const std::byte> StoredPageView::BytesOf(const StoredPlace& place) const {
  if (place.offset > blocks.size() || place.bytes > blocks.size() - place.offset) return {};
  const std::span<const std::byte> block = blocks.subspan(place.offset, place.bytes);
  return SumOf(block) == place.sum ? block : std::span<const std::byte>();
}

std::optional<StoredBlockView> StoredPageView::Find(uint32_t page_offset) const {
  const auto place = std::ranges::lower_bound(places, page_offset, {}, &StoredPlace::page_offset);
  if (place == places.end() || place->page_offset != page_offset) return std::nullopt;
  return StoredBlockView::Parse(BytesOf(*place));
}

// --- writing ---

StoredPage::StoredPage(uint64_t page_number, std::span<const std::byte, kPageSize> bytes)
    : page_number_(page_number), bytes_(std::make_unique<std::byte[]>(kPageSize)) {
  std::ranges::copy(bytes, bytes_.get());
}

size_t StoredPage::directory_bytes() const { return sizeof(Header) + places_.size() * sizeof(StoredPlace); }

void StoredPage::Place(uint32_t page_offset, size_t offset) {
  begins_.set(page_offset);
  const std::span<const std::byte> block = std::span<const std::byte>(blocks_).subspan(offset);
  places_.push_back({.sum = SumOf(block),
                     .offset = static_cast<uint32_t>(offset),
                     .bytes = static_cast<uint32_t>(block.size()),
                     .page_offset = Narrow(page_offset)});
}

bool StoredPage::Add(uint32_t page_offset, const GeneratedBlock& block, const std::byte* buffer, KeyOf key_of) {
  DCHECK(page_offset < kPageSize && block.path.empty() && block.code.size() == block.code_bytes);
  if (begins_.test(page_offset)) return false;
  for (const size_t number : {block.relocations.size(), block.links.size(), block.far_links.size(),
                              block.branches.size(), block.numbered.size(), block.marks.size()})
    if (number > kMostOfABlock) return false;
  const auto target_of = [buffer](const GeneratedBlock::Relocation& relocation) {
    return static_cast<uint64_t>(static_cast<const std::byte*>(relocation.target) - buffer);
  };
  for (const GeneratedBlock::Relocation& relocation : block.relocations)
    if (target_of(relocation) >= CodeBuffer::kPermanentBytes) return false;
  const size_t offset = blocks_.size();
  StoredBlock beginning = {.num_numbered = Narrow(block.numbered.size()),
                           .num_marks = Narrow(block.marks.size()),
                           .num_relocations = Narrow(block.relocations.size()),
                           .num_links = Narrow(block.links.size()),
                           .num_far_links = Narrow(block.far_links.size()),
                           .num_branches = Narrow(block.branches.size()),
                           .shape = block};
  if (block.comes_back_at != 0 && block.comes_back_at / kPageSize == page_number_)
    beginning.comes_back_at = Narrow(block.comes_back_at % kPageSize);
  Append(std::span<const StoredBlock>(&beginning, 1), &blocks_);
  AppendEach(block.numbered, &blocks_, [&](const GeneratedBlock::Numbered& numbered) {
    return StoredNumber{.key = key_of(numbered), .word_offset = numbered.word_offset, .kind = numbered.kind};
  });
  Append(std::span<const Mark>(block.marks), &blocks_);
  AppendEach(block.relocations, &blocks_, [&](const GeneratedBlock::Relocation& relocation) {
    return StoredRelocation{relocation.displacement_offset, static_cast<uint32_t>(target_of(relocation))};
  });
  AppendEach(block.links, &blocks_, [](const Link& link) {
    return StoredLink{.displacement_offset = link.displacement_offset,
                      .page_offset = Narrow(link.target % kPageSize),
                      .flags_saved = link.flags_saved,
                      .forward = link.forward};
  });
  AppendEach(block.far_links, &blocks_, [](const FarLink& link) {
    return StoredFarLink{.target = link.target,
                         .displacement_offset = Narrow(link.displacement_offset),
                         .cold_offset = Narrow(link.cold_offset),
                         .flags_saved = link.flags_saved,
                         .forward = link.forward};
  });
  AppendEach(block.branches, &blocks_, [](const GeneratedBlock::Branch& branch) {
    return StoredBranch{
        .word_offset = branch.word_offset, .code_offset = branch.code_offset & INT32_MAX, .popped = branch.popped};
  });
  const size_t code = blocks_.size();
  Append(block.code, &blocks_);
  for (const GeneratedBlock::Numbered& numbered : block.numbered) {
    std::byte* const at = &blocks_[code + numbered.word_offset];
    uint32_t word;
    std::memcpy(&word, at, sizeof(word));
    word -= numbered.number * StrideOf(numbered.kind);
    std::memcpy(at, &word, sizeof(word));
  }
  Place(page_offset, offset);
  return true;
}

void StoredPage::AddBytes(uint32_t page_offset, std::span<const std::byte> block) {
  if (block.empty() || page_offset >= kPageSize || begins_.test(page_offset)) return;
  const size_t offset = blocks_.size();
  Append(block, &blocks_);
  Place(page_offset, offset);
}

void StoredPage::AddAllOf(const StoredPageView& other) {
  DCHECK(other.page_number == page_number_ && std::ranges::equal(other.bytes, bytes()));
  for (const StoredPlace& place : other.places) AddBytes(place.page_offset, other.BytesOf(place));
}

void StoredPage::AddAllOf(const StoredPage& other) {
  AddAllOf(
      {.page_number = other.page_number_, .bytes = other.bytes(), .places = other.places_, .blocks = other.blocks_});
}

uint64_t StoredPage::WriteRecord(ByteSink sink) const {
  const Header header = {.page_number = page_number_, .num_blocks = places_.size()};
  std::vector<StoredPlace> places = places_;
  std::ranges::sort(places, {}, &StoredPlace::page_offset);
  std::vector<std::byte> directory;
  Append(std::span<const Header>(&header, 1), &directory);
  Append(std::span<const StoredPlace>(places), &directory);
  sink(bytes());
  sink(directory);
  sink(blocks_);
  return SumOf(directory);
}

}  // namespace remora::cpu::translator
