#include <cstddef>
#include <map>
#include <random>
#include <span>
#include <vector>

#include "base/guest_addr.h"
#include "gtest/gtest.h"
#include "mm/address_space.h"
#include "mm/memory_for_testing.h"
#include "mm/page_cache.h"
#include "mm/types.h"

namespace remora::mm {
namespace {

constexpr GuestAddr kBase(0x10000000);

bool Poke(AddressSpace& space, GuestAddr addr, uint32_t value) {
  return space.WriteRemote(addr, std::as_bytes(std::span(&value, 1))) == sizeof(value);
}
// ~0 where it cannot be read.
uint32_t Peek(AddressSpace& space, GuestAddr addr) {
  uint32_t value = 0;
  if (space.ReadRemote(addr, std::as_writable_bytes(std::span(&value, 1))) != sizeof(value)) return ~0u;
  return value;
}

TEST(AddressSpaceForkTest, PrivatePagesAreCopiedAtTheFirstWriteOfEitherSide) {
  MemoryForTesting memory;
  const Ref<AddressSpace> parent = AddressSpace::Create(&memory.context, memory.layout);
  ASSERT_TRUE(parent->Map(FixedRequest(kBase, 4)).ok());
  for (uint32_t i = 0; i < 4; ++i) Poke(*parent, kBase + i * kPageSize, i + 1);
  const Ref<AddressSpace> child = *parent->Fork();
  EXPECT_EQ(memory.frames.num_allocated(), 4u);
  EXPECT_EQ(child->num_resident_pages(), 4u);
  Poke(*parent, kBase, 100);
  Poke(*child, kBase + kPageSize, 200);
  EXPECT_EQ(Peek(*child, kBase), 1u);
  EXPECT_EQ(Peek(*parent, kBase), 100u);
  EXPECT_EQ(Peek(*parent, kBase + kPageSize), 2u);
  EXPECT_EQ(Peek(*child, kBase + kPageSize), 200u);
  memory.Settle();
  EXPECT_EQ(memory.frames.num_allocated(), 6u);
  parent->CheckInvariants();
  child->CheckInvariants();
}

TEST(AddressSpaceForkTest, WithoutTheChildNothingIsCopied) {
  MemoryForTesting memory;
  const Ref<AddressSpace> parent = AddressSpace::Create(&memory.context, memory.layout);
  ASSERT_TRUE(parent->Map(FixedRequest(kBase, 1)).ok());
  Poke(*parent, kBase, 1);
  const FrameId before = parent->Translate(kBase.page(), Access::kRead).frame;
  (void)parent->Fork();
  EXPECT_EQ(parent->Translate(kBase.page(), Access::kWrite).frame, before);
}

TEST(AddressSpaceForkTest, SharedMemoryStaysShared) {
  MemoryForTesting memory;
  const Ref<AddressSpace> parent = AddressSpace::Create(&memory.context, memory.layout);
  MapRequest request = FixedRequest(kBase, 2);
  request.shared = true;
  request.object = CreateSharedAnonymous(&memory.context, 2 * kPageSize);
  ASSERT_TRUE(parent->Map(request).ok());
  Poke(*parent, kBase, 1);
  const Ref<AddressSpace> child = *parent->Fork();
  Poke(*child, kBase, 2);
  Poke(*child, kBase + kPageSize, 3);  // not present in either at fork
  EXPECT_EQ(Peek(*parent, kBase), 2u);
  EXPECT_EQ(Peek(*parent, kBase + kPageSize), 3u);
}

TEST(AddressSpaceForkTest, ForkAllocatesNoFrameAndTouchesNoPage) {
  MemoryForTesting memory;
  const Ref<AddressSpace> parent = AddressSpace::Create(&memory.context, memory.layout);
  ASSERT_TRUE(parent->Map(FixedRequest(kBase, 3000)).ok());
  for (uint32_t i = 0; i < 3000; ++i) Poke(*parent, kBase + i * kPageSize, i);
  const FrameId some = parent->Translate(kBase.page() + 1234, Access::kRead).frame;
  std::vector<Ref<AddressSpace>> children;
  for (int i = 0; i < 20; ++i) children.push_back(*parent->Fork());
  EXPECT_EQ(memory.frames.num_allocated(), 3000u);
  EXPECT_EQ(memory.frames.ref_count(some), 1u);
  EXPECT_EQ(memory.reverse_map.num_entries(some), 1u);
  children.resize(1);
  EXPECT_EQ(Peek(*children[0], kBase + 2999 * kPageSize), 2999u);
}

// Several spaces that fork from one another, map, unmap, protect, move, discard, read and write; each against a model
// of its pages. Shared pages live in one model of the object.
class ModelTest : public ::testing::TestWithParam<int> {
 protected:
  static constexpr uint64_t kPages = 64, kObjectPages = 16;
  struct ModelPage {
    Protection protection;
    bool shared = false;
    uint64_t index = 0;  // of the object, if shared
    uint32_t value = 0;  // if private
    bool written = false;
  };
  struct Subject {
    Ref<AddressSpace> space;
    std::map<uint64_t, ModelPage> pages;
  };
  GuestAddr At(uint64_t page) { return kBase + page * kPageSize; }
  void Compare(const Subject& subject) {
    for (uint64_t page = 0; page < kPages; ++page) {
      auto it = subject.pages.find(page);
      uint32_t expected = ~0u;
      if (it != subject.pages.end() && it->second.protection.readable())
        expected = it->second.shared ? object_[it->second.index] : it->second.value;
      ASSERT_EQ(Peek(*subject.space, At(page)), expected) << page;
    }
    subject.space->CheckInvariants();
  }
  void CompareResident(const Subject& subject) {
    uint64_t expected = 0;
    for (const auto& [page, model] : subject.pages)
      if (!model.shared && model.written) ++expected;
    uint64_t resident = 0;
    for (const auto& [page, model] : subject.pages)
      if (!model.shared && model.written && subject.space->IsResident(At(page).page())) ++resident;
    ASSERT_EQ(resident, expected);
    ASSERT_GE(subject.space->num_resident_pages(), expected);
  }

  MemoryForTesting memory_;
  std::vector<uint32_t> object_ = std::vector<uint32_t>(kObjectPages);
};

TEST_P(ModelTest, SpacesAgreeWithTheirModels) {
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()));
  const Ref<FilePages> object = CreateSharedAnonymous(&memory_.context, kObjectPages * kPageSize);
  std::vector<Subject> subjects;
  subjects.push_back({AddressSpace::Create(&memory_.context, memory_.layout), {}});
  uint32_t next_value = 1;
  for (int step = 0; step < 3000; ++step) {
    Subject& s = subjects[random() % subjects.size()];
    const uint64_t first = random() % kPages, count = 1 + random() % std::min<uint64_t>(12, kPages - first);
    switch (random() % 20) {
      case 0:
        if (subjects.size() < 5) {
          Subject child{*s.space->Fork(), s.pages};
          subjects.push_back(std::move(child));
        }
        break;
      case 1:
        if (subjects.size() > 2) subjects.erase(subjects.begin() + static_cast<long>(random() % subjects.size()));
        break;
      case 2:
      case 3: {
        ASSERT_TRUE(s.space->Map(FixedRequest(At(first), count)).ok());
        for (uint64_t i = 0; i < count; ++i) s.pages[first + i] = {Protection(3)};
        break;
      }
      case 4: {
        MapRequest request = FixedRequest(At(first), count);
        const uint64_t offset = random() % (kObjectPages - count + 1);
        request.shared = true;
        request.object = object;
        request.offset_bytes = offset * kPageSize;
        ASSERT_TRUE(s.space->Map(request).ok());
        for (uint64_t i = 0; i < count; ++i) s.pages[first + i] = {Protection(3), true, offset + i};
        break;
      }
      case 5:
        ASSERT_TRUE(s.space->Unmap(At(first), count * kPageSize).ok());
        for (uint64_t i = 0; i < count; ++i) s.pages.erase(first + i);
        break;
      case 6: {
        const Protection protection(static_cast<uint8_t>(random() % 4));
        bool ok = true;
        for (uint64_t i = 0; i < count && ok; ++i) {
          auto it = s.pages.find(first + i);
          ok = it != s.pages.end();
          if (ok) it->second.protection = protection;
        }
        ASSERT_EQ(s.space->Protect(At(first), count * kPageSize, protection).error_number(), ok ? 0 : ENOMEM);
        break;
      }
      case 7: {
        (void)s.space->DiscardPages(At(first), count * kPageSize).ok();
        for (uint64_t i = 0; i < count; ++i) {
          auto it = s.pages.find(first + i);
          if (it == s.pages.end() || it->second.shared) continue;
          it->second.value = 0;
          it->second.written = false;
        }
        break;
      }
      case 8: {
        const uint64_t to = random() % (kPages - count + 1);
        AddressSpace::RemapRequest request{At(first), count * kPageSize, count * kPageSize, true, true};
        request.new_address = At(to);
        const bool overlaps = to < first + count && first < to + count;
        const bool moved = s.space->Remap(request).ok();
        if (overlaps) ASSERT_FALSE(moved);
        // Whether the range lies in one VMA is VmaSet's matter; a failure may still have emptied the target.
        for (uint64_t i = 0; i < count && !overlaps; ++i) {
          if (!moved) continue;
          s.pages[to + i] = s.pages[first + i];
          s.pages.erase(first + i);
        }
        break;
      }
      default: {
        auto it = s.pages.find(first);
        const bool writable = it != s.pages.end() && it->second.protection.writable();
        const uint32_t value = next_value++;
        ASSERT_EQ(Poke(*s.space, At(first), value), writable);
        if (!writable) break;
        if (it->second.shared) {
          object_[it->second.index] = value;
        } else {
          it->second.value = value;
          it->second.written = true;
        }
      }
    }
    if (step % 20 == 0)
      for (const Subject& subject : subjects) {
        CompareResident(subject);
        Compare(subject);
        if (HasFatalFailure()) return;
      }
  }
  subjects.clear();
  memory_.Settle();
  EXPECT_EQ(memory_.frames.num_allocated(), object->num_pages_present());
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, ::testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace remora::mm
