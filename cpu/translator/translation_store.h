#ifndef REMORA_CPU_TRANSLATOR_TRANSLATION_STORE_H_
#define REMORA_CPU_TRANSLATOR_TRANSLATION_STORE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/guest_addr.h"
#include "cpu/translator/generated_block.h"
#include "cpu/translator/stored_page.h"
#include "cpu/translator/stored_paths.h"

namespace remora::cpu::translator {

// Translations that outlive a run: those of earlier ones, found by a page's address and bytes, and the new ones of this
// run, for the next. Of paths it is only where they go. Files are the caller's business: it hands over images and gets
// one back.
//
// A page's translations hold for a page with the same bytes at the same address, under the same settings. The bytes are
// compared, not a sum of them: a guest that makes pages up cannot have its translations taken for another program's.
// Images are host code: whoever can write one can run what he likes, so the caller sees to it that nobody else can.
// What a disk or an older Remora has done to them is found out by sums and by settings.
//
// Thread safety: none of its own; the TranslationCache has its lock.
class TranslationStore {
 public:
  // `settings`: all that translations depend on but code and address, as a sum (SettingsOf in translator.h).
  explicit TranslationStore(uint64_t settings) : settings_(settings) {}
  TranslationStore(const TranslationStore&) = delete;
  TranslationStore& operator=(const TranslationStore&) = delete;

  // What an earlier run wrote, aligned to 8 bytes; it outlives the store. False: that is no image, or one for other
  // settings, and is not used. Looks at its index only.
  bool AddImage(std::span<const std::byte> image);
  // Where routines are in the CodeBuffer, as a sum: images of another one are not used. Before the first Ask.
  void set_layout(uint64_t layout) { layout_ = layout; }

  // A page of code that this run has come to.
  struct Page {
    std::vector<StoredPageView> stored;  // what there is of it in the images that have been looked into
    size_t images_looked_into = 0;
    // The block that begins there, of those. Nothing where none has it intact.
    std::optional<StoredBlockView> Find(uint32_t page_offset) const;
    std::unique_ptr<StoredPage> added;  // what this run adds
    uint64_t number = 0, sum = 0;
    const std::byte* bytes = nullptr;  // of one of them
  };
  // The same one each time for the same page and bytes; lives as long as the store. Null: earlier runs have nothing of
  // it, and this one has come to kMaxNewPages that are new already.
  static constexpr uint64_t kMaxNewPages = 1 << 14;
  Page* Ask(uint64_t page_number, std::span<const std::byte, kPageSize> bytes);
  // As page->Find, but looks into all images: the first one that has the page, the largest, has most of it.
  std::optional<StoredBlockView> FindInAll(Page* page, uint32_t page_offset) const;
  // A new translation that begins there. See StoredPage::Add.
  void Add(Page* page, uint32_t page_offset, const GeneratedBlock& block, const std::byte* buffer,
           StoredPage::KeyOf key_of);

  // Those that begin on the page, of all images; an image's bytes hold their steps.
  std::vector<StoredPath> PathsOf(const Page& page) const;
  // A path that this run has made, which begins on the page. Of all that begin at one place the next image has this
  // run's last one, which is not written again if it is there.
  static constexpr size_t kMaxPaths = 4096;
  void AddPath(const Page& page, const StoredPath& path);

  // Blocks that this run has added, and pages that it was the first to come to; paths.
  uint64_t num_added() const { return num_added_; }
  uint64_t num_added_paths() const { return added_paths_.size(); }
  // Of the pages that this run has come to: those that it was the first to come to, and all.
  uint64_t num_new_pages() const { return num_new_pages_; }
  uint64_t num_pages() const { return pages_.size(); }
  // What these take in an image.
  uint64_t added_bytes() const;
  // An image of what this run has added and of what the images have that it is to replace, piece by piece.
  void WriteImage(std::span<const std::span<const std::byte>> replaced, ByteSink sink) const;

 private:
  struct ImageFooter;
  struct IndexEntry;
  struct PathEntry;
  struct Image {
    std::span<const std::byte> bytes;
    uint64_t layout = 0;
    std::span<const IndexEntry> index;
    std::span<const PathEntry> paths;
  };
  struct AddedPath {
    uint64_t page_number = 0, page_sum = 0;
    bool goes_round = false;
    std::vector<uint64_t> steps;
  };
  static bool ReadImage(std::span<const std::byte> bytes, uint64_t settings, Image* image);
  // Looks into further images until one has the page. False: there are no more.
  bool LookFurther(uint64_t page_number, uint64_t sum, const std::byte* bytes, Page* page) const;
  // Nothing where its directory is not intact. Its bytes are what the caller has to look at.
  static std::optional<StoredPageView> ReadRecord(const Image& image, const IndexEntry& entry);
  // Nothing where it is not intact.
  static std::optional<StoredPath> ReadPath(const Image& image, const PathEntry& entry);
  // The steps of paths go into an image, from `offset` on; answers what its index says of them.
  std::vector<PathEntry> WritePaths(std::span<const Image> replaced, uint64_t offset, ByteSink sink) const;

  const uint64_t settings_;
  uint64_t layout_ = 0;
  std::vector<Image> images_;  // the largest first
  std::deque<Page> pages_;
  // By number and sum; those that differ in their bytes only follow each other.
  absl::flat_hash_map<std::pair<uint64_t, uint64_t>, std::vector<Page*>> known_;
  uint64_t num_new_pages_ = 0, num_added_ = 0, added_code_bytes_ = 0;
  std::vector<AddedPath> added_paths_;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_TRANSLATION_STORE_H_
