// Sites of memory operands that go from run to run of pages, under translated code.

#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/testing/fake_memory.h"
#include "mm/tlb.h"

namespace remora::cpu {
namespace {

constexpr uint64_t kCode = FakeMachine::kCode;

// Where a page is that code accesses by its address is asked once; who is told of another page would ask each time.
TEST(ExtentsTest, APageThatIsAccessedByItsAddressIsLookedUpOnce) {
  FakeMachine machine;
  constexpr uint64_t kCounter = FakeMachine::kData + 0x1234;
  machine.memory.Write(kCode, {0xff, 0x04, 0x25, 0, 0, 0, 0,  // again: inc dword [kCounter]
                               0x3b, 0x0c, 0x25, 0, 0, 0, 0,  // cmp ecx, [kCounter]
                               0x75, 0xf0,                    // jne again
                               0x0f, 0x05});                  // syscall
  machine.memory.Store(kCode + 3, static_cast<uint32_t>(kCounter));
  machine.memory.Store(kCode + 10, static_cast<uint32_t>(kCounter));
  constexpr uint64_t kTimes = 10'000;
  machine.state.gpr[kRcx] = kTimes;
  ASSERT_EQ(machine.Run(10 * kTimes).reason, ExitReason::kSyscall);
  EXPECT_EQ(machine.memory.Load<uint32_t>(kCounter), kTimes);
  const mm::Tlb::Counters counters = machine.tlb->counters();
  EXPECT_LT(counters.hits + counters.way_hits + counters.misses, 500u);
}

// A site that goes from run to run takes over what others have found of them, and allows for its own size.
TEST(ExtentsTest, WhateverTheSizeARunEndsWhereItEnds) {
  struct Access {
    std::vector<uint8_t> code;  // of [rsi]
    uint64_t bytes;
  };
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
