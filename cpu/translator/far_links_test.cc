#include "cpu/translator/far_links.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "base/guest_addr.h"
#include "mm/code_mapping.h"
#include "mm/types.h"

namespace remora::cpu::translator {
namespace {

constexpr uint64_t kFirst = 0x7f00'0000'0000 / kPageSize;

mm::CodeMapping MappingOf(uint64_t object, uint64_t num_pages) {
  return {.object = object, .pages = {PageNumber(kFirst), PageNumber(kFirst + num_pages)}};
}
uint64_t AddressIn(uint64_t page, uint64_t offset) { return (kFirst + page) * kPageSize + offset; }

TEST(FarLinksTest, AJumpIsToldAsItWas) {
  FarLinks links;
  FarLinks::Mapping* mapping = links.AddPage(MappingOf(1, 4), PageNumber(kFirst), mm::FrameId(7));
  for (const bool saved : {false, true})
    for (const bool forward : {false, true}) {
      const FarLinks::Jump jump = {.displacement = 0x7fff'fff0,
                                   .to_cold = 0xfffe,
                                   .flags_saved = saved,
                                   .forward = forward,
                                   .target = AddressIn(3, 0xfff)};
      links.Add(mapping, jump, [](mm::FrameId) -> bool {
        ADD_FAILURE();
        return false;
      });
      int led = 0;
      links.LeadWaiting(mapping, jump.target, [&](const FarLinks::Jump& told) {
        ++led;
        EXPECT_EQ(told.displacement, jump.displacement);
        EXPECT_EQ(told.to_cold, jump.to_cold);
        EXPECT_EQ(told.flags_saved, saved);
        EXPECT_EQ(told.forward, forward);
        EXPECT_EQ(told.target, jump.target);
      });
      EXPECT_EQ(led, 1);
    }
}

TEST(FarLinksTest, APageHasCodeOfOneFrame) {
  FarLinks links;
  const mm::CodeMapping shape = MappingOf(1, 2), other = MappingOf(2, 2), shorter = MappingOf(1, 1);
  FarLinks::Mapping* mapping = links.AddPage(shape, PageNumber(kFirst), mm::FrameId(7));
  ASSERT_NE(mapping, nullptr);
  EXPECT_EQ(mapping->shape(), shape);
  EXPECT_EQ(links.AddPage(shape, PageNumber(kFirst), mm::FrameId(8)), nullptr);
  EXPECT_EQ(links.AddPage(shape, PageNumber(kFirst + 1), mm::FrameId(8)), mapping);
  for (const mm::CodeMapping& another : {other, shorter}) {
    FarLinks::Mapping* made = links.AddPage(another, PageNumber(kFirst), mm::FrameId(9));
    EXPECT_NE(made, nullptr);
    EXPECT_NE(made, mapping);
  }
  links.RemovePage(mapping, PageNumber(kFirst), [](const FarLinks::Jump&) {});
  EXPECT_EQ(links.AddPage(shape, PageNumber(kFirst), mm::FrameId(8)), mapping);
}

TEST(FarLinksTest, NotMoreWaitForAPageThanAreWorthLookingAt) {
  FarLinks links;
  FarLinks::Mapping* mapping = links.AddPage(MappingOf(1, 2), PageNumber(kFirst), mm::FrameId(7));
  const auto add = [&](uint32_t number, bool leads) {
    links.Add(mapping, {.displacement = 4 * number, .target = AddressIn(leads ? 0 : 1, 8)},
              [&](mm::FrameId frame) { return frame == mm::FrameId(7); });
  };
  for (uint32_t i = 0; i < 2 * FarLinks::kMaxWaiting; ++i) add(i, /*leads=*/false);
  EXPECT_EQ(links.num_jumps(), FarLinks::kMaxWaiting);
  for (uint32_t i = 0; i < 2 * FarLinks::kMaxWaiting; ++i) add(i, /*leads=*/true);
  EXPECT_EQ(links.num_jumps(), 3 * FarLinks::kMaxWaiting);
  size_t told = 0;
  links.RemovePage(mapping, PageNumber(kFirst), [&](const FarLinks::Jump&) { ++told; });
  EXPECT_EQ(told, 2 * FarLinks::kMaxWaiting);
  EXPECT_EQ(links.num_jumps(), 2 * FarLinks::kMaxWaiting);
}

// Beside a model that keeps a list.
TEST(FarLinksTest, RandomChanges) {
  struct Known {
    uint64_t object;
    FarLinks::Jump jump;
    bool leads;
  };
  constexpr uint64_t kPages = 5;
  std::mt19937 random(3);
  const auto below = [&](uint64_t n) { return random() % n; };
  FarLinks links;
  std::map<std::pair<uint64_t, uint64_t>, mm::FrameId> frames;  // by object and page
  std::map<uint64_t, FarLinks::Mapping*> mappings;
  std::vector<Known> model;
  uint32_t next = 0;
  const auto has_pages = [&](uint64_t object) {
    return frames.lower_bound({object, 0}) != frames.lower_bound({object + 1, 0});
  };
  for (int step = 0; step < 30'000; ++step) {
    const uint64_t object = 1 + below(3), page = below(kPages);
    const auto place = std::pair(object, kFirst + page);
    switch (below(5)) {
      case 0: {
        const auto frame = mm::FrameId(static_cast<uint32_t>(below(1000)));
        FarLinks::Mapping* mapping = links.AddPage(MappingOf(object, kPages), PageNumber(kFirst + page), frame);
        ASSERT_EQ(mapping != nullptr, !frames.contains(place));
        if (mapping != nullptr) mappings[object] = mapping, frames[place] = frame;
        break;
      }
      case 1: {
        if (!frames.contains(place)) break;
        std::multiset<uint32_t> told, expected;
        links.RemovePage(mappings[object], PageNumber(kFirst + page),
                         [&](const FarLinks::Jump& jump) { told.insert(jump.displacement); });
        for (Known& known : model)
          if (known.leads && known.object == object && known.jump.target / kPageSize == kFirst + page) {
            expected.insert(known.jump.displacement);
            known.leads = false;
          }
        ASSERT_EQ(told, expected);
        frames.erase(place);
        break;
      }
      case 2:
      case 3: {
        if (!has_pages(object)) break;
        const FarLinks::Jump jump = {.displacement = next++, .target = AddressIn(page, below(8))};
        const bool answer = below(2) == 0;
        std::optional<mm::FrameId> asked;
        links.Add(mappings[object], jump, [&](mm::FrameId frame) {
          asked = frame;
          return answer;
        });
        ASSERT_EQ(asked.has_value(), frames.contains(place));
        if (asked) ASSERT_EQ(*asked, frames[place]);
        model.push_back({object, jump, asked && answer});
        break;
      }
      default:
        if (below(50) == 0) {
          const auto first = static_cast<uint32_t>(below(next + 1)),
                     end = first + static_cast<uint32_t>(below(next + 1));
          links.EraseFrom(first, end);
          std::erase_if(model, [&](const Known& known) {
            return known.jump.displacement >= first && known.jump.displacement < end;
          });
        } else if (has_pages(object)) {
          const uint64_t target = AddressIn(page, below(8));
          std::multiset<uint32_t> told, expected;
          links.LeadWaiting(mappings[object], target,
                            [&](const FarLinks::Jump& jump) { told.insert(jump.displacement); });
          for (Known& known : model)
            if (!known.leads && known.object == object && known.jump.target == target) {
              expected.insert(known.jump.displacement);
              known.leads = true;
            }
          ASSERT_EQ(told, expected);
        }
    }
    ASSERT_EQ(links.num_jumps(), model.size());
  }
}

}  // namespace
}  // namespace remora::cpu::translator
