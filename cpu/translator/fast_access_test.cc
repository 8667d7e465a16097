#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/guest_addr.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/access.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/translation.h"
#include "mm/tlb.h"
#include "mm/types.h"

namespace remora::cpu::translator {
namespace {

// Two targets that share an entry of the table of indirect branches.
TEST(FastTargetTest, TheEntryGoesToWhoIsWanted) {
  constexpr uint64_t kFirst = 0x7f0000001234, kSecond = kFirst + 2 * GuestContext::kIndirectEntries;
  const std::byte code[16]{};
  Translation first, second;
  first.pc = kFirst, first.code = code, first.saved_entry = 2;
  second.pc = kSecond, second.code = code, second.saved_entry = 10;
  const auto context = std::make_unique<GuestContext>();
  context->targets[GuestContext::TargetIndex(kFirst)] = {kFirst, &first};
  context->targets[GuestContext::TargetIndex(kSecond)] = {kSecond, &second};
  GuestContext::IndirectTarget& entry = context->indirect[GuestContext::TargetEntry(kFirst)];
  ASSERT_EQ(&entry, &context->indirect[GuestContext::TargetEntry(kSecond)]);
  entry = {kFirst, code + 2};
  // An entry that is asked for once in a while stays the first one's.
  context->target = kSecond;
  EXPECT_EQ(FastTarget(context.get()), code + 10);
  EXPECT_EQ(entry.pc, kFirst);
  EXPECT_EQ(entry.code, code + 2);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(FastTarget(context.get()), code + 10);
  EXPECT_EQ(entry.pc, kSecond);
  EXPECT_EQ(entry.code, code + 10);
  context->target = kFirst + 16;
  EXPECT_EQ(FastTarget(context.get()), nullptr);
}

// What a site tells of the page that it lacks: its number, and the instruction, which is of no matter here.
TEST(FastPlaceTest, ThePageOfTheSiteBecomesKnown) {
  FakeMachine machine;
  const auto context = std::make_unique<GuestContext>();
  const auto keys = std::make_unique<std::atomic<uint64_t>[]>(GuestContext::kPages);
  constexpr uint32_t kRead = 5, kWritten = GuestContext::kPages - 1;
  keys[kRead] = GuestContext::PageKey(FakeMachine::kData + kPageSize + 8, /*write=*/false);
  keys[kWritten] = GuestContext::PageKey(FakeMachine::kData + 8, /*write=*/true);
  context->page_keys = keys.get();
  context->tlb = machine.tlb.get();
  const auto ask = [&](uint32_t place) {
    context->site = __builtin_bit_cast(uint32_t, PlaceSite{.place = place, .instruction = 1023});
    return FastPlace(context.get());
  };
  EXPECT_EQ(ask(kRead), nullptr);  // as long as the TLB does not know it
  const std::byte* read = machine.tlb->Fill(GuestAddr(FakeMachine::kData + kPageSize), mm::Access::kRead);
  EXPECT_EQ(ask(kRead), read);
  EXPECT_EQ(context->pages[kRead], reinterpret_cast<uint64_t>(read));
  const std::byte* written = machine.tlb->Fill(GuestAddr(FakeMachine::kData), mm::Access::kWrite);
  EXPECT_EQ(ask(kWritten), written);
  EXPECT_EQ(context->pages[kWritten], reinterpret_cast<uint64_t>(written));
  EXPECT_EQ(context->num_known_pages, 2u);
  context->fs_base = FakeMachine::kData + 64;
  EXPECT_EQ(ask(GuestContext::kFsPlace), written + 64);
  EXPECT_EQ(context->fs_host, reinterpret_cast<uint64_t>(written + 64));
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
