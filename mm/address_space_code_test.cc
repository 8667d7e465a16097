// What translated code of one page may count on at others: AddressSpace::CodeMappingOf.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "gtest/gtest.h"
#include "mm/address_space.h"
#include "mm/code_mapping.h"
#include "mm/frame_pool.h"
#include "mm/memory_for_testing.h"
#include "mm/page_cache.h"
#include "mm/tlb.h"
#include "mm/types.h"

namespace remora::mm {
namespace {

constexpr GuestAddr kBase(0x10000000);
constexpr uint64_t kPages = 8;
constexpr Protection kReadExec(5), kAll(7);

GuestAddr At(uint64_t page) { return kBase + page * kPageSize; }
PageRange Pages(uint64_t first, uint64_t end) { return {At(first).page(), At(end).page()}; }

class AddressSpaceCodeTest : public ::testing::Test, public CodeObserver {
 protected:
  AddressSpaceCodeTest() {
    memory_.frames.set_code_observer(this);
    file_ = NewFile();
  }
  ~AddressSpaceCodeTest() override {
    file_ = nullptr;
    memory_.Settle();
    memory_.frames.set_code_observer(nullptr);
  }
  void DropCode(FrameId frame) override { dropped_.insert(frame.value()); }

  // No page of it is a hole.
  Ref<FilePages> NewFile(uint64_t num_pages = 2 * kPages) {
    const Ref<FilePages> file = CreateSharedAnonymous(&memory_.context, num_pages * kPageSize);
    for (uint64_t i = 0; i < num_pages; ++i) memory_.frames.Release(file->GetFrame(i, /*for_write=*/true).value());
    return file;
  }
  Ref<AddressSpace> NewSpace() { return AddressSpace::Create(&memory_.context, memory_.layout); }
  static void MapFile(AddressSpace& space, const Ref<FilePages>& file, uint64_t first, uint64_t end,
                      Protection protection = kReadExec, bool shared = false) {
    MapRequest request = FixedRequest(At(first), end - first, protection);
    request.object = file;
    request.offset_bytes = first * kPageSize;
    request.shared = shared;
    ASSERT_TRUE(space.Map(std::move(request)).ok());
  }
  static CodeMapping Ask(AddressSpace& space, uint64_t page) { return space.CodeMappingOf(At(page).page()); }
  static void Touch(AddressSpace& space, uint64_t page) {
    ASSERT_EQ(space.WriteRemote(At(page), std::as_bytes(std::span(&page, 1))), sizeof page);
  }

  MemoryForTesting memory_;
  Ref<FilePages> file_;
  std::set<uint32_t> dropped_;
};

TEST_F(AddressSpaceCodeTest, ItIsTheSameInAllSpacesThatMapTheSame) {
  const Ref<AddressSpace> space = NewSpace(), other = NewSpace(), part = NewSpace(), shared = NewSpace();
  MapFile(*space, file_, 0, kPages);
  MapFile(*other, file_, 0, kPages);
  MapFile(*part, file_, 0, kPages - 1);
  MapFile(*shared, file_, 0, kPages, kReadExec, /*shared=*/true);
  const CodeMapping mapping = Ask(*space, 3);
  EXPECT_EQ(mapping, (CodeMapping{.object = file_->object_id(), .first_page_index = 0, .pages = Pages(0, kPages)}));
  EXPECT_EQ(Ask(*space, 0), mapping);
  EXPECT_EQ(Ask(*other, 7), mapping);
  EXPECT_EQ(Ask(*shared, 7), mapping);
  EXPECT_NE(Ask(*part, 3), mapping);
  EXPECT_TRUE(Ask(*part, 3).valid());
  const Ref<AddressSpace> child = *space->Fork();
  EXPECT_EQ(Ask(*child, 3), mapping);
  const Ref<AddressSpace> another = NewSpace();
  MapFile(*another, NewFile(), 0, kPages);
  EXPECT_NE(Ask(*another, 3), mapping);
}

TEST_F(AddressSpaceCodeTest, OnlyWhatIsCodeAndAsInTheFileHasOne) {
  const Ref<AddressSpace> space = NewSpace();
  ASSERT_TRUE(space->Map(FixedRequest(At(0), 1, kReadExec)).ok());
  EXPECT_FALSE(Ask(*space, 0).valid()) << "anonymous";
  MapFile(*space, file_, 0, kPages, Protection(1));
  EXPECT_FALSE(Ask(*space, 0).valid()) << "not executable";
  MapFile(*space, file_, 0, kPages, kAll);
  EXPECT_FALSE(Ask(*space, 0).valid()) << "writable";
  ASSERT_TRUE(space->Protect(At(0), kPages * kPageSize, kReadExec).ok());
  EXPECT_FALSE(Ask(*space, 0).valid()) << "was writable";
  MapFile(*space, file_, 0, kPages);
  EXPECT_FALSE(space->CodeMappingOf(At(kPages).page()).valid()) << "not mapped";
  EXPECT_TRUE(Ask(*space, 1).valid());
  ASSERT_TRUE(space->Protect(At(2), kPageSize, kAll).ok());
  Touch(*space, 2);
  EXPECT_TRUE(Ask(*space, 1).valid());
  EXPECT_FALSE(Ask(*space, 2).valid());
  ASSERT_TRUE(space->Protect(At(2), kPageSize, kReadExec).ok());
  for (const uint64_t page : {1, 2, 3}) EXPECT_FALSE(Ask(*space, page).valid()) << "merged with a copy of its own";
  MapFile(*space, file_, 0, kPages, kAll, /*shared=*/true);
  ASSERT_TRUE(space->Protect(At(0), kPages * kPageSize, kReadExec).ok());
  EXPECT_TRUE(Ask(*space, 0).valid()) << "what is shared is never its own";
}

// A worker that has come to one page only forgets where its code leads when another one changes.
TEST_F(AddressSpaceCodeTest, WhateverChangesTakesFetchRightsFromAllPages) {
  struct Change {
    std::string name;
    std::function<void(AddressSpace&)> make;
  };
  constexpr uint64_t kFetched = 1, kOther = 5;
  const Change changes[] = {
      {"munmap", [](AddressSpace& space) { ASSERT_TRUE(space.Unmap(At(kOther), kPageSize).ok()); }},
      {"munmap at the end", [](AddressSpace& space) { ASSERT_TRUE(space.Unmap(At(kPages - 1), kPageSize).ok()); }},
      {"mmap", [&](AddressSpace& space) { MapFile(space, NewFile(), kOther, kOther + 1); }},
      {"mmap behind", [&](AddressSpace& space) { MapFile(space, file_, kPages, kPages + 1); }},
      {"mprotect", [](AddressSpace& space) { ASSERT_TRUE(space.Protect(At(kOther), kPageSize, Protection(1)).ok()); }},
      {"mprotect that grants",
       [](AddressSpace& space) { ASSERT_TRUE(space.Protect(At(kOther), kPageSize, kAll).ok()); }},
      {"mprotect of all",
       [](AddressSpace& space) { ASSERT_TRUE(space.Protect(At(0), kPages * kPageSize, kAll).ok()); }},
      {"madvise", [](AddressSpace& space) { ASSERT_TRUE(space.SetPageByPage(At(kOther), kPageSize, true).ok()); }},
      {"mremap",
       [](AddressSpace& space) {
         ASSERT_TRUE(space
                         .Remap({.old_address = At(0),
                                 .old_length_bytes = kPages * kPageSize,
                                 .new_length_bytes = (kPages - 1) * kPageSize})
                         .ok());
       }},
      {"mremap of a part",
       [](AddressSpace& space) {
         ASSERT_TRUE(space
                         .Remap({.old_address = At(kOther),
                                 .old_length_bytes = kPageSize,
                                 .new_length_bytes = kPageSize,
                                 .may_move = true,
                                 .fixed = true,
                                 .new_address = At(100)})
                         .ok());
       }},
      {"truncation", [&](AddressSpace&) { ASSERT_TRUE(file_->Truncate(kOther * kPageSize).ok()); }},
      {"a hole", [&](AddressSpace&) { ASSERT_TRUE(file_->PunchHole(kOther * kPageSize, kPageSize).ok()); }},
  };
  for (const bool has_asked : {false, true}) {
    for (const Change& change : changes) {
      SCOPED_TRACE(change.name);
      file_ = NewFile();
      const Ref<AddressSpace> space = NewSpace();
      MapFile(*space, file_, 0, kPages);
      Tlb tlb;
      tlb.Bind(space.get(), space->id());
      ASSERT_NE(tlb.Lookup<Access::kFetch>(At(kFetched)), nullptr);
      const CodeMapping before = has_asked ? space->CodeMappingOf(At(kFetched).page()) : CodeMapping();
      EXPECT_EQ(before.valid(), has_asked);
      const uint64_t fetched = tlb.fetch_generation();
      change.make(*space);
      tlb.Synchronize();
      if (has_asked) EXPECT_NE(tlb.fetch_generation(), fetched);
      // Whoever has not asked has nothing to forget, unless the page itself has changed.
      if (!has_asked && change.name != "mprotect of all") EXPECT_EQ(tlb.fetch_generation(), fetched);
      if (has_asked) EXPECT_NE(Ask(*space, kFetched), before);
      space->CheckInvariants();
    }
  }
}

TEST_F(AddressSpaceCodeTest, WhereTheFileHasLostPagesNothingIsCountedOnAgain) {
  const Ref<AddressSpace> space = NewSpace(), elsewhere = NewSpace();
  MapFile(*space, file_, 0, kPages);
  MapFile(*elsewhere, file_, 0, 3);
  const CodeMapping before = Ask(*elsewhere, 1);
  EXPECT_TRUE(Ask(*space, 1).valid());
  ASSERT_TRUE(file_->PunchHole(5 * kPageSize, kPageSize).ok());
  EXPECT_FALSE(Ask(*space, 1).valid());
  EXPECT_EQ(Ask(*elsewhere, 1), before);  // it has not the page
  const Ref<AddressSpace> later = NewSpace();
  MapFile(*later, file_, 0, kPages);
  EXPECT_TRUE(Ask(*later, 1).valid());
}

TEST_F(AddressSpaceCodeTest, WhatAFileLosesHasNoCodeAnyMoreEvenIfItIsHeld) {
  const Ref<AddressSpace> space = NewSpace();
  MapFile(*space, file_, 0, kPages);
  std::vector<FrameId> frames;
  for (uint64_t page = 0; page < kPages; ++page) {
    frames.push_back(space->PrepareCode(At(page).page()).frame);
    memory_.frames.AddRef(frames.back());
  }
  dropped_.clear();
  ASSERT_TRUE(file_->PunchHole(2 * kPageSize, 2 * kPageSize).ok());
  EXPECT_EQ(dropped_, (std::set<uint32_t>{frames[2].value(), frames[3].value()}));
  ASSERT_TRUE(file_->Truncate(6 * kPageSize).ok());
  EXPECT_EQ(dropped_, (std::set<uint32_t>{frames[2].value(), frames[3].value(), frames[6].value(), frames[7].value()}));
  for (const FrameId frame : frames) memory_.frames.Release(frame);
}

}  // namespace
}  // namespace remora::mm
