#include "cpu/translator/translation_store.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace remora::cpu::translator {
namespace {

// The last byte is the format's version.
constexpr std::array<char, 8> kMagic = {'R', 'e', 'm', 'o', 'r', 'a', 'T', 3};
constexpr size_t kAlignment = 8;
// A guest that makes code for ever does not get it all stored.
constexpr uint64_t kMaxAddedCodeBytes = uint64_t{64} << 20;

}  // namespace

// An image is records of pages, the steps of paths, the indices of both, then this.
struct TranslationStore::ImageFooter {
  uint64_t settings = 0, layout = 0;
  uint64_t num_records = 0, num_paths = 0;
  uint64_t index_sum = 0;  // of both
  std::array<char, 8> magic = kMagic;
};

// In the order of number and page_sum.
struct TranslationStore::IndexEntry {
  uint64_t number = 0, page_sum = 0;  // the page's, and its bytes'
  uint64_t offset = 0, bytes = 0;     // of its record
  uint64_t directory_bytes = 0, directory_sum = 0;

  auto key() const { return std::pair(number, page_sum); }
};

// In the order of the page that the path begins on.
struct TranslationStore::PathEntry {
  uint64_t number = 0, page_sum = 0;
  uint64_t offset = 0, sum = 0;  // of its steps
  uint32_t num_steps = 0;
  uint32_t goes_round = 0;

  auto key() const { return std::pair(number, page_sum); }
};

// --- images of earlier runs ---

bool TranslationStore::ReadImage(std::span<const std::byte> bytes, uint64_t settings, Image* image) {
  static_assert(sizeof(ImageFooter) % kAlignment == 0 && sizeof(IndexEntry) % kAlignment == 0 &&
                sizeof(PathEntry) % kAlignment == 0);
  const bool is_aligned = (reinterpret_cast<uintptr_t>(bytes.data()) | bytes.size()) % kAlignment == 0;
  if (bytes.size() < sizeof(ImageFooter) || !is_aligned) return false;
  std::span before = bytes.first(bytes.size() - sizeof(ImageFooter));
  const auto* footer = reinterpret_cast<const ImageFooter*>(before.data() + before.size());
  if (footer->magic != kMagic || footer->settings != settings) return false;
  const size_t indices_end = before.size();
  // What is last of what is left; nothing if there are fewer.
  const auto take = [&before]<typename T>(uint64_t number, std::span<const T>* entries) {
    if (number > before.size() / sizeof(T)) return false;
    before = before.first(before.size() - number * sizeof(T));
    *entries = {reinterpret_cast<const T*>(before.data() + before.size()), number};
    return true;
  };
  std::span<const IndexEntry> index;
  std::span<const PathEntry> paths;
  if (!take(footer->num_paths, &paths) || !take(footer->num_records, &index)) return false;
  if (SumOf(bytes.subspan(before.size(), indices_end - before.size())) != footer->index_sum) return false;
  if (!std::ranges::is_sorted(index, {}, &IndexEntry::key) || !std::ranges::is_sorted(paths, {}, &PathEntry::key))
    return false;
  *image = {bytes, footer->layout, index, paths};
  return true;
}

bool TranslationStore::AddImage(std::span<const std::byte> bytes) {
  Image image;
  if (!ReadImage(bytes, settings_, &image)) return false;
  const auto behind = std::ranges::upper_bound(images_, bytes.size(), std::ranges::greater(),
                                               [](const Image& i) { return i.bytes.size(); });
  images_.insert(behind, image);
  return true;
}

std::optional<StoredPageView> TranslationStore::ReadRecord(const Image& image, const IndexEntry& entry) {
  if (entry.offset > image.bytes.size() || entry.bytes > image.bytes.size() - entry.offset) return std::nullopt;
  const std::span record = image.bytes.subspan(entry.offset, entry.bytes);
  std::optional<StoredPageView> view = StoredPageView::Parse(record, entry.directory_bytes, entry.directory_sum);
  return view && view->page_number == entry.number ? view : std::nullopt;
}

std::optional<StoredPath> TranslationStore::ReadPath(const Image& image, const PathEntry& entry) {
  const uint64_t bytes = entry.num_steps * sizeof(uint64_t);
  if (entry.num_steps == 0 || entry.num_steps > StoredPath::kMaxSteps || entry.offset % kAlignment != 0 ||
      entry.offset > image.bytes.size() || bytes > image.bytes.size() - entry.offset)
    return std::nullopt;
  const std::span steps = image.bytes.subspan(entry.offset, bytes);
  if (SumOf(steps) != entry.sum) return std::nullopt;
  return StoredPath{.goes_round = entry.goes_round != 0,
                    .steps = {reinterpret_cast<const uint64_t*>(steps.data()), entry.num_steps}};
}

// --- this run ---

std::optional<StoredBlockView> TranslationStore::Page::Find(uint32_t page_offset) const {
  for (const StoredPageView& page : stored)
    if (std::optional<StoredBlockView> block = page.Find(page_offset)) return block;
  return std::nullopt;
}

bool TranslationStore::LookFurther(uint64_t page_number, uint64_t sum, const std::byte* bytes, Page* page) const {
  while (page->images_looked_into < images_.size()) {
    const Image& image = images_[page->images_looked_into++];
    if (image.layout != layout_) continue;
    for (const IndexEntry& entry :
         std::ranges::equal_range(image.index, std::pair(page_number, sum), {}, &IndexEntry::key)) {
      const std::optional<StoredPageView> view = ReadRecord(image, entry);
      if (!view || std::memcmp(view->bytes.data(), bytes, kPageSize) != 0) continue;
      page->stored.push_back(*view);
      return true;  // an image has it once
    }
  }
  return false;
}

std::optional<StoredBlockView> TranslationStore::FindInAll(Page* page, uint32_t page_offset) const {
  if (std::optional<StoredBlockView> block = page->Find(page_offset)) return block;
  while (LookFurther(page->number, page->sum, page->bytes, page))
    if (std::optional<StoredBlockView> block = page->stored.back().Find(page_offset)) return block;
  return std::nullopt;
}

TranslationStore::Page* TranslationStore::Ask(uint64_t page_number, std::span<const std::byte, kPageSize> bytes) {
  const uint64_t sum = SumOf(bytes);
  const auto alike = known_.find({page_number, sum});
  if (alike != known_.end())
    for (Page* page : alike->second)
      if (std::memcmp(page->bytes, bytes.data(), kPageSize) == 0) return page;
  Page asked;
  asked.number = page_number;
  asked.sum = sum;
  const bool is_known = LookFurther(page_number, sum, bytes.data(), &asked);
  if (!is_known && num_new_pages_ == kMaxNewPages) return nullptr;
  Page& page = pages_.emplace_back(std::move(asked));
  known_[{page_number, sum}].push_back(&page);
  if (!is_known) {
    // Without any blocks, too, it tells the next run that this one has come here.
    page.added = std::make_unique<StoredPage>(page_number, bytes);
    ++num_new_pages_;
    ++num_added_;
  }
  page.bytes = is_known ? page.stored[0].bytes.data() : page.added->bytes().data();
  return &page;
}

void TranslationStore::Add(Page* page, uint32_t page_offset, const GeneratedBlock& block, const std::byte* buffer,
                           StoredPage::KeyOf key_of) {
  // It may be there, and have found no room or no numbers here.
  if (added_code_bytes_ > kMaxAddedCodeBytes || FindInAll(page, page_offset)) return;
  if (page->added == nullptr)
    page->added =
        std::make_unique<StoredPage>(page->number, std::span<const std::byte, kPageSize>(page->bytes, kPageSize));
  if (!page->added->Add(page_offset, block, buffer, key_of)) return;
  ++num_added_;
  added_code_bytes_ += block.code.size();
}

std::vector<StoredPath> TranslationStore::PathsOf(const Page& page) const {
  std::vector<StoredPath> paths;
  for (const Image& image : images_) {
    if (image.layout != layout_) continue;
    for (const PathEntry& entry :
         std::ranges::equal_range(image.paths, std::pair(page.number, page.sum), {}, &PathEntry::key))
      if (const std::optional<StoredPath> path = ReadPath(image, entry)) paths.push_back(*path);
  }
  return paths;
}

void TranslationStore::AddPath(const Page& page, const StoredPath& path) {
  // What was added before and begins there: this run has made another one of it since.
  std::erase_if(added_paths_,
                [&](const AddedPath& other) { return other.steps[0] == path.steps[0] && other.page_sum == page.sum; });
  const std::vector<StoredPath> known = PathsOf(page);
  const auto same_begin =
      std::ranges::find_if(known, [&](const StoredPath& other) { return other.steps[0] == path.steps[0]; });
  if (same_begin != known.end() && *same_begin == path) return;
  if (added_paths_.size() < kMaxPaths)
    added_paths_.push_back({page.number, page.sum, path.goes_round, {path.steps.begin(), path.steps.end()}});
}

uint64_t TranslationStore::added_bytes() const {
  uint64_t bytes = 0;
  for (const AddedPath& path : added_paths_) bytes += sizeof(PathEntry) + path.steps.size() * sizeof(uint64_t);
  for (const Page& page : pages_)
    if (page.added != nullptr) bytes += page.added->size_bytes();
  return bytes;
}

// --- the next run's image ---

std::vector<TranslationStore::PathEntry> TranslationStore::WritePaths(std::span<const Image> replaced, uint64_t offset,
                                                                      ByteSink sink) const {
  std::vector<PathEntry> index;
  absl::flat_hash_set<std::tuple<uint64_t, uint64_t, uint64_t>> begins;  // page and step
  const auto write = [&](PathEntry entry, std::span<const uint64_t> steps) {
    if (index.size() == kMaxPaths || !begins.emplace(entry.number, entry.page_sum, steps[0]).second) return;
    const std::span<const std::byte> bytes = std::as_bytes(steps);
    entry.offset = offset;
    entry.sum = SumOf(bytes);
    entry.num_steps = static_cast<uint32_t>(steps.size());
    offset += bytes.size();
    sink(bytes);
    index.push_back(entry);
  };
  for (const AddedPath& path : added_paths_)
    write({.number = path.page_number, .page_sum = path.page_sum, .goes_round = path.goes_round}, path.steps);
  for (const Image& image : replaced)
    for (const PathEntry& entry : image.paths)
      if (const std::optional<StoredPath> path = ReadPath(image, entry)) write(entry, path->steps);
  std::ranges::sort(index, {}, &PathEntry::key);
  return index;
}

void TranslationStore::WriteImage(std::span<const std::span<const std::byte>> replaced, ByteSink sink) const {
  // What there is of a page: one record as it is, or parts that become one.
  struct Source {
    uint64_t number = 0, sum = 0;
    const StoredPage* added = nullptr;
    std::optional<StoredPageView> stored;
    std::span<const std::byte> record;
    uint64_t directory_bytes = 0, directory_sum = 0;
    auto key() const { return std::tuple(number, sum); }
    const std::byte* bytes() const { return added != nullptr ? added->bytes().data() : stored->bytes.data(); }
  };
  std::vector<Source> sources;
  for (const Page& page : pages_)
    if (page.added != nullptr)
      sources.push_back(
          {.number = page.number, .sum = page.sum, .added = page.added.get(), .stored = {}, .record = {}});
  std::vector<Image> images;
  for (const std::span<const std::byte> bytes : replaced)
    if (Image image; ReadImage(bytes, settings_, &image) && image.layout == layout_) images.push_back(image);
  for (const Image& image : images) {
    for (const IndexEntry& entry : image.index)
      if (const std::optional<StoredPageView> view = ReadRecord(image, entry);
          view && SumOf(view->bytes) == entry.page_sum)
        sources.push_back({.number = entry.number,
                           .sum = entry.page_sum,
                           .stored = view,
                           .record = image.bytes.subspan(entry.offset, entry.bytes),
                           .directory_bytes = entry.directory_bytes,
                           .directory_sum = entry.directory_sum});
  }
  // Pages with the same bytes side by side.
  std::ranges::sort(sources, [](const Source& a, const Source& b) {
    if (a.key() != b.key()) return a.key() < b.key();
    return std::memcmp(a.bytes(), b.bytes(), kPageSize) < 0;
  });
  const auto alike = [](const Source& a, const Source& b) {
    return a.key() == b.key() && std::memcmp(a.bytes(), b.bytes(), kPageSize) == 0;
  };
  std::vector<IndexEntry> index;
  uint64_t offset = 0;
  const auto write_page = [&](const StoredPage& page, IndexEntry* entry) {
    entry->bytes = page.size_bytes();
    entry->directory_bytes = page.directory_bytes();
    entry->directory_sum = page.WriteRecord(sink);
  };
  for (size_t first = 0, end = 0; first < sources.size(); first = end) {
    for (end = first; end < sources.size() && alike(sources[first], sources[end]);) ++end;
    const Source& source = sources[first];
    IndexEntry entry = {.number = source.number, .page_sum = source.sum, .offset = offset};
    if (end - first == 1 && source.added == nullptr) {
      sink(source.record);
      entry.bytes = source.record.size();
      entry.directory_bytes = source.directory_bytes;
      entry.directory_sum = source.directory_sum;
    } else if (end - first == 1) {
      write_page(*source.added, &entry);
    } else {
      StoredPage merged(source.number, std::span<const std::byte, kPageSize>(source.bytes(), kPageSize));
      for (size_t i = first; i < end; ++i) {
        if (sources[i].added != nullptr)
          merged.AddAllOf(*sources[i].added);
        else
          merged.AddAllOf(*sources[i].stored);
      }
      write_page(merged, &entry);
    }
    offset += entry.bytes;
    index.push_back(entry);
  }
  const std::vector<PathEntry> paths = WritePaths(images, offset, sink);
  std::vector<std::byte> indices;
  const auto append = [&indices](std::span<const std::byte> bytes) {
    indices.insert(indices.end(), bytes.begin(), bytes.end());
  };
  append(std::as_bytes(std::span(index)));
  append(std::as_bytes(std::span(paths)));
  const ImageFooter footer = {.settings = settings_,
                              .layout = layout_,
                              .num_records = index.size(),
                              .num_paths = paths.size(),
                              .index_sum = SumOf(indices)};
  sink(indices);
  sink(std::as_bytes(std::span(&footer, 1)));
}

}  // namespace remora::cpu::translator
