#include "mm/page_cache.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "gtest/gtest.h"
#include "mm/address_space.h"
#include "mm/io_buffer.h"
#include "mm/memory_for_testing.h"
#include "mm/tlb.h"
#include "mm/types.h"
#include "mm/user_buffer.h"
#include "mm/user_memory.h"
#include "sync/wait_queue.h"

namespace remora::mm {
namespace {

constexpr GuestAddr kBase(0x10000000);

// A file in a string, which counts how often it is asked.
struct FakeDisk {
  std::string content;
  int reads = 0, writes = 0;
  int reads_at_once = 0;           // of any number of pages
  uint64_t num_pages_at_once = 0;  // as many as it has, with one call
  std::function<void()> during_read = [] {};
  bool broken = false;
  std::atomic<bool> slow = false;  // whoever asks has to come again
};

class FakeBacking final : public PageBacking {
 public:
  explicit FakeBacking(FakeDisk* disk) : disk_(disk) {}
  ErrnoOr<void> ReadPage(uint64_t index, std::span<std::byte> page) override {
    if (disk_->broken) return Errno(EIO);
    if (disk_->slow) return Errno(EAGAIN);
    ++disk_->reads;
    std::fill(page.begin(), page.end(), std::byte{0});
    const uint64_t start = index * kPageSize;
    if (start < disk_->content.size())
      std::memcpy(page.data(), disk_->content.data() + start,
                  std::min<uint64_t>(kPageSize, disk_->content.size() - start));
    return Ok();
  }
  uint64_t ReadPagesAtOnce(uint64_t first, std::span<std::byte> pages) override {
    ++disk_->reads_at_once;
    const uint64_t num_whole = disk_->content.size() / kPageSize;
    const uint64_t n =
        first >= num_whole ? 0 : std::min({disk_->num_pages_at_once, pages.size() / kPageSize, num_whole - first});
    std::memcpy(pages.data(), disk_->content.data() + std::min(first, num_whole) * kPageSize, n * kPageSize);
    std::exchange(disk_->during_read, [] {})();
    return n;
  }
  ErrnoOr<void> WritePage(uint64_t index, std::span<const std::byte> page) override {
    if (disk_->broken) return Errno(EIO);
    ++disk_->writes;
    const uint64_t start = index * kPageSize;
    if (disk_->content.size() < start + page.size()) disk_->content.resize(start + page.size());
    std::memcpy(disk_->content.data() + start, page.data(), page.size());
    return Ok();
  }
  ErrnoOr<uint64_t> Size() override { return disk_->content.size(); }

 private:
  FakeDisk* const disk_;
};

class PageCacheTest : public ::testing::Test {
 protected:
  Ref<FilePages> NewFile() { return MakeRef<FilePages>(&memory_.context, nullptr, Mappable::Description{}); }
  Ref<FilePages> NewFileOn(FakeDisk* disk) {
    return MakeRef<FilePages>(&memory_.context, std::make_unique<FakeBacking>(disk), Mappable::Description{});
  }
  uint64_t Write(FilePages& file, uint64_t offset, std::string text) {
    KernelBuffer buffer(IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(text)));
    return *file.Write(buffer, offset);
  }
  std::string Read(FilePages& file, uint64_t offset, uint64_t length) {
    std::string text(length, '?');
    KernelBuffer buffer(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text)));
    text.resize(*file.Read(buffer, offset));
    return text;
  }
  Ref<AddressSpace> SpaceWith(const Ref<FilePages>& file, uint64_t pages, bool shared,
                              Protection protection = Protection(3)) {
    Ref<AddressSpace> space = AddressSpace::Create(&memory_.context, memory_.layout);
    MapRequest request = FixedRequest(kBase, pages, protection);
    request.object = file;
    request.shared = shared;
    EXPECT_TRUE(space->Map(request).ok());
    return space;
  }
  std::string Peek(AddressSpace& space, uint64_t offset, uint64_t length) {
    std::string text(length, '?');
    text.resize(space.ReadRemote(kBase + offset, std::as_writable_bytes(std::span(text))));
    return text;
  }
  uint64_t Poke(AddressSpace& space, uint64_t offset, std::string_view text) {
    return space.WriteRemote(kBase + offset, std::as_bytes(std::span(text)));
  }
  // A disk of `num_pages` pages, the first of As, the next of Bs and so on, and half a page.
  static std::string Alphabet(uint64_t num_pages) {
    std::string content;
    for (uint64_t i = 0; i < num_pages; ++i) content += std::string(kPageSize, static_cast<char>('A' + i % 50));
    return content + "half";
  }
  FaultKind FaultAt(AddressSpace& space, uint64_t page, Access access = Access::kRead) {
    return space.Translate(kBase.page() + page, access).fault;
  }

  MemoryForTesting memory_;
};

TEST_F(PageCacheTest, ReadsBackWhatWasWritten) {
  const Ref<FilePages> file = NewFile();
  EXPECT_EQ(Write(*file, 0, "hello"), 5u);
  EXPECT_EQ(Write(*file, 4094, "world"), 5u);
  EXPECT_EQ(file->size_bytes(), 4099u);
  EXPECT_EQ(Read(*file, 0, 5), "hello");
  EXPECT_EQ(Read(*file, 4094, 100), "world");
  EXPECT_EQ(Read(*file, 5, 3), std::string(3, '\0'));
  EXPECT_EQ(Read(*file, 4099, 10), "");
}

TEST_F(PageCacheTest, HolesReadAsZerosAndTakeNoPage) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 100 * kPageSize, "x");
  EXPECT_EQ(Read(*file, 50 * kPageSize, 4), std::string(4, '\0'));
  EXPECT_EQ(file->num_pages_present(), 1u);
}

TEST_F(PageCacheTest, OffsetsNearTheEndOfTheWorldAreRefused) {
  const Ref<FilePages> file = NewFile();
  std::string text = "x";
  KernelBuffer buffer(IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(file->Write(buffer, ~uint64_t{0}).error_number(), EFBIG);
  EXPECT_EQ(file->Truncate(~uint64_t{0}).error_number(), EFBIG);
  EXPECT_EQ(Read(*file, ~uint64_t{0} - 2, 10), "");
}

TEST_F(PageCacheTest, APageIsReadFromTheBackingOnce) {
  FakeDisk disk{.content = std::string(kPageSize, 'a') + "tail"};
  const Ref<FilePages> file = NewFileOn(&disk);
  EXPECT_EQ(file->size_bytes(), kPageSize + 4);
  EXPECT_EQ(Read(*file, kPageSize - 2, 100), "aatail");
  EXPECT_EQ(Read(*file, kPageSize - 2, 100), "aatail");
  EXPECT_EQ(disk.reads, 2);
}

TEST_F(PageCacheTest, AHostFileThatGrowsIsSeenAtItsEnd) {
  FakeDisk disk{.content = "a"};
  const Ref<FilePages> file = NewFileOn(&disk);
  disk.content += std::string(2 * kPageSize, 'b');
  EXPECT_EQ(Read(*file, kPageSize, 2), "bb");
}

TEST_F(PageCacheTest, AnUnreadableHostFileIsEioOrABusError) {
  FakeDisk disk{.content = std::string(kPageSize, 'a')};
  const Ref<FilePages> file = NewFileOn(&disk);
  disk.broken = true;
  std::string text(4, '?');
  KernelBuffer buffer(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(file->Read(buffer, 0).error_number(), EIO);
  const Ref<AddressSpace> space = SpaceWith(file, 1, /*shared=*/false);
  EXPECT_EQ(FaultAt(*space, 0), FaultKind::kBeyondEnd);
  disk.broken = false;
  EXPECT_EQ(FaultAt(*space, 0), FaultKind::kNone);
}

// --- reading ahead ---

TEST_F(PageCacheTest, WhoReadsInSequenceReadsEverMoreAtOnce) {
  FakeDisk disk{.content = Alphabet(64), .num_pages_at_once = 100};
  const Ref<FilePages> file = NewFileOn(&disk);
  std::vector<uint64_t> present;
  for (uint64_t page = 0; page < 64; ++page) {
    EXPECT_EQ(Read(*file, page * kPageSize + 4095, 1), disk.content.substr(page * kPageSize + 4095, 1));
    if (present.empty() || present.back() != file->num_pages_present()) present.push_back(file->num_pages_present());
  }
  // Not the last page, which is not whole: it may grow on the host.
  EXPECT_EQ(present, std::vector<uint64_t>({1, 2, 4, 8, 16, 32, 48, 64}));
  EXPECT_EQ(Read(*file, 64 * kPageSize, 100), "half");
  EXPECT_EQ(Read(*file, 0, 1 << 20), disk.content);
}

TEST_F(PageCacheTest, WhoReadsHereAndThereReadsNothingInVain) {
  FakeDisk disk{.content = Alphabet(64), .num_pages_at_once = 100};
  const Ref<FilePages> file = NewFileOn(&disk);
  for (uint64_t page = 63; page > 1; page -= 2) {
    EXPECT_EQ(Read(*file, page * kPageSize, 1), disk.content.substr(page * kPageSize, 1));
  }
  EXPECT_EQ(file->num_pages_present(), 31u);
  EXPECT_EQ(disk.reads_at_once, 0);
}

// So that code of it is at the same address in each run.
TEST_F(PageCacheTest, AFileHasTheSamePlaceInEachKernel) {
  FakeDisk disk;
  MemoryForTesting other;
  const auto file_in = [&](MemoryContext* context, uint64_t inode, uint32_t minor) {
    return MakeRef<FilePages>(
        context, std::make_unique<FakeBacking>(&disk),
        Mappable::Description{.device_major = 8, .device_minor = minor, .inode = inode, .path = ""});
  };
  file_in(&other.context, 1, 1);  // object numbers differ
  const Ref<FilePages> here = file_in(&memory_.context, 77, 1), there = file_in(&other.context, 77, 1);
  EXPECT_NE(here->object_id(), there->object_id());
  EXPECT_EQ(here->place_key(), there->place_key());
  EXPECT_NE(here->place_key(), file_in(&memory_.context, 78, 1)->place_key());
  EXPECT_NE(here->place_key(), file_in(&memory_.context, 77, 2)->place_key());
  const auto place_of = [](MemoryForTesting& memory, const Ref<FilePages>& file) {
    const Ref<AddressSpace> space = AddressSpace::Create(&memory.context, memory.layout);
    MapRequest request;
    request.length_bytes = 4 * kPageSize;
    request.protection = Protection(5);
    request.object = file;
    return *space->Map(request);
  };
  EXPECT_EQ(place_of(memory_, here), place_of(other, there));
  const Ref<FilePages> without_inode = NewFile();
  EXPECT_EQ(without_inode->place_key(), without_inode->object_id());
}

TEST_F(PageCacheTest, OnlyPagesOfTheHostsFilesOutliveTheKernel) {
  FakeDisk disk;
  disk.content.resize(2 * kPageSize);
  EXPECT_TRUE(NewFileOn(&disk)->outlives_kernel());
  EXPECT_FALSE(NewFile()->outlives_kernel());
  const Ref<AddressSpace> space = SpaceWith(NewFileOn(&disk), 2, /*shared=*/false);
  const PageNumber mapped = kBase.page();
  EXPECT_TRUE(space->IsOfHostFile(mapped + 1));
  EXPECT_FALSE(space->IsOfHostFile(mapped + 2));
  const Ref<AddressSpace> other = SpaceWith(NewFile(), 2, /*shared=*/true);
  EXPECT_FALSE(other->IsOfHostFile(mapped));
}

TEST_F(PageCacheTest, WhatIsReadAheadEndsAtPagesThatArePresent) {
  FakeDisk disk{.content = Alphabet(64), .num_pages_at_once = 100};
  const Ref<FilePages> file = NewFileOn(&disk);
  Write(*file, 10 * kPageSize, std::string(kPageSize, 'x'));
  for (uint64_t page = 0; page < 9; ++page) Read(*file, page * kPageSize, 1);
  EXPECT_EQ(file->num_pages_present(), 11u);
  EXPECT_EQ(Read(*file, 9 * kPageSize, 2 * kPageSize), std::string(kPageSize, 'J') + std::string(kPageSize, 'x'));
}

TEST_F(PageCacheTest, APageComesAlthoughThoseBehindItDoNot) {
  for (const uint64_t at_once : {0, 1, 3}) {
    FakeDisk disk{.content = Alphabet(40), .num_pages_at_once = at_once};
    const Ref<FilePages> file = NewFileOn(&disk);
    EXPECT_EQ(Read(*file, 0, 1 << 20), disk.content);
    const Ref<FilePages> again = NewFileOn(&disk);
    Read(*again, 0, 4 * kPageSize);
    EXPECT_EQ(again->num_pages_present(), 4u);
    Read(*again, 4 * kPageSize, 1);
    EXPECT_EQ(again->num_pages_present(), 4 + std::max<uint64_t>(at_once, 1));
  }
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), 0u);
}

TEST_F(PageCacheTest, NothingIsReadAheadOfASlowPage) {
  FakeDisk disk{.content = Alphabet(40)};
  const Ref<FilePages> file = NewFileOn(&disk);
  Read(*file, 0, 4 * kPageSize);
  disk.slow = true;
  std::string text(4, '?');
  KernelBuffer buffer(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(file->Read(buffer, 4 * kPageSize).error_number(), EAGAIN);
  EXPECT_EQ(file->num_pages_present(), 4u);
  EXPECT_EQ(memory_.frames.num_allocated(), 4u);
}

TEST_F(PageCacheTest, WhenHalfOfMemoryIsTakenNothingIsReadAhead) {
  FakeDisk disk{.content = Alphabet(40), .num_pages_at_once = 100};
  const Ref<FilePages> file = NewFileOn(&disk);
  std::vector<FrameId> others;
  while (others.size() <= memory_.frames.max_frames() / 2) others.push_back(*memory_.frames.AllocateUninitialized());
  for (uint64_t page = 0; page < 20; ++page) Read(*file, page * kPageSize, 1);
  EXPECT_EQ(file->num_pages_present(), 20u);
  EXPECT_EQ(disk.reads_at_once, 0);
  for (const FrameId frame : others) memory_.frames.Release(frame);
}

TEST_F(PageCacheTest, WhatChangesWhileItIsReadAheadIsReadAnew) {
  FakeDisk disk{.content = Alphabet(40), .num_pages_at_once = 100};
  const Ref<FilePages> file = NewFileOn(&disk);
  Read(*file, 0, 8 * kPageSize);
  disk.during_read = [&] {
    const std::string fresh = "fresh";
    disk.content.replace(12 * kPageSize, fresh.size(), fresh);
    file->NoteBackingWritten(std::as_bytes(std::span(fresh)), 12 * kPageSize);
  };
  EXPECT_EQ(Read(*file, 8 * kPageSize, 1), "I");
  EXPECT_EQ(Read(*file, 12 * kPageSize, 6), "freshM");
  disk.during_read = [&] {
    disk.content.resize(18 * kPageSize);
    ASSERT_TRUE(file->Truncate(18 * kPageSize).ok());
  };
  Read(*file, 13 * kPageSize, 3 * kPageSize);
  EXPECT_EQ(Read(*file, 16 * kPageSize, 1 << 20), disk.content.substr(16 * kPageSize));
  EXPECT_EQ(file->num_pages_present(), 15u);  // 0 to 8 and 12 to 17
}

TEST_F(PageCacheTest, SyncWritesDirtyPagesUpToTheSize) {
  FakeDisk disk{.content = std::string(3 * kPageSize, 'a')};
  const Ref<FilePages> file = NewFileOn(&disk);
  Write(*file, kPageSize, "b");
  Write(*file, 3 * kPageSize, "end");
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(disk.writes, 2);
  EXPECT_EQ(disk.content.size(), 3 * kPageSize + 3);
  EXPECT_EQ(disk.content[kPageSize], 'b');
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(disk.writes, 2);
}

TEST_F(PageCacheTest, WhatAMappingWroteReachesTheBacking) {
  FakeDisk disk{.content = std::string(2 * kPageSize, 'a')};
  const Ref<FilePages> file = NewFileOn(&disk);
  {
    const Ref<AddressSpace> space = SpaceWith(file, 2, /*shared=*/true);
    Poke(*space, 0, "x");
    ASSERT_TRUE(file->Sync().ok());
    EXPECT_EQ(disk.content[0], 'x');
    Poke(*space, 1, "y");
  }
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(disk.content[1], 'y');
}

TEST_F(PageCacheTest, AFailedSyncKeepsThePagesDirty) {
  FakeDisk disk{.content = "a"};
  const Ref<FilePages> file = NewFileOn(&disk);
  Write(*file, 0, "b");
  disk.broken = true;
  EXPECT_EQ(file->Sync().error_number(), EIO);
  disk.broken = false;
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_EQ(disk.content, "b");
}

// --- mappings ---

TEST_F(PageCacheTest, ASharedMappingAndReadAndWriteSeeOneFile) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 0, "hello");
  const Ref<AddressSpace> space = SpaceWith(file, 1, /*shared=*/true);
  EXPECT_EQ(Peek(*space, 0, 5), "hello");
  Poke(*space, 0, "J");
  EXPECT_EQ(Read(*file, 0, 5), "Jello");
  Write(*file, 4, "y");
  EXPECT_EQ(Peek(*space, 0, 5), "Jelly");
}

TEST_F(PageCacheTest, APrivateMappingCopiesBeforeItWrites) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 0, "hello");
  const Ref<AddressSpace> space = SpaceWith(file, 1, /*shared=*/false);
  EXPECT_EQ(Peek(*space, 0, 5), "hello");
  Poke(*space, 0, "J");
  EXPECT_EQ(Peek(*space, 0, 5), "Jello");
  EXPECT_EQ(Read(*file, 0, 5), "hello");
  Write(*file, 0, "H");
  EXPECT_EQ(Peek(*space, 0, 5), "Jello");
}

TEST_F(PageCacheTest, AFaultMapsThePresentPagesAround) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 0, Alphabet(64));
  for (const bool shared : {false, true}) {
    const Ref<AddressSpace> space = SpaceWith(file, 64, shared, Protection(shared ? 3 : 5));
    const TlbSource::Translation found = space->Translate(kBase.page() + 20, Access::kRead);
    EXPECT_EQ(found.fault, FaultKind::kNone);
    EXPECT_FALSE(found.writable);
    EXPECT_TRUE(found.run == PageRange(kBase.page() + 16, kBase.page() + 32));
    EXPECT_EQ(space->num_resident_pages(), 16u);
    EXPECT_EQ(space->num_faults(), 1u);
    EXPECT_TRUE(space->IsResident(kBase.page() + 16) && space->IsResident(kBase.page() + 31));
    EXPECT_FALSE(space->IsResident(kBase.page() + 15) || space->IsResident(kBase.page() + 32));
    for (uint64_t page = 16; page < 32; ++page)
      EXPECT_EQ(space->Translate(kBase.page() + page, Access::kRead).host_page,
                found.host_page + (static_cast<int64_t>(page) - 20) * static_cast<int64_t>(kPageSize));
    EXPECT_EQ(space->num_faults(), 1u);
    space->CheckInvariants();
  }
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), 65u);
}

TEST_F(PageCacheTest, WhatIsMappedAroundStaysInTheMappingAndTheFile) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 20 * kPageSize, std::string(4 * kPageSize, 'x'));  // pages 20 to 23; before them a hole
  const Ref<AddressSpace> space = AddressSpace::Create(&memory_.context, memory_.layout);
  MapRequest request = FixedRequest(kBase, 60, Protection(Protection::kRead));
  request.object = file;
  request.offset_bytes = 18 * kPageSize;
  ASSERT_TRUE(space->Map(request).ok());
  ASSERT_TRUE(space->Unmap(kBase + 5 * kPageSize, kPageSize).ok());
  ASSERT_TRUE(space->Protect(kBase + 4 * kPageSize, kPageSize, Protection(0)).ok());
  const TlbSource::Translation found = space->Translate(kBase.page() + 3, Access::kRead);
  EXPECT_TRUE(found.run == PageRange(kBase.page() + 2, kBase.page() + 4));
  EXPECT_EQ(space->num_resident_pages(), 2u);
  EXPECT_EQ(FaultAt(*space, 6), FaultKind::kBeyondEnd);
  space->CheckInvariants();
}

TEST_F(PageCacheTest, AFaultInAPrivateMappingThatMayBeWrittenMapsOnePage) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 0, Alphabet(64));
  const Ref<AddressSpace> space = SpaceWith(file, 64, /*shared=*/false);
  EXPECT_EQ(FaultAt(*space, 20), FaultKind::kNone);
  EXPECT_EQ(space->num_resident_pages(), 1u);
  // So the first write to another page replaces nothing that a TLB might have.
  const uint64_t generation = space->generation();
  EXPECT_EQ(FaultAt(*space, 21, Access::kWrite), FaultKind::kNone);
  EXPECT_EQ(space->generation(), generation);
}

// --- a program's data ---

class ProgramDataTest : public PageCacheTest {
 protected:
  static constexpr uint64_t kPages = 64;
  // Of a program whose file has half a page more than it maps.
  void Load(Protection protection) {
    MapRequest request = FixedRequest(kBase, kPages, protection);
    request.object = file_;
    request.deny_write = true;
    ASSERT_TRUE(space_->Map(request).ok());
  }
  PageRange Resident() const {
    PageRange range;
    for (uint64_t i = 0; i < kPages; ++i) {
      if (!space_->IsResident(kBase.page() + i)) continue;
      if (range.empty()) range.first = kBase.page() + i;
      range.end = kBase.page() + i + 1;
    }
    EXPECT_EQ(range.num_pages(), space_->num_resident_pages());
    return range;
  }

  FakeDisk disk_{.content = Alphabet(kPages), .num_pages_at_once = 100};
  const Ref<FilePages> file_ = NewFileOn(&disk_);
  const Ref<AddressSpace> space_ = AddressSpace::Create(&memory_.context, memory_.layout);
};

TEST_F(ProgramDataTest, BringsItsNeighboursAlongTheMoreTheMoreIsThere) {
  Load(Protection(Protection::kRead));
  // A sixteenth of it, then half of what is there, in the end all.
  EXPECT_EQ(FaultAt(*space_, 21), FaultKind::kNone);
  EXPECT_TRUE(Resident() == PageRange(kBase.page() + 20, kBase.page() + 24));
  EXPECT_EQ(disk_.reads + disk_.reads_at_once, 3);  // 21, 20, 22 and 23
  for (const uint64_t page : {24, 28, 32, 40}) EXPECT_EQ(FaultAt(*space_, page), FaultKind::kNone);
  EXPECT_EQ(space_->num_resident_pages(), 24u);
  EXPECT_EQ(FaultAt(*space_, 63), FaultKind::kNone);
  EXPECT_EQ(space_->num_resident_pages(), 32u);
  const TlbSource::Translation last = space_->Translate(kBase.page() + 3, Access::kRead);
  EXPECT_EQ(Resident().num_pages(), kPages);
  EXPECT_TRUE(last.run == PageRange(kBase.page(), kBase.page() + kPages));
  for (uint64_t page = 0; page < kPages; ++page)
    EXPECT_EQ(Peek(*space_, page * kPageSize + 7, 2), disk_.content.substr(page * kPageSize + 7, 2)) << page;
  space_->CheckInvariants();
}

TEST_F(ProgramDataTest, IsCopiedWithItsNeighboursWhereItMayBeWritten) {
  Load(Protection(3));
  EXPECT_EQ(FaultAt(*space_, 21), FaultKind::kNone);
  EXPECT_TRUE(Resident() == PageRange(kBase.page() + 20, kBase.page() + 24));
  const uint64_t generation = space_->generation(), faults = space_->num_faults();
  const TlbSource::Translation found = space_->Translate(kBase.page() + 22, Access::kWrite);
  EXPECT_TRUE(found.writable);
  EXPECT_TRUE(found.run == PageRange(kBase.page() + 20, kBase.page() + 24));
  EXPECT_EQ(space_->generation(), generation);
  EXPECT_EQ(space_->num_faults(), faults);
  Poke(*space_, 22 * kPageSize, "poked");
  EXPECT_EQ(Read(*file_, 22 * kPageSize, 5), "WWWWW");
  EXPECT_EQ(Peek(*space_, 22 * kPageSize, 6), "pokedW");
  for (uint64_t page = 0; page < kPages; page += 2) Poke(*space_, page * kPageSize + 1, "!");
  EXPECT_EQ(Resident().num_pages(), kPages);
  for (uint64_t page = 1; page < kPages; page += 2)
    EXPECT_EQ(Peek(*space_, page * kPageSize + 1, 2), disk_.content.substr(page * kPageSize + 1, 2)) << page;
  space_->CheckInvariants();
}

TEST_F(ProgramDataTest, ComesAloneWhereTheHostWouldHaveToWait) {
  disk_.num_pages_at_once = 0;
  Load(Protection(3));
  EXPECT_EQ(FaultAt(*space_, 21), FaultKind::kNone);
  EXPECT_EQ(FaultAt(*space_, 41, Access::kWrite), FaultKind::kNone);
  EXPECT_EQ(space_->num_resident_pages(), 2u);
  EXPECT_EQ(file_->num_pages_present(), 2u);
}

TEST_F(ProgramDataTest, IsNotReadAroundWhereItIsNoPrograms) {
  const Ref<AddressSpace> space = SpaceWith(file_, kPages, /*shared=*/false, Protection(Protection::kRead));
  EXPECT_EQ(FaultAt(*space, 21), FaultKind::kNone);
  EXPECT_EQ(file_->num_pages_present(), 1u);
}

TEST_F(ProgramDataTest, WhatIsReadAroundIsWholePagesOfTheFile) {
  file_->ReadAround(60, 100);
  EXPECT_EQ(file_->num_pages_present(), 4u);
  file_->ReadAround(1000, 5);
  file_->ReadAround(62, 2);
  EXPECT_EQ(file_->num_pages_present(), 4u);
  EXPECT_EQ(disk_.reads_at_once, 1);
  // What is there stays as it is, and what is between comes.
  Write(*file_, 50 * kPageSize, "changed");
  file_->ReadAround(48, 8);
  EXPECT_EQ(file_->num_pages_present(), 12u);
  EXPECT_EQ(disk_.reads_at_once, 3);
  EXPECT_EQ(Read(*file_, 50 * kPageSize, 8), "changed" + disk_.content.substr(50 * kPageSize, 1));
  EXPECT_EQ(Read(*file_, 51 * kPageSize, 1), disk_.content.substr(51 * kPageSize, 1));
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), 12u);
}

TEST_F(ProgramDataTest, WhatIsDroppedWhileItIsReadAroundDoesNotBecomePresent) {
  disk_.during_read = [&] { EXPECT_TRUE(file_->Truncate(10 * kPageSize).ok()); };
  file_->ReadAround(0, 16);
  EXPECT_EQ(file_->num_pages_present(), 0u);
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), 0u);
}

// --- the rest of mappings ---

TEST_F(PageCacheTest, WhatWasMappedAroundIsWrittenInPlaceAndTruncated) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 0, Alphabet(16));
  const Ref<AddressSpace> space = SpaceWith(file, 16, /*shared=*/true);
  EXPECT_EQ(FaultAt(*space, 0), FaultKind::kNone);
  EXPECT_EQ(space->num_resident_pages(), 16u);
  const uint64_t generation = space->generation();
  Poke(*space, 5 * kPageSize, "poked");
  EXPECT_EQ(space->generation(), generation);
  EXPECT_EQ(Read(*file, 5 * kPageSize, 6), "pokedF");
  ASSERT_TRUE(file->Truncate(3 * kPageSize + 1).ok());
  EXPECT_EQ(space->num_resident_pages(), 4u);
  EXPECT_EQ(FaultAt(*space, 4), FaultKind::kBeyondEnd);
  EXPECT_EQ(FaultAt(*space, 5), FaultKind::kBeyondEnd);
  EXPECT_EQ(Peek(*space, 3 * kPageSize, 2), std::string("D\0", 2));
}

TEST_F(PageCacheTest, TouchingPagesBehindTheEndIsABusError) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 0, "hello");
  for (const bool shared : {false, true}) {
    const Ref<AddressSpace> space = SpaceWith(file, 3, shared);
    EXPECT_EQ(FaultAt(*space, 0), FaultKind::kNone);
    EXPECT_EQ(FaultAt(*space, 1), FaultKind::kBeyondEnd);
    EXPECT_EQ(FaultAt(*space, 2, Access::kWrite), FaultKind::kBeyondEnd);
  }
}

TEST_F(PageCacheTest, TruncationTakesPagesOutOfEverySpace) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 0, std::string(4 * kPageSize, 'a'));
  const Ref<AddressSpace> shared = SpaceWith(file, 4, /*shared=*/true);
  const Ref<AddressSpace> priv = SpaceWith(file, 4, /*shared=*/false);
  for (AddressSpace* space : {shared.get(), priv.get()}) Peek(*space, 0, 4 * kPageSize);
  Poke(*priv, 3 * kPageSize, "copy");
  const Ref<AddressSpace> child = *priv->Fork();
  ASSERT_TRUE(file->Truncate(kPageSize + 10).ok());
  for (AddressSpace* space : {shared.get(), priv.get(), child.get()}) {
    EXPECT_EQ(FaultAt(*space, 1), FaultKind::kNone);
    EXPECT_EQ(FaultAt(*space, 2), FaultKind::kBeyondEnd);
    EXPECT_EQ(FaultAt(*space, 3), FaultKind::kBeyondEnd);  // also where it was a private copy
    EXPECT_EQ(space->num_resident_pages(), 2u);
    space->CheckInvariants();
  }
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), 2u);
}

TEST_F(PageCacheTest, TruncationZeroesTheTailOfTheLastPage) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 0, std::string(kPageSize, 'a'));
  ASSERT_TRUE(file->Truncate(10).ok());
  ASSERT_TRUE(file->Truncate(20).ok());
  EXPECT_EQ(Read(*file, 0, 100), std::string(10, 'a') + std::string(10, '\0'));
}

TEST_F(PageCacheTest, WhatAMappingLeftBehindTheEndDoesNotShowWhenTheFileGrows) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 0, "ab");
  const Ref<AddressSpace> space = SpaceWith(file, 1, /*shared=*/true);
  Poke(*space, 2, "garbage");
  Write(*file, 5, "c");
  EXPECT_EQ(Read(*file, 0, 10), std::string("ab\0\0\0c", 6));
}

TEST_F(PageCacheTest, PunchingAHoleLeavesPrivateCopies) {
  const Ref<FilePages> file = NewFile();
  Write(*file, 0, std::string(4 * kPageSize, 'a'));
  const Ref<AddressSpace> shared = SpaceWith(file, 4, /*shared=*/true);
  const Ref<AddressSpace> priv = SpaceWith(file, 4, /*shared=*/false);
  Peek(*shared, 0, 4 * kPageSize);
  Peek(*priv, 0, 4 * kPageSize);
  Poke(*priv, kPageSize, "copy");
  ASSERT_TRUE(file->PunchHole(kPageSize - 2, 2 * kPageSize + 4).ok());
  EXPECT_EQ(file->size_bytes(), 4 * kPageSize);
  EXPECT_EQ(file->num_pages_present(), 2u);
  EXPECT_EQ(Read(*file, kPageSize - 3, 4), std::string("a\0\0\0", 4));
  EXPECT_EQ(Read(*file, 3 * kPageSize + 1, 2), std::string("\0a", 2));
  EXPECT_EQ(Peek(*shared, kPageSize, 2), std::string(2, '\0'));
  EXPECT_EQ(Peek(*priv, kPageSize, 4), "copy");
  EXPECT_EQ(Peek(*priv, 2 * kPageSize, 2), std::string(2, '\0'));
}

TEST_F(PageCacheTest, AFileOutlivesItsMappingsAndTheOtherWayRound) {
  Ref<FilePages> file = NewFile();
  Write(*file, 0, "hello");
  Ref<AddressSpace> space = SpaceWith(file, 1, /*shared=*/true);
  file.reset();
  EXPECT_EQ(Peek(*space, 0, 5), "hello");
  space.reset();
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), 0u);
}

// Random writes, reads, truncations and holes against a string, with a shared mapping that must always agree.
TEST_F(PageCacheTest, AgreesWithAStringUnderRandomOperations) {
  std::mt19937_64 random(3);
  const Ref<FilePages> file = NewFile();
  const Ref<AddressSpace> space = SpaceWith(file, 16, /*shared=*/true);
  std::string model;
  const uint64_t limit = 16 * kPageSize;
  for (int step = 0; step < 1500; ++step) {
    const uint64_t offset = random() % limit, length = 1 + random() % std::min(limit - offset, 3 * kPageSize);
    switch (random() % 8) {
      case 0:
        ASSERT_TRUE(file->Truncate(offset).ok());
        model.resize(offset);
        break;
      case 1:
        ASSERT_TRUE(file->PunchHole(offset, length).ok());
        for (uint64_t i = offset; i < std::min(offset + length, model.size()); ++i) model[i] = 0;
        break;
      case 2:
      case 3: {
        const std::string text(length, static_cast<char>('a' + random() % 26));
        ASSERT_EQ(Write(*file, offset, text), length);
        if (model.size() < offset + length) model.resize(offset + length);
        model.replace(offset, length, text);
        break;
      }
      case 4: {
        const uint64_t mapped_end = PageRoundUp(model.size());
        const std::string text(length, static_cast<char>('A' + random() % 26));
        const uint64_t expected = offset >= mapped_end ? 0 : std::min(length, mapped_end - offset);
        ASSERT_EQ(Poke(*space, offset, text), expected);
        if (offset < model.size())
          model.replace(offset, std::min(length, model.size() - offset), text, 0,
                        std::min(length, model.size() - offset));
        // What was left behind the end shows in the mapping only; let it be zero again.
        ASSERT_TRUE(file->Truncate(model.size() + 1).ok());
        model.resize(model.size() + 1);
        break;
      }
      default:
        ASSERT_EQ(Read(*file, offset, length), offset < model.size() ? model.substr(offset, length) : "");
        ASSERT_EQ(Peek(*space, 0, model.size()), model);
    }
    ASSERT_EQ(file->size_bytes(), model.size());
  }
  space->CheckInvariants();
}

// The same on a disk that has now more, now less at once; and after a Sync it has what was written.
TEST_F(PageCacheTest, AFileOnADiskAgreesWithAString) {
  std::mt19937_64 random(4);
  constexpr uint64_t kPages = 40;
  FakeDisk disk{.content = Alphabet(kPages)};
  const Ref<FilePages> file = NewFileOn(&disk);
  const Ref<AddressSpace> space = SpaceWith(file, kPages, /*shared=*/false, Protection(Protection::kRead));
  std::string model = disk.content;
  for (int step = 0; step < 3000; ++step) {
    disk.num_pages_at_once = random() % 20;
    const uint64_t offset = random() % (kPages * kPageSize);
    const uint64_t length = 1 + random() % std::min(kPages * kPageSize - offset, 6 * kPageSize);
    switch (random() % 16) {
      case 0: {
        const uint64_t size = random() % 8 == 0 ? offset : kPages * kPageSize - offset / 4;
        model.resize(size);
        if (disk.content.size() > size) disk.content.resize(size);
        ASSERT_TRUE(file->Truncate(size).ok());
        break;
      }
      case 1: {
        const std::string text(length, static_cast<char>('a' + random() % 26));
        ASSERT_EQ(Write(*file, offset, text), length);
        if (model.size() < offset + length) model.resize(offset + length);
        model.replace(offset, length, text);
        break;
      }
      case 2:
        ASSERT_TRUE(file->Sync().ok());
        ASSERT_EQ(disk.content.substr(0, model.size()), model.substr(0, disk.content.size()));
        break;
      case 3:
      case 4:
      case 5:
      case 6:
        ASSERT_EQ(Read(*file, offset, length), offset < model.size() ? model.substr(offset, length) : "");
        break;
      default: {
        const uint64_t page = offset / kPageSize, start = page * kPageSize;
        const bool inside = start < model.size();
        ASSERT_EQ(FaultAt(*space, page), inside ? FaultKind::kNone : FaultKind::kBeyondEnd);
        if (inside) {
          ASSERT_EQ(Peek(*space, start, std::min(kPageSize, model.size() - start)), model.substr(start, kPageSize));
        }
      }
    }
    ASSERT_EQ(file->size_bytes(), model.size());
  }
  space->CheckInvariants();
}

TEST_F(PageCacheTest, ReadersAndAMappingSurviveConcurrentTruncation) {
  const Ref<FilePages> file = NewFile();
  const Ref<AddressSpace> space = SpaceWith(file, 8, /*shared=*/true);
  std::thread truncator([&] {
    for (int i = 0; i < 200; ++i) {
      Write(*file, 0, std::string(8 * kPageSize, 'a'));
      ASSERT_TRUE(file->Truncate(static_cast<uint64_t>(i % 8) * kPageSize).ok());
    }
  });
  std::thread forker([&] {
    for (int i = 0; i < 200; ++i) {
      const Ref<AddressSpace> child = *space->Fork();
      Peek(*child, 0, 8 * kPageSize);
    }
  });
  for (int i = 0; i < 200; ++i) {
    for (const char c : Read(*file, 0, 8 * kPageSize)) ASSERT_TRUE(c == 'a' || c == 0);
    Peek(*space, 0, 8 * kPageSize);
    memory_.Settle();
  }
  truncator.join();
  forker.join();
  ASSERT_TRUE(file->Truncate(0).ok());
  EXPECT_EQ(space->num_resident_pages(), 0u);
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), 0u);
}

// --- a slow backing ---

TEST_F(PageCacheTest, APageThatIsOnItsWayIsNoFault) {
  FakeDisk disk{.content = std::string(2 * kPageSize, 'd')};
  const Ref<FilePages> file = NewFileOn(&disk);
  const Ref<AddressSpace> space = SpaceWith(file, 2, /*shared=*/false);
  disk.slow = true;
  EXPECT_EQ(FaultAt(*space, 0), FaultKind::kNotReady);
  EXPECT_EQ(FaultAt(*space, 0, Access::kWrite), FaultKind::kNotReady);
  EXPECT_FALSE(space->IsReady(kBase.page(), Access::kRead));
  EXPECT_EQ(space->num_resident_pages(), 0u);
  disk.slow = false;
  EXPECT_TRUE(space->IsReady(kBase.page(), Access::kRead));
  EXPECT_EQ(FaultAt(*space, 0, Access::kWrite), FaultKind::kNone);
  EXPECT_EQ(FaultAt(*space, 1), FaultKind::kNone);
}

TEST_F(PageCacheTest, AReadThatMeetsASlowPageKeepsWhatCameBefore) {
  FakeDisk disk{.content = std::string(kPageSize, 'a') + std::string(kPageSize, 'b')};
  const Ref<FilePages> file = NewFileOn(&disk);
  EXPECT_EQ(Read(*file, 0, 1), "a");
  disk.slow = true;
  std::string text(2 * kPageSize, '?');
  KernelBuffer buffer(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(file->Read(buffer, 0).error_number(), EAGAIN);
  EXPECT_EQ(buffer.transferred(), kPageSize);
  disk.slow = false;
  EXPECT_EQ(*file->Read(buffer, buffer.transferred()), kPageSize);
  EXPECT_EQ(text, disk.content);
}

TEST_F(PageCacheTest, WhatTheBackingWasGivenIsSeenInPresentAndAbsentPages) {
  FakeDisk disk{.content = std::string(2 * kPageSize, 'd')};
  const Ref<FilePages> file = NewFileOn(&disk);
  EXPECT_EQ(Read(*file, 0, 1), "d");
  const std::string fresh(100, 'f');
  for (const uint64_t at : {uint64_t{10}, kPageSize + 10, 2 * kPageSize - 50}) {
    disk.content.resize(std::max(disk.content.size(), at + fresh.size()));
    disk.content.replace(at, fresh.size(), fresh);
    file->NoteBackingWritten(std::as_bytes(std::span(fresh)), at);
  }
  EXPECT_EQ(file->size_bytes(), 2 * kPageSize + 50);
  EXPECT_EQ(Read(*file, 0, 3 * kPageSize), disk.content);
}

TEST_F(PageCacheTest, AKernelAccessThatCannotBeTriedAgainWaits) {
  sync::WaitQueue arrivals;
  memory_.context.page_arrivals = &arrivals;
  FakeDisk disk{.content = std::string(kPageSize, 'd')};
  const Ref<FilePages> file = NewFileOn(&disk);
  const Ref<AddressSpace> space = SpaceWith(file, 1, /*shared=*/false);
  disk.slow = true;
  std::string seen;
  std::thread reader([&] { seen = Peek(*space, 0, 3); });
  while (!arrivals.has_waiters()) std::this_thread::yield();
  arrivals.Notify(sync::kAllEvents);  // of another page
  disk.slow = false;
  arrivals.Notify(sync::kAllEvents);
  reader.join();
  EXPECT_EQ(seen, "ddd");
}

TEST_F(PageCacheTest, ATransferStopsBeforeASlowPageAndGoesOn) {
  FakeDisk disk{.content = std::string(2 * kPageSize, 'd')};
  const Ref<FilePages> file = NewFileOn(&disk);
  const Ref<AddressSpace> space = SpaceWith(file, 2, /*shared=*/false);
  const auto tlb = std::make_unique<Tlb>();
  tlb->Bind(space.get(), space->id());
  EXPECT_EQ(FaultAt(*space, 0), FaultKind::kNone);
  disk.slow = true;
  const UserRange range{kBase, 2 * kPageSize};
  UserBuffer buffer(UserMemory(tlb.get()), IoBuffer::Direction::kDrain, std::span(&range, 1),
                    UserBuffer::SlowPages::kStop);
  std::string text(2 * kPageSize, '?');
  EXPECT_EQ(*buffer.Read(std::as_writable_bytes(std::span(text))), kPageSize);
  EXPECT_TRUE(buffer.must_wait_for_page());
  iovec piece;
  EXPECT_EQ(buffer.Gather(std::span(&piece, 1), 1).error_number(), EFAULT);
  EXPECT_TRUE(buffer.must_wait_for_page());
  disk.slow = false;
  EXPECT_EQ(*buffer.Gather(std::span(&piece, 1), 1), 1u);
  EXPECT_FALSE(buffer.must_wait_for_page());
  EXPECT_EQ(*buffer.Read(std::as_writable_bytes(std::span(text).subspan(kPageSize))), kPageSize);
  EXPECT_EQ(text, disk.content);
}

}  // namespace
}  // namespace remora::mm
