#include "cpu/interpreter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/entropy.h"
#include "cpu/cpu_level.h"
#include "cpu/cpuid.h"
#include "cpu/host_avx512.h"
#include "cpu/testing/fake_memory.h"

namespace remora::cpu {
namespace {

constexpr uint64_t kCode = FakeMachine::kCode, kData = FakeMachine::kData;

uint64_t Status(const CpuState& state) { return state.rflags & kStatusFlags; }

TEST(InterpreterTest, RunsExactlyTheBudget) {
  FakeMachine machine;
  // loop: inc rax; dec rcx; jnz loop; nop...
  machine.state.gpr[kRcx] = 1000;
  const Exit exit = machine.RunCode({0x48, 0xff, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0xf8, 0x90}, 100);
  EXPECT_EQ(exit.reason, ExitReason::kBudget);
  EXPECT_EQ(exit.instructions_retired, 100u);
  EXPECT_EQ(machine.state.gpr[kRax], 34u);
  EXPECT_EQ(machine.state.gpr[kRcx], 1000u - 33u);
  EXPECT_EQ(machine.state.rip, kCode + 3);
}

TEST(InterpreterTest, ABudgetEndsBeforeWhatIsNoInstruction) {
  FakeMachine machine;
  const Exit exit = machine.RunCode({0x90, 0x90, 0x06}, 2);  // nops; what 64-bit mode has not
  EXPECT_EQ(exit.reason, ExitReason::kBudget);
  EXPECT_EQ(exit.instructions_retired, 2u);
  EXPECT_EQ(machine.state.rip, kCode + 2);
  EXPECT_EQ(machine.Run(1).reason, ExitReason::kIllegal);
  EXPECT_EQ(machine.state.rip, kCode + 2);
}

TEST(InterpreterTest, EveryBudgetStopsAtTheSameInstructions) {
  // mov ecx, 5; loop: add eax, ecx; cmp ecx, 1; je end; dec ecx; jmp loop; end: syscall
  const std::initializer_list<uint8_t> code = {0xb9, 5,    0,    0,    0,    0x01, 0xc8, 0x83, 0xf9,
                                               1,    0x74, 0x04, 0xff, 0xc9, 0xeb, 0xf5, 0x0f, 0x05};
  FakeMachine whole;
  const Exit all = whole.RunCode(code, 1000);
  ASSERT_EQ(all.reason, ExitReason::kSyscall);
  EXPECT_EQ(whole.state.gpr[kRax], 15u);
  for (uint64_t budget = 1; budget <= 7; ++budget) {
    FakeMachine machine;
    uint64_t retired = 0;
    Exit exit = machine.RunCode(code, budget);
    while (exit.reason == ExitReason::kBudget) {
      EXPECT_EQ(exit.instructions_retired, budget);
      retired += exit.instructions_retired;
      exit = machine.Run(budget);
    }
    retired += exit.instructions_retired;
    EXPECT_EQ(retired, all.instructions_retired);
    EXPECT_EQ(exit.reason, ExitReason::kSyscall);
    EXPECT_EQ(machine.state.gpr[kRax], 15u);
    EXPECT_EQ(machine.state.rip, whole.state.rip);
    EXPECT_EQ(machine.state.rflags, whole.state.rflags);
  }
}

TEST(InterpreterTest, TrapsOfInt1AndInt3StandBehindThem) {
  FakeMachine machine;
  EXPECT_EQ(machine.RunCode({0xf1}, 10).reason, ExitReason::kDebugTrap);
  EXPECT_EQ(machine.state.rip, kCode + 1);
  FakeMachine two_bytes;
  EXPECT_EQ(two_bytes.RunCode({0xcd, 3}, 10).reason, ExitReason::kBreakpoint);
  EXPECT_EQ(two_bytes.state.rip, kCode + 2);
  FakeMachine other;
  EXPECT_EQ(other.RunCode({0xcd, 0x80}, 10).reason, ExitReason::kProtection);
  EXPECT_EQ(other.state.rip, kCode);
}

// What code does on a CPU of a level: the reason it stops after one instruction.
ExitReason ReasonAt(CpuLevel level, std::initializer_list<uint8_t> code, uint64_t* rax = nullptr) {
  FakeMachine machine({.level = level});
  machine.state.gpr[kRcx] = 0x50;
  const ExitReason reason = machine.RunCode(code, 1).reason;
  if (rax != nullptr) *rax = machine.state.gpr[kRax];
  return reason;
}

TEST(CpuLevelTest, InstructionsBeyondTheLevelAreIllegal) {
  const std::initializer_list<uint8_t> popcnt = {0xf3, 0x0f, 0xb8, 0xc1}, vzeroupper = {0xc5, 0xf8, 0x77},
                                       aesenc = {0x66, 0x0f, 0x38, 0xdc, 0xc1}, xgetbv = {0x0f, 0x01, 0xd0};
  EXPECT_EQ(ReasonAt(CpuLevel::kV1, popcnt), ExitReason::kIllegal);
  EXPECT_EQ(ReasonAt(CpuLevel::kV2, popcnt), ExitReason::kBudget);
  EXPECT_EQ(ReasonAt(CpuLevel::kV2, vzeroupper), ExitReason::kIllegal);
  EXPECT_EQ(ReasonAt(CpuLevel::kV2, xgetbv), ExitReason::kIllegal);
  EXPECT_EQ(ReasonAt(CpuLevel::kV3, vzeroupper), ExitReason::kBudget);
  EXPECT_EQ(ReasonAt(CpuLevel::kV3, aesenc), ExitReason::kIllegal);
  EXPECT_EQ(ReasonAt(CpuLevel::kHost, aesenc), ExitReason::kBudget);
}

TEST(CpuLevelTest, CountingZerosIsABitScanBeforeV3) {
  const std::initializer_list<uint8_t> lzcnt = {0xf3, 0x0f, 0xbd, 0xc1};
  uint64_t rax = 0;
  EXPECT_EQ(ReasonAt(CpuLevel::kV2, lzcnt, &rax), ExitReason::kBudget);
  EXPECT_EQ(rax, 6u);
  EXPECT_EQ(ReasonAt(CpuLevel::kV3, lzcnt, &rax), ExitReason::kBudget);
  EXPECT_EQ(rax, 25u);
}

TEST(CpuLevelTest, CpuidTellsOfTheLevel) {
  constexpr uint32_t kSse42 = 1 << 20, kOsXsave = 1 << 27, kAvx = 1 << 28, kAes = 1 << 25, kAvx2 = 1 << 5;
  EXPECT_EQ(Cpuid(1, 0, CpuLevel::kV1).ecx, 0u);
  EXPECT_EQ(Cpuid(1, 0, CpuLevel::kV1).edx, Cpuid(1, 0).edx);
  EXPECT_EQ(Cpuid(1, 0, CpuLevel::kV2).ecx & (kSse42 | kOsXsave | kAvx | kAes), kSse42);
  EXPECT_EQ(Cpuid(1, 0, CpuLevel::kV3).ecx & (kSse42 | kOsXsave | kAvx | kAes), kSse42 | kOsXsave | kAvx);
  EXPECT_EQ(Cpuid(7, 0, CpuLevel::kV2).ebx, 0u);
  EXPECT_NE(Cpuid(7, 0, CpuLevel::kV3).ebx & kAvx2, 0u);
  EXPECT_EQ(Cpuid(0xd, 0, CpuLevel::kV2).eax, 0u);
  EXPECT_EQ(Cpuid(0xd, 0, CpuLevel::kV3).eax, 7u);
  EXPECT_EQ(CpuFlagNames(CpuLevel::kV2).find("avx"), std::string::npos);
}

TEST(CpuLevelTest, Avx512BeginsWithV4WhereTheHostHasIt) {
  const std::initializer_list<uint8_t> vpxord = {0x62, 0xa1, 0x7d, 0x40, 0xef, 0xc0}, kxnorw = {0xc5, 0xec, 0x46, 0xd2};
  const ExitReason there = HostHasAvx512() ? ExitReason::kBudget : ExitReason::kIllegal;
  for (const auto& code : {vpxord, kxnorw}) {
    EXPECT_EQ(ReasonAt(CpuLevel::kV3, code), ExitReason::kIllegal);
    EXPECT_EQ(ReasonAt(CpuLevel::kV4, code), there);
    EXPECT_EQ(ReasonAt(CpuLevel::kHost, code), there);
  }
  EXPECT_EQ(Cpuid(7, 0, CpuLevel::kV3).ebx & 0xd0230000, 0u);
  EXPECT_EQ(Cpuid(0xd, 6, CpuLevel::kV3).eax, 0u);
  EXPECT_EQ(Cpuid(7, 0, CpuLevel::kV4).ebx & 0xd0230000, HostHasAvx512() ? 0xd0030000 : 0u);
  EXPECT_EQ(Cpuid(0xd, 0, CpuLevel::kV4).eax, HostHasAvx512() ? 0xe7u : 7u);
  EXPECT_EQ(Cpuid(0xd, 0, CpuLevel::kV4).ebx, HostHasAvx512() ? 2432u : 832u);
}

// All 32 bits of each lane of register `number` from byte `from` to byte `end`.
bool AllLanesAre(uint32_t value, const CpuState& state, unsigned number, size_t from, size_t end) {
  for (size_t i = from; i < end; i += 4)
    if (std::memcmp(state.vector[number].bytes.data() + i, &value, 4) != 0) return false;
  return true;
}

TEST(Avx512Test, BlocksWithItFollowBlocksWithout) {
  if (!HostHasAvx512()) GTEST_SKIP() << "the host has no AVX-512";
  // vpcmpeqd ymm1,ymm1,ymm1; jmp 1f; 1: vpternlogd zmm17,zmm17,zmm17,0xff; kxnorw k2,k2,k2; vpaddd ymm1,ymm1,ymm1;
  // syscall
  FakeMachine machine;
  ASSERT_EQ(machine
                .RunCode({0xc5, 0xf5, 0x76, 0xc9, 0xeb, 0x00, 0x62, 0xa3, 0x75, 0x40, 0x25, 0xc9,
                          0xff, 0xc5, 0xec, 0x46, 0xd2, 0xc5, 0xf5, 0xfe, 0xc9, 0x0f, 0x05},
                         100)
                .reason,
            ExitReason::kSyscall);
  EXPECT_TRUE(machine.state.avx512_live);
  EXPECT_TRUE(AllLanesAre(0xffffffff, machine.state, 17, 0, 64));
  EXPECT_TRUE(AllLanesAre(0, machine.state, 18, 0, 64));
  EXPECT_TRUE(AllLanesAre(0xfffffffe, machine.state, 1, 0, 32));
  EXPECT_TRUE(AllLanesAre(0, machine.state, 1, 32, 64));
  EXPECT_EQ(machine.state.opmask[2], 0xffffu);
  EXPECT_EQ(machine.state.opmask[3], 0u);
}

TEST(Avx512Test, BlocksWithoutItKeepWhatIsThere) {
  if (!HostHasAvx512()) GTEST_SKIP() << "the host has no AVX-512";
  FakeMachine machine;
  machine.state.avx512_live = true;
  machine.state.opmask[3] = 0x1234567890;
  for (const unsigned i : {1, 2, 20}) machine.state.vector[i].bytes.fill(std::byte{0x11});
  // vpcmpeqd ymm1,ymm1,ymm1; syscall
  ASSERT_EQ(machine.RunCode({0xc5, 0xf5, 0x76, 0xc9, 0x0f, 0x05}, 100).reason, ExitReason::kSyscall);
  EXPECT_TRUE(AllLanesAre(0xffffffff, machine.state, 1, 0, 32));
  EXPECT_TRUE(AllLanesAre(0, machine.state, 1, 32, 64));
  EXPECT_TRUE(AllLanesAre(0x11111111, machine.state, 2, 0, 64));
  EXPECT_TRUE(AllLanesAre(0x11111111, machine.state, 20, 0, 64));
  EXPECT_EQ(machine.state.opmask[3], 0x1234567890u);
}

TEST(Avx512Test, EveryBudgetStopsWhereItShould) {
  if (!HostHasAvx512()) GTEST_SKIP() << "the host has no AVX-512";
  constexpr uint64_t kInstructions = 100, kLength = 6;
  std::vector<uint8_t> code;
  for (uint64_t i = 0; i < kInstructions; ++i)
    code.insert(code.end(), {0x62, 0xf1, 0x75, 0x48, 0xfe, 0xca});  // vpaddd zmm1,zmm1,zmm2
  FakeMachine machine;
  machine.memory.Write(kCode, code);
  for (int round = 0; round < 2; ++round) {
    for (uint64_t budget = 1; budget <= kInstructions; ++budget) {
      machine.state = CpuState();
      machine.state.rip = kCode;
      machine.state.avx512_live = true;
      for (uint32_t i = 0; i < 64; i += 4) machine.state.vector[2].bytes[i] = std::byte{1};
      const Exit exit = machine.Run(budget);
      EXPECT_EQ(exit.reason, ExitReason::kBudget);
      ASSERT_EQ(exit.instructions_retired, budget);
      ASSERT_EQ(machine.state.rip, kCode + kLength * budget);
      ASSERT_TRUE(AllLanesAre(static_cast<uint32_t>(budget), machine.state, 1, 0, 64)) << budget;
    }
  }
}

TEST(Avx512Test, ABlockThatIsFullBeforeABranchGoesOnThere) {
  if (!HostHasAvx512()) GTEST_SKIP() << "the host has no AVX-512";
  // Each takes two places of a block: at some number the block ends between the comparison and the branch.
  for (unsigned count = 28; count < 36; ++count) {
    std::vector<uint8_t> code;
    for (unsigned i = 0; i < count; ++i)
      code.insert(code.end(), {0x62, 0xf1, 0x75, 0x48, 0xfe, 0xca});  // vpaddd zmm1,zmm1,zmm2
    const uint32_t back = 0u - (6 * count + 4 + 6);
    code.insert(code.end(), {0x48, 0x83, 0xea, 0x04, 0x0f, 0x85});  // sub rdx, 4; jne to the first
    for (int i = 0; i < 4; ++i) code.push_back(static_cast<uint8_t>(back >> 8 * i));
    code.insert(code.end(), {0x0f, 0x05});
    FakeMachine machine;
    machine.state.avx512_live = true;
    machine.state.gpr[kRdx] = 12;
    for (uint32_t i = 0; i < 64; i += 4) machine.state.vector[2].bytes[i] = std::byte{1};
    machine.memory.Write(kCode, code);
    const Exit exit = machine.Run(1000);
    EXPECT_EQ(exit.reason, ExitReason::kSyscall);
    EXPECT_EQ(exit.instructions_retired, 3 * (count + 2) + 1) << count;
    EXPECT_TRUE(AllLanesAre(3 * count, machine.state, 1, 0, 64)) << count;
  }
}

TEST(Avx512Test, ABlockFullOfItHasRoom) {
  if (!HostHasAvx512()) GTEST_SKIP() << "the host has no AVX-512";
  // More instructions than a block has, each with details behind its op; then SYSCALL.
  std::vector<uint8_t> code;
  for (int i = 0; i < 100; ++i) code.insert(code.end(), {0x62, 0xf1, 0x75, 0x48, 0xfe, 0xca});  // vpaddd zmm1,zmm1,zmm2
  code.insert(code.end(), {0x0f, 0x05});
  FakeMachine machine;
  machine.state.avx512_live = true;
  for (uint32_t i = 0; i < 64; i += 4) machine.state.vector[2].bytes[i] = std::byte{1};
  machine.memory.Write(kCode, code);
  const Exit exit = machine.Run(1000);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(exit.instructions_retired, 101u);
  EXPECT_TRUE(AllLanesAre(100, machine.state, 1, 0, 64));
}

TEST(InterpreterTest, SyscallSavesRipAndFlags) {
  FakeMachine machine;
  machine.state.rflags = kFlagsFixed | kFlagCF | kFlagDF;
  const Exit exit = machine.RunCode({0x0f, 0x05}, 10);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(exit.instructions_retired, 1u);
  EXPECT_EQ(machine.state.rip, kCode + 2);
  EXPECT_EQ(machine.state.gpr[kRcx], kCode + 2);
  EXPECT_EQ(machine.state.gpr[kR11], kFlagsFixed | kFlagCF | kFlagDF);
}

TEST(InterpreterTest, InterruptLeavesAtABlockBoundary) {
  FakeMachine machine;
  machine.interrupt = 1;
  const Exit exit = machine.RunCode({0xeb, 0xfe}, 1000);
  EXPECT_EQ(exit.reason, ExitReason::kInterrupt);
  EXPECT_EQ(machine.state.rip, kCode);
}

TEST(InterpreterTest, AFaultChangesNothing) {
  FakeMachine machine;
  machine.state.gpr[kRbx] = 0x1000;
  machine.state.rflags = kFlagsFixed | kFlagCF;
  // mov eax, 7; add [rbx], eax
  const Exit exit = machine.RunCode({0xb8, 7, 0, 0, 0, 0x01, 0x03}, 10);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.fault.kind, mm::FaultKind::kUnmapped);
  EXPECT_EQ(exit.fault.access, mm::Access::kWrite);
  EXPECT_EQ(exit.fault.addr.value(), 0x1000u);
  EXPECT_EQ(exit.instructions_retired, 1u);
  EXPECT_EQ(machine.state.rip, kCode + 5);
  EXPECT_EQ(Status(machine.state), kFlagCF);
}

TEST(InterpreterTest, AStoreAcrossAPageThatFaultsWritesNothing) {
  FakeMachine machine;
  const uint64_t last = kData + FakeMachine::kPages * kPageSize - 4;
  machine.memory.Store<uint32_t>(last, 0x11223344);
  machine.state.gpr[kRbx] = last;
  machine.state.gpr[kRax] = ~uint64_t{0};
  const Exit exit = machine.RunCode({0x48, 0x89, 0x03}, 10);  // mov [rbx], rax
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.fault.addr.value(), last + 4);
  EXPECT_EQ(machine.memory.Load<uint32_t>(last), 0x11223344u);
}

TEST(InterpreterTest, AccessesAcrossPagesJoinBothHalves) {
  FakeMachine machine;
  machine.state.gpr[kRbx] = kData + kPageSize - 3;
  machine.state.gpr[kRax] = 0x1122334455667788;
  // mov [rbx], rax; mov rcx, [rbx]; lock xadd [rbx], rcx
  const Exit exit = machine.RunCode({0x48, 0x89, 0x03, 0x48, 0x8b, 0x0b, 0xf0, 0x48, 0x0f, 0xc1, 0x0b}, 3);
  EXPECT_EQ(exit.reason, ExitReason::kBudget);
  EXPECT_EQ(machine.state.gpr[kRcx], 0x1122334455667788u);
  EXPECT_EQ(machine.memory.Load<uint64_t>(kData + kPageSize - 3), 2 * uint64_t{0x1122334455667788});
}

TEST(InterpreterTest, NonCanonicalAddressesAreProtectionFaults) {
  FakeMachine machine;
  machine.state.gpr[kRbx] = uint64_t{1} << 47;
  const Exit exit = machine.RunCode({0x48, 0x8b, 0x03}, 10);
  EXPECT_EQ(exit.reason, ExitReason::kProtection);
  EXPECT_EQ(machine.state.rip, kCode);
  machine.state.gpr[kRax] = uint64_t{1} << 60;
  EXPECT_EQ(machine.RunCode({0xff, 0xe0}, 10).reason, ExitReason::kProtection);  // jmp rax
}

TEST(InterpreterTest, IllegalAndPrivilegedInstructions) {
  FakeMachine machine;
  EXPECT_EQ(machine.RunCode({0x0f, 0x0b}, 10).reason, ExitReason::kIllegal);  // ud2
  EXPECT_EQ(machine.state.rip, kCode);
  EXPECT_EQ(machine.RunCode({0xf0, 0x90}, 10).reason, ExitReason::kIllegal);  // lock nop
  EXPECT_EQ(machine.RunCode({0x06}, 10).reason, ExitReason::kIllegal);        // push es
  EXPECT_EQ(machine.RunCode({0xf4}, 10).reason, ExitReason::kProtection);     // hlt
  EXPECT_EQ(machine.RunCode({0xcd, 0x80}, 10).reason, ExitReason::kProtection);
  EXPECT_EQ(machine.RunCode({0xcc}, 10).reason, ExitReason::kBreakpoint);
  EXPECT_EQ(machine.state.rip, kCode + 1);
  EXPECT_EQ(machine.RunCode({0xc4, 0xe2, 0x79, 0x50, 0xc1}, 10).reason, ExitReason::kIllegal);  // vpdpbusd, AVX-VNNI
}

TEST(InterpreterTest, DivideErrors) {
  FakeMachine machine;
  machine.state.gpr[kRdx] = 1;
  machine.state.gpr[kRcx] = 1;
  Exit exit = machine.RunCode({0x48, 0xf7, 0xf1}, 10);  // div rcx
  EXPECT_EQ(exit.reason, ExitReason::kDivide);
  EXPECT_EQ(machine.state.rip, kCode);
  machine.state.gpr[kRax] = uint64_t{1} << 63;
  machine.state.gpr[kRdx] = ~uint64_t{0};
  machine.state.gpr[kRcx] = ~uint64_t{0};
  EXPECT_EQ(machine.RunCode({0x48, 0xf7, 0xf9}, 10).reason, ExitReason::kDivide);  // idiv rcx: lowest / -1
  machine.state.gpr[kRax] = 100;
  machine.state.gpr[kRdx] = 0;
  machine.state.gpr[kRcx] = static_cast<uint64_t>(-7);
  EXPECT_EQ(machine.RunCode({0x48, 0xf7, 0xf9}, 1).reason, ExitReason::kBudget);
  EXPECT_EQ(machine.state.gpr[kRax], static_cast<uint64_t>(-14));
  EXPECT_EQ(machine.state.gpr[kRdx], 2u);
}

TEST(InterpreterTest, CallPushesAndRetPops) {
  FakeMachine machine;
  const uint64_t stack = machine.state.gpr[kRsp];
  // call +1; hlt; mov eax, 3; ret
  const Exit exit = machine.RunCode({0xe8, 1, 0, 0, 0, 0xf4, 0xb8, 3, 0, 0, 0, 0xc3}, 100);
  EXPECT_EQ(exit.reason, ExitReason::kProtection);
  EXPECT_EQ(exit.instructions_retired, 3u);
  EXPECT_EQ(machine.state.rip, kCode + 5);
  EXPECT_EQ(machine.state.gpr[kRax], 3u);
  EXPECT_EQ(machine.state.gpr[kRsp], stack);
}

TEST(InterpreterTest, HighByteRegistersAndPartialWrites) {
  FakeMachine machine;
  machine.state.gpr[kRax] = 0x1122334455667788;
  machine.state.gpr[kRbx] = 0xffffffffffffffff;
  // mov bl, ah; mov bh, al; mov ax, bx; mov ecx, eax
  machine.RunCode({0x88, 0xe3, 0x88, 0xc7, 0x66, 0x89, 0xd8, 0x89, 0xc1}, 4);
  EXPECT_EQ(machine.state.gpr[kRbx], 0xffffffffffff8877u);
  EXPECT_EQ(machine.state.gpr[kRax], 0x1122334455668877u);
  EXPECT_EQ(machine.state.gpr[kRcx], 0x55668877u);
}

TEST(InterpreterTest, RipRelativeAndSegmentOperands) {
  FakeMachine machine;
  machine.memory.Store<uint64_t>(kData + 0x28, 0xabcdef);
  machine.state.fs_base = kData;
  // nop; mov rax, [rip + (kData + 0x28 - next)]; mov rcx, fs:[0x28]
  const uint32_t relative = static_cast<uint32_t>(kData + 0x28 - (kCode + 8));
  machine.RunCode({0x90, 0x48, 0x8b, 0x05, static_cast<uint8_t>(relative), static_cast<uint8_t>(relative >> 8),
                   static_cast<uint8_t>(relative >> 16), static_cast<uint8_t>(relative >> 24), 0x64, 0x48, 0x8b, 0x0c,
                   0x25, 0x28, 0, 0, 0},
                  3);
  EXPECT_EQ(machine.state.gpr[kRax], 0xabcdefu);
  EXPECT_EQ(machine.state.gpr[kRcx], 0xabcdefu);
}

TEST(InterpreterTest, RepMovsCopiesAndCountsIterations) {
  FakeMachine machine;
  const uint64_t length = 2 * kPageSize - 100;
  for (uint64_t i = 0; i < length; i += 4) machine.memory.Store<uint32_t>(kData + i, static_cast<uint32_t>(i * 7));
  machine.memory.Map(0x700000, 3, mm::Protection(3));
  machine.state.gpr[kRsi] = kData;
  machine.state.gpr[kRdi] = 0x700033;
  machine.state.gpr[kRcx] = length;
  Exit exit = machine.RunCode({0xf3, 0xa4, 0x90}, 1000);
  EXPECT_EQ(exit.reason, ExitReason::kBudget);
  EXPECT_EQ(exit.instructions_retired, 1000u);
  EXPECT_EQ(machine.state.rip, kCode);
  EXPECT_EQ(machine.state.gpr[kRcx], length - 1000);
  exit = machine.Run(length - 1000 + 1);
  EXPECT_EQ(exit.reason, ExitReason::kBudget);
  EXPECT_EQ(exit.instructions_retired, length - 1000 + 1);
  EXPECT_EQ(machine.state.rip, kCode + 3);
  EXPECT_EQ(machine.state.gpr[kRcx], 0u);
  for (uint64_t i = 0; i < length; i += 4)
    ASSERT_EQ(machine.memory.Load<uint32_t>(0x700033 + i), static_cast<uint32_t>(i * 7)) << i;
}

TEST(InterpreterTest, RepStosStopsAtTheFaultingElement) {
  FakeMachine machine;
  const uint64_t end = kData + FakeMachine::kPages * kPageSize;
  machine.state.gpr[kRdi] = end - 24;
  machine.state.gpr[kRcx] = 10;
  machine.state.gpr[kRax] = 0x5555;
  const Exit exit = machine.RunCode({0xf3, 0x48, 0xab}, 1000);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.fault.addr.value(), end);
  EXPECT_EQ(exit.instructions_retired, 3u);
  EXPECT_EQ(machine.state.rip, kCode);
  EXPECT_EQ(machine.state.gpr[kRcx], 7u);
  EXPECT_EQ(machine.state.gpr[kRdi], end);
}

TEST(InterpreterTest, RepneScasFindsTheEndOfAString) {
  FakeMachine machine;
  machine.memory.Write(kData, {'h', 'e', 'l', 'l', 'o', 0, 'x'});
  machine.state.gpr[kRdi] = kData;
  machine.state.gpr[kRcx] = ~uint64_t{0};
  machine.state.gpr[kRax] = 0;
  const Exit exit = machine.RunCode({0xf2, 0xae, 0x0f, 0x05}, 1000);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(exit.instructions_retired, 7u);
  EXPECT_EQ(machine.state.gpr[kRdi], kData + 6);
}

TEST(InterpreterTest, RepWithACountOfZeroIsOneInstruction) {
  FakeMachine machine;
  machine.state.gpr[kRcx] = 0;
  const Exit exit = machine.RunCode({0xf3, 0xa4, 0x0f, 0x05}, 1000);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(exit.instructions_retired, 2u);
}

TEST(InterpreterTest, InstructionsAcrossPagesSeeTheTailThatIsThere) {
  FakeMachine machine;
  const uint64_t at = kCode + kPageSize - 2;
  // mov eax, imm32 with its last three bytes on the next page
  machine.memory.Write(at, {0xb8, 0x11, 0x22, 0x33, 0x44, 0x90});
  machine.state.rip = at;
  EXPECT_EQ(machine.Run(2).reason, ExitReason::kBudget);
  EXPECT_EQ(machine.state.gpr[kRax], 0x44332211u);
  EXPECT_EQ(machine.state.rip, at + 6);
  machine.memory.Write(kCode + kPageSize, {0x55});
  machine.memory.FlushAtNextSynchronize();
  machine.state.rip = at;
  machine.Run(2);
  EXPECT_EQ(machine.state.gpr[kRax], 0x44335511u);
}

TEST(InterpreterTest, AnInstructionWhoseTailCannotBeFetchedFaultsThere) {
  FakeMachine machine;
  const uint64_t at = kCode + FakeMachine::kPages * kPageSize - 2;
  machine.memory.Write(at, {0xb8, 0x11});
  machine.state.rip = at;
  const Exit exit = machine.Run(5);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.fault.access, mm::Access::kFetch);
  EXPECT_EQ(exit.fault.addr.value(), at + 2);
  EXPECT_EQ(machine.state.rip, at);
}

TEST(InterpreterTest, CodeThatRewritesItselfRunsTheNewBytes) {
  FakeMachine machine;
  machine.memory.Map(0x800000, 1, mm::Protection(7));
  // mov byte [rip + 1], 9 (the immediate of the next instruction); mov eax, 1; syscall
  machine.memory.Write(0x800000, {0xc6, 0x05, 1, 0, 0, 0, 9, 0xb8, 1, 0, 0, 0, 0x0f, 0x05});
  machine.state.rip = 0x800000;
  const Exit exit = machine.Run(100);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(exit.instructions_retired, 3u);
  EXPECT_EQ(machine.state.gpr[kRax], 9u);
}

TEST(InterpreterTest, ALoopThatRewritesItsBodySeesEachChange) {
  FakeMachine machine;
  machine.memory.Map(0x800000, 1, mm::Protection(7));
  // loop: mov eax, imm32 (patched); add edx, eax; inc dword [rip to imm]; dec ecx; jnz loop; syscall
  machine.memory.Write(
      0x800000, {0xb8, 1, 0, 0, 0, 0x01, 0xc2, 0xff, 0x05, 0xf4, 0xff, 0xff, 0xff, 0xff, 0xc9, 0x75, 0xef, 0x0f, 0x05});
  machine.state.rip = 0x800000;
  machine.state.gpr[kRcx] = 50;
  const Exit exit = machine.Run(10000);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(exit.instructions_retired, 50u * 5 + 1);
  EXPECT_EQ(machine.state.gpr[kRdx], 50u * 51 / 2);
  machine.Quiesce();
}

TEST(InterpreterTest, AWriteThroughAnAliasDropsTheCode) {
  FakeMachine machine;
  machine.memory.Alias(0x900000, kCode, mm::Protection(3));
  machine.memory.Write(kCode, {0xb8, 1, 0, 0, 0, 0xc6, 0x03, 7, 0x0f, 0x05});  // mov eax, 1; mov byte [rbx], 7; syscall
  machine.state.gpr[kRbx] = 0x900001;
  machine.state.rip = kCode;
  EXPECT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
  EXPECT_EQ(machine.state.gpr[kRax], 1u);
  machine.state.rip = kCode;
  EXPECT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
  EXPECT_EQ(machine.state.gpr[kRax], 7u);
  machine.Quiesce();
}

TEST(InterpreterTest, BlocksAreSharedByFrameWhereverItIsMapped) {
  FakeMachine machine;
  machine.memory.Alias(0x900000, kCode, mm::Protection(5));
  machine.RunCode({0x48, 0x8d, 0x05, 0, 0, 0, 0, 0x0f, 0x05}, 100);  // lea rax, [rip]; syscall
  EXPECT_EQ(machine.state.gpr[kRax], kCode + 7);
  const uint64_t decoded = machine.engine->counters().blocks_decoded;
  machine.state.rip = 0x900000;
  machine.Run(100);
  EXPECT_EQ(machine.state.gpr[kRax], 0x900007u);
  EXPECT_EQ(machine.engine->counters().blocks_decoded, decoded);
}

TEST(InterpreterTest, TrapFlagStopsAfterEachInstruction) {
  FakeMachine machine;
  machine.state.rflags |= kFlagTF;
  Exit exit = machine.RunCode({0x90, 0x90, 0x0f, 0x05}, 100);
  EXPECT_EQ(exit.reason, ExitReason::kSingleStep);
  EXPECT_EQ(exit.instructions_retired, 1u);
  EXPECT_EQ(machine.state.rip, kCode + 1);
  machine.Run(100);
  EXPECT_EQ(machine.state.rip, kCode + 2);
  EXPECT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
}

TEST(InterpreterTest, PopfThatSetsTheTrapFlagTrapsAfterTheNextInstruction) {
  FakeMachine machine;
  // push 0x302; popf; nop; nop
  const Exit exit = machine.RunCode({0x68, 0x02, 0x03, 0, 0, 0x9d, 0x90, 0x90}, 100);
  EXPECT_EQ(exit.reason, ExitReason::kSingleStep);
  EXPECT_EQ(exit.instructions_retired, 3u);
  EXPECT_EQ(machine.state.rip, kCode + 7);
}

TEST(InterpreterTest, BitStringsReachBeyondTheOperand) {
  FakeMachine machine;
  machine.state.gpr[kRbx] = kData + 0x100;
  machine.state.gpr[kRax] = static_cast<uint64_t>(-3);
  machine.RunCode({0x48, 0x0f, 0xab, 0x03}, 1);  // bts [rbx], rax
  EXPECT_EQ(machine.memory.Load<uint64_t>(kData + 0xf8), uint64_t{1} << 61);
  EXPECT_EQ(Status(machine.state) & kFlagCF, 0u);
  machine.state.gpr[kRax] = 1000;
  machine.RunCode({0x48, 0x0f, 0xab, 0x03}, 1);
  EXPECT_EQ(machine.memory.Load<uint8_t>(kData + 0x100 + 125), 1u);
}

TEST(InterpreterTest, Cmpxchg16bNeedsAlignment) {
  FakeMachine machine;
  machine.state.gpr[kRdi] = kData + 8;
  EXPECT_EQ(machine.RunCode({0xf0, 0x48, 0x0f, 0xc7, 0x0f}, 1).reason, ExitReason::kProtection);
  machine.state.gpr[kRdi] = kData;
  machine.state.gpr[kRbx] = 5;
  machine.state.gpr[kRcx] = 6;
  EXPECT_EQ(machine.RunCode({0xf0, 0x48, 0x0f, 0xc7, 0x0f}, 1).reason, ExitReason::kBudget);
  EXPECT_EQ(machine.memory.Load<uint64_t>(kData), 5u);
  EXPECT_EQ(machine.memory.Load<uint64_t>(kData + 8), 6u);
  EXPECT_NE(Status(machine.state) & kFlagZF, 0u);
}

TEST(InterpreterTest, CpuidShowsWhatIsThere) {
  FakeMachine machine;
  machine.state.gpr[kRax] = 1;
  machine.RunCode({0x0f, 0xa2}, 1);
  EXPECT_NE(machine.state.gpr[kRdx] & (1 << 26), 0u);  // SSE2
  EXPECT_NE(machine.state.gpr[kRcx] & 1, 0u);          // SSE3
  EXPECT_EQ(machine.state.gpr[kRcx] & (1 << 3), 0u);   // no MONITOR
  EXPECT_EQ(Cpuid(Cpuid(0, 0).eax + 1, 0).ebx, 0u);
}

TEST(InterpreterTest, WhatComesBeforeBytesThatAreNoInstructionIsCounted) {
  FakeMachine machine;
  const Exit exit = machine.RunCode({0x90, 0x90, 0xff, 0xff}, 100);  // nop; nop; FF /7
  EXPECT_EQ(exit.reason, ExitReason::kIllegal);
  EXPECT_EQ(exit.instructions_retired, 2u);
  EXPECT_EQ(machine.state.rip, FakeMachine::kCode + 2);
}

TEST(InterpreterTest, CpuidAndXgetbvAgreeOnTheXsaveArea) {
  const uint32_t last = HostHasAvx512() ? 7 : 2;
  EXPECT_EQ(Cpuid(0xd, 0).eax, HostHasAvx512() ? 0xe7u : 7u);
  EXPECT_EQ(Cpuid(0xd, 0).ebx, Cpuid(0xd, last).eax + Cpuid(0xd, last).ebx);
  EXPECT_EQ(Cpuid(7, 1).ebx, 0u);
  EXPECT_NE(CpuFlagNames().find(" avx2 "), std::string::npos);
  FakeMachine machine;
  machine.RunCode({0x0f, 0x01, 0xd0}, 1);
  EXPECT_EQ(machine.state.gpr[kRax], Cpuid(0xd, 0).eax);
  machine.state.gpr[kRcx] = 2;
  EXPECT_EQ(machine.RunCode({0x0f, 0x01, 0xd0}, 1).reason, ExitReason::kProtection);
}

TEST(InterpreterTest, RdrandComesThroughTheEntropyDoor) {
  class Sevens final : public Entropy {
    void Fill(std::span<std::byte> bytes) override { std::ranges::fill(bytes, std::byte{0x77}); }
  } sevens;
  FakeMachine machine({.clock = nullptr, .entropy = &sevens});
  machine.RunCode({0x48, 0x0f, 0xc7, 0xf0}, 1);  // rdrand rax
  EXPECT_EQ(machine.state.gpr[kRax], 0x7777777777777777u);
  EXPECT_EQ(Status(machine.state), kFlagCF);
  FakeMachine without;
  without.RunCode({0x48, 0x0f, 0xc7, 0xf8}, 1);  // rdseed rax
  EXPECT_EQ(without.state.gpr[kRax], 0u);
  EXPECT_EQ(Status(without.state), 0u);
}

TEST(InterpreterTest, SegmentBasesAreReadAndWritten) {
  FakeMachine machine;
  machine.state.gpr[kRax] = 0x1234567890;
  machine.RunCode({0xf3, 0x48, 0x0f, 0xae, 0xd8, 0xf3, 0x0f, 0xae, 0xcb}, 2);  // wrgsbase rax; rdgsbase ebx
  EXPECT_EQ(machine.state.gs_base, 0x1234567890u);
  EXPECT_EQ(machine.state.gpr[kRbx], 0x34567890u);
  machine.state.gpr[kRax] = 0x8000000000000000;
  const Exit exit = machine.RunCode({0xf3, 0x48, 0x0f, 0xae, 0xd0}, 1);  // wrfsbase rax
  EXPECT_EQ(exit.reason, ExitReason::kProtection);
}

TEST(InterpreterTest, PushOfRspAndPopIntoRsp) {
  FakeMachine machine;
  const uint64_t stack = machine.state.gpr[kRsp];
  machine.RunCode({0x54, 0x58}, 2);  // push rsp; pop rax
  EXPECT_EQ(machine.state.gpr[kRax], stack);
  machine.state.gpr[kRbx] = kData + 0x80;
  machine.RunCode({0x53, 0x5c}, 2);  // push rbx; pop rsp
  EXPECT_EQ(machine.state.gpr[kRsp], kData + 0x80);
}

TEST(InterpreterTest, EnterBuildsAFrameAndLeaveTearsItDown) {
  FakeMachine machine;
  const uint64_t stack = machine.state.gpr[kRsp];
  machine.state.gpr[kRbp] = 0x1234;
  machine.RunCode({0xc8, 0x20, 0, 0}, 1);
  EXPECT_EQ(machine.state.gpr[kRbp], stack - 8);
  EXPECT_EQ(machine.state.gpr[kRsp], stack - 8 - 0x20);
  machine.RunCode({0xc9}, 1);
  EXPECT_EQ(machine.state.gpr[kRbp], 0x1234u);
  EXPECT_EQ(machine.state.gpr[kRsp], stack);
}

TEST(InterpreterTest, AFetchFromAPageWithoutTheRightFaults) {
  FakeMachine machine;
  machine.state.rip = kData;
  const Exit exit = machine.Run(10);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.fault.kind, mm::FaultKind::kProtection);
  EXPECT_EQ(exit.fault.access, mm::Access::kFetch);
  EXPECT_EQ(exit.fault.addr.value(), kData);
  EXPECT_EQ(exit.instructions_retired, 0u);
}

uint64_t CountedAccesses(std::initializer_list<uint8_t> code, uint64_t budget) {
  FakeMachine machine({.clock = nullptr, .count_accesses = true});
  machine.state.gpr[kRbx] = FakeMachine::kData;
  machine.state.gpr[kRsi] = FakeMachine::kData;
  machine.state.gpr[kRdi] = FakeMachine::kData + 64;
  machine.state.gpr[kRcx] = 3;
  machine.RunCode(code, budget);
  const Engine::Counters counters = machine.engine->counters();
  EXPECT_LE(counters.slow_memory_accesses, counters.memory_accesses);
  return counters.memory_accesses;
}

TEST(InterpreterTest, CountsMemoryAccessesIfAsked) {
  constexpr uint8_t kNop = 0x90;
  EXPECT_EQ(CountedAccesses({kNop, kNop}, 2), 0u);
  EXPECT_EQ(CountedAccesses({0x48, 0x8b, 0x03, kNop}, 2), 1u);              // mov rax, [rbx]
  EXPECT_EQ(CountedAccesses({0x48, 0x01, 0x03, kNop}, 2), 1u);              // add [rbx], rax
  EXPECT_EQ(CountedAccesses({0x50, 0x58, kNop}, 3), 2u);                    // push rax; pop rax
  EXPECT_EQ(CountedAccesses({0xff, 0x33, kNop}, 2), 2u);                    // push [rbx]
  EXPECT_EQ(CountedAccesses({0x48, 0x8d, 0x03, kNop}, 2), 0u);              // lea rax, [rbx]
  EXPECT_EQ(CountedAccesses({0x0f, 0x1f, 0x43, 0x00, kNop}, 2), 0u);        // nop [rbx]
  EXPECT_EQ(CountedAccesses({0x48, 0xa5, kNop}, 2), 2u);                    // movsq
  EXPECT_EQ(CountedAccesses({0x48, 0x3b, 0x03, 0x75, 0x00, kNop}, 3), 1u);  // cmp rax, [rbx]; jne
  EXPECT_EQ(CountedAccesses({0xe8, 0, 0, 0, 0, kNop}, 2), 1u);              // call
  EXPECT_EQ(CountedAccesses({0x0f, 0x10, 0x03, kNop}, 2), 1u);              // movups xmm0, [rbx]
  EXPECT_EQ(CountedAccesses({0xf3, 0xaa, kNop}, 4), 1u);                    // rep stosb: one run
  EXPECT_EQ(CountedAccesses({0xf3, 0xa6, kNop}, 4), 2u);                    // repe cmpsb: two runs
}

TEST(InterpreterTest, AccessesBehindAFaultAreNotCounted) {
  FakeMachine machine({.clock = nullptr, .count_accesses = true});
  machine.state.gpr[kRbx] = FakeMachine::kData;
  // mov rax, [rbx]; mov rax, [0x10]; mov rax, [rbx]; mov rax, [rbx]
  const Exit exit = machine.RunCode(
      {0x48, 0x8b, 0x03, 0x48, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0, 0x48, 0x8b, 0x03, 0x48, 0x8b, 0x03, 0xf4}, 100);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(machine.engine->counters().memory_accesses, 2u);
  EXPECT_EQ(machine.engine->counters().slow_memory_accesses, 2u);
}

TEST(InterpreterTest, CountingChangesNothingElse) {
  for (const bool count_accesses : {false, true}) {
    FakeMachine machine({.clock = nullptr, .count_accesses = count_accesses});
    // 1: push rax; pop rax; dec rcx; jnz 1
    machine.memory.Write(FakeMachine::kCode, {0x50, 0x58, 0x48, 0xff, 0xc9, 0x75, 0xf9, 0xf4});
    machine.state.gpr[kRcx] = 1000;
    machine.state.rip = FakeMachine::kCode;
    EXPECT_EQ(machine.Run(4000).reason, ExitReason::kBudget);
    EXPECT_EQ(machine.state.gpr[kRcx], 0u);
    const Engine::Counters counters = machine.engine->counters();
    EXPECT_EQ(counters.instructions, 4000u);
    EXPECT_EQ(counters.memory_accesses, count_accesses ? 2000u : 0u);
  }
}

}  // namespace
}  // namespace remora::cpu
