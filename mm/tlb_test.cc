#include "mm/tlb.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "mm/types.h"

namespace remora::mm {
namespace {

constexpr PageRange Pages(uint64_t first, uint64_t end) { return {PageNumber(first), PageNumber(end)}; }

// A page table as a map, with the whole history of invalidations. "Host memory" is never touched, only compared.
class FakeSource final : public TlbSource {
 public:
  struct Page {
    uint32_t frame;
    bool writable;
    bool executable;
  };

  Translation Translate(PageNumber page, Access access) override {
    ++translations;
    if (copy_on_write.erase(page.value()) != 0 && access == Access::kWrite) Map(page.value(), next_frame++, true, true);
    const auto it = pages.find(page.value());
    if (it == pages.end()) return {.fault = FaultKind::kUnmapped};
    const Page& entry = it->second;
    if ((access == Access::kWrite && !entry.writable) || (access == Access::kFetch && !entry.executable))
      return {.fault = FaultKind::kProtection};
    return {.host_page = HostOf(entry.frame),
            .frame = FrameId(entry.frame),
            .writable = entry.writable,
            .run = tells_runs ? RunAround(page.value()) : PageRange()};
  }
  // At most three pages each way.
  PageRange RunAround(uint64_t page) const {
    const Page& entry = pages.at(page);
    const auto continues = [&](uint64_t other) {
      const auto it = pages.find(other);
      return it != pages.end() && it->second.frame - entry.frame == static_cast<uint32_t>(other - page) &&
             it->second.writable == entry.writable && !copy_on_write.contains(other);
    };
    uint64_t first = page, end = page + 1;
    while (page - first < 3 && continues(first - 1)) --first;
    while (end - page < 4 && continues(end)) ++end;
    return Pages(first, end);
  }
  uint64_t generation() const override { return 1 + history_.size(); }
  uint64_t ReplayInvalidations(uint64_t since, Tlb* tlb) override {
    ++replays;
    if (generation() - since > ring_size) {
      tlb->Flush();
    } else {
      for (uint64_t g = since; g < generation(); ++g) {
        const auto& [range, writes_only] = history_[g - 1];
        if (writes_only)
          tlb->InvalidateWriteRights(range);
        else
          tlb->Invalidate(range);
      }
    }
    return generation();
  }
  Translation PrepareCode(PageNumber page) override { return Translate(page, Access::kFetch); }

  static std::byte* HostOf(uint32_t frame) {
    return reinterpret_cast<std::byte*>(uint64_t{0x100000000} + frame * kPageSize);
  }

  void Map(uint64_t page, uint32_t frame, bool writable, bool executable) {
    if (pages.contains(page)) history_.push_back({Pages(page, page + 1), false});
    pages[page] = {frame, writable, executable};
  }
  void Unmap(PageRange range) {
    for (auto it = pages.lower_bound(range.first.value()); it != pages.end() && it->first < range.end.value();)
      it = pages.erase(it);
    history_.push_back({range, false});
  }
  void WriteProtect(PageRange range) {
    for (auto it = pages.lower_bound(range.first.value()); it != pages.end() && it->first < range.end.value(); ++it)
      it->second.writable = false;
    history_.push_back({range, true});
  }

  std::map<uint64_t, Page> pages;
  std::map<uint64_t, bool> copy_on_write;  // a write to these gives them a new frame first
  bool tells_runs = false;
  uint32_t next_frame = 1000000;
  uint64_t ring_size = 64;
  int translations = 0;
  int replays = 0;

 private:
  struct Invalidation {
    PageRange range;
    bool writes_only;
  };
  std::vector<Invalidation> history_;
};

class TlbTest : public testing::Test {
 protected:
  TlbTest() { tlb_->Bind(&source_, 1); }
  std::byte* Read(uint64_t addr) { return tlb_->Lookup<Access::kRead>(GuestAddr(addr)); }
  std::byte* Write(uint64_t addr) { return tlb_->Lookup<Access::kWrite>(GuestAddr(addr)); }
  std::byte* Fetch(uint64_t addr) { return tlb_->Lookup<Access::kFetch>(GuestAddr(addr)); }

  FakeSource source_;
  std::unique_ptr<Tlb> tlb_ = std::make_unique<Tlb>();
};

TEST_F(TlbTest, AsksTheSourceOnce) {
  source_.Map(5, 7, true, false);
  EXPECT_EQ(tlb_->Probe<Access::kRead>(GuestAddr(0x5123)), nullptr);
  EXPECT_EQ(Read(0x5123), FakeSource::HostOf(7) + 0x123);
  EXPECT_EQ(tlb_->Probe<Access::kRead>(GuestAddr(0x5fff)), FakeSource::HostOf(7) + 0xfff);
  EXPECT_EQ(Read(0x5000), FakeSource::HostOf(7));
  EXPECT_EQ(source_.translations, 1);
}

TEST_F(TlbTest, TellsWhyAnAccessFailed) {
  source_.Map(5, 7, false, false);
  EXPECT_EQ(Read(0x9010), nullptr);
  EXPECT_EQ(tlb_->last_fault().kind, FaultKind::kUnmapped);
  EXPECT_EQ(tlb_->last_fault().addr, GuestAddr(0x9010));
  EXPECT_EQ(Write(0x5008), nullptr);
  EXPECT_EQ(tlb_->last_fault().kind, FaultKind::kProtection);
  EXPECT_EQ(tlb_->last_fault().access, Access::kWrite);
}

TEST_F(TlbTest, RightsAreSeparate) {
  source_.Map(5, 7, false, true);
  EXPECT_NE(Read(0x5000), nullptr);
  EXPECT_EQ(tlb_->Probe<Access::kWrite>(GuestAddr(0x5000)), nullptr);
  EXPECT_EQ(tlb_->Probe<Access::kFetch>(GuestAddr(0x5000)), nullptr);
  EXPECT_FALSE(tlb_->FetchFrame(PageNumber(5)).valid());
  EXPECT_NE(Fetch(0x5000), nullptr);
  EXPECT_EQ(tlb_->FetchFrame(PageNumber(5)), FrameId(7));
}

TEST_F(TlbTest, AReadRecordsTheWriteRightThatTheSourceOffers) {
  source_.Map(5, 7, true, false);
  Read(0x5000);
  EXPECT_NE(tlb_->Probe<Access::kWrite>(GuestAddr(0x5000)), nullptr);
}

// Pages whose numbers differ by a multiple of the sets' square share a set.
uint64_t Colliding(uint64_t i) { return (i + 1) * Tlb::kSets * Tlb::kSets << kPageShift; }

constexpr uint64_t kMoreThanWays = Tlb::kWays + 2;

TEST_F(TlbTest, AHitInAnotherWayComesToTheFront) {
  for (uint64_t i = 0; i < Tlb::kWays; ++i) source_.Map(Colliding(i) >> kPageShift, 10 + i, false, false);
  for (uint64_t i = 0; i < Tlb::kWays; ++i) Read(Colliding(i));
  EXPECT_EQ(tlb_->Probe<Access::kRead>(GuestAddr(Colliding(0))), nullptr);
  EXPECT_EQ(Read(Colliding(0)), FakeSource::HostOf(10));
  EXPECT_EQ(tlb_->Probe<Access::kRead>(GuestAddr(Colliding(0))), FakeSource::HostOf(10));
  EXPECT_EQ(source_.translations, static_cast<int>(Tlb::kWays));
  EXPECT_EQ(tlb_->counters().way_hits, 1u);
  EXPECT_EQ(tlb_->counters().misses, Tlb::kWays);
  tlb_->CheckInvariants();
}

TEST_F(TlbTest, TheLeastRecentlyUsedWayIsDisplaced) {
  for (uint64_t i = 0; i <= Tlb::kWays; ++i) source_.Map(Colliding(i) >> kPageShift, 10 + i, false, false);
  for (uint64_t i = 0; i < Tlb::kWays; ++i) Read(Colliding(i));
  Read(Colliding(0));  // 1 is the oldest now
  Read(Colliding(Tlb::kWays));
  EXPECT_EQ(tlb_->counters().evictions_by_conflict, 1u);
  source_.translations = 0;
  for (uint64_t i = 0; i <= Tlb::kWays; ++i)
    if (i != 1) Read(Colliding(i));
  EXPECT_EQ(source_.translations, 0);
  Read(Colliding(1));
  EXPECT_EQ(source_.translations, 1);
}

TEST_F(TlbTest, AnUnmapIsSeenAfterSynchronize) {
  source_.Map(5, 7, true, true);
  source_.Map(6, 8, true, true);
  Read(0x5000), Read(0x6000);
  source_.Unmap(Pages(5, 6));
  tlb_->Synchronize();
  EXPECT_EQ(tlb_->seen_generation(), source_.generation());
  EXPECT_EQ(Read(0x5000), nullptr);
  EXPECT_NE(tlb_->Probe<Access::kRead>(GuestAddr(0x6000)), nullptr);
  const int replays = source_.replays;
  tlb_->Synchronize();
  EXPECT_EQ(source_.replays, replays);
}

TEST_F(TlbTest, ForkTakesWriteRightsOnly) {
  source_.Map(5, 7, true, false);
  Write(0x5000);
  source_.WriteProtect(Pages(0, 1 << 20));
  tlb_->Synchronize();
  EXPECT_NE(tlb_->Probe<Access::kRead>(GuestAddr(0x5000)), nullptr);
  EXPECT_EQ(tlb_->Probe<Access::kWrite>(GuestAddr(0x5000)), nullptr);
}

TEST_F(TlbTest, ACopiedPageReplacesItsOldFrame) {
  source_.Map(5, 7, false, true);
  Fetch(0x5000);
  const uint64_t before = tlb_->fetch_generation();
  source_.copy_on_write[5] = true;
  EXPECT_EQ(Write(0x5000), FakeSource::HostOf(1000000));
  EXPECT_EQ(Read(0x5000), FakeSource::HostOf(1000000));
  EXPECT_GT(tlb_->fetch_generation(), before);
  tlb_->CheckInvariants();
}

TEST_F(TlbTest, InvalidatingOnePageKeepsTheOthers) {
  constexpr uint64_t kNumPages = 2000;
  for (uint64_t p = 0; p < kNumPages; ++p) source_.Map(p, p, true, false);
  for (uint64_t p = 0; p < kNumPages; ++p) Read(p << kPageShift);
  EXPECT_EQ(tlb_->CountEntriesForTesting(), kNumPages);
  tlb_->Invalidate(Pages(77, 78));
  EXPECT_EQ(tlb_->CountEntriesForTesting(), kNumPages - 1);
  tlb_->Invalidate(Pages(1000, uint64_t{1} << 35));
  EXPECT_EQ(tlb_->CountEntriesForTesting(), 999u);
  EXPECT_EQ(tlb_->counters().evictions_by_range, 1001u);
}

TEST_F(TlbTest, CountsHitsOfTheFrontTheOtherWaysAndMisses) {
  source_.Map(5, 7, true, false);
  Read(0x5000);
  for (int i = 0; i < 9; ++i) Read(0x5000);
  tlb_->Fill(GuestAddr(0x5000), Access::kRead);
  const Tlb::Counters counters = tlb_->counters();
  EXPECT_EQ(counters.misses, 1u);
  EXPECT_EQ(counters.hits, 10u);
  EXPECT_EQ(counters.way_hits, 0u);
}

TEST_F(TlbTest, RightsMoveWithAnEntryBetweenWays) {
  for (uint64_t i = 0; i < Tlb::kWays; ++i) source_.Map(Colliding(i) >> kPageShift, 10 + i, i % 2 == 0, i % 3 == 0);
  for (uint64_t i = 0; i < Tlb::kWays; ++i) {
    Read(Colliding(i));
    if (i % 3 == 0) Fetch(Colliding(i));
  }
  source_.translations = 0;
  source_.WriteProtect(Pages(Colliding(0) >> kPageShift, (Colliding(0) >> kPageShift) + 1));
  tlb_->Synchronize();
  for (uint64_t i = 0; i < Tlb::kWays; ++i) {
    EXPECT_EQ(tlb_->FetchFrame(GuestAddr(Colliding(i)).page()).valid(), i % 3 == 0) << i;
    EXPECT_NE(Read(Colliding(i)), nullptr) << i;
    EXPECT_EQ(tlb_->Probe<Access::kWrite>(GuestAddr(Colliding(i))) != nullptr, i != 0 && i % 2 == 0) << i;
    EXPECT_EQ(tlb_->Probe<Access::kFetch>(GuestAddr(Colliding(i))) != nullptr, i % 3 == 0) << i;
    tlb_->CheckInvariants();
  }
  EXPECT_EQ(source_.translations, 0);
}

TEST_F(TlbTest, ThePageAtZeroIsAPageAsAnyOther) {
  EXPECT_EQ(Read(0x10), nullptr);
  source_.Map(0, 7, false, false);
  EXPECT_EQ(Read(0x10), FakeSource::HostOf(7) + 0x10);
  for (uint64_t i = 0; i + 1 < Tlb::kWays; ++i) source_.Map(Colliding(i) >> kPageShift, 10 + i, false, false);
  for (uint64_t i = 0; i + 1 < Tlb::kWays; ++i) Read(Colliding(i));
  source_.translations = 0;
  EXPECT_EQ(Read(0x10), FakeSource::HostOf(7) + 0x10);
  EXPECT_EQ(source_.translations, 0);
  tlb_->CheckInvariants();
}

TEST_F(TlbTest, ARunOfAsManyPagesAsEntriesFitsWhereverItStarts) {
  constexpr uint64_t kNumPages = Tlb::kSets * Tlb::kWays;
  for (const uint64_t first : {uint64_t{0}, uint64_t{517}, uint64_t{0x7ffff7abc}}) {
    for (uint64_t p = first; p < first + kNumPages; ++p) source_.Map(p, static_cast<uint32_t>(p & 0xffff), true, false);
    for (uint64_t p = first; p < first + kNumPages; ++p) Read(p << kPageShift);
    source_.translations = 0;
    for (uint64_t p = first; p < first + kNumPages; ++p) Read(p << kPageShift);
    EXPECT_LT(source_.translations, static_cast<int>(kNumPages / 100));
    tlb_->Flush();
  }
}

TEST_F(TlbTest, BindingTheSameSourceKeepsEntries) {
  FakeSource other;
  source_.Map(5, 7, true, false);
  Read(0x5000);
  tlb_->Bind(&source_, 1);
  EXPECT_NE(tlb_->Probe<Access::kRead>(GuestAddr(0x5000)), nullptr);
  tlb_->Bind(&source_, 2);  // another incarnation at the same address
  EXPECT_EQ(tlb_->Probe<Access::kRead>(GuestAddr(0x5000)), nullptr);
  Read(0x5000);
  tlb_->Bind(&other, 3);
  EXPECT_EQ(Read(0x5000), nullptr);
  EXPECT_EQ(tlb_->counters().evictions_by_flush, 2u);
}

TEST_F(TlbTest, ARunGoesAsFarAsPagesWithTheRightLieSideBySide) {
  for (uint64_t page = 10; page < 5000; ++page) source_.Map(page, static_cast<uint32_t>(page), page != 20, false);
  for (uint64_t page = 10; page < 5000; ++page) Read(page << kPageShift);
  const uint64_t delta = reinterpret_cast<uint64_t>(Read(0x64000)) - 0x64000;
  EXPECT_EQ(tlb_->RunAround<Access::kRead>(PageNumber(100), delta), Pages(10, 5000));
  EXPECT_EQ(tlb_->RunAround<Access::kWrite>(PageNumber(100), delta), Pages(21, 5000));
  source_.WriteProtect(Pages(1000, 1001));
  source_.Unmap(Pages(2000, 2001));
  tlb_->Synchronize();
  EXPECT_EQ(tlb_->RunAround<Access::kRead>(PageNumber(100), delta), Pages(10, 2000));
  EXPECT_EQ(tlb_->RunAround<Access::kWrite>(PageNumber(100), delta), Pages(21, 1000));
}

TEST_F(TlbTest, OneFaultMayTellOfAWholeRun) {
  source_.tells_runs = true;
  for (uint64_t page = 10; page < 20; ++page) source_.Map(page, static_cast<uint32_t>(page), page < 15, false);
  const uint64_t delta = reinterpret_cast<uint64_t>(Read(0xc000)) - 0xc000;
  EXPECT_EQ(tlb_->RunAround<Access::kRead>(PageNumber(12), delta), Pages(10, 15));
  EXPECT_EQ(tlb_->RunAround<Access::kWrite>(PageNumber(12), delta), Pages(10, 15));
  Read(0xf000);
  EXPECT_EQ(tlb_->RunAround<Access::kRead>(PageNumber(15), delta), Pages(10, 19));
  EXPECT_EQ(tlb_->RunAround<Access::kWrite>(PageNumber(12), delta), Pages(10, 15));
  // A copy takes a page out of the run that holds it, although the TLB has no entry of it.
  source_.copy_on_write[11] = true;
  Write(0xb000);
  EXPECT_EQ(tlb_->RunAround<Access::kRead>(PageNumber(12), delta), Pages(12, 19));
}

TEST_F(TlbTest, AskedAgainTheSourceTellsOfPagesThatHaveComeToLieBetween) {
  source_.tells_runs = true;
  for (const uint64_t page : {10, 11, 13}) source_.Map(page, static_cast<uint32_t>(page), true, false);
  for (const uint64_t page : {10, 11, 13}) Write(page << kPageShift);
  source_.Map(12, 12, true, false);
  std::byte* const host = Write(0xa000);
  const uint64_t delta = reinterpret_cast<uint64_t>(host) - 0xa000;
  EXPECT_EQ(tlb_->RunAround<Access::kWrite>(PageNumber(10), delta), Pages(10, 12));
  EXPECT_EQ(tlb_->Refill(GuestAddr(0xa000), Access::kWrite), host);
  EXPECT_EQ(tlb_->RunAround<Access::kWrite>(PageNumber(10), delta), Pages(10, 14));
  EXPECT_EQ(tlb_->RunAround<Access::kRead>(PageNumber(13), delta), Pages(10, 14));
  tlb_->CheckInvariants();
}

TEST_F(TlbTest, ARunThatIsForReadingStaysSoBesideAPageThatMayBeWritten) {
  source_.tells_runs = true;
  source_.Map(10, 10, true, false);
  std::byte* const host = Write(0xa000);
  const uint64_t delta = reinterpret_cast<uint64_t>(host) - 0xa000;
  // Granted page by page from now on, as a source may.
  source_.pages.at(10).writable = false;
  source_.Map(11, 11, false, false);
  EXPECT_EQ(tlb_->Refill(GuestAddr(0xa000), Access::kRead), host);
  EXPECT_EQ(tlb_->RunAround<Access::kRead>(PageNumber(10), delta), Pages(10, 12));
  EXPECT_EQ(tlb_->RunAround<Access::kWrite>(PageNumber(10), delta), Pages(10, 11));
}

TEST_F(TlbTest, FetchGenerationIgnoresDataAndDisplacement) {
  source_.Map(5, 7, true, false);
  for (uint64_t i = 0; i < kMoreThanWays; ++i) source_.Map(Colliding(i) >> kPageShift, 10 + i, false, true);
  Read(0x5000);
  const uint64_t before = tlb_->fetch_generation();
  source_.Unmap(Pages(5, 6));
  tlb_->Synchronize();
  for (uint64_t i = 0; i < kMoreThanWays; ++i) Fetch(Colliding(i));
  EXPECT_EQ(tlb_->fetch_generation(), before);
}

TEST_F(TlbTest, AnInvalidationOfADisplacedCodePageCounts) {
  for (uint64_t i = 0; i < kMoreThanWays; ++i) source_.Map(Colliding(i) >> kPageShift, 10 + i, false, true);
  for (uint64_t i = 0; i < kMoreThanWays; ++i) Fetch(Colliding(i));
  const uint64_t before = tlb_->fetch_generation();
  const uint64_t displaced = Colliding(0) >> kPageShift;
  ASSERT_FALSE(tlb_->FetchFrame(PageNumber(displaced)).valid());
  source_.Unmap(Pages(displaced, displaced + 1));
  tlb_->Synchronize();
  EXPECT_GT(tlb_->fetch_generation(), before);
}

TEST_F(TlbTest, ACopyOfADisplacedCodePageCountsAtOnce) {
  for (uint64_t i = 0; i < kMoreThanWays; ++i) source_.Map(Colliding(i) >> kPageShift, 10 + i, false, true);
  for (uint64_t i = 0; i < kMoreThanWays; ++i) Fetch(Colliding(i));
  const uint64_t before = tlb_->fetch_generation();
  source_.copy_on_write[Colliding(0) >> kPageShift] = true;
  EXPECT_NE(Write(Colliding(0)), nullptr);
  EXPECT_GT(tlb_->fetch_generation(), before);
}

#ifdef NDEBUG
constexpr int kModelSteps = 600000, kStepsPerLook = 64, kStepsPerCheck = 4096;
#else
constexpr int kModelSteps = 10000, kStepsPerLook = 8, kStepsPerCheck = 1;
#endif

// Random mappings, protections, copies and accesses; after each Synchronize the TLB must say what the source says, and
// a cache of fetch translations kept by fetch_generation must never be stale.
TEST(TlbModelTest, NeverAnswersWhatTheSourceTookAway) {
  for (const auto& [ring_size, tells_runs] :
       {std::pair<uint64_t, bool>{2, false}, {64, false}, {2, true}, {64, true}}) {
    std::mt19937 random(3);
    const auto below = [&](uint64_t n) { return random() % n; };
    FakeSource source;
    source.ring_size = ring_size;
    source.tells_runs = tells_runs;
    auto tlb = std::make_unique<Tlb>();
    tlb->Bind(&source, 1);
    std::unordered_map<uint64_t, uint32_t> jump_cache;
    uint64_t jump_cache_generation = 0;
    uint64_t longest_run = 0;
    // A few sets that many pages share, and some pages apart.
    const auto any_page = [&]() -> uint64_t {
      return below(3) == 0 ? below(3000) : (1 + below(4 * Tlb::kWays)) * Tlb::kSets * Tlb::kSets + below(2);
    };
    for (int step = 0; step < kModelSteps; ++step) {
      const uint64_t page = any_page();
      switch (below(12)) {
        case 0:
          // Half of the low pages lie as they do in the guest.
          source.Map(page, static_cast<uint32_t>(below(2) == 0 ? below(5000) : page % 4096), below(2) == 0,
                     below(2) == 0);
          break;
        case 1:
          source.Unmap(Pages(page, page + 1 + (below(4) == 0 ? below(5000) : below(3))));
          break;
        case 2:
          source.WriteProtect(Pages(page, page + 1 + below(10)));
          break;
        case 3:
          if (source.pages.contains(page)) source.copy_on_write[page] = true;
          break;
        default: {
          tlb->Synchronize();
          const Access access = static_cast<Access>(below(3));
          const GuestAddr addr = GuestAddr(PageNumber(page)) + below(kPageSize);
          std::byte* host = access == Access::kRead    ? tlb->Lookup<Access::kRead>(addr)
                            : access == Access::kWrite ? tlb->Lookup<Access::kWrite>(addr)
                                                       : tlb->Lookup<Access::kFetch>(addr);
          const auto it = source.pages.find(page);
          const bool allowed = it != source.pages.end() && (access != Access::kWrite || it->second.writable) &&
                               (access != Access::kFetch || it->second.executable);
          ASSERT_EQ(host != nullptr, allowed) << step;
          if (!allowed) break;
          ASSERT_EQ(host, FakeSource::HostOf(it->second.frame) + addr.page_offset()) << step;
          if (access != Access::kFetch && tlb->seen_generation() == source.generation()) {
            const uint64_t delta = reinterpret_cast<uint64_t>(host) - addr.value();
            const PageRange run = access == Access::kRead ? tlb->RunAround<Access::kRead>(PageNumber(page), delta)
                                                          : tlb->RunAround<Access::kWrite>(PageNumber(page), delta);
            ASSERT_TRUE(run.Contains(PageNumber(page)));
            longest_run = std::max(longest_run, run.num_pages());
            for (PageNumber p = run.first; p < run.end; ++p) {
              const auto in_run = source.pages.find(p.value());
              ASSERT_TRUE(in_run != source.pages.end() && (access == Access::kRead || in_run->second.writable)) << step;
              ASSERT_EQ(FakeSource::HostOf(in_run->second.frame),
                        reinterpret_cast<std::byte*>(GuestAddr(p).value() + delta))
                  << step;
            }
          }
          if (access == Access::kFetch) {
            if (tlb->fetch_generation() != jump_cache_generation) jump_cache.clear();
            jump_cache_generation = tlb->fetch_generation();
            jump_cache[page] = it->second.frame;
          }
          break;
        }
      }
      if (step % kStepsPerLook == 0) {
        tlb->Synchronize();
        if (tlb->fetch_generation() == jump_cache_generation)
          for (const auto& [cached, frame] : jump_cache) {
            const auto it = source.pages.find(cached);
            ASSERT_TRUE(it != source.pages.end() && it->second.executable) << step;
            ASSERT_EQ(it->second.frame, frame) << step;
          }
      }
      if (step % kStepsPerCheck == 0) tlb->CheckInvariants();
    }
    EXPECT_GT(tlb->counters().evictions_by_conflict, 0u);
    EXPECT_GT(tlb->counters().way_hits, 0u);
    EXPECT_GT(longest_run, 1u);
  }
}

}  // namespace
}  // namespace remora::mm
