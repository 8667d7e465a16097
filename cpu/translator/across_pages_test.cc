// Far links: where jumps between pages of one mapping lead, whatever becomes of the code at both ends.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/cpu_level.h"
#include "cpu/instruction_decoder.h"
#include "cpu/translator/block_collector.h"
#include "cpu/translator/block_writer.h"
#include "cpu/translator/generated_block.h"
#include "cpu/translator/options.h"
#include "cpu/translator/routines.h"
#include "cpu/translator/translation.h"
#include "cpu/translator/translation_cache.h"
#include "mm/code_mapping.h"
#include "mm/types.h"
#include "sync/reclaimer.h"

namespace remora::cpu::translator {
namespace {

constexpr uint64_t kPages = 8, kFirst = 0x7f00'0000'0000 / kPageSize;
uint64_t AddressIn(uint64_t page, uint64_t offset) { return (kFirst + page) * kPageSize + offset; }

// What translates, without an engine: code of kPages pages.
class AcrossPagesTest : public testing::Test {
 protected:
  // At `from`: a few instructions, then JMP to `to`, or JNZ to it.
  void WriteJump(uint64_t from, uint64_t to, bool conditional = false) {
    std::byte* at = &bytes_[from / kPageSize - kFirst][from % kPageSize];
    const auto put = [&](std::initializer_list<uint8_t> bytes) {
      for (const uint8_t byte : bytes) *at++ = std::byte{byte}, ++from;
    };
    put({0x83, 0xc0, 0x01});  // ADD EAX, 1
    conditional ? put({0x0f, 0x85}) : put({0xe9});
    const auto displacement = static_cast<int32_t>(to - (from + 4));
    std::memcpy(at, &displacement, sizeof displacement);
    at += sizeof displacement;
    if (conditional) *at = std::byte{0xc3};
  }
  static mm::FrameId FrameOf(uint64_t page) { return mm::FrameId(static_cast<uint32_t>(100 + page)); }
  static CodePage PageOf(uint64_t pc, uint64_t pages_of_mapping = kPages) {
    const mm::CodeMapping mapping = {.object = 1, .pages = {PageNumber(kFirst), PageNumber(kFirst + pages_of_mapping)}};
    return {GuestAddr(pc).page(), FrameOf(pc / kPageSize - kFirst),
            pages_of_mapping == 0 ? mm::CodeMapping() : mapping};
  }
  struct Made {
    Translation* translation = nullptr;
    std::vector<FarLink> far_links;
    std::vector<std::byte> code{};          // as it was published
    std::vector<uint32_t> displacements{};  // that are patched
    explicit operator bool() const { return translation != nullptr; }
  };
  Made Translate(uint64_t pc, uint64_t pages_of_mapping = kPages) {
    const CodePage page = PageOf(pc, pages_of_mapping);
    collector_.Collect(pc, bytes_[pc / kPageSize - kFirst].data(), nullptr);
    writer_.set_neighbours(page.mapping.pages);
    const GeneratedBlock& block =
        writer_.Write(collector_.instructions(), false, false, [](uint64_t) { return ~0u; }, BlockWriter::NoneShared);
    Translation* made = cache_->Publish(page, pc, mm::FrameId(), &block, false, false, cache_->generation());
    Made answer = {made, block.far_links};
    if (made == nullptr) return answer;
    for (const FarLink& link : answer.far_links) EXPECT_TRUE(IsAJump(*made, link)) << std::hex << pc;
    answer.code.assign(made->code, made->code + made->code_bytes);
    for (const Link& link : block.links) answer.displacements.push_back(link.displacement_offset);
    for (const FarLink& link : block.far_links) answer.displacements.push_back(link.displacement_offset);
    return answer;
  }
  static const std::byte* WhereItLeads(const Made& made, const FarLink& link) {
    const std::byte* at = made.translation->code + link.displacement_offset;
    int32_t displacement;
    std::memcpy(&displacement, at, sizeof displacement);
    return at + sizeof displacement + displacement;
  }
  // Whether that is where a jump has its displacement.
  static bool IsAJump(const Translation& made, const FarLink& link) {
    const auto byte = [&](uint32_t before) {
      return static_cast<uint8_t>(made.code[link.displacement_offset - before]);
    };
    const bool has_opcode = byte(1) == 0xe9 || (byte(2) == 0x0f && (byte(1) & 0xf0) == 0x80);
    return has_opcode && link.displacement_offset % 16 <= 12 && link.cold_offset >= made.cold_offset;
  }
  // But for where its jumps lead.
  static bool IsAsPublished(const Made& made) {
    std::vector<std::byte> now(made.translation->code, made.translation->code + made.code.size());
    for (const uint32_t at : made.displacements) std::memcpy(&now[at], &made.code[at], sizeof(int32_t));
    return now == made.code;
  }
  static bool LeadsToCold(const Made& made, const FarLink& link) {
    EXPECT_GE(link.cold_offset, made.translation->cold_offset);
    return WhereItLeads(made, link) == made.translation->code + link.cold_offset;
  }
  static bool LeadsTo(const Made& made, const FarLink& link, const Translation& target) {
    const uint32_t entry = !link.flags_saved ? target.host_entry
                           : link.forward    ? target.forward_entry
                                             : target.saved_entry;
    return WhereItLeads(made, link) == target.code + entry;
  }

  std::array<std::array<std::byte, kPageSize>, kPages> bytes_{};
  sync::Reclaimer reclaimer_;
  std::unique_ptr<TranslationCache> cache_ =
      std::make_unique<TranslationCache>(&reclaimer_, uint64_t{1} << 20, HostCalls());
  InstructionDecoder decoder_{CpuLevel::kHost};
  BlockCollector collector_{&decoder_, Optimizations()};
  BlockWriter writer_{cache_->routines(), cache_.get(), &decoder_, Optimizations()};
};

TEST_F(AcrossPagesTest, AJumpLeadsToItsTargetAsSoonAsThatIsTranslated) {
  for (const bool conditional : {false, true}) {
    for (const bool target_first : {false, true}) {
      const uint64_t offset = 256 * (2 * conditional + target_first);
      const uint64_t from = AddressIn(1, offset), to = AddressIn(5, offset);
      WriteJump(from, to, conditional);
      WriteJump(to, to + 64);
      Made target;
      if (target_first) target = Translate(to);
      const Made made = Translate(from);
      ASSERT_EQ(made.far_links.size(), 1u);
      EXPECT_EQ(made.far_links[0].target, to);
      if (!target_first) {
        EXPECT_TRUE(LeadsToCold(made, made.far_links[0]));
        target = Translate(to);
      }
      EXPECT_TRUE(LeadsTo(made, made.far_links[0], *target.translation));
    }
  }
}

// It goes on in the next page, of which each space may have another one: its links are led to code that asks the table.
TEST_F(AcrossPagesTest, ALinkToABlockThatCrossesGoesByTheTable) {
  for (const bool target_first : {false, true}) {
    const uint64_t from = AddressIn(1, target_first ? 64 : 0), to = AddressIn(2, 0) - (target_first ? 1 : 2);
    WriteJump(from, to);
    std::memcpy(&bytes_[1][to % kPageSize], "\x83\xc0\x01", 2);  // ADD EAX, 1: its end is of no matter
    const Translation* target = nullptr;
    const auto translate_target = [&] {
      ASSERT_FALSE(collector_.Collect(to, bytes_[1].data(), nullptr));
      collector_.Collect(to, bytes_[1].data(), bytes_[2].data());
      const GeneratedBlock& block = writer_.Write(
          collector_.instructions(), /*crosses_page=*/true, false, [](uint64_t) { return ~0u; },
          BlockWriter::NoneShared);
      target = cache_->Publish(PageOf(to), to, FrameOf(2), &block, false, false, cache_->generation());
    };
    if (target_first) translate_target();
    const Made made = Translate(from);
    ASSERT_EQ(made.displacements.size(), 1u);
    const FarLink link = {{.displacement_offset = made.displacements[0]}};
    if (!target_first) {
      EXPECT_GE(WhereItLeads(made, link), made.translation->code + made.translation->cold_offset);
      EXPECT_LT(WhereItLeads(made, link), made.translation->code + made.translation->code_bytes);
      translate_target();
    }
    ASSERT_NE(target, nullptr);
    EXPECT_GT(target->by_table_saved, target->cold_offset);
    const std::byte* leads_to = WhereItLeads(made, link);
    EXPECT_TRUE(leads_to == target->code + target->by_table_host || leads_to == target->code + target->by_table_saved);
  }
}

TEST_F(AcrossPagesTest, ABlockThatIsNothingButAJumpOrCallHasOneLink) {
  const uint64_t from = AddressIn(1, 0), to = AddressIn(5, 0);
  for (const uint8_t opcode : {0xe8, 0xe9}) {
    cache_->DropCode(FrameOf(1));
    const auto displacement = static_cast<int32_t>(to - (from + 5));
    bytes_[1][0] = std::byte{opcode};
    std::memcpy(&bytes_[1][1], &displacement, sizeof displacement);
    const Made made = Translate(from);
    ASSERT_EQ(made.far_links.size(), 1u) << int{opcode};
    EXPECT_TRUE(LeadsToCold(made, made.far_links[0]));
  }
}

TEST_F(AcrossPagesTest, OnlyWithinTheMapping) {
  const uint64_t from = AddressIn(1, 0), inside = AddressIn(3, 0), outside = AddressIn(4, 0);
  WriteJump(from, inside);
  WriteJump(from + 64, outside);
  WriteJump(inside, inside + 64);
  WriteJump(outside, outside + 64);
  EXPECT_TRUE(Translate(from + 64, 4).far_links.empty());
  const Made made = Translate(from, 4);
  ASSERT_EQ(made.far_links.size(), 1u);
  // Another mapping has the frame there.
  ASSERT_TRUE(Translate(inside, kPages));
  EXPECT_TRUE(LeadsToCold(made, made.far_links[0]));
}

TEST_F(AcrossPagesTest, WhereTheTargetIsDroppedAJumpWaitsAgain) {
  const uint64_t from = AddressIn(1, 0), to = AddressIn(5, 0);
  WriteJump(from, to);
  WriteJump(to, to + 64);
  const Made made = Translate(from);
  for (int i = 0; i < 3; ++i) {
    const Made target = Translate(to);
    EXPECT_TRUE(LeadsTo(made, made.far_links[0], *target.translation));
    cache_->DropCode(FrameOf(5));
    EXPECT_TRUE(LeadsToCold(made, made.far_links[0]));
  }
}

// A space that has other pages there must not run it.
TEST_F(AcrossPagesTest, CodeIsNotFoundForAnotherMapping) {
  const uint64_t from = AddressIn(1, 0), to = AddressIn(5, 0);
  WriteJump(from, to);
  WriteJump(to, to + 64);
  for (const uint64_t pages_of_another : {uint64_t{0}, kPages - 1}) {
    const Made target = Translate(to);
    const Made made = Translate(from);
    EXPECT_EQ(cache_->Find(PageOf(from), from, false), made.translation);
    EXPECT_TRUE(LeadsTo(made, made.far_links[0], *target.translation));
    std::vector<const Translation*> blocks;
    cache_->FindPage(PageOf(from, pages_of_another), &blocks);
    EXPECT_TRUE(blocks.empty());
    const uint64_t generation = cache_->generation();
    EXPECT_EQ(cache_->Find(PageOf(from, pages_of_another), from, false), nullptr);
    EXPECT_GT(cache_->generation(), generation);
    EXPECT_EQ(cache_->Peek(FrameOf(1), from), nullptr);
    // From now on it is for all, and counts on nothing.
    const Made again = Translate(from);
    EXPECT_TRUE(LeadsToCold(again, again.far_links[0]));
    EXPECT_EQ(cache_->Find(PageOf(from, pages_of_another), from, false), again.translation);
    EXPECT_EQ(cache_->Find(PageOf(from), from, false), again.translation);
    // Until the frame has other code.
    cache_->DropCode(FrameOf(1));
    const Made anew = Translate(from);
    EXPECT_TRUE(LeadsTo(anew, anew.far_links[0], *target.translation));
    EXPECT_EQ(Translate(from, pages_of_another).translation, nullptr);
    EXPECT_EQ(cache_->Peek(FrameOf(1), from), nullptr);
    cache_->DropCode(FrameOf(1));
    cache_->DropCode(FrameOf(5));
  }
}

TEST_F(AcrossPagesTest, WhatWasMadeForNoMappingIsForAll) {
  const uint64_t from = AddressIn(1, 0), to = AddressIn(5, 0);
  WriteJump(from, from + 256);
  WriteJump(from + 256, to);
  WriteJump(to, to + 64);
  ASSERT_TRUE(Translate(to));
  const Made first = Translate(from, 0);
  // The first one leads to it, and may be run where there is no such mapping.
  const Made second = Translate(from + 256);
  EXPECT_TRUE(LeadsToCold(second, second.far_links[0]));
  EXPECT_EQ(cache_->Find(PageOf(from, 0), from, false), first.translation);
}

TEST_F(AcrossPagesTest, AFrameIsPartOfItsMappingAtOneAddress) {
  const uint64_t from = AddressIn(1, 0), to = AddressIn(5, 0);
  WriteJump(from, to);
  WriteJump(to, to + 64);
  ASSERT_TRUE(Translate(from));
  // The same frame at another address, of whatever mapping.
  CodePage elsewhere = PageOf(from, 3);
  elsewhere.number = PageNumber(kFirst + 2);
  EXPECT_EQ(cache_->Find(elsewhere, AddressIn(2, 0), false), nullptr);
  EXPECT_NE(cache_->Peek(FrameOf(1), from), nullptr);
}

// After each of many changes: each jump of code that can be found leads to its target, or to its own cold code.
TEST_F(AcrossPagesTest, RandomChanges) {
  constexpr uint64_t kStep = 64, kPlaces = kPageSize / kStep;
  std::mt19937 random(5);
  const auto below = [&](uint64_t n) { return random() % n; };
  const auto place = [&] { return AddressIn(below(kPages), kStep * below(kPlaces)); };
  for (uint64_t page = 0; page < kPages; ++page)
    for (uint64_t i = 0; i < kPlaces; ++i) WriteJump(AddressIn(page, kStep * i), place(), below(2) == 0);
  std::map<uint64_t, Made> known;
  size_t leading = 0, waiting = 0, evictions = 0;
  for (int step = 0; step < 60'000; ++step) {
    const uint64_t pc = place();
    if (below(200) == 0) {
      cache_->DropCode(FrameOf(pc / kPageSize - kFirst));
    } else if (below(2000) == 0) {
      cache_->Find(PageOf(pc, below(2) == 0 ? 0 : kPages - 1), pc, false);
    } else {
      const bool evicted = cache_->has_evicted();
      const uint64_t generation = cache_->generation();
      if (const Made made = Translate(pc); made && made.translation != known[pc].translation) known[pc] = made;
      evictions += evicted && generation != cache_->generation();
    }
    if (step % 16 != 0) continue;
    reclaimer_.Collect();
    for (const auto& [at, made] : known) {
      const Translation* found = cache_->Peek(FrameOf(at / kPageSize - kFirst), at);
      if (found == nullptr || found != made.translation) continue;
      ASSERT_TRUE(IsAsPublished(made)) << step;
      for (const FarLink& link : made.far_links) {
        const Translation* target = cache_->Peek(FrameOf(link.target / kPageSize - kFirst), link.target);
        const bool leads = target != nullptr && LeadsTo(made, link, *target);
        ASSERT_TRUE(leads || LeadsToCold(made, link)) << step;
        leading += leads;
        waiting += !leads;
      }
    }
  }
  EXPECT_GT(leading, 100'000u);
  EXPECT_GT(waiting, 10'000u);
  EXPECT_GT(evictions, 3u);
}

}  // namespace
}  // namespace remora::cpu::translator
