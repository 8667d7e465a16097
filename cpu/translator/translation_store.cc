#include "cpu/translator/translation_store.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <tuple>
#include <utility>

namespace remora::cpu::translator {
namespace {

// The last byte is the format's version.
constexpr std::array<char, 8> kMagic = {'R', 'e', 'm', 'o', 'r', 'a', 'T', 1};
constexpr size_t kAlignment = 8;
// A guest that makes code for ever does not get it all stored.
constexpr size_t kMaxPages = 1 << 14;
constexpr uint64_t kMaxAddedCodeBytes = uint64_t{128} << 20;

uint64_t SumOf(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace

struct TranslationStore::ImageHeader {
  std::array<char, 8> magic = kMagic;
  uint64_t settings = 0, layout = 0;
  uint64_t index_offset = 0;  // behind the records, up to the image's end
  uint64_t num_records = 0;
  uint64_t index_sum = 0;
};

// In the order of number and page_sum.
struct TranslationStore::IndexEntry {
  uint64_t number = 0, page_sum = 0;  // the page's, and its bytes'
  uint64_t offset = 0, bytes = 0;     // of its record
  uint64_t record_sum = 0;

  auto key() const { return std::pair(number, page_sum); }
};

// --- images of earlier runs ---

bool TranslationStore::ReadImage(std::span<const std::byte> bytes, uint64_t settings, Image* image) {
  static_assert(sizeof(ImageHeader) % kAlignment == 0 && sizeof(IndexEntry) % kAlignment == 0);
  if (bytes.size() < sizeof(ImageHeader) || reinterpret_cast<uintptr_t>(bytes.data()) % kAlignment != 0) return false;
  const auto* header = reinterpret_cast<const ImageHeader*>(bytes.data());
  if (header->magic != kMagic || header->settings != settings) return false;
  if (header->index_offset > bytes.size() || header->index_offset % kAlignment != 0) return false;
  const std::span behind = bytes.subspan(header->index_offset);
  if (behind.size() % sizeof(IndexEntry) != 0 || behind.size() / sizeof(IndexEntry) != header->num_records)
    return false;
  const std::span index(reinterpret_cast<const IndexEntry*>(behind.data()), header->num_records);
  if (SumOf(std::as_bytes(index)) != header->index_sum || !std::ranges::is_sorted(index, {}, &IndexEntry::key))
    return false;
  *image = {bytes, header->layout, index};
  return true;
}

bool TranslationStore::AddImage(std::span<const std::byte> bytes) {
  Image image;
  if (!ReadImage(bytes, settings_, &image)) return false;
  images_.push_back(image);
  return true;
}

std::optional<StoredPageView> TranslationStore::ReadRecord(const Image& image, const IndexEntry& entry) {
  if (entry.offset > image.bytes.size() || entry.bytes > image.bytes.size() - entry.offset) return std::nullopt;
  const std::span record = image.bytes.subspan(entry.offset, entry.bytes);
  if (SumOf(record) != entry.record_sum) return std::nullopt;
  std::optional<StoredPageView> view = StoredPageView::Parse(record);
  return view && view->page_number == entry.number ? view : std::nullopt;
}

// --- this run ---

TranslationStore::Page* TranslationStore::Ask(uint64_t page_number, std::span<const std::byte, kPageSize> bytes) {
  const uint64_t sum = SumOf(bytes);
  const auto alike = known_.find({page_number, sum});
  if (alike != known_.end())
    for (Page* page : alike->second)
      if (std::memcmp(page->bytes, bytes.data(), kPageSize) == 0) return page;
  if (pages_.size() == kMaxPages) return nullptr;
  Page& page = pages_.emplace_back();
  known_[{page_number, sum}].push_back(&page);
  page.number = page_number;
  page.sum = sum;
  for (const Image& image : images_) {
    if (image.layout != layout_) continue;
    const auto found = std::ranges::equal_range(image.index, std::pair(page_number, sum), {}, &IndexEntry::key);
    for (const IndexEntry& entry : found) {
      const std::optional<StoredPageView> view = ReadRecord(image, entry);
      if (!view || std::memcmp(view->bytes.data(), bytes.data(), kPageSize) != 0) continue;
      page.stored.push_back(*view);
      page.bytes = view->bytes.data();
    }
  }
  if (page.stored.empty()) {
    // Without any blocks, too, it tells the next run that this one has come here.
    page.added = std::make_unique<StoredPage>(page_number, bytes);
    page.bytes = page.added->bytes().data();
    ++num_added_;
  }
  return &page;
}

void TranslationStore::Add(Page* page, uint32_t page_offset, const GeneratedBlock& block, const std::byte* buffer,
                           StoredPage::KeyOf key_of) {
  if (added_code_bytes_ > kMaxAddedCodeBytes) return;
  if (page->added == nullptr)
    page->added =
        std::make_unique<StoredPage>(page->number, std::span<const std::byte, kPageSize>(page->bytes, kPageSize));
  if (!page->added->Add(page_offset, block, buffer, key_of)) return;
  ++num_added_;
  added_code_bytes_ += block.code.size();
}

uint64_t TranslationStore::added_bytes() const {
  uint64_t bytes = 0;
  for (const Page& page : pages_)
    if (page.added != nullptr) bytes += page.added->size_bytes();
  return bytes;
}

// --- the next run's image ---

std::string TranslationStore::WriteImage(std::span<const std::span<const std::byte>> replaced) const {
  // What there is of a page: one record as it is, or parts that become one.
  struct Source {
    uint64_t number = 0, sum = 0;
    const StoredPage* added = nullptr;
    std::optional<StoredPageView> stored;
    std::span<const std::byte> record;
    auto key() const { return std::tuple(number, sum); }
    const std::byte* bytes() const { return added != nullptr ? added->bytes().data() : stored->bytes.data(); }
  };
  std::vector<Source> sources;
  for (const Page& page : pages_)
    if (page.added != nullptr)
      sources.push_back(
          {.number = page.number, .sum = page.sum, .added = page.added.get(), .stored = {}, .record = {}});
  for (const std::span<const std::byte> bytes : replaced) {
    Image image;
    if (!ReadImage(bytes, settings_, &image) || image.layout != layout_) continue;
    for (const IndexEntry& entry : image.index)
      if (const std::optional<StoredPageView> view = ReadRecord(image, entry))
        sources.push_back({.number = entry.number,
                           .sum = entry.page_sum,
                           .stored = view,
                           .record = image.bytes.subspan(entry.offset, entry.bytes)});
  }
  // Pages with the same bytes side by side.
  std::ranges::sort(sources, [](const Source& a, const Source& b) {
    if (a.key() != b.key()) return a.key() < b.key();
    return std::memcmp(a.bytes(), b.bytes(), kPageSize) < 0;
  });
  const auto alike = [](const Source& a, const Source& b) {
    return a.key() == b.key() && std::memcmp(a.bytes(), b.bytes(), kPageSize) == 0;
  };
  size_t most_bytes = sizeof(ImageHeader) + sources.size() * sizeof(IndexEntry);
  for (const Source& source : sources)
    most_bytes += source.added != nullptr ? source.added->size_bytes() : source.record.size();
  std::string image;
  image.reserve(most_bytes);
  image.resize(sizeof(ImageHeader));
  std::vector<IndexEntry> index;
  for (size_t first = 0, end = 0; first < sources.size(); first = end) {
    for (end = first; end < sources.size() && alike(sources[first], sources[end]);) ++end;
    const Source& source = sources[first];
    const size_t offset = image.size();
    if (end - first == 1 && source.added == nullptr) {
      image.append(reinterpret_cast<const char*>(source.record.data()), source.record.size());
    } else if (end - first == 1) {
      source.added->AppendTo(&image);
    } else {
      StoredPage merged(source.number, std::span<const std::byte, kPageSize>(source.bytes(), kPageSize));
      for (size_t i = first; i < end; ++i)
        merged.AddAllOf(sources[i].added != nullptr ? sources[i].added->view() : *sources[i].stored);
      merged.AppendTo(&image);
    }
    const std::span<const char> record = std::span<const char>(image).subspan(offset);
    index.push_back({.number = source.number,
                     .page_sum = source.sum,
                     .offset = offset,
                     .bytes = record.size(),
                     .record_sum = SumOf(std::as_bytes(record))});
  }
  const std::span<const std::byte> index_bytes = std::as_bytes(std::span<const IndexEntry>(index));
  const ImageHeader header = {.settings = settings_,
                              .layout = layout_,
                              .index_offset = image.size(),
                              .num_records = index.size(),
                              .index_sum = SumOf(index_bytes)};
  std::memcpy(image.data(), &header, sizeof(header));
  image.append(reinterpret_cast<const char*>(index_bytes.data()), index_bytes.size());
  return image;
}

}  // namespace remora::cpu::translator
