#include "cpu/translator/translation_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/guest_addr.h"

namespace remora::cpu::translator {
namespace {

using PageBytes = std::array<std::byte, kPageSize>;
constexpr uint64_t kSettings = 5, kLayout = 6;

PageBytes BytesOf(uint8_t fill) {
  PageBytes bytes;
  bytes.fill(static_cast<std::byte>(fill));
  return bytes;
}
std::span<const std::byte> AsBytes(const std::string& image) { return std::as_bytes(std::span<const char>(image)); }

// A run of Remora's: a store with the images that there are.
class OneRun {
 public:
  explicit OneRun(std::vector<std::string> images, uint64_t settings = kSettings, uint64_t layout = kLayout)
      : images_(std::move(images)), store_(settings) {
    store_.set_layout(layout);
    for (const std::string& image : images_) taken_ += store_.AddImage(AsBytes(image)) ? 1 : 0;
  }
  TranslationStore& store() { return store_; }
  int taken() const { return taken_; }

  // Where the blocks begin that there are of a page.
  std::set<uint32_t> Known(uint64_t number, const PageBytes& bytes) {
    std::set<uint32_t> begins;
    TranslationStore::Page* page = store_.Ask(number, bytes);
    for (uint32_t offset = 0; offset < kPageSize; ++offset)
      if (store_.FindInAll(page, offset)) begins.insert(offset);
    return begins;
  }
  void Translate(uint64_t number, const PageBytes& bytes, uint32_t offset) {
    const std::array<uint8_t, 16> code = {static_cast<uint8_t>(offset)};
    GeneratedBlock block;
    block.code = code;
    block.code_bytes = code.size();
    block.marks.resize(1);
    store_.Add(store_.Ask(number, bytes), offset, block, nullptr, [](const auto&) { return uint64_t{0}; });
  }
  std::string Image(const std::vector<std::string>& replaced = {}) const {
    std::vector<std::span<const std::byte>> bytes;
    for (const std::string& image : replaced) bytes.push_back(AsBytes(image));
    std::string image;
    store_.WriteImage(bytes, [&](std::span<const std::byte> piece) {
      image.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    });
    return image;
  }

 private:
  const std::vector<std::string> images_;
  TranslationStore store_;
  int taken_ = 0;
};

TEST(TranslationStoreTest, TheNextRunFindsWhatThisOneHasTranslated) {
  OneRun first({});
  EXPECT_TRUE(first.Known(3, BytesOf(1)).empty());
  first.Translate(3, BytesOf(1), 16);
  first.Translate(3, BytesOf(1), 32);
  const std::string image = first.Image();
  OneRun second({image});
  EXPECT_EQ(second.taken(), 1);
  EXPECT_EQ(second.Known(3, BytesOf(1)), (std::set<uint32_t>{16, 32}));
  EXPECT_TRUE(second.Known(3, BytesOf(2)).empty()) << "other bytes";
  EXPECT_TRUE(second.Known(4, BytesOf(1)).empty()) << "another address";
}

TEST(TranslationStoreTest, APageThatWasOnlyComeToIsKnown) {
  OneRun first({});
  first.Known(3, BytesOf(1));
  const std::string image = first.Image();
  OneRun second({image});
  EXPECT_FALSE(second.store().Ask(3, BytesOf(1))->stored.empty());
  EXPECT_TRUE(second.store().Ask(3, BytesOf(2))->stored.empty());
}

TEST(TranslationStoreTest, OtherSettingsAndLayoutsFindNothing) {
  OneRun first({});
  first.Translate(3, BytesOf(1), 16);
  const std::string image = first.Image();
  OneRun other({image}, kSettings + 1);
  EXPECT_EQ(other.taken(), 0);
  EXPECT_TRUE(other.Known(3, BytesOf(1)).empty());
  OneRun elsewhere({image}, kSettings, kLayout + 1);
  EXPECT_TRUE(elsewhere.Known(3, BytesOf(1)).empty());
  EXPECT_LT(elsewhere.Image({image}).size(), kPageSize + 500) << "what is of no use is not copied";
}

TEST(TranslationStoreTest, WhatIsDamagedIsNotUsed) {
  OneRun first({});
  for (uint32_t i = 0; i < 20; ++i) first.Translate(i, BytesOf(1), i);
  const std::string image = first.Image();
  std::mt19937_64 random(3);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = image;
    const size_t at = random() % damaged.size();
    damaged[at] = static_cast<char>(damaged[at] ^ (1 + random() % 255));
    OneRun run({damaged});
    int found = 0;
    for (uint32_t page = 0; page < 20; ++page) {
      const std::set<uint32_t> known = run.Known(page, BytesOf(1));
      EXPECT_TRUE(known.empty() || known == std::set<uint32_t>{page});
      found += known.empty() ? 0 : 1;
    }
    // In the footer or the index, or in a page's bytes, directory or block.
    EXPECT_TRUE(found == 0 || (run.taken() == 1 && found == 19)) << at;
  }
  for (size_t length = 0; length < image.size(); length += 97) EXPECT_EQ(OneRun({image.substr(0, length)}).taken(), 0);
}

TEST(TranslationStoreTest, APageWhoseBytesAreDamagedDoesNotGoIntoTheNextImage) {
  OneRun first({});
  first.Translate(3, BytesOf(1), 16);
  const std::string image = first.Image();
  std::string damaged = image;
  damaged[100] = static_cast<char>(damaged[100] ^ 1);  // the page's bytes come first
  EXPECT_EQ(OneRun({damaged}).Known(3, BytesOf(1)), std::set<uint32_t>{});
  EXPECT_EQ(OneRun({}).Image({image}).size(), image.size());
  EXPECT_LT(OneRun({}).Image({damaged}).size(), image.size());
}

// --- paths ---

using Steps = std::vector<uint64_t>;

// The first steps of those that begin on the page, and how many steps they have; negative: they go round.
std::map<uint64_t, int> PathsOf(OneRun* run, uint64_t number, const PageBytes& bytes) {
  std::map<uint64_t, int> found;
  for (const StoredPath& path : run->store().PathsOf(*run->store().Ask(number, bytes)))
    EXPECT_TRUE(found.emplace(path.steps[0], static_cast<int>(path.steps.size()) * (path.goes_round ? -1 : 1)).second);
  return found;
}
void AddPath(OneRun* run, uint64_t number, const PageBytes& bytes, const Steps& steps, bool goes_round = false) {
  run->store().AddPath(*run->store().Ask(number, bytes), {.goes_round = goes_round, .steps = steps});
}
using Paths = std::map<uint64_t, int>;

TEST(TranslationStoreTest, PathsBelongToThePageThatTheyBeginOn) {
  OneRun first({});
  AddPath(&first, 3, BytesOf(1), {0x3000, 0x5000}, /*goes_round=*/true);
  AddPath(&first, 3, BytesOf(1), {0x3008, 0x3009, 0x3000});
  AddPath(&first, 3, BytesOf(2), {0x3000});
  AddPath(&first, 5, BytesOf(1), {0x5000});
  EXPECT_EQ(first.store().num_added_paths(), 4u);
  OneRun second({first.Image()});
  EXPECT_EQ(PathsOf(&second, 3, BytesOf(1)), (Paths{{0x3000, -2}, {0x3008, 3}}));
  EXPECT_EQ(PathsOf(&second, 3, BytesOf(2)), (Paths{{0x3000, 1}}));
  EXPECT_EQ(PathsOf(&second, 5, BytesOf(1)), (Paths{{0x5000, 1}}));
  EXPECT_EQ(PathsOf(&second, 5, BytesOf(2)), Paths());
}

TEST(TranslationStoreTest, APathThatIsThereIsNotAddedAndALaterOneTakesItsPlace) {
  OneRun first({});
  AddPath(&first, 3, BytesOf(1), {0x3000, 0x3001});
  AddPath(&first, 3, BytesOf(1), {0x3800, 0x3801});
  OneRun second({first.Image()});
  AddPath(&second, 3, BytesOf(1), {0x3000, 0x3001});
  EXPECT_EQ(second.store().num_added_paths(), 0u);
  AddPath(&second, 3, BytesOf(1), {0x3000, 0x3001, 0x3002});
  AddPath(&second, 3, BytesOf(1), {0x3000, 0x3001, 0x3002, 0x3003});
  EXPECT_EQ(second.store().num_added_paths(), 1u);
  OneRun third({second.Image({first.Image()})});
  EXPECT_EQ(PathsOf(&third, 3, BytesOf(1)), (Paths{{0x3000, 4}, {0x3800, 2}}));
}

TEST(TranslationStoreTest, APathThatIsMadeAgainAfterAnotherOneStays) {
  OneRun first({});
  AddPath(&first, 3, BytesOf(1), {0x3000, 0x3001});
  OneRun second({first.Image()});
  AddPath(&second, 3, BytesOf(1), {0x3000, 0x3002, 0x3003});
  AddPath(&second, 3, BytesOf(1), {0x3000, 0x3001});
  EXPECT_EQ(second.store().num_added_paths(), 0u);
  OneRun third({second.Image({first.Image()})});
  EXPECT_EQ(PathsOf(&third, 3, BytesOf(1)), (Paths{{0x3000, 2}}));
}

TEST(TranslationStoreTest, AllImagesAreAskedForPaths) {
  OneRun first({}), second({});
  for (const uint32_t offset : {16, 17, 18}) first.Translate(3, BytesOf(1), offset);
  AddPath(&first, 3, BytesOf(1), {0x3000, 0x3001});
  AddPath(&second, 3, BytesOf(1), {0x3100});
  OneRun later({first.Image(), second.Image()});
  EXPECT_EQ(PathsOf(&later, 3, BytesOf(1)), (Paths{{0x3000, 2}, {0x3100, 1}}));
}

TEST(TranslationStoreTest, ADamagedPathIsLeftOut) {
  OneRun first({});
  AddPath(&first, 3, BytesOf(1), {0x3000, 0x3001});
  AddPath(&first, 3, BytesOf(1), {0x3100, 0x3101});
  const std::string image = first.Image();
  for (size_t at = 0; at < image.size(); ++at) {
    std::string damaged = image;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    for (const std::string& written : {damaged, OneRun({}).Image({damaged})}) {
      OneRun later({written});
      const Paths found = PathsOf(&later, 3, BytesOf(1));
      for (const auto& [begin, length] : found) EXPECT_TRUE(begin % 0x100 == 0 && length == 2) << at;
      constexpr size_t kFooterBytes = 48;  // the layout is in it, and an index before
      EXPECT_TRUE(!found.empty() || later.taken() == 0 || written != damaged || at + kFooterBytes >= image.size())
          << at;
    }
  }
}

TEST(TranslationStoreTest, OnlySoManyPathsAreKept) {
  OneRun run({});
  for (uint64_t i = 0; i < TranslationStore::kMaxPaths + 10; ++i) AddPath(&run, 3, BytesOf(1), {0x3000 + i});
  EXPECT_EQ(run.store().num_added_paths(), TranslationStore::kMaxPaths);
  OneRun second({run.Image()});
  AddPath(&second, 4, BytesOf(1), {0x4000});
  OneRun third({second.Image({run.Image()})});
  EXPECT_EQ(PathsOf(&third, 4, BytesOf(1)), (Paths{{0x4000, 1}})) << "this run's first";
  EXPECT_EQ(PathsOf(&third, 3, BytesOf(1)).size(), TranslationStore::kMaxPaths - 1);
}

TEST(TranslationStoreTest, OnlySoManyPagesAreNewInOneRun) {
  OneRun first({});
  first.Translate(3, BytesOf(1), 16);
  OneRun second({first.Image()});
  for (uint64_t i = 0; i < TranslationStore::kMaxNewPages; ++i)
    ASSERT_NE(second.store().Ask(100 + i, BytesOf(1)), nullptr);
  EXPECT_EQ(second.store().Ask(99, BytesOf(1)), nullptr);
  EXPECT_NE(second.store().Ask(100, BytesOf(1)), nullptr);
  EXPECT_EQ(second.Known(3, BytesOf(1)), std::set<uint32_t>{16}) << "what an earlier run had is found for ever";
}

TEST(TranslationStoreTest, SmallerImagesAreLookedIntoForWhatTheLargerOnesHaveNot) {
  OneRun first({});
  for (const uint32_t offset : {16, 17, 18}) first.Translate(3, BytesOf(1), offset);
  OneRun second({});
  for (const uint32_t offset : {17, 40}) second.Translate(3, BytesOf(1), offset);
  OneRun third({});
  third.Translate(4, BytesOf(1), 1);
  const std::vector<std::string> images = {second.Image(), first.Image(), third.Image()};
  OneRun later(images);
  TranslationStore::Page* page = later.store().Ask(3, BytesOf(1));
  EXPECT_EQ(page->stored.size(), 1u);
  EXPECT_TRUE(page->Find(16) && page->Find(17));
  EXPECT_FALSE(page->Find(40));
  EXPECT_TRUE(later.store().FindInAll(page, 17));
  EXPECT_EQ(page->stored.size(), 1u);
  EXPECT_TRUE(later.store().FindInAll(page, 40));
  EXPECT_EQ(page->stored.size(), 2u);
  EXPECT_TRUE(page->Find(40));
  EXPECT_FALSE(later.store().FindInAll(page, 41));
  EXPECT_EQ(page->stored.size(), 2u);
  EXPECT_EQ(later.Known(4, BytesOf(1)), std::set<uint32_t>{1});
}

TEST(TranslationStoreTest, ABlockThatIsThereIsNotStoredTwice) {
  OneRun first({});
  first.Translate(3, BytesOf(1), 16);
  const std::string image = first.Image();
  OneRun second({image});
  second.Translate(3, BytesOf(1), 16);
  second.Translate(3, BytesOf(1), 20);
  const std::string merged = second.Image({image});
  OneRun third({merged});
  const TranslationStore::Page* page = third.store().Ask(3, BytesOf(1));
  ASSERT_EQ(page->stored.size(), 1u);
  EXPECT_EQ(page->stored[0].places.size(), 2u);
}

// Runs that come to some pages, translate some blocks, and write images that take the place of others, beside a model.
TEST(TranslationStoreTest, ManyRunsAgreeWithAModel) {
  std::mt19937_64 random(11);
  std::map<std::pair<uint64_t, uint8_t>, std::set<uint32_t>> model;
  std::vector<std::string> images;
  for (int i = 0; i < 60; ++i) {
    OneRun run(images);
    ASSERT_EQ(run.taken(), static_cast<int>(images.size()));
    for (int step = 0; step < 40; ++step) {
      const uint64_t number = random() % 12;
      const auto fill = static_cast<uint8_t>(random() % 3);
      const PageBytes bytes = BytesOf(fill);
      const std::set<uint32_t> known = run.Known(number, bytes);
      const auto added = run.store().Ask(number, bytes)->added.get();
      std::set<uint32_t> all = known;
      if (added != nullptr)
        for (uint32_t offset = 0; offset < kPageSize; ++offset)
          if (added->Has(offset)) all.insert(offset);
      ASSERT_EQ(all, (model[{number, fill}]));
      const auto offset = static_cast<uint32_t>(random() % 64);
      run.Translate(number, bytes, offset);
      model[{number, fill}].insert(offset);
    }
    std::vector<std::string> replaced;
    while (!images.empty() && random() % 2 == 0) {
      std::swap(images[random() % images.size()], images.back());
      replaced.push_back(std::move(images.back()));
      images.pop_back();
    }
    images.push_back(run.Image(replaced));
  }
}

}  // namespace
}  // namespace remora::cpu::translator
