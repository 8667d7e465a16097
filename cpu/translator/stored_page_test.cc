#include "cpu/translator/stored_page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {
namespace {

using Kind = GeneratedBlock::Numbered::Kind;
constexpr uint64_t kPageNumber = 0x7f123;

class StoredPageTest : public testing::Test {
 protected:
  StoredPageTest() {
    for (size_t i = 0; i < kPageSize; ++i) bytes_[i] = static_cast<std::byte>(i * 7);
  }

  // A block of random content: `code` outlives what is answered.
  GeneratedBlock RandomBlock(std::vector<uint8_t>* code) {
    const auto below = [this](uint32_t bound) { return static_cast<uint32_t>(random_() % bound); };
    code->resize(64 + below(300));
    for (uint8_t& byte : *code) byte = static_cast<uint8_t>(random_());
    GeneratedBlock block;
    block.code = *code;
    block.code_bytes = static_cast<uint16_t>(code->size());
    block.charge = static_cast<uint16_t>(1 + below(30));
    block.saved_entry = 8;
    block.stand_ins = {static_cast<uint8_t>(below(16)), kNoStandIn};
    block.loops = below(2) == 0;
    const auto words = static_cast<uint32_t>(code->size()) / 4;
    if (below(3) == 0) block.comes_back_at = kPageNumber * kPageSize + below(2 * kPageSize);
    for (uint32_t i = below(5); i > 0; --i) block.relocations.push_back({4 * below(words), buffer_ + below(282'000)});
    for (uint32_t i = below(5); i > 0; --i)
      block.links.push_back({4 * below(words), below(2) == 0, below(2) == 0, kPageNumber * kPageSize + below(4096)});
    for (uint32_t i = below(5); i > 0; --i)
      block.far_links.push_back(
          {{4 * below(words), below(2) == 0, below(2) == 0, uint64_t{below(1 << 30)} << 16}, below(words)});
    for (uint32_t i = below(3); i > 0; --i) block.branches.push_back({4 * below(words), below(64), below(2) == 0});
    for (uint32_t i = 1 + below(8); i > 0; --i)
      block.marks.push_back({.host_offset = static_cast<uint16_t>(below(60))});
    // Each in a word of its own.
    for (uint32_t i = 0; i < 3; ++i) block.numbered.push_back({4 * i, static_cast<Kind>(below(3)), below(1000)});
    return block;
  }

  static uint64_t KeyOf(const GeneratedBlock::Numbered& numbered) { return 0x1000 + numbered.number; }
  static std::string RecordOf(const StoredPage& page) {
    std::string record;
    const uint64_t sum = page.WriteRecord([&](std::span<const std::byte> bytes) {
      record.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    });
    EXPECT_EQ(record.size(), page.size_bytes());
    EXPECT_EQ(sum, SumOf(DirectoryOf(page, record)));
    return record;
  }
  static std::span<const std::byte> DirectoryOf(const StoredPage& page, const std::string& record) {
    return std::as_bytes(std::span<const char>(record)).subspan(kPageSize, page.directory_bytes());
  }
  static size_t BlocksAt(const StoredPage& page) { return kPageSize + page.directory_bytes(); }
  static StoredPageView ViewOf(const StoredPage& page, const std::string& record) {
    return StoredPageView::Parse(std::as_bytes(std::span<const char>(record)), page.directory_bytes(),
                                 SumOf(DirectoryOf(page, record)))
        .value();
  }
  bool Add(StoredPage* page, uint32_t offset, const GeneratedBlock& block) {
    return page->Add(offset, block, buffer_, &KeyOf);
  }

  const std::byte* const buffer_ = reinterpret_cast<const std::byte*>(uintptr_t{0x10000000});
  std::array<std::byte, kPageSize> bytes_;
  std::mt19937_64 random_{7};
};

// What a block tells is there again, with zero in place of each number.
void ExpectSame(const StoredBlockView& parts, const GeneratedBlock& block, const std::byte* buffer) {
  const StoredBlock& stored = *parts.block;
  const bool comes_back = block.comes_back_at / kPageSize == kPageNumber;
  EXPECT_EQ(stored.comes_back_at, comes_back ? block.comes_back_at % kPageSize : StoredBlock::kNowhere);
  EXPECT_EQ(stored.shape.charge, block.charge);
  EXPECT_EQ(stored.shape.saved_entry, block.saved_entry);
  EXPECT_EQ(stored.shape.stand_ins, block.stand_ins);
  EXPECT_EQ(stored.shape.loops, block.loops);
  ASSERT_EQ(parts.marks.size(), block.marks.size());
  for (size_t i = 0; i < block.marks.size(); ++i) EXPECT_EQ(parts.marks[i].host_offset, block.marks[i].host_offset);
  ASSERT_EQ(parts.relocations.size(), block.relocations.size());
  for (size_t i = 0; i < block.relocations.size(); ++i) {
    EXPECT_EQ(parts.relocations[i].displacement_offset, block.relocations[i].displacement_offset);
    EXPECT_EQ(buffer + parts.relocations[i].target, block.relocations[i].target);
  }
  ASSERT_EQ(parts.links.size(), block.links.size());
  for (size_t i = 0; i < block.links.size(); ++i) {
    EXPECT_EQ(parts.links[i].displacement_offset, block.links[i].displacement_offset);
    EXPECT_EQ(kPageNumber * kPageSize + parts.links[i].page_offset, block.links[i].target);
    EXPECT_EQ(parts.links[i].flags_saved, block.links[i].flags_saved);
    EXPECT_EQ(parts.links[i].forward, block.links[i].forward);
  }
  ASSERT_EQ(parts.far_links.size(), block.far_links.size());
  for (size_t i = 0; i < block.far_links.size(); ++i) {
    EXPECT_EQ(parts.far_links[i].displacement_offset, block.far_links[i].displacement_offset);
    EXPECT_EQ(parts.far_links[i].cold_offset, block.far_links[i].cold_offset);
    EXPECT_EQ(parts.far_links[i].target, block.far_links[i].target);
    EXPECT_EQ(parts.far_links[i].flags_saved, block.far_links[i].flags_saved);
    EXPECT_EQ(parts.far_links[i].forward, block.far_links[i].forward);
  }
  ASSERT_EQ(parts.branches.size(), block.branches.size());
  for (size_t i = 0; i < block.branches.size(); ++i) {
    EXPECT_EQ(parts.branches[i].word_offset, block.branches[i].word_offset);
    EXPECT_EQ(parts.branches[i].code_offset, block.branches[i].code_offset);
    EXPECT_EQ(parts.branches[i].popped, block.branches[i].popped);
  }
  std::vector<uint8_t> code(parts.code.begin(), parts.code.end());
  ASSERT_EQ(parts.numbered.size(), block.numbered.size());
  for (size_t i = 0; i < block.numbered.size(); ++i) {
    const GeneratedBlock::Numbered& numbered = block.numbered[i];
    EXPECT_EQ(parts.numbered[i].kind, numbered.kind);
    EXPECT_EQ(parts.numbered[i].key, 0x1000 + numbered.number);
    uint32_t word;
    std::memcpy(&word, &code[numbered.word_offset], sizeof(word));
    word += numbered.number * StrideOf(numbered.kind);
    std::memcpy(&code[numbered.word_offset], &word, sizeof(word));
  }
  EXPECT_TRUE(std::ranges::equal(code, block.code));
}

TEST_F(StoredPageTest, WhatIsWrittenCanBeRead) {
  StoredPage page(kPageNumber, bytes_);
  std::vector<std::vector<uint8_t>> codes(50);
  std::vector<GeneratedBlock> blocks;
  const auto offset_of = [](size_t i) { return static_cast<uint32_t>(i * 1009 % kPageSize); };
  for (size_t i = 0; i < codes.size(); ++i) {
    blocks.push_back(RandomBlock(&codes[i]));
    ASSERT_TRUE(Add(&page, offset_of(i), blocks[i]));
    EXPECT_FALSE(Add(&page, offset_of(i), blocks[i])) << "one begins there already";
  }
  const std::string record = RecordOf(page);
  EXPECT_EQ(record.size() % 8, 0u);
  const StoredPageView view = ViewOf(page, record);
  EXPECT_EQ(view.page_number, kPageNumber);
  EXPECT_TRUE(std::ranges::equal(view.bytes, bytes_));
  EXPECT_EQ(view.places.size(), blocks.size());
  for (size_t i = 0; i < blocks.size(); ++i) {
    const std::optional<StoredBlockView> found = view.Find(offset_of(i));
    ASSERT_TRUE(found.has_value());
    ExpectSame(*found, blocks[i], buffer_);
  }
  for (uint32_t offset = 0; offset < kPageSize; ++offset) {
    EXPECT_EQ(page.Has(offset), view.Find(offset).has_value());
  }
}

TEST_F(StoredPageTest, WhatTwoRunsHaveBecomesOne) {
  std::vector<std::vector<uint8_t>> codes(3);
  std::vector<GeneratedBlock> blocks;
  for (std::vector<uint8_t>& code : codes) blocks.push_back(RandomBlock(&code));
  StoredPage first(kPageNumber, bytes_), second(kPageNumber, bytes_);
  ASSERT_TRUE(Add(&first, 0, blocks[0]) && Add(&first, 100, blocks[1]));
  ASSERT_TRUE(Add(&second, 100, blocks[1]) && Add(&second, 7, blocks[2]));
  const std::string earlier = RecordOf(second);
  StoredPage third(kPageNumber, bytes_);
  third.AddAllOf(first);
  third.AddAllOf(ViewOf(second, earlier));
  const std::string record = RecordOf(third);
  const StoredPageView all = ViewOf(third, record);
  EXPECT_EQ(all.places.size(), 3u);
  ExpectSame(all.Find(0).value(), blocks[0], buffer_);
  ExpectSame(all.Find(100).value(), blocks[1], buffer_);
  ExpectSame(all.Find(7).value(), blocks[2], buffer_);
}

TEST_F(StoredPageTest, ADamagedBlockIsLeftOut) {
  std::vector<std::vector<uint8_t>> codes(3);
  StoredPage page(kPageNumber, bytes_);
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(Add(&page, i, RandomBlock(&codes[i])));
  const std::string record = RecordOf(page);
  for (size_t at = BlocksAt(page); at < record.size(); ++at) {
    std::string damaged = record;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    const StoredPageView view = ViewOf(page, damaged);
    int found = 0;
    for (uint32_t i = 0; i < 3; ++i) found += view.Find(i) ? 1 : 0;
    ASSERT_EQ(found, 2) << at;
    if (at % 64 != 0) continue;
    StoredPage merged(kPageNumber, bytes_);
    merged.AddAllOf(view);
    EXPECT_EQ(merged.Has(0) + merged.Has(1) + merged.Has(2), 2);
  }
}

TEST_F(StoredPageTest, ABlockThatLeadsElsewhereThanToARoutineIsNotStored) {
  std::vector<uint8_t> code;
  GeneratedBlock block = RandomBlock(&code);
  block.relocations.push_back({0, buffer_ + (uint64_t{1} << 30)});
  StoredPage page(kPageNumber, bytes_);
  EXPECT_FALSE(Add(&page, 0, block));
  EXPECT_FALSE(page.Has(0));
}

// Reads from a buffer of its own length, so that ASan sees what goes beyond.
std::vector<std::byte> CopyOf(const std::string& bytes) {
  return {reinterpret_cast<const std::byte*>(bytes.data()),
          reinterpret_cast<const std::byte*>(bytes.data()) + bytes.size()};
}

TEST_F(StoredPageTest, NothingIsReadBehindARecord) {
  StoredPage page(kPageNumber, bytes_);
  std::vector<uint8_t> code;
  for (uint32_t i = 0; i < 3; ++i) Add(&page, i, RandomBlock(&code));
  const std::string record = RecordOf(page);
  // How many blocks there are; nothing where it is no page. The directory's sum is right.
  const auto parse = [](const std::string& bytes, size_t directory_bytes) -> std::optional<int> {
    const std::vector<std::byte> copy = CopyOf(bytes);
    const std::span<const std::byte> behind = std::span(copy).subspan(std::min(copy.size(), kPageSize));
    const uint64_t sum = SumOf(behind.first(std::min(behind.size(), directory_bytes)));
    const std::optional<StoredPageView> view = StoredPageView::Parse(copy, directory_bytes, sum);
    if (!view) return std::nullopt;
    int found = 0;
    for (uint32_t offset = 0; offset < kPageSize; ++offset) found += view->Find(offset) ? 1 : 0;
    return found;
  };
  const size_t directory = page.directory_bytes();
  EXPECT_EQ(parse(record, directory), 3);
  for (size_t length = 0; length < record.size(); length += 8) {
    const std::optional<int> found = parse(record.substr(0, length), directory);
    EXPECT_EQ(found.has_value(), length >= BlocksAt(page));
    EXPECT_LT(found.value_or(0), 3);
  }
  for (size_t other = 0; other < record.size() + 16; other += 8)
    if (other != directory) EXPECT_FALSE(parse(record, other).has_value()) << other;
  // Numbers of the header and of the places.
  for (int i = 0; i < 20'000; ++i) {
    std::string changed = record;
    changed[kPageSize + random_() % directory] = static_cast<char>(random_());
    parse(changed, directory);
  }
}

TEST_F(StoredPageTest, ADirectoryThatIsNotWhatWasWrittenIsNoPage) {
  StoredPage page(kPageNumber, bytes_);
  std::vector<uint8_t> code;
  Add(&page, 0, RandomBlock(&code));
  std::string record = RecordOf(page);
  const uint64_t sum = SumOf(DirectoryOf(page, record));
  for (size_t at = 0; at < page.directory_bytes(); ++at) {
    record[kPageSize + at] ^= 1;
    const auto bytes = std::as_bytes(std::span<const char>(record));
    EXPECT_FALSE(StoredPageView::Parse(bytes, page.directory_bytes(), sum).has_value()) << at;
    record[kPageSize + at] ^= 1;
  }
}

TEST_F(StoredPageTest, NothingIsReadBehindABlock) {
  StoredPage page(kPageNumber, bytes_);
  std::vector<uint8_t> code;
  Add(&page, 0, RandomBlock(&code));
  const std::string block = RecordOf(page).substr(BlocksAt(page));
  const auto parse = [](const std::string& bytes) {
    const std::vector<std::byte> copy = CopyOf(bytes);
    const std::optional<StoredBlockView> view = StoredBlockView::Parse(copy);
    if (!view) return false;
    size_t sum = 0;
    for (const uint8_t byte : view->code) sum += byte;
    for (const Mark& mark : view->marks) sum += mark.host_offset;
    return sum != 1;
  };
  EXPECT_TRUE(parse(block));
  for (size_t length = 0; length < block.size(); length += 8) EXPECT_FALSE(parse(block.substr(0, length)));
  EXPECT_FALSE(parse(block + std::string(8, '\0')));
  for (int i = 0; i < 20'000; ++i) {
    std::string changed = block;
    changed[random_() % 44] = static_cast<char>(random_());
    parse(changed);
  }
}

}  // namespace
}  // namespace remora::cpu::translator
