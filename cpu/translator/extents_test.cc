// Sites of memory operands that go from run to run of pages, under translated code.

#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/translator.h"

namespace remora::cpu {
namespace {

constexpr uint64_t kCode = FakeMachine::kCode;

struct Access {
  std::vector<uint8_t> code;  // of [rsi]
  uint64_t bytes;
};

// A site that goes from run to run takes over what others have found of them, and allows for its own size.
TEST(ExtentsTest, WhateverTheSizeARunEndsWhereItEnds) {
  const Access accesses[] = {
      {{0x8a, 0x06}, 1},                                 // mov al, [rsi]
      {{0x66, 0x8b, 0x06}, 2},                           // mov ax, [rsi]
      {{0x8b, 0x06}, 4},                                 // mov eax, [rsi]
      {{0x48, 0x8b, 0x06}, 8},                           // mov rax, [rsi]
      {{0x48, 0x89, 0x06}, 8},                           // mov [rsi], rax
      {{0x66, 0x89, 0x06}, 2},                           // mov [rsi], ax
      {{0xdb, 0x2e, 0xdd, 0xd8}, 10},                    // fld tbyte [rsi]; fstp st0
      {{0x0f, 0x10, 0x06}, 16},                          // movups xmm0, [rsi]
      {{0xc5, 0xfc, 0x10, 0x06}, 32},                    // vmovups ymm0, [rsi]
      {{0x0f, 0x11, 0x06}, 16},                          // movups [rsi], xmm0
      {{0x48, 0x8b, 0x06, 0x48, 0x8b, 0x4e, 0x20}, 40},  // mov rax, [rsi]; mov rcx, [rsi + 32]: one probe for both
  };
  FakeMachine machine;
  constexpr uint64_t kPlaces[] = {0x700000, 0x920000, 0xb40000};
  for (const uint64_t place : kPlaces) machine.memory.Map(place, 2, mm::Protection(3));
  uint64_t code = kCode;
  for (const Access& access : accesses) {
    SCOPED_TRACE(access.bytes);
    machine.memory.Write(code, access.code);
    machine.memory.Write(code + access.code.size(), {0x0f, 0x05});  // syscall
    const auto run = [&](uint64_t address) {
      machine.state.rip = code;
      machine.state.gpr[kRsi] = address;
      return machine.Run(100).reason;
    };
    for (uint64_t i = 0; i < 400; ++i) {
      const uint64_t place = kPlaces[i * i % std::size(kPlaces)];
      ASSERT_EQ(run(place + i * 8), ExitReason::kSyscall) << i;
      if (i % 7 == 0) {
        ASSERT_EQ(run(place + 2 * kPageSize - access.bytes), ExitReason::kSyscall) << i;
        ASSERT_EQ(run(place + 2 * kPageSize - access.bytes + 1), ExitReason::kFault) << i;
        ASSERT_EQ(run(place), ExitReason::kSyscall) << i;
        ASSERT_EQ(run(place - 1), ExitReason::kFault) << i;
      }
    }
    code += 64;
  }
}

// More sites of each size than there are extents, each with one of its own, that go from run to run and are recorded by
// turns: who was recorded in the place of a larger one would leave that one an extent that ends behind its run.
TEST(ExtentsTest, WhatTheMissPathRecordsIsTheSitesOwn) {
  const Access accesses[] = {
      {{0x0f, 0xb7, 0x06}, 2},  // movzx eax, word [rsi]
      {{0x8b, 0x06}, 4},        // mov eax, [rsi]
      {{0x48, 0x8b, 0x06}, 8},  // mov rax, [rsi]
  };
  constexpr uint64_t kSites = 4200, kSiteBytes = 6, kRounds = 60, kSitesCode = 0x1000000;
  constexpr uint64_t kPlaces[] = {0x700000, 0x920000, 0xb40000};
  FakeMachine machine([](BlockCache* cache) {
    TranslatorOptions options;
    options.optimizations.warm = options.optimizations.share = false;
    return MakeTranslator(cache, options);
  });
  // Behind each place lies what lies elsewhere on the host.
  machine.memory.Store<uint64_t>(FakeMachine::kData, 0x2222222222222222);
  for (const uint64_t place : kPlaces) {
    machine.memory.Map(place, 1, mm::Protection(3));
    machine.memory.Alias(place + kPageSize, FakeMachine::kData, mm::Protection(3));
    machine.memory.Store<uint64_t>(place + kPageSize - 8, 0x1111111111111111);
  }
  machine.memory.Map(kSitesCode, kSites * kSiteBytes / kPageSize + 1, mm::Protection(5));
  const auto access_of = [&](uint64_t site) -> const Access& { return accesses[site % std::size(accesses)]; };
  for (uint64_t site = 0; site < kSites; ++site) {
    std::vector<uint8_t> code = access_of(site).code;
    code.insert(code.end(), {0x0f, 0x05});  // syscall
    machine.memory.Write(kSitesCode + site * kSiteBytes, code);
  }
  const auto read = [&](uint64_t site, uint64_t address) {
    machine.state.rip = kSitesCode + site * kSiteBytes;
    machine.state.gpr[kRsi] = address;
    EXPECT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
    return machine.state.gpr[kRax];
  };
  for (uint64_t round = 0; round < kRounds; ++round)
    for (uint64_t site = 0; site < kSites; ++site)
      ASSERT_EQ(read(site, kPlaces[(site + round) % std::size(kPlaces)] + round * 8), 0u) << site;
  for (uint64_t site = 0; site < kSites; ++site) {
    const uint64_t bytes = access_of(site).bytes;
    const uint64_t expected = 0x2211111111111111 >> (8 - bytes) * 8;
    for (const uint64_t place : kPlaces) ASSERT_EQ(read(site, place + kPageSize - bytes + 1), expected) << site;
  }
}

TEST(ExtentsTest, OneSiteMayGoFromPlaceToPlace) {
  // More runs of pages than are remembered beside the site's own, so that the TLB is asked; each may be lost.
  FakeMachine machine;
  constexpr uint64_t kFirst = 0x700000, kApart = 5 * kPageSize, kPlaces = 12;
  for (uint64_t i = 0; i < kPlaces; ++i) machine.memory.Map(kFirst + i * kApart, 1, mm::Protection(3));
  machine.memory.Write(kCode, {0x48, 0x8b, 0x03,                          // mov rax, [rbx]
                               0x48, 0x83, 0xc0, 0x01,                    // add rax, 1
                               0x48, 0x89, 0x81, 0xf8, 0x07, 0x00, 0x00,  // mov [rcx + 0x7f8], rax
                               0x0f, 0x05});                              // syscall
  const auto run = [&](uint64_t from, uint64_t to) {
    machine.state.rip = kCode;
    machine.state.gpr[kRbx] = from;
    machine.state.gpr[kRcx] = to;
    return machine.Run(100);
  };
  const auto place = [](uint64_t i) { return kFirst + i % kPlaces * kApart; };
  for (uint64_t i = 0; i < 50 * kPlaces; ++i) {
    machine.memory.Store<uint64_t>(place(i), 1000 + i);
    ASSERT_EQ(run(place(i), place(i + 5)).reason, ExitReason::kSyscall);
    ASSERT_EQ(machine.memory.Load<uint64_t>(place(i + 5) + 0x7f8), 1001 + i);
  }
  // The operand's last byte is the page's last one, and one beyond, where there is nothing.
  ASSERT_EQ(run(place(3) + kPageSize - 8, place(4)).reason, ExitReason::kSyscall);
  ASSERT_EQ(run(place(3) + kPageSize - 7, place(4)).reason, ExitReason::kFault);
  for (uint64_t i = 0; i < kPlaces; ++i) {
    machine.memory.Protect(place(i), mm::Protection(1));
    machine.memory.FlushAtNextSynchronize();
    EXPECT_EQ(run(place(i), place(i + 1)).reason, ExitReason::kSyscall);
    EXPECT_EQ(run(place(i + 1), place(i)).reason, ExitReason::kFault);
    EXPECT_EQ(machine.state.rip, kCode + 7);
    machine.memory.Protect(place(i), mm::Protection(3));
  }
}

}  // namespace
}  // namespace remora::cpu
