#include "mm/vma_set.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <vector>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "base/ref_counted.h"
#include "mm/mappable.h"
#include "mm/types.h"

namespace remora::mm {
namespace {

class FakeObject final : public Mappable {
 public:
  explicit FakeObject(uint64_t id) : id_(id) {}
  ErrnoOr<FrameId> GetFrame(uint64_t, bool) override { return Errno(EIO); }
  void FindFrames(uint64_t, uint64_t, std::span<FrameId>) override {}
  void OnMapped(AddressSpace*, PageRange, uint64_t) override {}
  void OnUnmapped(AddressSpace*, PageRange, uint64_t) override {}
  uint64_t object_id() const override { return id_; }
  Description Describe() const override { return {}; }

 private:
  const uint64_t id_;
};

constexpr PageRange Pages(uint64_t first, uint64_t end) { return {PageNumber(first), PageNumber(end)}; }

Vma Anonymous(uint64_t first, uint64_t end, uint8_t protection = 3) {
  return {.range = Pages(first, end), .protection = Protection(protection), .object = nullptr, .name = ""};
}

Vma OfObject(Ref<Mappable> object, uint64_t first, uint64_t end, uint64_t index) {
  Vma vma = Anonymous(first, end);
  vma.object = std::move(object);
  vma.first_page_index = index;
  return vma;
}

std::vector<PageRange> RangesOf(const VmaSet& set) {
  std::vector<PageRange> ranges;
  set.ForEach([&](const Vma& vma) { ranges.push_back(vma.range); });
  return ranges;
}

TEST(VmaSetTest, FindsTheVmaThatContainsAPage) {
  VmaSet set;
  set.Insert(Anonymous(10, 20));
  EXPECT_EQ(set.Find(PageNumber(9)), nullptr);
  EXPECT_EQ(set.Find(PageNumber(10))->range, Pages(10, 20));
  EXPECT_EQ(set.Find(PageNumber(19))->range, Pages(10, 20));
  EXPECT_EQ(set.Find(PageNumber(20)), nullptr);
  EXPECT_EQ(set.FindAtOrAfter(PageNumber(3))->range, Pages(10, 20));
  EXPECT_EQ(set.FindAtOrAfter(PageNumber(20)), nullptr);
  EXPECT_EQ(set.FindBefore(PageNumber(10)), nullptr);
  EXPECT_EQ(set.FindBefore(PageNumber(11))->range, Pages(10, 20));
}

TEST(VmaSetTest, EqualNeighboursMerge) {
  VmaSet set;
  set.Insert(Anonymous(10, 20));
  set.Insert(Anonymous(30, 40));
  set.Insert(Anonymous(20, 30));
  EXPECT_EQ(RangesOf(set), std::vector{Pages(10, 40)});
  EXPECT_EQ(set.num_pages(), 30u);
}

TEST(VmaSetTest, DifferentRightsKeepNeighboursApart) {
  VmaSet set;
  set.Insert(Anonymous(10, 20, Protection::kRead));
  set.Insert(Anonymous(20, 30, Protection::kRead | Protection::kWrite));
  EXPECT_EQ(set.size(), 2u);
}

TEST(VmaSetTest, ObjectPagesMergeOnlyWhereTheyContinue) {
  const Ref<Mappable> object = MakeRef<FakeObject>(1);
  VmaSet set;
  set.Insert(OfObject(object, 10, 20, 100));
  set.Insert(OfObject(object, 20, 30, 110));
  EXPECT_EQ(set.size(), 1u);
  set.Insert(OfObject(object, 30, 40, 121));
  EXPECT_EQ(set.size(), 2u);
  set.Insert(OfObject(MakeRef<FakeObject>(2), 40, 50, 131));
  EXPECT_EQ(set.size(), 3u);
}

TEST(VmaSetTest, RemoveCutsVmasAtTheEdgesAndVisitsThePieces) {
  const Ref<Mappable> object = MakeRef<FakeObject>(1);
  VmaSet set;
  set.Insert(OfObject(object, 10, 20, 100));
  set.Insert(Anonymous(20, 30));
  std::vector<std::pair<PageRange, uint64_t>> pieces;
  set.Remove(Pages(15, 25), [&](const Vma& vma) { pieces.emplace_back(vma.range, vma.first_page_index); });
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0], std::pair(Pages(15, 20), uint64_t{105}));
  EXPECT_EQ(pieces[1].first, Pages(20, 25));
  EXPECT_EQ(RangesOf(set), (std::vector{Pages(10, 15), Pages(25, 30)}));
}

TEST(VmaSetTest, RemoveInTheMiddleLeavesTwoParts) {
  const Ref<Mappable> object = MakeRef<FakeObject>(1);
  VmaSet set;
  set.Insert(OfObject(object, 10, 20, 100));
  set.Remove(Pages(13, 16));
  EXPECT_EQ(RangesOf(set), (std::vector{Pages(10, 13), Pages(16, 20)}));
  EXPECT_EQ(set.Find(PageNumber(16))->first_page_index, 106u);
  EXPECT_EQ(set.num_pages(), 7u);
}

TEST(VmaSetTest, ChangeSplitsAndMergesAgain) {
  VmaSet set;
  set.Insert(Anonymous(10, 30));
  set.Change(Pages(15, 20), [](Vma& vma) { vma.protection = Protection(Protection::kRead); });
  EXPECT_EQ(RangesOf(set), (std::vector{Pages(10, 15), Pages(15, 20), Pages(20, 30)}));
  set.CheckInvariants();
  set.Change(Pages(15, 20), [](Vma& vma) { vma.protection = Protection(3); });
  EXPECT_EQ(RangesOf(set), std::vector{Pages(10, 30)});
}

TEST(VmaSetTest, CoversSeesGaps) {
  VmaSet set;
  set.Insert(Anonymous(10, 20));
  set.Insert(Anonymous(20, 30, 1));
  set.Insert(Anonymous(31, 40));
  EXPECT_TRUE(set.Covers(Pages(10, 30)));
  EXPECT_FALSE(set.Covers(Pages(10, 32)));
  EXPECT_FALSE(set.Covers(Pages(9, 12)));
  EXPECT_TRUE(set.Overlaps(Pages(30, 32)));
  EXPECT_FALSE(set.Overlaps(Pages(30, 31)));
}

TEST(VmaSetTest, GrowDownMovesTheStart) {
  VmaSet set;
  Vma stack = Anonymous(90, 100);
  stack.grows_down = true;
  stack.name = "[stack]";
  set.Insert(stack);
  set.GrowDown(PageNumber(90), PageNumber(80));
  EXPECT_EQ(set.Find(PageNumber(80))->name, "[stack]");
  EXPECT_EQ(set.num_pages(), 20u);
  set.CheckInvariants();
}

TEST(VmaSetTest, ForEachVisitsWhatMeetsTheRange) {
  VmaSet set;
  set.Insert(Anonymous(10, 20));
  set.Insert(Anonymous(30, 40));
  set.Insert(Anonymous(50, 60));
  std::vector<PageRange> seen;
  set.ForEach(Pages(19, 31), [&](const Vma& vma) { seen.push_back(vma.range); });
  EXPECT_EQ(seen, (std::vector{Pages(10, 20), Pages(30, 40)}));
}

TEST(VmaSetTest, HoldsReferencesToObjects) {
  const Ref<Mappable> object = MakeRef<FakeObject>(1);
  VmaSet set;
  set.Insert(OfObject(object, 10, 20, 0));
  VmaSet copy = set;
  EXPECT_EQ(object->ref_count(), 3u);
  set.clear();
  copy.Remove(Pages(0, 100));
  EXPECT_EQ(object->ref_count(), 1u);
}

// The obvious model: what each page maps.
TEST(VmaSetModelTest, AgreesWithAMapOfPages) {
  struct Page {
    uint8_t protection;
    uint64_t object;  // 0: anonymous
    uint64_t index;
    bool operator==(const Page&) const = default;
  };
  constexpr uint64_t kPages = 400;
  std::vector<Ref<Mappable>> objects = {nullptr, MakeRef<FakeObject>(1), MakeRef<FakeObject>(2)};
  std::mt19937 random(7);
  const auto below = [&](uint64_t n) { return random() % n; };
  VmaSet set;
  std::map<uint64_t, Page> model;
  for (int step = 0; step < 8000; ++step) {
    const uint64_t first = below(kPages), end = std::min(kPages, first + 1 + below(30));
    const PageRange range = Pages(first, end);
    switch (below(3)) {
      case 0: {
        set.Remove(range);
        const uint64_t object = below(objects.size());
        Vma vma = OfObject(objects[object], first, end, object == 0 ? 0 : first + 1000 * below(2));
        vma.protection = Protection(static_cast<uint8_t>(1 + below(3)));
        for (uint64_t p = first; p < end; ++p)
          model[p] = {vma.protection.bits(), object, object == 0 ? 0 : vma.first_page_index + p - first};
        set.Insert(std::move(vma));
        break;
      }
      case 1: {
        uint64_t removed = 0;
        set.Remove(range, [&](const Vma& piece) { removed += piece.range.num_pages(); });
        uint64_t expected = 0;
        for (uint64_t p = first; p < end; ++p) expected += model.erase(p);
        ASSERT_EQ(removed, expected);
        break;
      }
      default: {
        const Protection protection(static_cast<uint8_t>(1 + below(3)));
        set.Change(range, [&](Vma& vma) { vma.protection = protection; });
        for (auto it = model.lower_bound(first); it != model.end() && it->first < end; ++it)
          it->second.protection = protection.bits();
      }
    }
    if (step % 64 != 0) continue;
    set.CheckInvariants();
    ASSERT_EQ(set.num_pages(), model.size());
    for (uint64_t p = 0; p < kPages; ++p) {
      const Vma* vma = set.Find(PageNumber(p));
      const auto it = model.find(p);
      ASSERT_EQ(vma != nullptr, it != model.end()) << p;
      if (vma == nullptr) continue;
      const uint64_t object = vma->object ? vma->object->object_id() : 0;
      ASSERT_EQ((Page{vma->protection.bits(), object, object ? vma->PageIndexOf(PageNumber(p)) : 0}), it->second) << p;
    }
  }
}

TEST(VmaSetTest, WhatWasMarkedAsCodeIsToldWhateverBecomesOfIt) {
  const Ref<Mappable> object = MakeRef<FakeObject>(1);
  VmaSet set;
  const auto marked = [&](uint64_t first, uint64_t end) {
    set.clear();
    set.Insert(OfObject(object, first, end, first));
    set.MarkAsCode(PageNumber(first + 1));
    EXPECT_TRUE(set.Find(PageNumber(first))->is_code);
    EXPECT_FALSE(set.has_changed_code());
  };
  const auto expect_told = [&](const std::vector<PageRange>& ranges) {
    EXPECT_EQ(set.has_changed_code(), !ranges.empty());
    EXPECT_EQ(set.TakeChangedCode(), ranges);
    EXPECT_FALSE(set.has_changed_code());
    set.ForEach([](const Vma& vma) { EXPECT_FALSE(vma.is_code); });
  };
  marked(10, 20);
  set.Remove(Pages(12, 14));
  expect_told({Pages(10, 20)});
  set.Remove(Pages(10, 12));
  expect_told({});  // it has been told of
  marked(10, 20);
  set.Remove(Pages(0, 30));
  expect_told({Pages(10, 20)});
  marked(10, 20);
  set.Change(Pages(19, 20), [](Vma& vma) { vma.page_by_page = true; });
  expect_told({Pages(10, 20)});
  marked(10, 20);
  set.Change(Pages(10, 20), [](Vma& vma) { vma.page_by_page = true; });
  expect_told({Pages(10, 20)});
  marked(10, 20);
  set.Insert(OfObject(object, 20, 22, 20));
  expect_told({Pages(10, 20)});
  marked(10, 20);
  set.Insert(OfObject(object, 5, 10, 5));
  expect_told({Pages(10, 20)});
  marked(10, 20);
  set.Insert(OfObject(object, 20, 22, 3));  // no continuation
  EXPECT_FALSE(set.has_changed_code());
  EXPECT_TRUE(set.Find(PageNumber(10))->is_code);
}

TEST(VmaSetTest, WhatMayDifferDoesBehindAMerge) {
  const Ref<Mappable> object = MakeRef<FakeObject>(1);
  for (const bool first : {false, true}) {
    VmaSet set;
    Vma vma = OfObject(object, 10, 20, 0);
    vma.may_differ = first;
    set.Insert(vma);
    vma = OfObject(object, 20, 30, 10);
    vma.may_differ = !first;
    set.Insert(vma);
    EXPECT_EQ(set.size(), 1u);
    EXPECT_TRUE(set.Find(PageNumber(10))->may_differ);
  }
}

}  // namespace
}  // namespace remora::mm
