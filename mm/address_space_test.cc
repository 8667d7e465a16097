#include "mm/address_space.h"

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "gtest/gtest.h"
#include "mm/memory_for_testing.h"
#include "mm/page_cache.h"
#include "mm/types.h"

namespace remora::mm {
namespace {

constexpr GuestAddr kBase(0x10000000);

class AddressSpaceTest : public ::testing::Test {
 protected:
  ~AddressSpaceTest() override {
    if (space_) space_->CheckInvariants();
  }

  FaultKind FaultAt(GuestAddr addr, Access access) { return space_->Translate(addr.page(), access).fault; }
  bool CanRead(GuestAddr addr) { return FaultAt(addr, Access::kRead) == FaultKind::kNone; }
  bool CanWrite(GuestAddr addr) { return FaultAt(addr, Access::kWrite) == FaultKind::kNone; }
  void Poke(GuestAddr addr, uint32_t value) {
    ASSERT_EQ(space_->WriteRemote(addr, std::as_bytes(std::span(&value, 1))), sizeof(value));
  }
  uint32_t Peek(GuestAddr addr) {
    uint32_t value = 0xdeadbeef;
    EXPECT_EQ(space_->ReadRemote(addr, std::as_writable_bytes(std::span(&value, 1))), sizeof(value));
    return value;
  }
  GuestAddr MapFixed(uint64_t first_page, uint64_t pages, Protection protection = Protection(3)) {
    return *space_->Map(FixedRequest(kBase + first_page * kPageSize, pages, protection));
  }
  // "first+pages:protection" of each mapping, pages counted from kBase.
  std::string Layout() {
    std::string text;
    space_->ForEachMapping([&](const MappingInfo& m) {
      if (!text.empty()) text += ' ';
      text += std::to_string(m.range.first - kBase.page()) + '+' + std::to_string(m.range.num_pages()) + ':' +
              std::to_string(m.protection.bits());
    });
    return text;
  }

  MemoryForTesting memory_;
  Ref<AddressSpace> space_ = AddressSpace::Create(&memory_.context, memory_.layout);
};

// --- mmap and munmap ---

TEST_F(AddressSpaceTest, AnonymousMemoryReadsAsZeroAndKeepsWhatIsWritten) {
  const GuestAddr at = *space_->Map(AnonymousRequest(2));
  EXPECT_EQ(Peek(at + 100), 0u);
  EXPECT_EQ(space_->num_resident_pages(), 0u);
  Poke(at + 100, 7);
  EXPECT_EQ(Peek(at + 100), 7u);
  EXPECT_EQ(space_->num_resident_pages(), 1u);
  EXPECT_EQ(space_->num_mapped_pages(), 2u);
}

TEST_F(AddressSpaceTest, MappingsAreStackedDownwardFromTheTop) {
  const GuestAddr first = *space_->Map(AnonymousRequest(3));
  const GuestAddr second = *space_->Map(AnonymousRequest(5));
  EXPECT_EQ(first + 3 * kPageSize, memory_.layout.mmap_top);
  EXPECT_EQ(second + 5 * kPageSize, first);
}

// So that translated code, which belongs to an address, serves all processes.
TEST_F(AddressSpaceTest, AFileIsAtTheSameAddressInEachSpaceWhereThatIsFree) {
  const Ref<FilePages> file = CreateSharedAnonymous(&memory_.context, 5 * kPageSize);
  const Ref<FilePages> other = CreateSharedAnonymous(&memory_.context, 5 * kPageSize);
  const auto request = [](const Ref<FilePages>& of) {
    MapRequest made = AnonymousRequest(5, Protection(1));
    made.object = of;
    return made;
  };
  const GuestAddr at = *space_->Map(request(file));
  EXPECT_NE(*space_->Map(request(other)), at);
  EXPECT_NE(*space_->Map(request(file)), at);
  const Ref<AddressSpace> second = AddressSpace::Create(&memory_.context, memory_.layout);
  EXPECT_TRUE(second->Map(AnonymousRequest(7)).ok());
  EXPECT_EQ(*second->Map(request(file)), at);
}

TEST_F(AddressSpaceTest, ADataSegmentIsCopiedWhenItIsRead) {
  const Ref<FilePages> file = CreateSharedAnonymous(&memory_.context, 16 * kPageSize);
  const auto is_copied_when_read = [&](Protection protection, bool deny_write) {
    MapRequest request = FixedRequest(kBase, 8, protection);
    request.object = file;
    request.deny_write = deny_write;
    EXPECT_TRUE(space_->Map(request).ok());
    return space_->Translate((kBase + 2 * kPageSize).page(), Access::kRead).writable;
  };
  EXPECT_TRUE(is_copied_when_read(Protection(3), /*deny_write=*/true));
  EXPECT_EQ(Peek(kBase + 2 * kPageSize), 0u);
  // Others have pages of their own in that file; what they write to it has to be seen.
  EXPECT_FALSE(is_copied_when_read(Protection(3), /*deny_write=*/false));
  // Nor is code copied that is run, nor what nobody will write.
  EXPECT_FALSE(is_copied_when_read(Protection(7), /*deny_write=*/true));
  EXPECT_FALSE(is_copied_when_read(Protection(1), /*deny_write=*/true));
}

TEST_F(AddressSpaceTest, AHintOverAMappingDoesNotDestroyIt) {
  MapFixed(0, 2);
  Poke(kBase, 42);
  MapRequest request = AnonymousRequest(2);
  request.address = kBase + kPageSize;
  const GuestAddr at = *space_->Map(request);
  EXPECT_NE(at, kBase + kPageSize);
  EXPECT_EQ(Peek(kBase), 42u);
}

TEST_F(AddressSpaceTest, AFreeHintIsTakenRoundedDown) {
  MapRequest request = AnonymousRequest(2);
  request.address = kBase + 123;
  EXPECT_EQ(*space_->Map(request), kBase);
}

TEST_F(AddressSpaceTest, MapFixedReplacesWhatIsThere) {
  MapFixed(0, 4);
  Poke(kBase + kPageSize, 42);
  MapFixed(1, 1, Protection(1));
  EXPECT_EQ(Layout(), "0+1:3 1+1:1 2+2:3");
  EXPECT_EQ(Peek(kBase + kPageSize), 0u);
}

TEST_F(AddressSpaceTest, FixedNoReplaceFailsOverAMapping) {
  MapFixed(0, 4);
  MapRequest request = FixedRequest(kBase + 3 * kPageSize, 2);
  request.placement = MapRequest::Placement::kFixedNoReplace;
  EXPECT_EQ(space_->Map(request).error_number(), EEXIST);
  request.address = kBase + 4 * kPageSize;
  EXPECT_TRUE(space_->Map(request).ok());
}

TEST_F(AddressSpaceTest, MapRefusesWhatMmapRefuses) {
  EXPECT_EQ(space_->Map(AnonymousRequest(0)).error_number(), EINVAL);
  MapRequest request = AnonymousRequest(1);
  request.length_bytes = ~uint64_t{0};
  EXPECT_EQ(space_->Map(request).error_number(), ENOMEM);
  EXPECT_EQ(space_->Map(FixedRequest(kBase + 1, 1)).error_number(), EINVAL);
  EXPECT_EQ(space_->Map(FixedRequest(GuestAddr(kUserAddressEnd - kPageSize), 2)).error_number(), ENOMEM);
  EXPECT_EQ(space_->Map(FixedRequest(GuestAddr(0), 1)).error_number(), EPERM);
  EXPECT_EQ(space_->Map(AnonymousRequest(kUserAddressEnd >> kPageShift)).error_number(), ENOMEM);
}

TEST_F(AddressSpaceTest, MapBelow2GStaysThere) {
  MapRequest request = AnonymousRequest(16);
  request.below_2g = true;
  const GuestAddr at = *space_->Map(request);
  EXPECT_LE(at.value() + 16 * kPageSize, uint64_t{1} << 31);
}

TEST_F(AddressSpaceTest, UnmappingTheMiddleSplits) {
  MapFixed(0, 5);
  Poke(kBase + 2 * kPageSize, 1);
  ASSERT_TRUE(space_->Unmap(kBase + 2 * kPageSize, kPageSize).ok());
  EXPECT_EQ(Layout(), "0+2:3 3+2:3");
  EXPECT_EQ(FaultAt(kBase + 2 * kPageSize, Access::kRead), FaultKind::kUnmapped);
  EXPECT_EQ(space_->num_resident_pages(), 0u);
}

TEST_F(AddressSpaceTest, UnmapRefusesWhatMunmapRefuses) {
  EXPECT_EQ(space_->Unmap(kBase + 1, kPageSize).error_number(), EINVAL);
  EXPECT_EQ(space_->Unmap(kBase, 0).error_number(), EINVAL);
  EXPECT_EQ(space_->Unmap(kBase, ~uint64_t{0}).error_number(), EINVAL);
  EXPECT_TRUE(space_->Unmap(kBase, kPageSize).ok());  // a hole is fine
}

TEST_F(AddressSpaceTest, UnmappedFramesAreFreedAfterTheGracePeriod) {
  MapFixed(0, 10);
  for (uint64_t i = 0; i < 10; ++i) Poke(kBase + i * kPageSize, 1);
  {
    sync::Reclaimer::ReadSection reader(&memory_.reclaimer);
    ASSERT_TRUE(space_->Unmap(kBase, 10 * kPageSize).ok());
    memory_.Settle();
    EXPECT_EQ(memory_.frames.num_allocated(), 10u);
  }
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), 0u);
}

TEST_F(AddressSpaceTest, NeighboursWithEqualRightsAreOneMapping) {
  MapFixed(0, 2);
  MapFixed(2, 2);
  EXPECT_EQ(Layout(), "0+4:3");
}

TEST_F(AddressSpaceTest, PopulateMakesPagesResident) {
  MapRequest request = AnonymousRequest(8);
  request.populate = true;
  ASSERT_TRUE(space_->Map(request).ok());
  EXPECT_EQ(space_->num_resident_pages(), 8u);
}

// --- faults ---

TEST_F(AddressSpaceTest, FaultsTellWhy) {
  MapFixed(0, 1, Protection(0));
  MapFixed(1, 1, Protection(1));
  MapFixed(2, 1, Protection(5));
  EXPECT_EQ(FaultAt(kBase, Access::kRead), FaultKind::kProtection);
  EXPECT_EQ(FaultAt(kBase + kPageSize, Access::kWrite), FaultKind::kProtection);
  EXPECT_EQ(FaultAt(kBase + kPageSize, Access::kFetch), FaultKind::kProtection);
  EXPECT_EQ(FaultAt(kBase + 2 * kPageSize, Access::kFetch), FaultKind::kNone);
  EXPECT_EQ(FaultAt(kBase + 3 * kPageSize, Access::kRead), FaultKind::kUnmapped);
  EXPECT_EQ(FaultAt(GuestAddr(0x800000000000), Access::kRead), FaultKind::kNonCanonical);
  EXPECT_EQ(FaultAt(GuestAddr(0xffff800000000000), Access::kRead), FaultKind::kUnmapped);
  EXPECT_EQ(FaultAt(GuestAddr(kUserAddressEnd), Access::kRead), FaultKind::kUnmapped);
}

TEST_F(AddressSpaceTest, AFullPoolIsAFaultNotACrash) {
  MemoryForTesting small(8 * kPageSize);
  Ref<AddressSpace> space = AddressSpace::Create(&small.context, small.layout);
  const GuestAddr at = *space->Map(AnonymousRequest(20));
  FaultKind fault = FaultKind::kNone;
  for (uint64_t i = 0; i < 20 && fault == FaultKind::kNone; ++i)
    fault = space->Translate(at.page() + i, Access::kWrite).fault;
  EXPECT_EQ(fault, FaultKind::kOutOfMemory);
  EXPECT_EQ(space->num_resident_pages(), 7u);
}

TEST_F(AddressSpaceTest, TheStackGrowsDownToItsLimit) {
  space_->set_stack_limit(16 * kPageSize);
  MapRequest request = FixedRequest(kBase + 100 * kPageSize, 2);
  request.grows_down = true;
  ASSERT_TRUE(space_->Map(request).ok());
  EXPECT_TRUE(CanWrite(kBase + 90 * kPageSize));
  EXPECT_EQ(Layout(), "90+12:3");
  EXPECT_TRUE(CanWrite(kBase + 86 * kPageSize));
  EXPECT_EQ(FaultAt(kBase + 85 * kPageSize, Access::kWrite), FaultKind::kUnmapped);
}

TEST_F(AddressSpaceTest, TheStackKeepsAGapToWhatIsBelow) {
  MapFixed(0, 1);
  MapRequest request = FixedRequest(kBase + 400 * kPageSize, 2);
  request.grows_down = true;
  ASSERT_TRUE(space_->Map(request).ok());
  EXPECT_TRUE(CanWrite(kBase + 257 * kPageSize));
  EXPECT_FALSE(CanWrite(kBase + 256 * kPageSize));
  // And a hint into the gap is not taken.
  MapRequest hint = AnonymousRequest(1);
  hint.address = kBase + 200 * kPageSize;
  EXPECT_NE(*space_->Map(hint), hint.address);
}

// --- mprotect ---

TEST_F(AddressSpaceTest, ProtectSplitsAndMergesAgain) {
  MapFixed(0, 5);
  Poke(kBase + 2 * kPageSize, 9);
  ASSERT_TRUE(space_->Protect(kBase + 2 * kPageSize, kPageSize, Protection(1)).ok());
  EXPECT_EQ(Layout(), "0+2:3 2+1:1 3+2:3");
  EXPECT_FALSE(CanWrite(kBase + 2 * kPageSize));
  EXPECT_EQ(Peek(kBase + 2 * kPageSize), 9u);
  ASSERT_TRUE(space_->Protect(kBase, 5 * kPageSize, Protection(3)).ok());
  EXPECT_EQ(Layout(), "0+5:3");
  EXPECT_TRUE(CanWrite(kBase + 2 * kPageSize));
}

TEST_F(AddressSpaceTest, ProtectOverAHoleChangesWhatPrecedesIt) {
  MapFixed(0, 2);
  MapFixed(3, 1);
  EXPECT_EQ(space_->Protect(kBase, 4 * kPageSize, Protection(1)).error_number(), ENOMEM);
  EXPECT_EQ(Layout(), "0+2:1 3+1:3");
  EXPECT_EQ(space_->Protect(kBase + 1, kPageSize, Protection(1)).error_number(), EINVAL);
  EXPECT_TRUE(space_->Protect(kBase, 0, Protection(1)).ok());
}

TEST_F(AddressSpaceTest, ProtectCannotExceedTheMaximum) {
  MapRequest request = FixedRequest(kBase, 1, Protection(1));
  request.max_protection = Protection(5);
  ASSERT_TRUE(space_->Map(request).ok());
  EXPECT_EQ(space_->Protect(kBase, kPageSize, Protection(3)).error_number(), EACCES);
  EXPECT_TRUE(space_->Protect(kBase, kPageSize, Protection(5)).ok());
}

TEST_F(AddressSpaceTest, ProtectOfAWholeStackBeginsWhereItBegins) {
  MapRequest request = FixedRequest(kBase + 4 * kPageSize, 4);
  request.grows_down = true;
  ASSERT_TRUE(space_->Map(request).ok());
  MapFixed(300, 1);
  const ProtectOptions options = {.whole_stack = true};
  EXPECT_TRUE(space_->Protect(kBase + 6 * kPageSize, kPageSize, Protection(7), options).ok());
  EXPECT_EQ(Layout(), "4+3:7 7+1:3 300+1:3");
  // What lies before it may be nothing.
  EXPECT_TRUE(space_->Protect(kBase + 2 * kPageSize, 3 * kPageSize, Protection(1), options).ok());
  EXPECT_EQ(Layout(), "4+1:1 5+2:7 7+1:3 300+1:3");
  EXPECT_EQ(space_->Protect(kBase, 2 * kPageSize, Protection(1), options).error_number(), ENOMEM);
  EXPECT_EQ(space_->Protect(kBase + 300 * kPageSize, kPageSize, Protection(1), options).error_number(), EINVAL);
}

TEST_F(AddressSpaceTest, ReadingImpliesExecutionWhereThatIsEverAllowed) {
  MapFixed(0, 1);
  MapRequest request = FixedRequest(kBase + kPageSize, 1, Protection(1));
  request.max_protection = Protection(3);
  ASSERT_TRUE(space_->Map(request).ok());
  const ProtectOptions options = {.read_implies_exec = true};
  EXPECT_TRUE(space_->Protect(kBase, 2 * kPageSize, Protection(1), options).ok());
  EXPECT_EQ(Layout(), "0+1:5 1+1:1");
  EXPECT_TRUE(space_->Protect(kBase, 2 * kPageSize, Protection(0), options).ok());
  EXPECT_EQ(Layout(), "0+1:0 1+1:0");
}

// --- mremap ---

TEST_F(AddressSpaceTest, RemapGrowsInPlaceWhereThereIsRoom) {
  MapFixed(0, 2);
  Poke(kBase, 5);
  EXPECT_EQ(*space_->Remap({kBase, 2 * kPageSize, 4 * kPageSize}), kBase);
  EXPECT_EQ(Layout(), "0+4:3");
  EXPECT_EQ(Peek(kBase), 5u);
}

TEST_F(AddressSpaceTest, RemapMovesWhenItMay) {
  MapFixed(0, 2);
  MapFixed(2, 1, Protection(1));
  Poke(kBase + kPageSize, 5);
  EXPECT_EQ(space_->Remap({kBase, 2 * kPageSize, 4 * kPageSize}).error_number(), ENOMEM);
  const GuestAddr moved = *space_->Remap({kBase, 2 * kPageSize, 4 * kPageSize, /*may_move=*/true});
  EXPECT_NE(moved, kBase);
  EXPECT_EQ(Peek(moved + kPageSize), 5u);
  EXPECT_FALSE(CanRead(kBase));
  EXPECT_EQ(space_->num_resident_pages(), 1u);
}

TEST_F(AddressSpaceTest, RemapShrinks) {
  MapFixed(0, 4);
  Poke(kBase + 3 * kPageSize, 5);
  EXPECT_EQ(*space_->Remap({kBase, 4 * kPageSize, kPageSize}), kBase);
  EXPECT_EQ(Layout(), "0+1:3");
  EXPECT_EQ(space_->num_resident_pages(), 0u);
}

TEST_F(AddressSpaceTest, RemapFixedReplacesItsTarget) {
  MapFixed(0, 2);
  MapFixed(10, 4, Protection(1));
  Poke(kBase, 5);
  AddressSpace::RemapRequest request{kBase, 2 * kPageSize, 2 * kPageSize, true, true};
  request.new_address = kBase + 11 * kPageSize;
  EXPECT_EQ(*space_->Remap(request), request.new_address);
  EXPECT_EQ(Layout(), "10+1:1 11+2:3 13+1:1");
  EXPECT_EQ(Peek(request.new_address), 5u);
  request.new_address = request.old_address = kBase + 11 * kPageSize;
  EXPECT_EQ(space_->Remap(request).error_number(), EINVAL);  // overlaps
}

TEST_F(AddressSpaceTest, RemapDontunmapLeavesAnEmptyMapping) {
  MapFixed(0, 2);
  Poke(kBase, 5);
  AddressSpace::RemapRequest request{kBase, 2 * kPageSize, 2 * kPageSize, true, false, true};
  const GuestAddr moved = *space_->Remap(request);
  EXPECT_EQ(Peek(moved), 5u);
  EXPECT_EQ(Peek(kBase), 0u);
}

TEST_F(AddressSpaceTest, RemapOfNothingGivesASecondViewOfASharedMapping) {
  MapRequest request = FixedRequest(kBase, 2);
  request.shared = true;
  request.object = CreateSharedAnonymous(&memory_.context, 2 * kPageSize);
  ASSERT_TRUE(space_->Map(request).ok());
  const GuestAddr view = *space_->Remap({kBase, 0, 2 * kPageSize, /*may_move=*/true});
  Poke(view + kPageSize, 5);
  EXPECT_EQ(Peek(kBase + kPageSize), 5u);
  // Growing shows where the object ends.
  ASSERT_TRUE(space_->Remap({kBase, 2 * kPageSize, 3 * kPageSize}).ok());
  EXPECT_EQ(FaultAt(kBase + 2 * kPageSize, Access::kWrite), FaultKind::kBeyondEnd);
}

TEST_F(AddressSpaceTest, SharedAnonymousMemoryNeedsItsObject) {
  MapRequest request = AnonymousRequest(1);
  request.shared = true;
  EXPECT_EQ(space_->Map(request).error_number(), EINVAL);
}

TEST_F(AddressSpaceTest, RemapRefusesWhatMremapRefuses) {
  MapFixed(0, 2);
  MapFixed(2, 2, Protection(1));
  EXPECT_EQ(space_->Remap({kBase + 1, kPageSize, kPageSize}).error_number(), EINVAL);
  EXPECT_EQ(space_->Remap({kBase, kPageSize, 0}).error_number(), EINVAL);
  EXPECT_EQ(space_->Remap({kBase, 4 * kPageSize, 5 * kPageSize, true}).error_number(), EFAULT);
  EXPECT_EQ(space_->Remap({kBase + 9 * kPageSize, kPageSize, 2 * kPageSize}).error_number(), EFAULT);
  EXPECT_EQ(space_->Remap({kBase, 0, kPageSize, true}).error_number(), EINVAL);  // not shared
}

// --- brk, madvise ---

TEST_F(AddressSpaceTest, TheBreakGrowsAndShrinksByPages) {
  space_->InitializeBreak(kBase);
  EXPECT_EQ(space_->SetBreak(GuestAddr(0)), kBase);
  EXPECT_EQ(space_->SetBreak(kBase + 100), kBase + 100);
  Poke(kBase, 3);
  EXPECT_EQ(space_->SetBreak(kBase + 3 * kPageSize), kBase + 3 * kPageSize);
  EXPECT_EQ(Layout(), "0+3:3");
  EXPECT_EQ(Peek(kBase), 3u);
  EXPECT_EQ(space_->SetBreak(kBase), kBase);
  EXPECT_EQ(Layout(), "");
  EXPECT_EQ(space_->num_resident_pages(), 0u);
}

TEST_F(AddressSpaceTest, TheBreakStopsAtAMapping) {
  space_->InitializeBreak(kBase);
  MapFixed(4, 1);
  EXPECT_EQ(space_->SetBreak(kBase + 4 * kPageSize), kBase + 4 * kPageSize);
  EXPECT_EQ(space_->SetBreak(kBase + 5 * kPageSize), kBase + 4 * kPageSize);
}

TEST_F(AddressSpaceTest, DiscardedPagesReadAsZeroAgain) {
  MapFixed(0, 2);
  Poke(kBase, 3);
  ASSERT_TRUE(space_->DiscardPages(kBase, kPageSize).ok());
  EXPECT_EQ(Peek(kBase), 0u);
  Poke(kBase, 3);
  EXPECT_EQ(space_->DiscardPages(kBase, 3 * kPageSize).error_number(), ENOMEM);
  EXPECT_EQ(Peek(kBase), 0u);
}

TEST_F(AddressSpaceTest, CheckMappedSeesHoles) {
  MapFixed(0, 2);
  EXPECT_TRUE(space_->CheckMapped(kBase, 2 * kPageSize).ok());
  EXPECT_EQ(space_->CheckMapped(kBase, 2 * kPageSize + 1).error_number(), ENOMEM);
}

// --- futex keys ---

TEST_F(AddressSpaceTest, SharedFutexKeysMeetWherePrivateOnesDoNot) {
  MapRequest request = FixedRequest(kBase, 2);
  request.shared = true;
  request.object = CreateSharedAnonymous(&memory_.context, 2 * kPageSize);
  ASSERT_TRUE(space_->Map(request).ok());
  // The same object at another place, from its second page on.
  request.address = kBase + 16 * kPageSize;
  request.length_bytes = kPageSize;
  request.offset_bytes = kPageSize;
  ASSERT_TRUE(space_->Map(request).ok());
  const Ref<AddressSpace> child = *space_->Fork();
  const auto key = *space_->KeyOfFutex(kBase + kPageSize + 8, false);
  EXPECT_EQ(key, *space_->KeyOfFutex(kBase + 16 * kPageSize + 8, false));
  EXPECT_EQ(key, *child->KeyOfFutex(kBase + kPageSize + 8, false));
  EXPECT_FALSE(*space_->KeyOfFutex(kBase + 8, true) == *child->KeyOfFutex(kBase + 8, true));
  EXPECT_EQ(space_->KeyOfFutex(kBase + 2, true).error_number(), EINVAL);
  EXPECT_EQ(space_->KeyOfFutex(kBase + 64 * kPageSize, false).error_number(), EFAULT);
}

TEST_F(AddressSpaceTest, AFutexInPrivateMemoryIsKeyedByItsSpace) {
  MapFixed(0, 1);
  const Ref<AddressSpace> child = *space_->Fork();
  EXPECT_EQ(*space_->KeyOfFutex(kBase, false), *space_->KeyOfFutex(kBase, true));
  EXPECT_FALSE(*space_->KeyOfFutex(kBase, false) == *child->KeyOfFutex(kBase, false));
}

}  // namespace
}  // namespace remora::mm
