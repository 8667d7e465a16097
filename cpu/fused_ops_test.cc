// Handlers that do several instructions, against the same instructions one by one; and packed arithmetic that is found
// exact for a whole vector, against soft floats.

#include <gtest/gtest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <random>
#include <vector>

#include "cpu/soft_float.h"
#include "cpu/testing/fake_memory.h"

namespace remora::cpu {
namespace {

constexpr uint64_t kData = FakeMachine::kData;
constexpr uint64_t kDataEnd = kData + FakeMachine::kPages * kPageSize;
constexpr uint64_t kStackEnd = FakeMachine::kStackTop;
constexpr uint64_t kStackBegin = kStackEnd - FakeMachine::kPages * kPageSize;

// Twice from the same registers: the second time nothing misses the TLB that need not.
Exit RunTwice(FakeMachine* machine, std::initializer_list<uint8_t> code, uint64_t budget) {
  const CpuState before = machine->state;
  machine->RunCode(code, budget);
  machine->state = before;
  return machine->Run(budget);
}

TEST(FusedOpsTest, PushesStopAtTheFirstThatFaults) {
  FakeMachine machine;
  machine.state.gpr[kRsp] = kStackBegin + 16;
  machine.state.gpr[kRax] = 1, machine.state.gpr[kRbx] = 2;
  const Exit exit = RunTwice(&machine, {0x50, 0x53, 0x51}, 10);  // push rax; push rbx; push rcx
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.fault.addr.value(), kStackBegin - 8);
  EXPECT_EQ(exit.instructions_retired, 2u);
  EXPECT_EQ(machine.state.gpr[kRsp], kStackBegin);
  EXPECT_EQ(machine.memory.Load<uint64_t>(kStackBegin + 8), 1u);
  EXPECT_EQ(machine.memory.Load<uint64_t>(kStackBegin), 2u);
}

TEST(FusedOpsTest, PopsStopAtTheFirstThatFaults) {
  FakeMachine machine;
  machine.state.gpr[kRsp] = kStackEnd - 16;
  machine.memory.Store<uint64_t>(kStackEnd - 16, 1);
  machine.memory.Store<uint64_t>(kStackEnd - 8, 2);
  const Exit exit = RunTwice(&machine, {0x58, 0x5b, 0x59}, 10);  // pop rax; pop rbx; pop rcx
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.fault.addr.value(), kStackEnd);
  EXPECT_EQ(exit.instructions_retired, 2u);
  EXPECT_EQ(machine.state.gpr[kRsp], kStackEnd);
  EXPECT_EQ(machine.state.gpr[kRax], 1u);
  EXPECT_EQ(machine.state.gpr[kRbx], 2u);
}

TEST(FusedOpsTest, TheFirstOfTwoMovesIsDoneWhereTheSecondFaults) {
  FakeMachine machine;
  machine.state.gpr[kRbx] = kDataEnd - 8;
  machine.state.gpr[kRax] = 7;
  // mov [rbx], rax; mov [rbx + 8], rcx
  const Exit exit = RunTwice(&machine, {0x48, 0x89, 0x03, 0x48, 0x89, 0x4b, 8}, 10);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.fault.addr.value(), kDataEnd);
  EXPECT_EQ(exit.instructions_retired, 1u);
  EXPECT_EQ(machine.memory.Load<uint64_t>(kDataEnd - 8), 7u);
}

TEST(FusedOpsTest, ALoadNeedsNoRightForTheStoreBehindIt) {
  FakeMachine machine;
  machine.memory.Store<uint64_t>(kData, 7);
  machine.memory.Protect(kData, mm::Protection(1));
  machine.state.gpr[kRbx] = kData;
  // mov rax, [rbx]; mov [rbx + 8], rax
  const Exit exit = RunTwice(&machine, {0x48, 0x8b, 0x03, 0x48, 0x89, 0x43, 8}, 10);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.fault.access, mm::Access::kWrite);
  EXPECT_EQ(exit.instructions_retired, 1u);
  EXPECT_EQ(machine.state.gpr[kRax], 7u);
}

TEST(FusedOpsTest, ALoadMayOverwriteTheBaseOfTheNext) {
  FakeMachine machine;
  machine.memory.Store<uint64_t>(kData, kData + 0x100);
  machine.memory.Store<uint64_t>(kData + 0x108, 7);
  machine.state.gpr[kRbx] = kData;
  RunTwice(&machine, {0x48, 0x8b, 0x1b, 0x48, 0x8b, 0x4b, 8}, 2);  // mov rbx, [rbx]; mov rcx, [rbx + 8]
  EXPECT_EQ(machine.state.gpr[kRcx], 7u);
}

// Random instructions out of those that are fused. RBP points into the data, near a page's end.
class Program {
 public:
  explicit Program(uint64_t seed) : random_(seed) {
    for (int i = 0; i < 60; ++i) Add();
    code_.insert(code_.end(), {0x0f, 0x05});
  }
  const std::vector<uint8_t>& code() const { return code_; }

 private:
  uint8_t Register() {
    static constexpr uint8_t kRegisters[] = {0, 1, 2, 3, 6, 7};
    return kRegisters[random_() % sizeof(kRegisters)];
  }
  uint8_t Pair(uint8_t reg, uint8_t rm) { return static_cast<uint8_t>(0xc0 | reg << 3 | rm); }
  uint8_t Random() { return static_cast<uint8_t>(random_()); }
  void Put(std::initializer_list<int> bytes) {
    for (const int byte : bytes) code_.push_back(static_cast<uint8_t>(byte));
  }
  // A conditional jump over a move of two bytes.
  void PutBranch() { Put({0x70 | (Random() & 15), 2, 0x89, Pair(Register(), Register())}); }

  void Add() {
    const uint8_t a = Register(), b = Register();
    const int memory = 0x45 | a << 3;  // [rbp + disp8], a
    switch (random_() % 19) {
      case 0:
        return Put({0x48, 0x89, Pair(b, a)});
      case 1:
        return Put({0x89, Pair(b, a)});
      case 2:
        return Put({0xb8 | a, Random(), Random(), 0, 0});
      case 3:
        return Put({0x48, 0x8d, 0x40 | a << 3 | b, Random()});  // lea a, [b + disp8]
      case 4:
        return Put({0x48, 0x83, Pair(0, a), Random()});  // add a, imm8
      case 5:
        return Put({0x48, 0x83, Pair(5, a), Random()});  // sub a, imm8
      case 6:
        return Put({0x48, 0x01, Pair(b, a)});
      case 7:
        return Put({0x31, Pair(a, a)});
      case 8:
        return Put({0x50 | a});
      case 9:
        return Put({0x58 | a});
      case 10:
        return Put({0x48, 0x8b, memory, Random()});
      case 11:
        return Put({0x8b, memory, Random()});
      case 12:
        return Put({0x48, 0x89, memory, Random()});
      case 13:
        return Put({0x89, memory, Random()});
      case 14:
        Put({0x48, random_() % 2 != 0 ? 0x39 : 0x85, Pair(a, b)});  // cmp or test
        return PutBranch();
      case 15:
        Put({0x83, Pair(7, a), Random()});  // cmp a, imm8, of 32 bits
        return PutBranch();
      case 16:
        Put({0x48, random_() % 2 != 0 ? 0x39 : 0x85, memory, Random()});  // cmp or test [rbp + disp8], a
        return PutBranch();
      case 17:
        Put({0x80, 0x7c, 0x15 | 0, Random(), Random()});  // cmp byte [rbp + rdx + disp8], imm8
        return PutBranch();
      default:
        Put({0x48, 0x3b, memory, Random()});  // cmp a, [rbp + disp8]
        return PutBranch();
    }
  }

  std::mt19937_64 random_;
  std::vector<uint8_t> code_;
};

// Everything that `budget` at a time leads to.
struct Outcome {
  CpuState state;
  Exit exit;
  std::vector<uint64_t> memory;
};
Outcome RunBy(uint64_t budget, uint64_t seed) {
  FakeMachine machine;
  machine.memory.Write(FakeMachine::kCode, Program(seed).code());
  for (int i = 0; i < 16; ++i)
    if (i != kRsp) machine.state.gpr[static_cast<size_t>(i)] = seed * static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15;
  machine.state.gpr[kRbp] = kData + kPageSize - seed % 256;
  machine.state.gpr[kRdx] = seed % 64;
  machine.state.gpr[kRsp] = kStackEnd - kPageSize - seed % 32 * 8;
  Outcome outcome;
  uint64_t retired = 0;
  do {
    outcome.exit = machine.Run(budget);
    retired += outcome.exit.instructions_retired;
  } while (outcome.exit.reason == ExitReason::kBudget && retired < 1000);
  outcome.exit.instructions_retired = retired;
  outcome.state = machine.state;
  for (uint64_t at = kData; at < kData + 2 * kPageSize; at += 8)
    outcome.memory.push_back(machine.memory.Load<uint64_t>(at));
  for (uint64_t at = kStackEnd - 2 * kPageSize; at < kStackEnd; at += 8)
    outcome.memory.push_back(machine.memory.Load<uint64_t>(at));
  return outcome;
}

TEST(FusedOpsTest, SeveralAtOnceAreTheSameAsOneByOne) {
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    const Outcome fused = RunBy(1000, seed), single = RunBy(1, seed);
    ASSERT_EQ(fused.exit.reason, single.exit.reason) << seed;
    ASSERT_EQ(fused.exit.instructions_retired, single.exit.instructions_retired) << seed;
    ASSERT_EQ(fused.exit.fault.addr, single.exit.fault.addr) << seed;
    ASSERT_EQ(fused.state.gpr, single.state.gpr) << seed;
    ASSERT_EQ(fused.state.rip, single.state.rip) << seed;
    ASSERT_EQ(fused.state.rflags, single.state.rflags) << seed;
    ASSERT_EQ(fused.memory, single.memory) << seed;
  }
}

// --- packed arithmetic ---

using Soft = Unpacked (*)(Unpacked, Unpacked, const FloatFormat&, FloatEnvironment&);

// Integers, most of them; zeros; now and then anything.
uint64_t RandomLane(std::mt19937_64& random) {
  switch (random() % 8) {
    case 0:
      return (random() & 1) << 63;
    case 1:
      return random() % 8 == 0 ? random() : random() >> 12 | 0x3ff0000000000000;
    case 2:
      return std::bit_cast<uint64_t>(static_cast<double>(static_cast<int64_t>(random()) >> 12));
    default:
      return std::bit_cast<uint64_t>(static_cast<double>(static_cast<int64_t>(random() % 2001) - 1000));
  }
}

// One instruction on XMM0 and XMM1, with a clear MXCSR.
void ExpectPacked(uint8_t opcode, Soft soft) {
  std::mt19937_64 random(opcode);
  int exact = 0;
  FakeMachine machine;
  for (int i = 0; i < 5'000; ++i) {
    uint64_t a[2], b[2], result[2];
    uint8_t flags = 0;
    for (int lane = 0; lane < 2; ++lane) {
      a[lane] = RandomLane(random), b[lane] = RandomLane(random);
      FloatEnvironment env;
      result[lane] = Pack64(soft(Unpack64(a[lane]), Unpack64(b[lane]), kBinary64, env));
      flags |= env.flags;
    }
    machine.state.mxcsr = 0x1f80;
    std::memcpy(machine.state.vector[0].bytes.data(), a, sizeof(a));
    std::memcpy(machine.state.vector[1].bytes.data(), b, sizeof(b));
    machine.RunCode({0x66, 0x0f, opcode, 0xc1}, 1);
    uint64_t got[2];
    std::memcpy(got, machine.state.vector[0].bytes.data(), sizeof(got));
    ASSERT_EQ(got[0], result[0]) << std::hex << +opcode << " " << a[0] << " " << b[0];
    ASSERT_EQ(got[1], result[1]) << std::hex << +opcode << " " << a[1] << " " << b[1];
    ASSERT_EQ(machine.state.mxcsr, 0x1f80u | flags)
        << std::hex << +opcode << " " << a[0] << " " << b[0] << " " << a[1] << " " << b[1];
    exact += flags == 0;
  }
  EXPECT_GT(exact, 50) << std::hex << +opcode;
  EXPECT_LT(exact, 4'500) << std::hex << +opcode;
}

TEST(PackedArithmeticTest, TellsWhetherAnyLaneIsInexact) {
  ExpectPacked(0x58, Add);
  ExpectPacked(0x59, Multiply);
  ExpectPacked(0x5c, Subtract);
  ExpectPacked(0x5e, Divide);
}

}  // namespace
}  // namespace remora::cpu
