// Branches that go by the table, in machines whose code is translated at once.

#include <gtest/gtest.h>

#include <cstdint>

#include "base/guest_addr.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/translator/options.h"
#include "cpu/translator/translated_machine.h"

namespace remora::cpu::translator {
namespace {

constexpr uint64_t kCode = FakeMachine::kCode;

// A block that goes on in the next page is linked to by code that asks the table for it. Paths, which it would be part
// of, are off.
class CrossingTest : public testing::Test {
 protected:
  // 1,000 rounds, each by way of `crossing`, five bytes whose last ones are on the second page.
  void Run(std::initializer_list<uint8_t> crossing) {
    FakeMachine& machine = translated_.machine;
    constexpr uint64_t kAtTheEnd = kCode + kPageSize - 2;
    machine.memory.Write(kCode, {0xf9,                // again: stc
                                 0xe9, 0, 0, 0, 0});  // jmp kAtTheEnd
    machine.memory.Store(kCode + 2, static_cast<uint32_t>(kAtTheEnd - (kCode + 6)));
    machine.memory.Write(kCode + 64, {0xff, 0xca,    // dec edx
                                      0x75, 0xbc,    // jnz again
                                      0x0f, 0x05});  // syscall
    machine.memory.Write(kAtTheEnd, crossing);
    machine.memory.Write(kAtTheEnd + 5, {0xe9, 0, 0, 0, 0});  // jmp kCode + 64
    machine.memory.Store(kAtTheEnd + 6, static_cast<uint32_t>(kCode + 64 - (kAtTheEnd + 10)));
    machine.state.rip = kCode;
    machine.state.gpr[kRdx] = kRounds;
    ASSERT_EQ(machine.Run(1'000'000).reason, ExitReason::kSyscall);
    EXPECT_EQ(machine.state.gpr[kRdx], 0u);
  }
  static Optimizations WithoutPaths() {
    Optimizations optimizations;
    optimizations.paths = false;
    return optimizations;
  }
  static constexpr uint64_t kRounds = 1000;
  TranslatedMachine translated_{WithoutPaths()};
};

TEST_F(CrossingTest, IsLinkedToByWhoHasNoFlagsToTell) {
  Run({0xb8, 7, 0, 0, 0});  // mov eax, 7: the flags are saved, as nothing is known of the next page
  EXPECT_EQ(translated_.machine.state.gpr[kRax], 7u);
}

TEST_F(CrossingTest, ReadsTheFlagsOfWhoLinksToIt) {
  Run({0x15, 1, 0, 0, 0});  // adc eax, 1
  EXPECT_EQ(translated_.machine.state.gpr[kRax], 2 * kRounds);
}

TEST_F(CrossingTest, ReadsNoFlagsIfItWritesThem) {
  Run({0x05, 3, 0, 0, 0});  // add eax, 3
  EXPECT_EQ(translated_.machine.state.gpr[kRax], 3 * kRounds);
}

// Functions at neighbouring addresses share an entry, as do those that are a multiple of 64 KiB apart. The last one's
// address is the first that the entry 0 may have.
TEST(BranchTableTest, WhoSharesAnEntryIsToldApart) {
  TranslatedMachine translated;
  FakeMachine& machine = translated.machine;
  constexpr uint64_t kFunctions[] = {0x720000, 0x720001, 0x730000, 0x720fff, 0x720ffe};
  for (const uint64_t page : {0x720000, 0x730000}) machine.memory.Map(page, 1, mm::Protection(5));
  machine.memory.Write(0x720000, {0x90,                  // nop
                                  0x48, 0xff, 0xc0,      // 0x720001: inc rax
                                  0xc3});                // ret
  machine.memory.Write(0x730000, {0x48, 0x83, 0xc0, 16,  // add rax, 16
                                  0xc3});                // ret
  machine.memory.Write(0x720ffe, {0x90,                  // nop
                                  0xc3});                // 0x720fff: ret
  machine.memory.Write(kCode, {0x41, 0xff, 0xd4,         // call r12
                               0x41, 0xff, 0xd5,         // call r13
                               0xff, 0xc9,               // dec ecx
                               0x75, 0xf6,               // jnz kCode
                               0x0f, 0x05});             // syscall
  const auto adds = [](uint64_t function) { return function == 0x730000 ? 16u : function <= 0x720001 ? 1u : 0u; };
  for (const uint64_t first : kFunctions) {
    for (const uint64_t second : kFunctions) {
      machine.state.rip = kCode;
      machine.state.gpr[kRax] = 0;
      machine.state.gpr[kRcx] = 100;
      machine.state.gpr[kR12] = first;
      machine.state.gpr[kR13] = second;
      ASSERT_EQ(machine.Run(100'000).reason, ExitReason::kSyscall);
      EXPECT_EQ(machine.state.gpr[kRax], 100 * (adds(first) + adds(second))) << std::hex << first << ' ' << second;
    }
  }
}

// What an entry is that nobody has is nobody's address.
TEST(BranchTableTest, AJumpToWhereNothingIsFaultsThere) {
  for (const uint64_t nowhere : {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{0x10000}, uint64_t{0x10002}}) {
    TranslatedMachine translated;
    FakeMachine& machine = translated.machine;
    // Not at kCode, whose place would be that of address 0.
    machine.memory.Write(kCode + 16, {0x0f, 0x05,    // syscall
                                      0xff, 0xe0});  // jmp rax
    machine.state.rip = kCode + 16;
    ASSERT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
    machine.state.gpr[kRax] = nowhere;
    const Exit exit = machine.Run(100);
    EXPECT_EQ(exit.reason, ExitReason::kFault) << nowhere;
    EXPECT_EQ(machine.state.rip, nowhere);
  }
}

}  // namespace
}  // namespace remora::cpu::translator
