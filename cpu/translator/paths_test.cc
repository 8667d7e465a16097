// Paths: what runs often is translated along the way that it takes, through calls, returns and pages.

#include <gtest/gtest.h>
#include <xbyak/xbyak.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/guest_addr.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/interpreter.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/translated_machine.h"
#include "cpu/translator/translator.h"

namespace remora::cpu {
namespace {

using translator::TranslatedMachine;

constexpr uint64_t kCode = FakeMachine::kCode, kData = FakeMachine::kData;

// Blocks and paths that have R10 or R11 in another register.
size_t NumStandIns(const TranslatedMachine& machine) {
  const auto has_stand_ins = [](const std::string& text) {
    return text.substr(0, text.find('\n')).find(" in r") != std::string::npos;
  };
  return static_cast<size_t>(std::ranges::count_if(machine.blocks(), has_stand_ins) +
                             std::ranges::count_if(machine.paths(), has_stand_ins));
}

// A function that is called in a loop, in the loop's page or in another one.
class CallPathsTest : public testing::TestWithParam<uint64_t> {
 protected:
  static constexpr uint64_t kRounds = 20'000;

  static uint64_t Function() { return kCode + GetParam(); }
  // loop: call Function; dec rcx; jnz loop; syscall
  void WriteLoop() {
    const auto distance = static_cast<uint32_t>(Function() - (kCode + 5));
    machine_.memory.Write(kCode, {0xe8});
    machine_.memory.Store(kCode + 1, distance);
    machine_.memory.Write(kCode + 5, {0x48, 0xff, 0xc9, 0x75, 0xf6, 0x0f, 0x05});
  }
  uint64_t RunLoop(uint64_t slice = 500) {
    machine_.state.gpr[kRax] = 0;
    machine_.state.gpr[kRcx] = kRounds;
    EXPECT_EQ(paths_.RunInSlices(kCode, slice).reason, ExitReason::kSyscall);
    return machine_.state.gpr[kRax];
  }

  TranslatedMachine paths_;
  FakeMachine& machine_ = paths_.machine;
};

TEST_P(CallPathsTest, GoThroughCallsAndReturns) {
  WriteLoop();
  machine_.memory.Write(Function(), {0x48, 0xff, 0xc0, 0x90, 0x90, 0x90, 0x90, 0xc3});  // inc rax; nops; ret
  EXPECT_EQ(RunLoop(), kRounds);
  ASSERT_FALSE(paths_.paths().empty());
  bool whole = false;
  for (const std::string& path : paths_.paths())
    whole |= path.find("call") != std::string::npos && path.find("ret") != std::string::npos;
  EXPECT_TRUE(whole);
}

TEST_P(CallPathsTest, ChangeWithTheirCode) {
  WriteLoop();
  // inc rax; nops; ret
  machine_.memory.Write(Function(), {0x48, 0xff, 0xc0, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xc3});
  EXPECT_EQ(RunLoop(), kRounds);
  ASSERT_FALSE(paths_.paths().empty());
  machine_.memory.Write(Function() + 3, {0x48, 0xff, 0xc0});
  EXPECT_EQ(RunLoop(), 2 * kRounds);
  machine_.memory.Write(kCode + 5, {0x48, 0xff, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0xf3, 0x0f, 0x05});  // inc rax first
  EXPECT_EQ(RunLoop(), 3 * kRounds);
  EXPECT_GE(paths_.paths().size(), 3u);
}

TEST_P(CallPathsTest, MayReturnElsewhere) {
  TranslatedMachine paths({.exact_count = true});
  FakeMachine& machine = paths.machine;
  // loop: push rbx; call Function; pop rbx; dec rcx; jnz loop; syscall
  machine.memory.Write(kCode, {0x53, 0xe8});
  machine.memory.Store(kCode + 2, static_cast<uint32_t>(Function() - (kCode + 6)));
  machine.memory.Write(kCode + 6, {0x5b, 0x48, 0xff, 0xc9, 0x75, 0xf4, 0x0f, 0x05});
  // inc rax; xor edx, edx; test al, 63; setz dl; imul edx, edx, 6; add [rsp], rdx (where SYSCALL is); ret
  machine.memory.Write(Function(), {0x48, 0xff, 0xc0, 0x31, 0xd2, 0xa8, 0x3f, 0x0f, 0x94, 0xc2, 0x6b, 0xd2, 0x06, 0x48,
                                    0x01, 0x14, 0x24, 0xc3});
  const uint64_t rsp = machine.state.gpr[kRsp];
  for (int i = 0; i < 100; ++i) {
    machine.state.gpr[kRsp] = rsp;
    machine.state.gpr[kRax] = 0;
    machine.state.gpr[kRcx] = kRounds;
    constexpr uint64_t kRound = 12;  // instructions: slices end where the loop begins
    EXPECT_EQ(paths.RunInSlices(kCode, 5 * kRound).reason, ExitReason::kSyscall);
    EXPECT_EQ(machine.state.gpr[kRax], 64u);
    EXPECT_EQ(machine.state.gpr[kRsp], rsp - 8);
    EXPECT_EQ(machine.state.rip, kCode + 14);
  }
  ASSERT_EQ(paths.paths().size(), 1u);
  EXPECT_TRUE(paths.paths()[0].starts_with("round 400000: 12 instructions")) << paths.paths()[0];
}

TEST_P(CallPathsTest, AFaultShowsWhereItIs) {
  WriteLoop();
  // push rdx; inc rax; mov rdx, [rdi]; add rdi, 8; pop rdx; ret
  machine_.memory.Write(Function(), {0x52, 0x48, 0xff, 0xc0, 0x48, 0x8b, 0x17, 0x48, 0x83, 0xc7, 0x08, 0x5a, 0xc3});
  constexpr uint64_t kRead = 10'000;
  machine_.memory.Map(0x700000, kRead * 8 / kPageSize + 1, mm::Protection(1));
  const uint64_t end = 0x700000 + (kRead * 8 / kPageSize + 1) * kPageSize;
  const uint64_t rsp = machine_.state.gpr[kRsp];
  machine_.state.gpr[kRdi] = 0x700000;
  machine_.state.gpr[kRcx] = kRounds * 10;
  machine_.state.gpr[kRdx] = 77;
  const Exit exit = paths_.RunInSlices(kCode);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.fault.addr.value(), end);
  EXPECT_FALSE(paths_.paths().empty());
  EXPECT_EQ(machine_.state.rip, Function() + 4);
  EXPECT_EQ(machine_.state.gpr[kRdi], end);
  EXPECT_EQ(machine_.state.gpr[kRax], (end - 0x700000) / 8 + 1);
  EXPECT_EQ(machine_.state.gpr[kRsp], rsp - 16);
  EXPECT_EQ(machine_.memory.Load<uint64_t>(rsp - 16), 77u);
  EXPECT_EQ(machine_.memory.Load<uint64_t>(rsp - 8), kCode + 5);
}

INSTANTIATE_TEST_SUITE_P(InOnePage, CallPathsTest, testing::Values(0x100));
INSTANTIATE_TEST_SUITE_P(AcrossPages, CallPathsTest, testing::Values(0x1100));

// A loop that calls a function in another page, whose frame may become another one.
class OtherPageTest : public testing::Test {
 protected:
  using Code = std::initializer_list<uint8_t>;
  static constexpr uint64_t kFunction = kCode + kPageSize, kSpare = 0x500000, kAside = 0x510000;

  void Put(Code loop, Code function, Code another) {
    machine_.memory.Map(kSpare, 1, mm::Protection(5));
    machine_.memory.Write(kCode, loop);
    machine_.memory.Write(kFunction, function);
    machine_.memory.Write(kSpare, another);
    machine_.memory.Alias(kAside, kFunction, mm::Protection(5));  // its code stays what it is
  }
  void Show(uint64_t page) {
    machine_.memory.Alias(kFunction, page, mm::Protection(5));
    machine_.memory.FlushAtNextSynchronize();
  }
  uint64_t Run(uint64_t from = kCode) {
    machine_.state.gpr[kRax] = 0;
    machine_.state.gpr[kRcx] = 10'000;
    EXPECT_EQ(paths_.RunInSlices(from).reason, ExitReason::kSyscall);
    EXPECT_FALSE(paths_.paths().empty());
    return machine_.state.gpr[kRax];
  }

  TranslatedMachine paths_;
  FakeMachine& machine_ = paths_.machine;
};

TEST_F(OtherPageTest, MayComeToBeThere) {
  Put({0xe8, 0xfb, 0x0f, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf6, 0x0f, 0x05},  // loop: call; dec rcx; jnz loop; syscall
      {0x48, 0xff, 0xc0, 0x90, 0x90, 0x90, 0x90, 0xc3},                    // inc rax; nops; ret
      {0x48, 0x83, 0xc0, 0x03, 0x90, 0x90, 0x90, 0xc3});                   // add rax, 3; nops; ret
  EXPECT_EQ(Run(), 10'000u);
  Show(kSpare);
  EXPECT_EQ(Run(), 30'000u);
  Show(kAside);
  EXPECT_EQ(Run(), 10'000u);
}

// The engine does not see that a path is begun.
TEST_F(OtherPageTest, MayBeThereForWhoComesFromABlock) {
  constexpr uint64_t kBehindCall = kCode + 5, kBlock = kCode + 12;
  Put({0xe8, 0xfb, 0x0f, 0, 0,                            // loop: call
       0x48, 0xff, 0xc9, 0x75, 0xf6, 0x0f, 0x05,          // dec rcx; jnz loop; syscall
       0x85, 0xc9, 0x75, 0xf5, 0x0f, 0x05},               // test ecx, ecx; jnz behind the call; syscall
      {0x48, 0xff, 0xc0, 0x90, 0x90, 0x90, 0x90, 0xc3},   // inc rax; nops; ret
      {0x48, 0x83, 0xc0, 0x03, 0x90, 0x90, 0x90, 0xc3});  // add rax, 3; nops; ret
  EXPECT_EQ(Run(), 10'000u);
  ASSERT_TRUE(paths_.paths()[0].starts_with(absl::StrFormat("round %x:", kBehindCall))) << paths_.paths()[0];
  // So that they are linked.
  EXPECT_EQ(Run(kBlock), 9'999u);
  Show(kSpare);
  EXPECT_EQ(Run(kBlock), 3 * 9'999u);
}

TEST_F(OtherPageTest, MayReadFlagsThatThePathDoesNot) {
  // loop: cmp rcx, rcx; call; dec rcx; jnz loop; syscall
  Put({0x48, 0x39, 0xc9, 0xe8, 0xf8, 0x0f, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf3, 0x0f, 0x05},
      {0x31, 0xd2, 0x48, 0xff, 0xc0, 0x90, 0x90, 0x90, 0x90, 0xc3},   // xor edx, edx; inc rax; nops; ret
      {0x0f, 0x94, 0xc2, 0x0f, 0xb6, 0xd2, 0x48, 0x01, 0xd0, 0xc3});  // setz dl; movzx edx, dl; add rax, rdx; ret
  EXPECT_EQ(Run(), 10'000u);
  Show(kSpare);
  EXPECT_EQ(Run(), 10'000u);
}

// Through an instruction of which only the first bytes are on the page that it begins in.
TEST_F(OtherPageTest, MayHaveTheRestOfAnInstruction) {
  constexpr uint64_t kLoop = kFunction - 9;
  // loop: nops; add rax, 0x...0001, whose upper half is in the next page
  machine_.memory.Write(kLoop, {0x90, 0x90, 0x90, 0x90, 0x48, 0x81, 0xc0, 0x01, 0x00});
  Put({}, {0x00, 0x00, 0x90, 0x90, 0x90, 0x48, 0xff, 0xc9, 0x75, 0xed, 0x0f, 0x05},  // nops; dec rcx; jnz loop; syscall
      {0x01, 0x00, 0x90, 0x90, 0x90, 0x48, 0xff, 0xc9, 0x75, 0xed, 0x0f, 0x05});
  EXPECT_EQ(Run(kLoop), 10'000u);
  ASSERT_EQ(paths_.paths().size(), 1u);
  EXPECT_TRUE(paths_.paths()[0].starts_with(absl::StrFormat("round %x: 10 instructions", kLoop))) << paths_.paths()[0];
  Show(kSpare);
  EXPECT_EQ(Run(kLoop), 10'000u * 0x1'0001);
  Show(kAside);
  EXPECT_EQ(Run(kLoop), 10'000u);
  machine_.memory.Write(kFunction, {0x02});
  EXPECT_EQ(Run(kLoop), 10'000u * 0x2'0001);
}

// Of the second page it has nothing but that.
TEST_F(OtherPageTest, MayHaveNothingButTheRestOfAnInstruction) {
  constexpr uint64_t kLoop = kFunction - 6, kNear = kFunction - 0x80, kFar = kNear - 0x100;
  machine_.memory.Write(kLoop, {0x90, 0x90, 0x90, 0x90, 0xe9, 0x7d});  // loop: nops; jmp to one of the following
  machine_.memory.Write(kNear, {0x48, 0xff, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0x72, 0x0f, 0x05});  // inc rax; dec rcx; jnz
  // add rax, 3; dec rcx; jnz loop; syscall
  machine_.memory.Write(kFar, {0x48, 0x83, 0xc0, 0x03, 0x48, 0xff, 0xc9, 0x0f, 0x85, 0x6d, 0x01, 0, 0, 0x0f, 0x05});
  Put({}, {0xff, 0xff, 0xff}, {0xfe, 0xff, 0xff});
  EXPECT_EQ(Run(kLoop), 10'000u);
  EXPECT_TRUE(paths_.paths()[0].starts_with("round ")) << paths_.paths()[0];
  Show(kSpare);
  EXPECT_EQ(Run(kLoop), 30'000u);
  Show(kAside);
  EXPECT_EQ(Run(kLoop), 10'000u);
  machine_.memory.Write(kFunction, {0xfe});
  EXPECT_EQ(Run(kLoop), 30'000u);
}

// A chain of functions, each on a page of its own.
void ExpectPathsThrough(uint64_t num_pages, bool goes_round) {
  constexpr uint64_t kFirst = 0x480000, kRounds = 20'000;
  TranslatedMachine paths;
  FakeMachine& machine = paths.machine;
  machine.memory.Map(kFirst, num_pages, mm::Protection(5));
  const auto at = [](uint64_t i) { return kFirst + i * kPageSize + 16 * i; };
  for (uint64_t i = 0; i < num_pages; ++i) {
    // inc rax; then jmp to the next one, or dec rcx; jnz to the first one; syscall
    machine.memory.Write(at(i), {0x48, 0xff, 0xc0});
    if (i + 1 < num_pages) {
      machine.memory.Write(at(i) + 3, {0xe9});
      machine.memory.Store(at(i) + 4, static_cast<uint32_t>(at(i + 1) - (at(i) + 8)));
    } else {
      machine.memory.Write(at(i) + 3, {0x48, 0xff, 0xc9, 0x0f, 0x85});
      machine.memory.Store(at(i) + 8, static_cast<uint32_t>(at(0) - (at(i) + 12)));
      machine.memory.Write(at(i) + 12, {0x0f, 0x05});
    }
  }
  machine.state.gpr[kRax] = 0;
  machine.state.gpr[kRcx] = kRounds;
  EXPECT_EQ(paths.RunInSlices(kFirst, /*slice=*/3000).reason, ExitReason::kSyscall);
  EXPECT_EQ(machine.state.gpr[kRax], num_pages * kRounds);
  size_t most = 0;
  ASSERT_FALSE(paths.paths().empty());
  for (const std::string& path : paths.paths()) {
    std::set<std::string> pages;
    for (const absl::string_view line : absl::StrSplit(path, '\n'))
      if (absl::StartsWith(line, "4") || absl::StartsWith(line, "5")) pages.insert(std::string(line.substr(0, 3)));
    most = std::max(most, pages.size());
    EXPECT_EQ(path.starts_with("round "), goes_round) << path.substr(0, 100);
  }
  EXPECT_EQ(most, goes_round ? num_pages : translator::Translation::kMaxPages);
}

TEST(PathsTest, GoThroughAsManyPagesAsTheyCanTell) {
  ExpectPathsThrough(24, /*goes_round=*/true);
  ExpectPathsThrough(translator::Translation::kMaxPages, /*goes_round=*/true);
  ExpectPathsThrough(translator::Translation::kMaxPages + 1, /*goes_round=*/false);
}

// A loop whose way changes when RCX has come below RSI: it calls one function, then another one. It begins by reading
// the flag that this comparison has left. So long that slices end where it begins.
class ReviewedPathsTest : public testing::TestWithParam<std::tuple<bool, uint64_t>> {
 protected:
  static constexpr uint64_t kSyscall = kCode + 0x200, kBefore = kCode + 0x300, kBehindCall = kCode + 13;
  static constexpr uint8_t kInc[] = {0x48, 0xff, 0xc0};  // inc rax, which leaves CF alone
  static constexpr uint64_t kIncs = 60;

  static bool exact_count() { return std::get<0>(GetParam()); }
  static uint64_t First() { return kCode + std::get<1>(GetParam()); }
  static uint64_t Second() { return First() + 0x400; }

  void SetUp() override {
    using namespace Xbyak::util;
    Xbyak::CodeGenerator code(kPageSize);
    Xbyak::Label again;
    code.L(again);
    code.adc(rax, 0);
    code.cmp(rcx, rsi);
    code.cmovb(rbx, rdx);
    code.call(rbx);
    code.dec(rcx);
    code.jnz(again, Xbyak::CodeGenerator::T_NEAR);
    code.jmp(code.getCode() + (kSyscall - kCode), Xbyak::CodeGenerator::T_NEAR);
    machine_.memory.Write(kCode, std::span(code.getCode(), code.getSize()));
    machine_.memory.Write(kSyscall, {0x0f, 0x05});
    // Comes to the loop from a block.
    machine_.memory.Write(kBefore, {0x48, 0xff, 0xc0, 0xe9});  // inc rax; jmp kCode
    machine_.memory.Store(kBefore + 4, static_cast<uint32_t>(kCode - (kBefore + 8)));
    WriteFunction(First(), kIncs);
    WriteFunction(Second(), 2 * kIncs);
  }
  void WriteFunction(uint64_t at, uint64_t incs) {
    for (uint64_t i = 0; i < incs; ++i) machine_.memory.Write(at + i * sizeof(kInc), std::span(kInc));
    machine_.memory.Write(at + incs * sizeof(kInc), {0xc3});
  }
  // So often by the first function, then so often by the second. What RAX has come to.
  uint64_t Run(uint64_t first, uint64_t second, uint64_t from = kCode) {
    machine_.state.gpr[kRax] = 0;
    machine_.state.gpr[kRcx] = first + second;
    machine_.state.gpr[kRsi] = second + 1;
    machine_.state.gpr[kRbx] = First();
    machine_.state.gpr[kRdx] = Second();
    machine_.state.rflags &= ~uint64_t{1};
    // Of both ways, so that slices end at one place each.
    constexpr uint64_t kLap = 7 + kIncs, kLongLap = 7 + 2 * kIncs;
    const Exit exit = paths_.RunInSlices(from, kLap * kLongLap);
    EXPECT_EQ(exit.reason, ExitReason::kSyscall);
    EXPECT_EQ(machine_.state.rip, kSyscall + 2);
    retired_ = exit.instructions_retired;
    return machine_.state.gpr[kRax];
  }
  static uint64_t Expected(uint64_t first, uint64_t second, uint64_t incs = kIncs) {
    return first * incs + second * 2 * incs + (second > 0 ? second - 1 : 0);
  }
  // The paths that come through the function and go round.
  size_t NumRoundsThrough(uint64_t function) const {
    return static_cast<size_t>(std::ranges::count_if(paths_.paths(), [&](const std::string& path) {
      return path.starts_with("round ") && path.find(absl::StrFormat("\n%x  inc rax", function)) != std::string::npos;
    }));
  }

  TranslatedMachine paths_{{.exact_count = exact_count()}};
  FakeMachine& machine_ = paths_.machine;
  uint64_t retired_ = 0;  // in the last slice
};

TEST_P(ReviewedPathsTest, GoTheWayThatIsGoneNow) {
  EXPECT_EQ(Run(50'000, 100'000), Expected(50'000, 100'000));
  EXPECT_GE(NumRoundsThrough(First()), 1u);
  EXPECT_GE(NumRoundsThrough(Second()), 1u);
  // There and back; but it is looked at more and more seldom.
  EXPECT_EQ(Run(3'000'000, 1), Expected(3'000'000, 1));
  // (Where all slices end at one place that no path begins at, nothing is found there any more.)
  if (!exact_count()) EXPECT_GE(NumRoundsThrough(First()), 2u);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Run(5'000, 5'000), Expected(5'000, 5'000));
  EXPECT_LE(paths_.paths().size(), 20u);
}

TEST_P(ReviewedPathsTest, WhatLedToTheFirstOneLeadsToItsSuccessor) {
  // As soon as the block leads to the loop's beginning.
  EXPECT_EQ(Run(1, 0, kBefore), Expected(1, 0) + 1);
  EXPECT_EQ(Run(50'000, 0, kBefore), Expected(50'000, 0) + 1);
  EXPECT_EQ(Run(1, 0, kBefore), Expected(1, 0) + 1);
  const uint64_t by_first = retired_;
  EXPECT_EQ(Run(1, 100'000, kBefore), Expected(1, 100'000) + 1);
  ASSERT_GE(NumRoundsThrough(Second()), 1u);
  for (const uint64_t rounds : {2, 3, 100}) {
    EXPECT_EQ(Run(rounds, 0, kBefore), Expected(rounds, 0) + 1);
    EXPECT_EQ(Run(rounds, rounds, kBefore), Expected(rounds, rounds) + 1);
  }
  EXPECT_EQ(Run(1, 0, kBefore), Expected(1, 0) + 1);
  // Roughly, a path counts half its length.
  if (exact_count())
    EXPECT_EQ(retired_, by_first);
  else
    EXPECT_GT(retired_, by_first);
}

TEST_P(ReviewedPathsTest, AllGoWithTheirCode) {
  Run(50'000, 100'000);
  ASSERT_GE(NumRoundsThrough(Second()), 1u);
  WriteFunction(Second(), 2 * (kIncs / 3));
  WriteFunction(First(), kIncs / 3);
  EXPECT_EQ(Run(100, 100), Expected(100, 100, kIncs / 3));
  EXPECT_EQ(Run(5'000, 50'000), Expected(5'000, 50'000, kIncs / 3));
}

TEST_P(ReviewedPathsTest, StayWhereTheWayIsAnotherOneEachTime) {
  // By chance, as a generator of numbers in RDI has it.
  constexpr int kFactor = 1'103'515'245, kSummand = 12'345, kBit = 40;
  for (const uint64_t function : {First(), Second()}) {
    using namespace Xbyak::util;
    Xbyak::CodeGenerator code(kPageSize);
    code.imul(rdi, rdi, kFactor);
    code.add(rdi, kSummand);
    code.bt(rdi, kBit);
    code.mov(rbx, r8);
    code.cmovc(rbx, rdx);
    code.clc();
    code.ret();
    WriteFunction(function, function == First() ? kIncs : 2 * kIncs);
    const uint64_t incs = function == First() ? kIncs : 2 * kIncs;
    machine_.memory.Write(function + incs * sizeof(kInc), std::span(code.getCode(), code.getSize()));
  }
  constexpr uint64_t kRounds = 50'000;
  uint64_t expected = 0, number = 1;
  for (uint64_t i = 0; i < kRounds; ++i) {
    expected += i > 0 && (number >> kBit & 1) != 0 ? 2 * kIncs : kIncs;
    number = number * kFactor + kSummand;
  }
  machine_.state.gpr[kRdi] = 1;
  machine_.state.gpr[kR8] = First();
  EXPECT_EQ(Run(kRounds, 0), expected);
  // At the only place where rounds may begin.
  const auto begins_behind_call = [](const std::string& path) {
    return path.find(absl::StrFormat(" %x:", kBehindCall)) != std::string::npos;
  };
  EXPECT_LE(std::ranges::count_if(paths_.paths(), begins_behind_call), 1);
}

INSTANTIATE_TEST_SUITE_P(InOnePage, ReviewedPathsTest, testing::Combine(testing::Bool(), testing::Values(0x400)));
INSTANTIATE_TEST_SUITE_P(AcrossPages, ReviewedPathsTest, testing::Combine(testing::Bool(), testing::Values(0x1400)));

TEST(PathsTest, AJumpToNowhereIsCountedOnce) {
  TranslatedMachine paths({.exact_count = true});
  FakeMachine& machine = paths.machine;
  // loop: inc rax; nops; jmp rbx; at +0x20: nops; dec rcx; jnz loop; syscall
  machine.memory.Write(kCode, {0x48, 0xff, 0xc0, 0x90, 0x90, 0x90, 0x90, 0xff, 0xe3});
  machine.memory.Write(kCode + 0x20, {0x90, 0x90, 0x90, 0x90, 0x48, 0xff, 0xc9, 0x75, 0xd7, 0x0f, 0x05});
  constexpr uint64_t kRound = 12;
  machine.state.gpr[kRbx] = kCode + 0x20;
  machine.state.gpr[kRcx] = 1'000;
  EXPECT_EQ(paths.RunInSlices(kCode, 5 * kRound).reason, ExitReason::kSyscall);
  ASSERT_FALSE(paths.paths().empty());
  FakeMachine reference([](BlockCache* cache) { return MakeInterpreter(cache); });
  reference.memory.Write(kCode, {0x48, 0xff, 0xc0, 0x90, 0x90, 0x90, 0x90, 0xff, 0xe3});
  for (FakeMachine* each : {&machine, &reference}) {
    each->state.rip = kCode;
    each->state.gpr[kRbx] = 0xffff'8000'0000'0000;
  }
  const Exit exit = machine.Run(1'000), expected = reference.Run(1'000);
  EXPECT_EQ(exit.reason, expected.reason);
  EXPECT_EQ(machine.state.rip, reference.state.rip);
  EXPECT_EQ(exit.instructions_retired, expected.instructions_retired);
}

// Calls and jumps by a register, and by memory, to where they went before and elsewhere.
TEST(PathsTest, IndirectBranchesMayGoElsewhere) {
  struct Branch {
    std::vector<uint8_t> code;  // 6 bytes; the target is in RBX and at RDI
    bool calls = false;
  };
  const std::array<Branch, 4> branches = {
      Branch{{0xff, 0xd3, 0x90, 0x90, 0x90, 0x90}, true}, Branch{{0xff, 0x17, 0x90, 0x90, 0x90, 0x90}, true},
      Branch{{0xff, 0xe3, 0x90, 0x90, 0x90, 0x90}, false}, Branch{{0xff, 0x27, 0x90, 0x90, 0x90, 0x90}, false}};
  for (const Branch& branch : branches) {
    TranslatedMachine paths;
    FakeMachine& machine = paths.machine;
    machine.memory.Write(kCode, branch.code);
    machine.memory.Write(kCode + 6, {0x48, 0xff, 0xc9, 0x75, 0xf5, 0x0f, 0x05});  // dec rcx; jnz; syscall
    constexpr std::array<uint64_t, 2> kTargets = {kCode + 0x80, kCode + 2 * kPageSize};
    for (uint8_t i = 0; i < 2; ++i) {
      machine.memory.Write(kTargets[i], {0x48, 0x83, 0xc0, static_cast<uint8_t>(i + 1), 0x90, 0x90, 0x90});
      machine.memory.Write(kTargets[i] + 7, {0xc3});
      if (branch.calls) continue;
      machine.memory.Write(kTargets[i] + 7, {0xe9});
      machine.memory.Store(kTargets[i] + 8, static_cast<uint32_t>(kCode + 6 - (kTargets[i] + 12)));
    }
    const auto run = [&](uint64_t target) {
      machine.memory.Store(kData, target);
      machine.state.gpr[kRbx] = target;
      machine.state.gpr[kRdi] = kData;
      machine.state.gpr[kRax] = 0;
      machine.state.gpr[kRcx] = 5'000;
      return paths.RunInSlices(kCode);
    };
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(run(kTargets[i % 2]).reason, ExitReason::kSyscall);
      EXPECT_EQ(machine.state.gpr[kRax], i % 2 == 0 ? 5'000u : 10'000u);
    }
    EXPECT_FALSE(paths.paths().empty());
    const uint64_t rsp = machine.state.gpr[kRsp];
    EXPECT_EQ(run(0x8000'0000'0000).reason, ExitReason::kProtection);
    EXPECT_EQ(machine.state.rip, kCode);
    EXPECT_EQ(machine.state.gpr[kRsp], rsp);
  }
}

// An interpreter of its own: handlers that go to the next one's, whose number they find in a row of words. A round of
// the row is a path's; a row that has changed since is gone through as well.
TEST(PathsTest, RoundsGoThroughSwitches) {
  constexpr uint64_t kRow = kData, kTable = kData + 0x800, kHandlers = 4, kSteps = 60'000, kHandlerBytes = 64;
  const auto run = [&](FakeMachine* machine, uint64_t slice, uint32_t seed) {
    std::mt19937 random(seed);
    const uint64_t length = 1 + random() % 12;
    for (int part = 0; part < 3; ++part) {
      for (uint64_t i = 0; i < 16; ++i)
        machine->memory.Store(kRow + 8 * i, i < length ? uint64_t{random() % kHandlers} : uint64_t{99});
      machine->state.gpr[kRsi] = kRow;
      machine->state.gpr[kRdi] = kRow + 8 * length;
      machine->state.gpr[kRbx] = kTable;
      machine->state.gpr[kRcx] = kSteps;
      machine->state.rip = kCode;
      Exit exit;
      do {
        exit = machine->Run(slice);
      } while (exit.reason == ExitReason::kBudget);
      ASSERT_EQ(exit.reason, ExitReason::kSyscall);
    }
  };
  const auto write = [&](FakeMachine* machine) {
    for (uint64_t i = 0; i < kHandlers; ++i) {
      Xbyak::CodeGenerator code(kHandlerBytes, Xbyak::DontSetProtectRWE);
      code.imul(code.rax, code.rax, static_cast<int>(3 + 2 * i));
      code.add(code.rax, static_cast<uint32_t>(i));
      code.lea(code.rdx, code.ptr[code.rsi + 8]);
      code.cmp(code.rdx, code.rdi);
      code.mov(code.r8d, static_cast<uint32_t>(kRow));
      code.cmovae(code.rdx, code.r8);
      code.mov(code.r9, code.ptr[code.rsi]);
      code.mov(code.rsi, code.rdx);
      code.dec(code.rcx);
      Xbyak::Label end;
      code.jz(end);
      code.cmp(code.rax, code.r9);  // whose flags nobody reads
      code.jmp(code.ptr[code.rbx + code.r9 * 8]);
      code.L(end);
      code.syscall();
      machine->memory.Write(kCode + i * kHandlerBytes, std::span<const uint8_t>(code.getCode(), code.getSize()));
      machine->memory.Store(kTable + 8 * i, kCode + i * kHandlerBytes);
    }
  };
  size_t rounds = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    FakeMachine expected([](BlockCache* cache) { return MakeInterpreter(cache); });
    TranslatedMachine paths({.exact_count = seed % 2 == 0});
    for (FakeMachine* machine : {&expected, &paths.machine}) {
      write(machine);
      run(machine, 3000, seed);
    }
    for (const unsigned reg : {kRax, kRcx, kRdx, kRsi})
      EXPECT_EQ(paths.machine.state.gpr[reg], expected.state.gpr[reg]);
    rounds += static_cast<size_t>(
        std::ranges::count_if(paths.paths(), [](const std::string& path) { return path.starts_with("round "); }));
  }
  EXPECT_GT(rounds, 30u);
}

// What takes the most code: operands that no group has room for, of two registers and a segment, and calls by them to
// page after page whose addresses do not fit into constants. A whole round of that is too long.
TEST(PathsTest, OfMuchCodeEndInTime) {
  TranslatedMachine paths;
  FakeMachine& machine = paths.machine;
  constexpr uint64_t kFunctions = 60, kRounds = 500, kFar = 0x7f00'0000'0000, kLoads = 64, kTable = 0x800000;
  constexpr uint8_t kPushes = 10;
  machine.memory.Map(kFar, kFunctions, mm::Protection(5));
  machine.memory.Map(kTable, kLoads, mm::Protection(1));
  // loop: 64 times mov rdx, [rbx + n]; call gs:[r10 + r11 * 8]; dec rcx; jnz loop; syscall
  uint64_t at = kCode;
  for (uint32_t i = 0; i < kLoads; ++i, at += 7) {
    machine.memory.Write(at, {0x48, 0x8b, 0x93});
    machine.memory.Store(at + 3, i * static_cast<uint32_t>(kPageSize));
  }
  const auto write_indirect = [&](uint8_t operation, uint64_t word) {
    machine.memory.Write(at, {0x65, 0x43, 0xff, operation, 0xda});
    machine.memory.Store(at + 5, static_cast<uint32_t>(8 * word));
    at += 9;
  };
  constexpr uint8_t kCall = 0x94, kPush = 0xb4;
  write_indirect(kCall, 0);
  machine.memory.Write(at, {0x48, 0xff, 0xc9, 0x0f, 0x85});
  machine.memory.Store(at + 5, static_cast<uint32_t>(kCode - (at + 9)));
  machine.memory.Write(at + 9, {0x0f, 0x05});
  for (uint64_t i = 0; i < kFunctions; ++i) {
    at = kFar + i * kPageSize;
    machine.memory.Store(kTable + 8 * i, at);
    // adc rax, 0; pushes; call the next one; lea rsp, [rsp + what was pushed]; ret
    machine.memory.Write(at, {0x48, 0x83, 0xd0, 0x00});
    at += 4;
    for (uint64_t k = 0; k < kPushes; ++k) write_indirect(kPush, i);
    if (i + 1 < kFunctions) write_indirect(kCall, i + 1);
    machine.memory.Write(at, {0x48, 0x8d, 0x64, 0x24, 8 * kPushes, 0xc3});
  }
  machine.state.gpr[kRbx] = machine.state.gpr[kR10] = kTable;
  machine.state.gpr[kR11] = 0;
  machine.state.gpr[kRcx] = kRounds;
  EXPECT_EQ(paths.RunInSlices(kCode, 5'000).reason, ExitReason::kSyscall);
  EXPECT_FALSE(paths.paths().empty());
  size_t longest = 0;
  for (const std::string& path : paths.paths()) {
    EXPECT_FALSE(path.starts_with("round "));
    longest = std::max<size_t>(longest, std::stoul(path.substr(path.find("instructions, ") + 14)));
  }
  EXPECT_GT(longest, 30'000u);
}

// --- random programs ---

// A loop that calls functions of random instructions in several pages, which call those behind them. Flags are read
// where they are defined. RBP points at the data, R15 counts rounds.
class RandomProgram : public Xbyak::CodeGenerator {
 public:
  static constexpr uint64_t kPages = FakeMachine::kPages;

  explicit RandomProgram(uint32_t seed) : CodeGenerator(kPages * kPageSize), random_(seed) {
    Xbyak::Label again;
    L(again);
    L(functions_[0]);
    call(functions_[1]);
    Body(0);
    dec(r15);
    jnz(again, T_NEAR);
    syscall();
    for (uint32_t i = 1; i < kFunctions; ++i) {
      // Some begin at a page, some go over its end.
      if (Any(2) == 0) align(kPageSize / 4);
      L(functions_[i]);
      Function(i);
    }
    ready();
    for (const auto& [target, function] : calls_)
      targets_[target] = static_cast<uint64_t>(functions_[function].getAddress() - getCode());
  }
  // Code, and the tables that it goes by.
  void PutInto(FakeMachine* machine) const {
    machine->memory.Write(kCode, std::span<const uint8_t>(getCode(), getSize()));
    for (size_t i = 0; i < targets_.size(); ++i) machine->memory.Store(kData + kTable + 8 * i, kCode + targets_[i]);
  }

 private:
  static constexpr uint32_t kFunctions = 8;
  static constexpr uint32_t kTable = 0x2000, kMaxTargets = 256, kWords = 64;

  uint32_t Any(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  const Xbyak::Reg64& AnyRegister() {
    const std::array<const Xbyak::Reg64*, 13> all = {&rax, &rcx, &rdx, &rbx, &rsi, &rdi, &r8,
                                                     &r9,  &r10, &r11, &r12, &r13, &r14};
    return *all[Any(all.size())];
  }
  Xbyak::Address AnyWord() { return qword[rbp + 8 * Any(kWords)]; }
  // A word of the table that indirect branches go by; what it leads to is targets_.back().
  Xbyak::Address NewTarget() {
    targets_.push_back(0);
    return qword[rbp + kTable + 8 * (targets_.size() - 1)];
  }
  bool has_room() const { return targets_.size() + 4 < kMaxTargets && getSize() + 512 < kPages * kPageSize; }

  void Function(uint32_t number) {
    const uint32_t saved = Any(3);
    for (uint32_t i = 0; i < saved; ++i) push(AnyRegister());
    Body(number);
    // What may be read by who is returned to.
    if (Any(2) == 0) cmp(AnyRegister(), AnyRegister());
    for (uint32_t i = 0; i < saved; ++i) pop(AnyRegister());
    ret();
  }
  void Body(uint32_t number) {
    const uint32_t length = 3 + Any(10);
    for (uint32_t i = 0; i < length && has_room(); ++i) Step(number);
  }
  void Step(uint32_t number) {
    Xbyak::Label over;
    switch (Any(14)) {
      case 0:
        return add(AnyRegister(), AnyRegister());
      case 1:
        return sub(AnyRegister(), AnyWord());
      case 2:
        return add(AnyWord(), AnyRegister());
      case 3:
        return mov(AnyWord(), AnyRegister());
      case 4:
        return mov(AnyRegister(), AnyWord());
      case 5:
        return lea(AnyRegister(), ptr[AnyRegister() + AnyRegister() * 4 + 7]);
      case 6:
        return adc(AnyRegister(), AnyRegister());
      case 7: {
        const Xbyak::Reg64& index = AnyRegister();
        and_(index, kWords - 1);
        return xor_(AnyRegister(), qword[rbp + index * 8]);
      }
      case 8:
        test(AnyRegister(), 1u << Any(5));
        Any(2) == 0 ? jz(over, T_NEAR) : jnz(over, T_NEAR);
        add(AnyRegister(), 1 + Any(100));
        Step(number);
        return L(over);
      case 9:
        if (number + 1 == kFunctions) return;
        return call(functions_[number + 1 + Any(kFunctions - number - 1)]);
      case 10: {
        if (number + 1 == kFunctions) return;
        const Xbyak::Address word = NewTarget();
        calls_.emplace_back(targets_.size() - 1, number + 1 + Any(kFunctions - number - 1));
        if (Any(2) == 0) return call(word);
        const Xbyak::Reg64& target = AnyRegister();
        mov(target, word);
        return call(target);
      }
      case 11: {
        // To one of two.
        const Xbyak::Reg64& index = AnyRegister();
        and_(index, 1);
        const Xbyak::Address first = NewTarget();
        const size_t target = targets_.size() - 1;
        NewTarget();
        jmp(qword[first.getRegExp() + index * 8]);
        targets_[target] = getSize();
        Step(number);
        targets_[target + 1] = getSize();
        return;
      }
      case 12:
        cmp(AnyRegister(), AnyRegister());
        return cmovc(AnyRegister(), AnyRegister());
      default:
        movq(xmm0, AnyRegister());
        paddq(xmm1, xmm0);
        return movq(AnyRegister(), xmm1);
    }
  }

  std::mt19937 random_;
  std::array<Xbyak::Label, kFunctions> functions_;
  std::vector<uint64_t> targets_;                   // from the code's beginning
  std::vector<std::pair<size_t, uint32_t>> calls_;  // which of them are functions
};

// A loop, or one in which a function is called, that uses few registers, R10 and R11 among them, and may fault, divide
// by zero, or leave by a branch.
class RandomLoop : public Xbyak::CodeGenerator {
 public:
  explicit RandomLoop(uint32_t seed) : CodeGenerator(kPageSize), random_(seed) {
    Xbyak::Label again, end, function;
    const bool calls = Any(3) == 0;
    L(again);
    const uint32_t length = 2 + Any(12);
    for (uint32_t i = 0; i < length; ++i) Step(end);
    if (calls) call(function);
    if (Any(3) == 0) {
      add(r11, 3);
      dec(rcx);
      jz(end, T_NEAR);
      jmp(again, T_NEAR);
    } else {
      dec(rcx);
      jnz(again, T_NEAR);
    }
    L(end);
    adc(rax, 0);
    syscall();
    L(function);
    Step(end);
    add(r10, 1);
    ret();
    ready();
  }

 private:
  uint32_t Any(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  const Xbyak::Reg64& AnyRegister() {
    const std::array<const Xbyak::Reg64*, 5> all = {&rax, &rdx, &r10, &r11, &r9};
    return *all[Any(all.size())];
  }
  Xbyak::Address AnyWord() { return qword[rbp + 8 * Any(16)]; }
  void Step(const Xbyak::Label& end) {
    switch (Any(13)) {
      case 0:
        return add(AnyRegister(), AnyRegister());
      case 1:
        return mov(AnyRegister(), AnyWord());
      case 2:
        return mov(AnyWord(), AnyRegister());
      case 3:
        return add(AnyWord(), AnyRegister());
      case 4:
        return imul(AnyRegister(), AnyRegister());
      case 5:
        return shr(AnyRegister().cvt32(), 1 + Any(7));
      case 6:
        return adc(AnyRegister(), AnyRegister());
      case 7:
        return lea(AnyRegister(), ptr[AnyRegister() + AnyRegister() * 2 + 5]);
      case 8:
        // On and on, up to the end of what is mapped.
        add(rsi, 8 * Any(3));
        return xor_(AnyRegister(), qword[rsi]);
      case 9:
        test(AnyRegister(), 0xfff);
        return jz(end, T_NEAR);
      case 10:
        mov(rax, r10);
        xor_(edx, edx);
        and_(r11, 0xffff);
        div(r11);
        return test(rax, rax);  // its flags are undefined
      case 11:
        // Not aligned: the interpreter's.
        lock();
        return add(qword[rbp + 60], AnyRegister());
      default:
        return sub(AnyRegister().cvt8(), AnyRegister().cvt8());
    }
  }

  std::mt19937 random_;
};

class RandomLoopsTest : public testing::TestWithParam<bool> {};

TEST_P(RandomLoopsTest, EndAsForTheInterpreter) {
  constexpr uint64_t kMapped = 0x900000, kMappedPages = 3, kRounds = 5'000;
  size_t faults = 0, divisions = 0, ends = 0, stand_ins = 0;
  for (uint32_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    const RandomLoop loop(seed);
    FakeMachine expected([](BlockCache* cache) { return MakeInterpreter(cache); });
    TranslatedMachine paths({.exact_count = GetParam()});
    FakeMachine& found = paths.machine;
    for (FakeMachine* machine : {&expected, &found}) {
      machine->memory.Map(kMapped, kMappedPages, mm::Protection(1));
      machine->memory.Write(kCode, std::span<const uint8_t>(loop.getCode(), loop.getSize()));
      for (uint64_t i = 0; i < 16; ++i)
        if (i != kRsp) machine->state.gpr[i] = i * 0x1234'5678'9abc;
      machine->state.gpr[kRbp] = kData;
      machine->state.gpr[kRsi] = kMapped;
      machine->state.gpr[kRcx] = kRounds;
    }
    const uint64_t slice = seed % 2 == 0 ? 100 : 5'000;
    Exit exit, reference;
    do {
      exit = found.Run(slice);
      if (!GetParam()) continue;
      reference = expected.Run(slice);
      ASSERT_EQ(reference.reason, exit.reason);
      ASSERT_EQ(expected.state.gpr, found.state.gpr);
      ASSERT_EQ(expected.state.rip, found.state.rip);
    } while (exit.reason == ExitReason::kBudget);
    while (!GetParam() && (reference = expected.Run(1'000'000)).reason == ExitReason::kBudget) {
    }
    ASSERT_EQ(reference.reason, exit.reason);
    ASSERT_EQ(expected.state.rip, found.state.rip);
    found.state.gpr[kR11] = exit.reason == ExitReason::kSyscall ? expected.state.gpr[kR11] : found.state.gpr[kR11];
    ASSERT_EQ(expected.state.gpr, found.state.gpr);
    for (uint64_t at = kData; at < kData + 128; at += 8)
      ASSERT_EQ(found.memory.Load<uint64_t>(at), expected.memory.Load<uint64_t>(at));
    faults += exit.reason == ExitReason::kFault ? 1 : 0;
    divisions += exit.reason == ExitReason::kDivide ? 1 : 0;
    ends += exit.reason == ExitReason::kSyscall ? 1 : 0;
    stand_ins += NumStandIns(paths);
  }
  EXPECT_GT(faults, 20u);
  EXPECT_GT(divisions, 20u);
  EXPECT_GT(ends, 100u);
  EXPECT_GT(stand_ins, 200u);
}

INSTANTIATE_TEST_SUITE_P(Roughly, RandomLoopsTest, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Exactly, RandomLoopsTest, testing::Values(true));

class RandomPathsTest : public testing::TestWithParam<bool> {};

TEST_P(RandomPathsTest, DoWhatTheInterpreterDoes) {
  constexpr uint32_t kPrograms = 60;
  constexpr uint64_t kRounds = 3'000;
  size_t paths_made = 0, rounds_made = 0;
  for (uint32_t seed = 1; seed <= kPrograms; ++seed) {
    SCOPED_TRACE(seed);
    const RandomProgram program(seed);
    FakeMachine expected([](BlockCache* cache) { return MakeInterpreter(cache); });
    TranslatedMachine paths({.exact_count = GetParam()});
    FakeMachine& found = paths.machine;
    for (FakeMachine* machine : {&expected, &found}) {
      program.PutInto(machine);
      for (uint64_t i = 0; i < 16; ++i)
        if (i != kRsp) machine->state.gpr[i] = i * 0x1234'5678'9abc;
      machine->state.gpr[kRbp] = kData;
      machine->state.gpr[kR15] = kRounds;
    }
    std::mt19937 random(seed);
    // Rounds are found where slices are long.
    const uint64_t shortest = seed % 2 == 0 ? 20 : 3'000;
    Exit exit;
    do {
      const uint64_t slice = shortest + random() % 400;
      exit = found.Run(slice);
      if (!GetParam()) continue;
      // At each end of a slice.
      const Exit reference = expected.Run(slice);
      ASSERT_EQ(reference.reason, exit.reason);
      ASSERT_EQ(expected.state.rip, found.state.rip);
      ASSERT_EQ(reference.instructions_retired, exit.instructions_retired);
    } while (exit.reason == ExitReason::kBudget);
    while (!GetParam() && expected.Run(1'000'000).reason == ExitReason::kBudget) {
    }
    ASSERT_EQ(exit.reason, ExitReason::kSyscall)
        << std::hex << found.state.rip - kCode << " " << exit.fault.addr.value();
    for (uint64_t i = 0; i < 16; ++i) {
      // Nor the flags of SYSCALL, some of which are undefined.
      if (i != kR11) {
        ASSERT_EQ(found.state.gpr[i], expected.state.gpr[i]) << i;
      }
    }
    for (uint64_t at = kData; at < kData + 512; at += 8)
      ASSERT_EQ(found.memory.Load<uint64_t>(at), expected.memory.Load<uint64_t>(at));
    paths_made += paths.paths().size();
    for (const std::string& path : paths.paths()) rounds_made += path.starts_with("round ") ? 1 : 0;
  }
  EXPECT_GT(paths_made, 3 * kPrograms);
  EXPECT_GT(rounds_made, kPrograms / 2);
}

INSTANTIATE_TEST_SUITE_P(Roughly, RandomPathsTest, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Exactly, RandomPathsTest, testing::Values(true));

}  // namespace
}  // namespace remora::cpu
