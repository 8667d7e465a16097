#include "mm/page_table.h"

#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "gtest/gtest.h"
#include "mm/frame_pool.h"
#include "mm/retired_frames.h"
#include "mm/reverse_map.h"
#include "sync/reclaimer.h"

namespace remora::mm {
namespace {

struct Owner : PageTableOwner {};

class PageTableTest : public ::testing::Test {
 protected:
  struct Table {
    explicit Table(PageTableTest* test) : table(&test->frames_, &test->reverse_map_, &owner), test_(test) {}
    ~Table() {
      RetiredFrames retired(&test_->frames_, &test_->reclaimer_);
      table.Clear(&retired);
    }
    Owner owner;
    PageTable table;
    PageTableTest* const test_;
  };

  FrameId NewFrame() { return *frames_.AllocateZeroed(); }
  void Install(Table& t, uint64_t page, FrameId frame, bool anonymous = true) {
    RetiredFrames retired(&frames_, &reclaimer_);
    t.table.Install(PageNumber(page), PageTableEntry(frame, anonymous), &retired);
  }
  uint64_t Remove(Table& t, uint64_t first, uint64_t end) {
    RetiredFrames retired(&frames_, &reclaimer_);
    return t.table.Remove({PageNumber(first), PageNumber(end)}, &retired);
  }
  std::set<std::pair<PageTableOwner*, uint64_t>> MappersOf(FrameId frame) {
    std::set<std::pair<PageTableOwner*, uint64_t>> mappers;
    reverse_map_.ForEachMapper(frame,
                               [&](PageTableOwner* owner, PageNumber page) { mappers.insert({owner, page.value()}); });
    return mappers;
  }
  uint64_t NumAllocated() {
    reclaimer_.Collect();
    return frames_.num_allocated();
  }

  FramePool frames_{FramePool::Options{.max_bytes = uint64_t{64} << 20}};
  ReverseMap reverse_map_{&frames_};
  sync::Reclaimer reclaimer_;
};

TEST_F(PageTableTest, FindsWhatWasInstalledAndNothingElse) {
  Table t(this);
  const FrameId frame = NewFrame();
  Install(t, 5, frame);
  EXPECT_EQ(t.table.Find(PageNumber(5)).frame(), frame);
  EXPECT_FALSE(t.table.Find(PageNumber(6)).present());
  EXPECT_FALSE(t.table.Find(PageNumber(5 + (uint64_t{1} << 27))).present());
  EXPECT_EQ(t.table.num_resident(), 1u);
}

TEST_F(PageTableTest, ReplacingReleasesTheOldFrame) {
  Table t(this);
  Install(t, 5, NewFrame());
  Install(t, 5, NewFrame());
  EXPECT_EQ(NumAllocated(), 1u);
  EXPECT_EQ(t.table.num_resident(), 1u);
}

TEST_F(PageTableTest, TheZeroFrameIsPresentButNotResident) {
  Table t(this);
  Install(t, 5, frames_.zero_frame());
  EXPECT_TRUE(t.table.Find(PageNumber(5)).present());
  EXPECT_EQ(t.table.num_resident(), 0u);
  EXPECT_FALSE(t.table.IsExclusive(PageNumber(5)));
}

TEST_F(PageTableTest, SharedPagesAreExclusiveAgainWhenTheOtherTableIsGone) {
  Table parent(this);
  Install(parent, 5, NewFrame());
  EXPECT_TRUE(parent.table.IsExclusive(PageNumber(5)));
  {
    Table child(this);
    child.table.ShareFrom(parent.table);
    EXPECT_FALSE(parent.table.IsExclusive(PageNumber(5)));
    EXPECT_EQ(child.table.num_resident(), 1u);
  }
  EXPECT_TRUE(parent.table.IsExclusive(PageNumber(5)));
}

TEST_F(PageTableTest, SharingAllocatesNoFrameAndCopiesNoEntry) {
  Table parent(this), child(this);
  const FrameId frame = NewFrame();
  Install(parent, 5, frame);
  child.table.ShareFrom(parent.table);
  EXPECT_EQ(frames_.ref_count(frame), 1u);
  EXPECT_EQ(reverse_map_.num_entries(frame), 1u);
  EXPECT_EQ(MappersOf(frame).size(), 2u);
}

TEST_F(PageTableTest, ReplacingInTheChildLeavesTheParentAlone) {
  Table parent(this), child(this);
  const FrameId old = NewFrame(), neighbour = NewFrame(), fresh = NewFrame();
  Install(parent, 5, old);
  Install(parent, 6, neighbour);
  child.table.ShareFrom(parent.table);
  Install(child, 5, fresh);
  EXPECT_EQ(parent.table.Find(PageNumber(5)).frame(), old);
  EXPECT_EQ(child.table.Find(PageNumber(5)).frame(), fresh);
  // The leaf was copied, so the neighbour has two entries; the old frame only the parent's.
  EXPECT_EQ(frames_.ref_count(neighbour), 2u);
  EXPECT_TRUE(parent.table.IsExclusive(PageNumber(5)));
  EXPECT_FALSE(parent.table.IsExclusive(PageNumber(6)));
  EXPECT_EQ(MappersOf(neighbour).size(), 2u);
}

TEST_F(PageTableTest, RemovingAWholeSharedSubtreeKeepsTheOthers) {
  Table parent(this), child(this);
  for (uint64_t page = 0; page < 600; ++page) Install(parent, page, NewFrame());
  child.table.ShareFrom(parent.table);
  EXPECT_EQ(Remove(child, 0, 1 << 20), 600u);
  EXPECT_EQ(child.table.num_resident(), 0u);
  EXPECT_EQ(parent.table.num_resident(), 600u);
  EXPECT_EQ(NumAllocated(), 600u);
  parent.table.CheckInvariants();
}

TEST_F(PageTableTest, RemoveOfObjectLeavesAnonymousPages) {
  Table t(this);
  for (uint64_t page = 0; page < 200; ++page) Install(t, page, NewFrame(), /*anonymous=*/page % 2 == 0);
  RetiredFrames retired(&frames_, &reclaimer_);
  EXPECT_EQ(t.table.RemoveOfObject({PageNumber(0), PageNumber(200)}, &retired), 100u);
  EXPECT_EQ(t.table.num_resident(), 100u);
  EXPECT_TRUE(t.table.Find(PageNumber(0)).present());
  EXPECT_FALSE(t.table.Find(PageNumber(1)).present());
}

TEST_F(PageTableTest, MoveKeepsFramesAndOffsets) {
  Table parent(this), child(this);
  std::vector<FrameId> ids;
  for (uint64_t page = 0; page < 100; ++page) {
    ids.push_back(NewFrame());
    if (page % 3 == 0)
      Install(parent, 1000 + page, ids.back());
    else
      frames_.Release(ids.back());
  }
  child.table.ShareFrom(parent.table);
  {
    RetiredFrames retired(&frames_, &reclaimer_);
    child.table.Move(PageNumber(1000), PageNumber(500000), 100, &retired);
  }
  for (uint64_t page = 0; page < 100; ++page) {
    EXPECT_FALSE(child.table.Find(PageNumber(1000 + page)).present());
    const PageTableEntry entry = child.table.Find(PageNumber(500000 + page));
    ASSERT_EQ(entry.present(), page % 3 == 0);
    if (entry.present()) EXPECT_EQ(entry.frame(), parent.table.Find(PageNumber(1000 + page)).frame());
  }
  child.table.CheckInvariants();
  parent.table.CheckInvariants();
}

// Several tables that fork from one another, against one std::map each. The frames' counts and the reverse map are
// checked against what the models say.
TEST_F(PageTableTest, AgreesWithAModelUnderRandomOperations) {
  std::mt19937_64 random(7);
  // Pages in a few clusters, so that leaves and interior nodes are shared, emptied and filled again.
  auto pick_page = [&] {
    const uint64_t cluster = random() % 5;
    const uint64_t base[] = {0, 512, uint64_t{1} << 18, uint64_t{3} << 27, (uint64_t{1} << 35) - 600};
    return base[cluster] + random() % 600;
  };
  struct Subject {
    std::unique_ptr<Table> table;
    std::map<uint64_t, FrameId> model;
  };
  std::vector<Subject> subjects;
  subjects.push_back({std::make_unique<Table>(this), {}});
  for (int step = 0; step < 6000; ++step) {
    Subject& subject = subjects[random() % subjects.size()];
    switch (random() % 16) {
      case 0: {
        if (subjects.size() == 6) break;
        Subject child{std::make_unique<Table>(this), subject.model};
        child.table->table.ShareFrom(subject.table->table);
        subjects.push_back(std::move(child));
        break;
      }
      case 1:
        if (subjects.size() > 1) subjects.erase(subjects.begin() + static_cast<long>(random() % subjects.size()));
        break;
      case 2:
      case 3: {
        const uint64_t first = pick_page();
        const uint64_t end = first + (random() % 4 == 0 ? random() % (uint64_t{1} << 19) : random() % 300);
        const auto from = subject.model.lower_bound(first), to = subject.model.lower_bound(end);
        const auto expected = static_cast<uint64_t>(std::distance(from, to));
        ASSERT_EQ(Remove(*subject.table, first, end), expected);
        subject.model.erase(from, to);
        break;
      }
      case 4: {
        const uint64_t page = pick_page();
        RetiredFrames retired(&frames_, &reclaimer_);
        const PageTableEntry entry = subject.table->table.Take(PageNumber(page), &retired);
        ASSERT_EQ(entry.present(), subject.model.count(page) == 1);
        if (entry.present()) {
          EXPECT_EQ(entry.frame(), subject.model[page]);
          retired.Add(entry.frame());
          subject.model.erase(page);
        }
        break;
      }
      default: {
        const uint64_t page = pick_page();
        const FrameId frame = random() % 10 == 0 ? frames_.zero_frame() : NewFrame();
        Install(*subject.table, page, frame);
        subject.model[page] = frame;
      }
    }
    if (step % 100 != 0) continue;
    std::map<FrameId, std::set<std::pair<PageTableOwner*, uint64_t>>> mappers;
    for (const Subject& s : subjects) {
      uint64_t resident = 0;
      std::map<uint64_t, FrameId> seen;
      s.table->table.ForEach({PageNumber(0), PageNumber(uint64_t{1} << 36)}, [&](PageNumber page, PageTableEntry e) {
        seen[page.value()] = e.frame();
        return true;
      });
      ASSERT_EQ(seen, s.model);
      for (const auto& [page, frame] : s.model) {
        if (frame == frames_.zero_frame()) continue;
        ++resident;
        mappers[frame].insert({&s.table->owner, page});
      }
      ASSERT_EQ(s.table->table.num_resident(), resident);
      s.table->table.CheckInvariants();
    }
    for (const auto& [frame, expected] : mappers) ASSERT_EQ(MappersOf(frame), expected);
    for (const Subject& s : subjects)
      for (const auto& [page, frame] : s.model)
        if (s.table->table.IsExclusive(PageNumber(page))) ASSERT_EQ(mappers[frame].size(), 1u);
    ASSERT_EQ(NumAllocated(), mappers.size());
  }
  subjects.clear();
  EXPECT_EQ(NumAllocated(), 0u);
}

}  // namespace
}  // namespace remora::mm
