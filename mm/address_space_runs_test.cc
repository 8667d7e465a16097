// Runs of pages that lie side by side in the host's memory: what the translator's extents live on.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "base/large_pages_for_testing.h"
#include "gtest/gtest.h"
#include "mm/address_space.h"
#include "mm/frame_pool.h"
#include "mm/memory_for_testing.h"
#include "mm/page_cache.h"
#include "mm/types.h"
#include "sync/reclaimer.h"

namespace remora::mm {
namespace {

constexpr uint64_t kBlock = FrameReservation::kNumFrames;
constexpr GuestAddr kBase(0x10000000 + 300 * kPageSize);  // not at a multiple of 2 MiB

class AddressSpaceRunsTest : public ::testing::Test {
 protected:
  explicit AddressSpaceRunsTest(uint64_t max_bytes = uint64_t{1} << 30) : memory_(max_bytes) {}

  Ref<AddressSpace> NewSpace(uint64_t num_pages) {
    const Ref<AddressSpace> space = AddressSpace::Create(&memory_.context, memory_.layout);
    EXPECT_TRUE(space->Map(FixedRequest(kBase, num_pages)).ok());
    return space;
  }
  static bool Touch(AddressSpace& space, uint64_t page, uint32_t value = 1) {
    return space.WriteRemote(kBase + page * kPageSize, std::as_bytes(std::span(&value, 1))) == sizeof(value);
  }
  // Faults elsewhere, which let holes be filled.
  static void BringPages(AddressSpace& space, uint64_t num_pages) {
    const GuestAddr at = *space.Map(AnonymousRequest(num_pages));
    const uint32_t value = 1;
    for (uint64_t page = 0; page < num_pages; ++page)
      ASSERT_EQ(space.WriteRemote(at + page * kPageSize, std::as_bytes(std::span(&value, 1))), sizeof value);
  }
  // How many runs the pages [first, end) consist of.
  static uint64_t CountRuns(AddressSpace& space, uint64_t first, uint64_t end, GuestAddr base = kBase) {
    uint64_t runs = 0;
    const std::byte* expected = nullptr;
    for (uint64_t i = first; i < end; ++i) {
      const std::byte* host = space.Translate((base + i * kPageSize).page(), Access::kRead).host_page;
      EXPECT_NE(host, nullptr);
      runs += host != expected;
      expected = host + kPageSize;
    }
    return runs;
  }
  static std::vector<uint64_t> Shuffled(uint64_t num_pages) {
    std::vector<uint64_t> pages(num_pages);
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), std::mt19937(1));
    return pages;
  }
  // Blocks that can be reserved now.
  uint64_t CountFreeBlocks() {
    std::vector<FrameReservation> all;
    while (true) {
      FrameReservation block = memory_.frames.Reserve(FrameId(), {});
      if (block.empty()) return all.size();
      all.push_back(std::move(block));
    }
  }

  MemoryForTesting memory_;
};

TEST_F(AddressSpaceRunsTest, PagesTouchedInAnyOrderAreOneRun) {
  constexpr uint64_t kPages = 5 * kBlock;
  const Ref<AddressSpace> space = NewSpace(kPages);
  for (const uint64_t page : Shuffled(kPages)) ASSERT_TRUE(Touch(*space, page));
  EXPECT_EQ(CountRuns(*space, 0, kPages), 1u);
}

// As an array does that realloc(3) makes twice as large each time, which has to go elsewhere.
TEST_F(AddressSpaceRunsTest, WhatMovesToGrowStaysOneRun) {
  const Ref<AddressSpace> space = AddressSpace::Create(&memory_.context, memory_.layout);
  uint64_t pages = 33;
  ASSERT_TRUE(space->Map(AnonymousRequest(1)).ok());  // behind it there is no room
  GuestAddr at = *space->Map(AnonymousRequest(pages));
  const auto poke = [&](uint64_t page, uint64_t value) {
    ASSERT_EQ(space->WriteRemote(at + page * kPageSize, std::as_bytes(std::span(&value, 1))), sizeof value);
  };
  for (uint64_t i = 0; i < pages; ++i) poke(i, i);
  while (pages < 4 * kBlock) {
    const uint64_t more = 2 * pages - 1;
    const ErrnoOr<GuestAddr> moved = space->Remap({.old_address = at,
                                                   .old_length_bytes = pages * kPageSize,
                                                   .new_length_bytes = more * kPageSize,
                                                   .may_move = true});
    ASSERT_TRUE(moved.ok());
    ASSERT_NE(*moved, at);
    EXPECT_EQ(space->Translate(at.page(), Access::kRead).fault, FaultKind::kUnmapped);
    at = *moved;
    for (uint64_t i = pages; i < more; ++i) poke(i, i);
    pages = more;
    // Behind 2 MiB they have to find blocks side by side; what has more than 4 MiB is not copied any more.
    EXPECT_LE(CountRuns(*space, 0, pages, at), pages <= kBlock + 1 ? 1u : 3u) << pages;
    space->CheckInvariants();
  }
  for (uint64_t i = 0; i < pages; ++i) {
    uint64_t value = 0;
    ASSERT_EQ(space->ReadRemote(at + i * kPageSize, std::as_writable_bytes(std::span(&value, 1))), sizeof value);
    EXPECT_EQ(value, i);
  }
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), space->num_resident_pages());
}

TEST_F(AddressSpaceRunsTest, WhatGrowsByLittleOrIsSharedMovesAsItIs) {
  const Ref<AddressSpace> space = AddressSpace::Create(&memory_.context, memory_.layout);
  constexpr uint64_t kPages = 8;
  ASSERT_TRUE(space->Map(AnonymousRequest(1)).ok());
  GuestAddr at = *space->Map(AnonymousRequest(kPages));
  const uint32_t value = 7;
  ASSERT_EQ(space->WriteRemote(at, std::as_bytes(std::span(&value, 1))), sizeof value);
  const auto frame = [&] { return space->Translate(at.page(), Access::kRead).frame; };
  const FrameId first = frame();
  const auto grow = [&](uint64_t from, uint64_t to) {
    at = *space->Remap({.old_address = at,
                        .old_length_bytes = from * kPageSize,
                        .new_length_bytes = to * kPageSize,
                        .may_move = true});
  };
  grow(kPages, kPages + 1);
  EXPECT_EQ(frame(), first);
  const Ref<AddressSpace> child = *space->Fork();
  grow(kPages + 1, 2 * kPages);
  EXPECT_EQ(frame(), first);
  // Another worker may write there yet.
  AddressSpace::Runner other;
  std::atomic<uint32_t> interrupt{0};
  other.interrupt = &interrupt;
  std::thread([&] { space->RegisterRunner(&other); }).join();
  other.where = AddressSpace::Runner::Where::kInGuest;
  grow(2 * kPages, 4 * kPages);
  EXPECT_EQ(frame(), first);
  // Or in a system call, to where it has found the page before.
  other.where = AddressSpace::Runner::Where::kOutside;
  grow(4 * kPages, 8 * kPages);
  EXPECT_EQ(frame(), first);
  space->UnregisterRunner(&other);
}

// As a heap does that begins some MiB behind its program's data, when other mappings have their places already.
TEST_F(AddressSpaceRunsTest, WhatBeginsNearAnotherMappingAndGrowsIsOneRun) {
  constexpr uint64_t kFirst = 16, kPages = 2 * kBlock;
  for (uint64_t leaves = 8; leaves < 13; ++leaves) {
    SCOPED_TRACE(leaves);
    const Ref<AddressSpace> space = NewSpace(1);
    ASSERT_TRUE(Touch(*space, 0));
    for (uint64_t other = 1; other <= 4; ++other) {
      const uint64_t page = other * 1000 * kBlock;
      ASSERT_TRUE(space->Map(FixedRequest(kBase + page * kPageSize, 1)).ok());
      ASSERT_TRUE(Touch(*space, page));
    }
    const uint64_t heap = leaves * kBlock;
    ASSERT_TRUE(space->Map(FixedRequest(kBase + heap * kPageSize, kFirst)).ok());
    ASSERT_TRUE(Touch(*space, heap));
    ASSERT_TRUE(space->Map(FixedRequest(kBase + (heap + kFirst) * kPageSize, kPages - kFirst)).ok());
    for (uint64_t page = 0; page < kPages; ++page) ASSERT_TRUE(Touch(*space, heap + page));
    EXPECT_EQ(CountRuns(*space, heap, heap + kPages), 1u);
  }
}

TEST_F(AddressSpaceRunsTest, AStackThatGrowsDownIsOneRun) {
  const Ref<AddressSpace> space = AddressSpace::Create(&memory_.context, memory_.layout);
  constexpr uint64_t kPages = 2 * kBlock;
  MapRequest stack = FixedRequest(kBase + (kPages - 1) * kPageSize, 1);
  stack.grows_down = true;
  ASSERT_TRUE(space->Map(stack).ok());
  for (uint64_t page = kPages; page-- > 0;) ASSERT_TRUE(Touch(*space, page));
  EXPECT_EQ(CountRuns(*space, 0, kPages), 1u);
}

TEST_F(AddressSpaceRunsTest, PagesThatWereReadFirstJoinTheRun) {
  const Ref<AddressSpace> space = NewSpace(64);
  for (uint64_t page = 0; page < 64; ++page)
    EXPECT_NE(space->Translate((kBase + page * kPageSize).page(), Access::kRead).host_page, nullptr);
  EXPECT_EQ(space->num_resident_pages(), 0u);
  for (const uint64_t page : Shuffled(64)) ASSERT_TRUE(Touch(*space, page));
  EXPECT_EQ(CountRuns(*space, 0, 64), 1u);
}

TEST_F(AddressSpaceRunsTest, WhatFillsFromOneEndTakesFewFaults) {
  constexpr uint64_t kPages = 4 * kBlock;
  const Ref<AddressSpace> space = NewSpace(kPages);
  uint64_t faults = 0, told = 0;  // pages below `told` are known from runs that faults told of
  for (uint64_t page = 0; page < kPages; ++page) {
    if (page < told) continue;
    const TlbSource::Translation answer = space->Translate((kBase + page * kPageSize).page(), Access::kWrite);
    ASSERT_NE(answer.host_page, nullptr);
    EXPECT_TRUE(answer.run.empty() || answer.run.Contains((kBase + page * kPageSize).page()));
    told = answer.run.empty() ? page + 1 : answer.run.end - kBase.page();
    ++faults;
  }
  EXPECT_LT(faults, 60u);
  EXPECT_EQ(space->num_resident_pages(), kPages);
  EXPECT_EQ(CountRuns(*space, 0, kPages), 1u);
  space->CheckInvariants();
}

TEST_F(AddressSpaceRunsTest, WhatIsFullBecomesALargePageOfTheHost) {
  const Ref<AddressSpace> space = NewSpace(2 * kBlock);  // of which one whole leaf
  for (uint64_t page = 0; page < 2 * kBlock; ++page) ASSERT_TRUE(Touch(*space, page));
  const std::byte* const host = memory_.frames.Data(memory_.frames.zero_frame());
  if (HostGivesLargePages()) EXPECT_GE(BytesInLargePages(host), kBlock * kPageSize);
  for (uint64_t page = 0; page < 2 * kBlock; ++page) {
    uint32_t value = 0;
    space->ReadRemote(kBase + page * kPageSize, std::as_writable_bytes(std::span(&value, 1)));
    EXPECT_EQ(value, 1u) << page;
  }
}

// Each third page is left out until more than half of all are there; the fault that fills the holes tells of the whole.
TEST_F(AddressSpaceRunsTest, WhatIsHalfFullKeepsNoHoles) {
  const Ref<AddressSpace> space = NewSpace(3 * kBlock);
  const uint64_t leaf = kBlock - kBase.page().value() % kBlock;
  ASSERT_TRUE(space->SetPageByPage(kBase, 3 * kBlock * kPageSize, true).ok());
  for (uint64_t page = 0; page < kBlock; ++page)
    if (page % 3 != 0) ASSERT_TRUE(Touch(*space, leaf + page));
  const uint64_t before = space->num_resident_pages();
  ASSERT_TRUE(space->SetPageByPage(kBase, 3 * kBlock * kPageSize, false).ok());
  const PageNumber first = (kBase + leaf * kPageSize).page();
  const TlbSource::Translation answer = space->Translate(first + 300, Access::kWrite);
  EXPECT_EQ(answer.run, (PageRange{first, first + kBlock}));
  EXPECT_EQ(space->num_resident_pages(), before + (kBlock + 2) / 3);
  for (uint64_t page = 0; page < kBlock; ++page) {
    uint32_t value = 7;
    space->ReadRemote(kBase + (leaf + page) * kPageSize, std::as_writable_bytes(std::span(&value, 1)));
    EXPECT_EQ(value, page % 3 != 0 ? 1u : 0u) << page;
  }
  space->CheckInvariants();
}

// As a collector's heap does that takes pieces of address space from above and fills each from below.
TEST_F(AddressSpaceRunsTest, AHoleBeforeWhatIsInUseIsFilledIfThatIsAsLong) {
  const Ref<AddressSpace> space = NewSpace(4 * kBlock);
  const PageNumber end = kBase.page() + 4 * kBlock;
  for (uint64_t page = 3 * kBlock; page < 4 * kBlock; ++page) ASSERT_TRUE(Touch(*space, page));
  const uint64_t before = space->num_resident_pages();
  EXPECT_LE(before, kBlock + 32);
  // 212 pages of the leaf are below: what is touched there is in another one than what is in use.
  const PageNumber first = kBase.page() + (3 * kBlock - 400);
  const TlbSource::Translation answer = space->Translate(first, Access::kWrite);
  EXPECT_LE(answer.run.first, first);
  EXPECT_GE(answer.run.end, kBase.page() + 3 * kBlock - 32);  // the first of those has brought some along
  const uint64_t filled = end - answer.run.first;
  EXPECT_GE(filled, kBlock + 400);
  EXPECT_LE(filled, kBlock + 400 + 32);
  EXPECT_EQ(space->num_resident_pages(), filled);
  EXPECT_EQ(CountRuns(*space, 3 * kBlock - 400, 4 * kBlock), 1u);
  EXPECT_EQ(space->num_resident_pages(), filled);
  for (uint64_t page = 3 * kBlock - 400; page < 4 * kBlock; ++page) {
    uint32_t value = 7;
    space->ReadRemote(kBase + page * kPageSize, std::as_writable_bytes(std::span(&value, 1)));
    EXPECT_EQ(value, page >= 3 * kBlock ? 1u : 0u) << page;
  }
  space->CheckInvariants();
}

TEST_F(AddressSpaceRunsTest, SoIsAHoleBehindIt) {
  const Ref<AddressSpace> space = NewSpace(4 * kBlock);
  for (uint64_t page = 0; page < kBlock; ++page) ASSERT_TRUE(Touch(*space, page));
  const TlbSource::Translation answer = space->Translate(kBase.page() + kBlock + 400, Access::kWrite);
  EXPECT_LE(answer.run.first, kBase.page() + kBlock + 212);  // half of those 2 MiB were in use
  EXPECT_GT(answer.run.end, kBase.page() + kBlock + 400);
  const uint64_t filled = space->num_resident_pages();
  EXPECT_EQ(filled, answer.run.end - kBase.page());
  EXPECT_EQ(CountRuns(*space, 0, kBlock + 400), 1u);
  EXPECT_EQ(space->num_resident_pages(), filled);
  space->CheckInvariants();
}

TEST_F(AddressSpaceRunsTest, AHoleStaysIfItIsLongerThanWhatIsBehindItOrGoesOnElsewhere) {
  const Ref<AddressSpace> space = NewSpace(4 * kBlock);
  for (uint64_t page = 3 * kBlock; page < 3 * kBlock + 300; ++page) ASSERT_TRUE(Touch(*space, page));
  BringPages(*space, kBlock);
  const uint64_t before = space->num_resident_pages();
  ASSERT_TRUE(Touch(*space, 3 * kBlock - 400));
  EXPECT_LE(space->num_resident_pages(), before + 32);
  // Another mapping's pages, which lie right behind this one's, do not count.
  const Ref<AddressSpace> two = NewSpace(2 * kBlock);
  ASSERT_TRUE(two->Map(FixedRequest(kBase + kBlock * kPageSize, kBlock, Protection(1))).ok());
  ASSERT_TRUE(two->Protect(kBase + kBlock * kPageSize, kBlock * kPageSize, Protection(3)).ok());
  for (uint64_t page = kBlock - 64; page < kBlock + 100; ++page) ASSERT_TRUE(Touch(*two, page));
  ASSERT_TRUE(two->Protect(kBase + kBlock * kPageSize, kBlock * kPageSize, Protection(1)).ok());
  const uint64_t of_other = two->num_resident_pages();
  ASSERT_TRUE(Touch(*two, kBlock - 110));
  EXPECT_LE(two->num_resident_pages(), of_other + 64);
}

TEST_F(AddressSpaceRunsTest, SmallHolesBetweenFewPagesStay) {
  for (const uint64_t in_a_row : {127, 128}) {
    const Ref<AddressSpace> space = NewSpace(4 * kBlock);
    constexpr uint64_t kFirst = 2 * kBlock;
    ASSERT_TRUE(space->SetPageByPage(kBase, 4 * kBlock * kPageSize, true).ok());
    for (uint64_t page = kFirst; page < kFirst + in_a_row; ++page) ASSERT_TRUE(Touch(*space, page));
    ASSERT_EQ(space->num_resident_pages(), in_a_row);
    ASSERT_TRUE(space->SetPageByPage(kBase, 4 * kBlock * kPageSize, false).ok());
    ASSERT_TRUE(Touch(*space, kFirst - 100));
    if (in_a_row < 128)
      EXPECT_LE(space->num_resident_pages(), in_a_row + 64);
    else
      EXPECT_GE(space->num_resident_pages(), in_a_row + 100);
  }
}

// A copy of what is shared with a relative will lie elsewhere.
TEST_F(AddressSpaceRunsTest, AHoleBeforeWhatIsSharedStays) {
  const Ref<AddressSpace> space = NewSpace(3 * kBlock);
  for (uint64_t page = 2 * kBlock; page < 3 * kBlock; ++page) ASSERT_TRUE(Touch(*space, page));
  const uint64_t before = space->num_resident_pages();
  {
    const Ref<AddressSpace> child = *space->Fork();
    BringPages(*child, kBlock);
    const uint64_t of_child = child->num_resident_pages();
    ASSERT_TRUE(Touch(*child, 2 * kBlock - 320));  // in another leaf
    EXPECT_LE(child->num_resident_pages(), of_child + 64);
    child->CheckInvariants();
  }
  memory_.Settle();
  ASSERT_TRUE(Touch(*space, 2 * kBlock - 200));
  EXPECT_GE(space->num_resident_pages(), before + 180);
  space->CheckInvariants();
}

// One page of a leaf is this space's alone again, after a fork; the leaf behind is not, or what is above that.
TEST_F(AddressSpaceRunsTest, ARowToldForWritingEndsWhereALeafIsShared) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  for (const GuestAddr boundary : {GuestAddr(kGiB / 2), GuestAddr(kGiB)}) {
    for (const bool up : {true, false}) {
      const Ref<AddressSpace> space = AddressSpace::Create(&memory_.context, memory_.layout);
      const GuestAddr at = boundary - kBlock * kPageSize;
      ASSERT_TRUE(space->Map(FixedRequest(at, 2 * kBlock)).ok());
      const uint32_t value = 1;
      for (uint64_t page = 0; page < 2 * kBlock; ++page)
        ASSERT_EQ(space->WriteRemote(at + page * kPageSize, std::as_bytes(std::span(&value, 1))), sizeof value);
      const Ref<AddressSpace> child = *space->Fork();
      const PageNumber page = up ? boundary.page() - 1 : boundary.page();
      ASSERT_NE(child->Translate(page, Access::kWrite).host_page, nullptr);
      memory_.Settle();
      const TlbSource::Translation own = space->Translate(page, Access::kWrite);
      ASSERT_NE(own.host_page, nullptr);
      EXPECT_TRUE(own.writable);
      EXPECT_EQ(up ? own.run.end : own.run.first, boundary.page());
      EXPECT_TRUE(own.run.Contains(page));
      space->CheckInvariants();
    }
  }
}

TEST_F(AddressSpaceRunsTest, PagesThatWereOnlyReadAreNoRow) {
  const Ref<AddressSpace> space = NewSpace(4 * kBlock);
  BringPages(*space, kBlock);
  for (uint64_t page = 2 * kBlock; page < 3 * kBlock; ++page)
    ASSERT_NE(space->Translate(kBase.page() + page, Access::kRead).host_page, nullptr);
  const uint64_t before = space->num_resident_pages();
  ASSERT_TRUE(Touch(*space, 2 * kBlock - 100));
  EXPECT_LE(space->num_resident_pages(), before + 32);
  space->CheckInvariants();
}

TEST_F(AddressSpaceRunsTest, HolesOfMoreThan2MibStay) {
  const Ref<AddressSpace> space = NewSpace(6 * kBlock);
  for (uint64_t page = 3 * kBlock; page < 6 * kBlock; ++page) ASSERT_TRUE(Touch(*space, page));
  const uint64_t before = space->num_resident_pages();
  ASSERT_TRUE(Touch(*space, 2 * kBlock - 100));
  EXPECT_LE(space->num_resident_pages(), before + 32);
}

// What was filled looks in use to the next one: one page in each 2 MiB beside something dense must not fill them all.
TEST_F(AddressSpaceRunsTest, HolesAreGivenNoMoreThanFaultsHaveBrought) {
  for (const bool up : {true, false}) {
    constexpr uint64_t kBlocks = 64;
    const Ref<AddressSpace> space = NewSpace(kBlocks * kBlock);
    const auto place = [&](uint64_t page) { return up ? page : kBlocks * kBlock - 1 - page; };
    for (uint64_t page = 0; page < kBlock; ++page) ASSERT_TRUE(Touch(*space, place(page)));
    for (uint64_t block = 2; block < kBlocks; ++block) ASSERT_TRUE(Touch(*space, place(block * kBlock - 1)));
    EXPECT_LE(space->num_resident_pages(), 2 * (2 * kBlock + (kBlocks - 1) * 64));
    space->CheckInvariants();
  }
}

TEST_F(AddressSpaceRunsTest, WhatIsTouchedHereAndThereStaysSmall) {
  const Ref<AddressSpace> space = NewSpace(64);
  for (uint64_t page = 0; page < 64; page += 16) ASSERT_TRUE(Touch(*space, page));
  EXPECT_LE(space->num_resident_pages(), 4u * 4);
  EXPECT_GE(space->num_resident_pages(), 4u);
}

TEST_F(AddressSpaceRunsTest, PageByPageIfAsked) {
  const Ref<AddressSpace> space = NewSpace(2048);
  EXPECT_EQ(space->SetPageByPage(kBase, 2049 * kPageSize, true).error(), Errno(ENOMEM));
  ASSERT_TRUE(space->SetPageByPage(kBase + 1024 * kPageSize, 1024 * kPageSize, false).ok());
  for (uint64_t page = 0; page < 1024; page += 2) ASSERT_TRUE(Touch(*space, page));
  EXPECT_EQ(space->num_resident_pages(), 512u);
  EXPECT_NE(space->Translate(kBase.page() + 1, Access::kRead).host_page, nullptr);
  EXPECT_EQ(space->num_resident_pages(), 512u);
  ASSERT_TRUE(Touch(*space, 1500));
  EXPECT_GT(space->num_resident_pages(), 513u);
}

TEST_F(AddressSpaceRunsTest, PagesMappedAroundAreZeroAndStayWithinTheMapping) {
  const Ref<AddressSpace> space = NewSpace(256);
  for (uint64_t page = 0; page < 256; ++page) ASSERT_TRUE(Touch(*space, page, ~0u));
  ASSERT_TRUE(space->Unmap(kBase, 256 * kPageSize).ok());
  memory_.Settle();
  // The frames have been used before.
  ASSERT_TRUE(space->Map(FixedRequest(kBase, 100)).ok());
  for (uint64_t page = 50; page < 100; ++page) {
    uint32_t value = 0;
    if (page % 2 == 0) ASSERT_TRUE(Touch(*space, page));
    ASSERT_EQ(space->ReadRemote(kBase + page * kPageSize, std::as_writable_bytes(std::span(&value, 1))), sizeof(value));
    EXPECT_EQ(value, page % 2 == 0 ? 1u : 0u) << page;
  }
  EXPECT_LE(space->num_resident_pages(), 100u);
  space->CheckInvariants();
}

TEST_F(AddressSpaceRunsTest, AMissOnAPageThatIsThereTellsOfTheRunAround) {
  const Ref<AddressSpace> space = NewSpace(100);
  for (uint64_t page = 0; page < 100; ++page) ASSERT_TRUE(Touch(*space, page));
  // As far as misses look.
  const PageRange all = {kBase.page(), kBase.page() + 37};
  EXPECT_EQ(space->Translate(kBase.page() + 5, Access::kRead).run, all);
  EXPECT_EQ(space->Translate(kBase.page() + 5, Access::kWrite).run, all);
  // After a fork nothing may be written where it is; a copy lies elsewhere.
  const Ref<AddressSpace> child = *space->Fork();
  const TlbSource::Translation read = space->Translate(kBase.page() + 5, Access::kRead);
  EXPECT_FALSE(read.writable);
  EXPECT_EQ(read.run, all);
  ASSERT_TRUE(Touch(*child, 7));
  EXPECT_EQ(space->Translate(kBase.page() + 5, Access::kRead).run, all);
  EXPECT_FALSE(child->Translate(kBase.page() + 5, Access::kRead).run.Contains(kBase.page() + 7));
  EXPECT_EQ(child->Translate(kBase.page() + 7, Access::kWrite).run, (PageRange{kBase.page() + 7, kBase.page() + 8}));
}

TEST_F(AddressSpaceRunsTest, SpacesThatGrowSideBySideDoNotCutEachOther) {
  constexpr uint64_t kPages = 12 * kBlock;
  std::vector<Ref<AddressSpace>> spaces;
  for (int i = 0; i < 3; ++i) spaces.push_back(NewSpace(kPages));
  for (uint64_t page = 0; page < kPages; ++page)
    for (const Ref<AddressSpace>& space : spaces) ASSERT_TRUE(Touch(*space, page));
  for (const Ref<AddressSpace>& space : spaces) EXPECT_EQ(CountRuns(*space, 0, kPages), 1u);
}

TEST_F(AddressSpaceRunsTest, AfterAForkCopiesAreOneRunAgain) {
  constexpr uint64_t kPages = 2 * kBlock;
  const Ref<AddressSpace> parent = NewSpace(kPages);
  for (uint64_t page = 0; page < kPages; ++page) ASSERT_TRUE(Touch(*parent, page));
  const Ref<AddressSpace> child = *parent->Fork();
  for (const uint64_t page : Shuffled(kPages)) ASSERT_TRUE(Touch(page % 2 == 0 ? *parent : *child, page, 2));
  for (const uint64_t page : Shuffled(kPages)) ASSERT_TRUE(Touch(page % 2 == 0 ? *child : *parent, page, 3));
  for (const uint64_t page : Shuffled(kPages)) {
    ASSERT_TRUE(Touch(*parent, page, 4));
    ASSERT_TRUE(Touch(*child, page, 5));
  }
  memory_.Settle();
  const Ref<AddressSpace> grandchild = *child->Fork();
  for (const uint64_t page : Shuffled(kPages)) ASSERT_TRUE(Touch(*grandchild, page, 6));
  EXPECT_EQ(CountRuns(*grandchild, 0, kPages), 1u);
  for (uint64_t page = 0; page < kPages; ++page) {
    uint32_t value = 0;
    ASSERT_EQ(grandchild->ReadRemote(kBase + page * kPageSize, std::as_writable_bytes(std::span(&value, 1))), 4u);
    ASSERT_EQ(value, 6u);
  }
  grandchild->CheckInvariants();
}

TEST_F(AddressSpaceRunsTest, ADiscardedPageComesBackToItsPlace) {
  const Ref<AddressSpace> space = NewSpace(64);
  for (uint64_t page = 0; page < 64; ++page) ASSERT_TRUE(Touch(*space, page));
  ASSERT_TRUE(space->DiscardPages(kBase + 10 * kPageSize, 5 * kPageSize).ok());
  memory_.Settle();
  for (const uint64_t page : {13, 10, 12, 14, 11}) ASSERT_TRUE(Touch(*space, static_cast<uint64_t>(page)));
  EXPECT_EQ(CountRuns(*space, 0, 64), 1u);
}

TEST_F(AddressSpaceRunsTest, APageWhoseFrameIsInItsGracePeriodGoesElsewhereAndNoneIsLost) {
  const Ref<AddressSpace> space = NewSpace(64);
  for (uint64_t page = 0; page < 64; ++page) ASSERT_TRUE(Touch(*space, page));
  {
    sync::Reclaimer::ReadSection reader(&memory_.reclaimer);  // holds the frame
    ASSERT_TRUE(space->DiscardPages(kBase + 10 * kPageSize, kPageSize).ok());
    ASSERT_TRUE(Touch(*space, 10));
  }
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), 64u);
  EXPECT_LE(CountRuns(*space, 0, 64), 3u);
}

TEST_F(AddressSpaceRunsTest, BlocksComeBackWithTheirLastFrame) {
  const uint64_t before = CountFreeBlocks();
  {
    const Ref<AddressSpace> space = NewSpace(10 * kBlock);
    for (uint64_t page = 0; page < 10 * kBlock; page += 100) ASSERT_TRUE(Touch(*space, page));
    EXPECT_LE(CountFreeBlocks(), before - 10);
    ASSERT_TRUE(space->Unmap(kBase, 5 * kBlock * kPageSize).ok());
    memory_.Settle();
    EXPECT_GE(CountFreeBlocks(), before - 6);
  }
  memory_.Settle();
  EXPECT_EQ(CountFreeBlocks(), before);
}

TEST_F(AddressSpaceRunsTest, PagesOfAFileAreOneRunHoweverTheyWereRead) {
  constexpr uint64_t kPages = 3 * kBlock;
  const Ref<FilePages> file = CreateSharedAnonymous(&memory_.context, kPages * kPageSize);
  const Ref<AddressSpace> space = AddressSpace::Create(&memory_.context, memory_.layout);
  MapRequest request = FixedRequest(kBase, kPages);
  request.shared = true;
  request.object = file;
  ASSERT_TRUE(space->Map(request).ok());
  for (const uint64_t page : Shuffled(kPages)) ASSERT_TRUE(Touch(*space, page));
  // The parts of 2 MiB were met in any order, so only within them.
  EXPECT_LE(CountRuns(*space, 0, kPages), 3u);
  for (uint64_t part = 0; part < 3; ++part) EXPECT_EQ(CountRuns(*space, part * kBlock, (part + 1) * kBlock), 1u);
}

TEST_F(AddressSpaceRunsTest, SmallFilesReserveNothing) {
  const uint64_t before = CountFreeBlocks();
  std::vector<Ref<FilePages>> files;
  for (int i = 0; i < 100; ++i) {
    files.push_back(CreateSharedAnonymous(&memory_.context, 4 * kPageSize));
    for (uint64_t page = 0; page < 4; ++page) memory_.frames.Release(*files.back()->GetFrame(page, true));
  }
  EXPECT_GE(CountFreeBlocks(), before - 1);
}

class UsedMemoryRunsTest : public AddressSpaceRunsTest {
 protected:
  UsedMemoryRunsTest() : AddressSpaceRunsTest(16 * kBlock * kPageSize) {}
};

TEST_F(UsedMemoryRunsTest, WhatFillsAHoleIsZeroThoughItsFramesWereUsedBefore) {
  {
    const Ref<AddressSpace> before = NewSpace(15 * kBlock);
    for (uint64_t page = 0; page < 15 * kBlock; ++page) ASSERT_TRUE(Touch(*before, page, ~0u));
  }
  memory_.Settle();
  const Ref<AddressSpace> space = NewSpace(4 * kBlock);
  for (uint64_t page = 3 * kBlock; page < 4 * kBlock; ++page) ASSERT_TRUE(Touch(*space, page));
  ASSERT_TRUE(Touch(*space, 3 * kBlock - 400));
  ASSERT_GE(space->num_resident_pages(), kBlock + 400);
  for (uint64_t page = 3 * kBlock - 399; page < 3 * kBlock; ++page) {
    uint32_t value = 7;
    space->ReadRemote(kBase + page * kPageSize, std::as_writable_bytes(std::span(&value, 1)));
    EXPECT_EQ(value, 0u) << page;
  }
}

class SmallMemoryRunsTest : public AddressSpaceRunsTest {
 protected:
  SmallMemoryRunsTest() : AddressSpaceRunsTest(4 * kBlock * kPageSize) {}
};

TEST_F(SmallMemoryRunsTest, HolesStayWhereMemoryIsNotPlenty) {
  const Ref<AddressSpace> space = NewSpace(2 * kBlock);
  for (uint64_t page = kBlock; page < 2 * kBlock; ++page) ASSERT_TRUE(Touch(*space, page));
  const uint64_t before = space->num_resident_pages();
  ASSERT_TRUE(Touch(*space, kBlock - 100));
  EXPECT_EQ(space->num_resident_pages(), before + 1);
}

TEST_F(SmallMemoryRunsTest, ReservingNeverMakesMemoryScarce) {
  // Sixteen leaves want a block each, of four.
  const Ref<AddressSpace> space = NewSpace(16 * kBlock);
  uint64_t touched = 0;
  for (bool full = false; !full;)
    for (uint64_t leaf = 0; leaf < 16 && !full; ++leaf, touched += !full)
      full = !Touch(*space, leaf * kBlock + touched / 16);
  // A quarter may have gone to pages that were not asked for.
  EXPECT_GE(touched, 3 * kBlock - 1);
  EXPECT_FALSE(Touch(*space, 16 * kBlock - 1));
  EXPECT_EQ(space->num_resident_pages(), 4 * kBlock - 1);
  space->CheckInvariants();
  ASSERT_TRUE(space->DiscardPages(kBase, kPageSize).ok());
  memory_.Settle();
  EXPECT_TRUE(Touch(*space, 16 * kBlock - 1));
}

}  // namespace
}  // namespace remora::mm
