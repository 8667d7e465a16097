#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "base/guest_addr.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/access.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/translation.h"

namespace remora::cpu::translator {
namespace {

// Two targets that share an entry of the table of indirect branches.
TEST(FastTargetTest, TheEntryGoesToWhoIsWanted) {
  constexpr uint64_t kFirst = 0x7f0000001234, kSecond = kFirst + GuestContext::kIndirectEntries;
  const std::byte code[16]{};
  Translation first, second;
  first.pc = kFirst, first.code = code, first.indirect_entry = 1, first.saved_entry = 2;
  second.pc = kSecond, second.code = code, second.indirect_entry = 9, second.saved_entry = 10;
  const auto context = std::make_unique<GuestContext>();
  context->targets[GuestContext::TargetIndex(kFirst)] = {kFirst, &first};
  context->targets[GuestContext::TargetIndex(kSecond)] = {kSecond, &second};
  const void*& entry = context->indirect[kFirst % GuestContext::kIndirectEntries];
  entry = code + 1;
  // An entry that is asked for once in a while stays the first one's.
  context->target = kSecond;
  EXPECT_EQ(FastTarget(context.get()), code + 10);
  EXPECT_EQ(entry, code + 1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(FastTarget(context.get()), code + 10);
  EXPECT_EQ(entry, code + 9);
  context->target = kFirst + 16;
  EXPECT_EQ(FastTarget(context.get()), nullptr);
}

TEST(ShareExtentTest, WhoIsInTheSameRunHasTheSameOne) {
  constexpr uint64_t kFirst = 0x10000000, kFar = 0x20000000;
  constexpr uint32_t kClassOfEight = 3;
  FakeMachine machine;
  machine.memory.Map(kFirst, 3, mm::Protection(3));
  const auto context = std::make_unique<GuestContext>();
  context->tlb = machine.tlb.get();
  const auto share = [&](uint64_t address, bool write = false, uint32_t size_class = kClassOfEight) {
    return ShareExtent(context.get(), size_class, write, address);
  };
  EXPECT_FALSE(share(kFirst));  // not known at once
  for (uint64_t page = 0; page < 3; ++page) machine.tlb->Fill(GuestAddr(kFirst + page * kPageSize), mm::Access::kWrite);
  const std::optional<uint32_t> number = share(kFirst + 100);
  ASSERT_TRUE(number);
  EXPECT_EQ(SizeClassOf(*number), kClassOfEight);
  EXPECT_LT(*number, FirstExtentOf(kClassOfEight) + SharedExtentsOf(kClassOfEight));
  const Extent& extent = context->extents[0][*number];
  EXPECT_LE(extent.start, kFirst + 100);
  EXPECT_EQ(extent.host - extent.start, extent.delta);
  EXPECT_EQ(share(kFirst), number);
  EXPECT_EQ(context->used_extents[0], *number);
  EXPECT_NE(context->extents[1][*share(kFirst, /*write=*/true)].host, 0u);
  EXPECT_NE(share(kFirst, /*write=*/false, /*size_class=*/2), number);
  // Of other runs, which take turns where they are too many.
  std::set<uint32_t> numbers = {*number};
  constexpr uint64_t kRuns = 200;
  for (uint64_t i = 0; i < kRuns; ++i) {
    const uint64_t at = kFar + i * 16 * kPageSize;
    machine.memory.Map(at, 1, mm::Protection(3));
    machine.tlb->Fill(GuestAddr(at), mm::Access::kRead);
    const std::optional<uint32_t> other = share(at + 8);
    ASSERT_TRUE(other);
    EXPECT_EQ(context->extents[0][*other].start, at);
    numbers.insert(*other);
  }
  EXPECT_EQ(numbers.size(), SharedExtentsOf(kClassOfEight));
}

// Near the ends of the run a block cannot tell; nobody has to be asked, not even the TLB, which there is not.
TEST(FastStackTest, WhatLiesInTheRunThatIsKnownIsFound) {
  constexpr uint64_t kRun = 0x7ffd00000000, kBytes = 0x3000, kHost = 0x555500000000;
  const auto context = std::make_unique<GuestContext>();
  context->stack_delta = kHost - kRun;
  context->minus_stack_delta = kRun - kHost;
  context->stack_start = kHost;
  context->stack_bytes = kBytes;
  AccessSite site = {};
  constexpr uint32_t kClassOfSixteen = 4;
  site.extent = FirstExtentOf(kClassOfSixteen) & 0xfff;
  site.write = 1;
  site.size_less_one = 15;
  context->site = __builtin_bit_cast(uint32_t, site);
  context->stack_limits[kClassOfSixteen] = kBytes - 16 + 1;
  for (const uint64_t at : {uint64_t{0}, uint64_t{1}, kBytes / 2, kBytes - 16})
    EXPECT_EQ(FastStack(context.get(), kRun + at), 1u) << at;
  EXPECT_EQ(context->stack_delta, kHost - kRun);
}

TEST(FastStackTest, WhatIsStillNeededIsNotMoved) {
  constexpr uint64_t kStack = 0x7ffd00000000;
  std::byte host[32];
  const auto context = std::make_unique<GuestContext>();
  for (uint32_t size_class = 0; size_class < kSizeClasses; ++size_class) {
    for (const uint32_t pinned : {1u, 0u}) {
      context->stack_delta = 5;
      AccessSite site = {};
      site.extent = (FirstExtentOf(size_class) + pinned) & 0xfff;
      context->site = __builtin_bit_cast(uint32_t, site);
      EXPECT_EQ(RecordStack(context.get(), kStack, host, /*one_page=*/false), pinned == 0) << size_class;
      EXPECT_EQ(context->stack_delta, pinned != 0 ? 5u : reinterpret_cast<uint64_t>(host) - kStack);
    }
  }
}

}  // namespace
}  // namespace remora::cpu::translator
