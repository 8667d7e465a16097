// Calls and returns that are the host's own (block_returns.cc), in order and out of it.

#include <gtest/gtest.h>
#include <xbyak/xbyak.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

// All that was translated; the one whose heading begins so, or nothing.
std::string Shown(const TranslatedMachine& machine) {
  return absl::StrCat(absl::StrJoin(machine.blocks(), ""), absl::StrJoin(machine.paths(), ""));
}
std::string Shown(const std::vector<std::string>& texts, absl::string_view heading) {
  const auto found =
      std::ranges::find_if(texts, [heading](const std::string& text) { return absl::StartsWith(text, heading); });
  return found == texts.end() ? "" : *found;
}

// Whether calls and returns are the host's own here. Where its CPU has no RORX they are not: then there is no trace of
// it.
bool HostReturns() { return translator::Optimizations().uses_host_returns(); }

constexpr absl::string_view kKept = "pop [rsp+r11*8+", kTaken = "push [rsp+r11*8+";

int Count(absl::string_view text, absl::string_view what) {
  int count = 0;
  for (size_t at = text.find(what); at != absl::string_view::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

// One behind the other.
bool AreInOrder(absl::string_view text, std::initializer_list<absl::string_view> all) {
  for (const absl::string_view one : all) {
    const size_t at = text.find(one);
    if (at == absl::string_view::npos) return false;
    text.remove_prefix(at + one.size());
  }
  return true;
}

TEST(ReturnsTest, AreTheHosts) {
  for (const bool wanted : {true, false}) {
    const bool returns = wanted && HostReturns();
    TranslatedMachine machine({.returns = wanted});
    machine.machine.memory.Write(kCode + 0x1000, {0xc3});                      // ret
    machine.machine.RunCode({0xe8, 0xfb, 0x0f, 0x00, 0x00, 0x0f, 0x05}, 100);  // call +0x1000; syscall
    const std::string call = Shown(machine.blocks(), "block 400000"), ret = Shown(machine.blocks(), "block 401000");
    ASSERT_FALSE(call.empty() || ret.empty()) << Shown(machine);
    // Both by what RSP is when the call has returned.
    EXPECT_EQ(
        AreInOrder(call, {"mov qword ptr [r10-0x08], 0x400005", "rorx r11, r10, 0x04", "lea r10, [r10-0x08]",
                          "  call 0x", "cmp qword ptr [r10-0x08], 0x400005", "  jnz ", "  jmp ", kKept, "  jmp "}),
        returns)
        << call;
    EXPECT_EQ(AreInOrder(ret, {"lea r10, [r10+0x08]", "rorx r11, r10, 0x04", "movzx r11d, r11b", kTaken, "  ret"}),
              returns)
        << ret;
  }
}

TEST(ReturnsTest, WhatOnlyAsksWhereItIsIsNoCallOfTheHosts) {
  TranslatedMachine machine;
  machine.machine.RunCode({0xe8, 0, 0, 0, 0, 0x58, 0x0f, 0x05}, 100);  // call +0; pop rax; syscall
  EXPECT_EQ(machine.machine.state.gpr[kRax], kCode + 5);
  EXPECT_EQ(Count(Shown(machine), kKept), 0) << Shown(machine);
}

// How often a loop is gone round below.
constexpr uint64_t kRounds = 64'000;

// call outer; dec rcx; jnz back; syscall. With `functions`, of which `outer` is the first, at 0x100 from kCode, `inner`
// at 0x200, and so on; RDX is 0x300, R8 0x400. The path that goes round, with what it inlines.
std::string RoundOf(TranslatedMachine* machine, std::initializer_list<std::initializer_list<uint8_t>> functions) {
  FakeMachine& guest = machine->machine;
  guest.memory.Write(kCode, {0xe8, 0xfb, 0x00, 0x00, 0x00, 0x48, 0xff, 0xc9, 0x75, 0xf6, 0x0f, 0x05});
  uint64_t at = kCode;
  for (const auto& function : functions) guest.memory.Write(at += 0x100, function);
  guest.state.gpr[kRcx] = kRounds;
  guest.state.gpr[kRax] = 0;
  guest.state.gpr[kRdx] = kCode + 0x300;
  guest.state.gpr[kR8] = kCode + 0x400;
  EXPECT_EQ(machine->RunInSlices(kCode, 5'000).reason, ExitReason::kSyscall);
  const std::string path = Shown(machine->paths(), "round ");
  EXPECT_FALSE(path.empty()) << Shown(*machine);
  return path;
}

// Who is in a function that a path has inlined leaves a call behind that the host's RET will go by.
TEST(ReturnsTest, WhoLeavesAPathTellsOfItsCalls) {
  TranslatedMachine machine;
  const std::string path =
      RoundOf(&machine, {{0x53, 0xe8, 0xfa, 0x00, 0x00, 0x00, 0x48, 0xff, 0xc0, 0x5b,
                          0xc3},  // push rbx; call inner; inc rax; pop rbx; ret
                                  // mov rsi, rsp; test cl, 63; jz rare; jmp rdx; rare: add rax, 7; ret
                         {0x48, 0x89, 0xe6, 0xf6, 0xc1, 0x3f, 0x74, 0x02, 0xff, 0xe2, 0x48, 0x83, 0xc0, 0x07, 0xc3},
                         {0x41, 0xff, 0xd0, 0x48, 0xff, 0xc0, 0xc3},  // call r8; inc rax; ret
                         {0xc3}});
  EXPECT_EQ(machine.machine.state.gpr[kRax], 2 * kRounds + kRounds / 64 * 6);
  const size_t seldom_run = std::min(path.find("(seldom run)"), path.size());
  const std::string main = path.substr(0, seldom_run), cold = path.substr(seldom_run);
  EXPECT_EQ(Count(main, kKept), 0) << path;
  // By JZ, or where JMP and CALL go elsewhere: of two each, and the CALL itself; from the leaf of two, from the inner
  // one of one, from the outer one of none.
  EXPECT_EQ(Count(cold, kKept), HostReturns() ? 2 + 2 + 3 + 2 + 1 : 0) << path;
  // By where RSP is when they return: nothing, and what the inner one finds, is pushed.
  EXPECT_EQ(AreInOrder(cold, {"lea r11, [r10+0x18]", "cmp qword ptr [r10-0x08], 0x400005", kKept, "lea r11, [r10+0x08]",
                              "cmp qword ptr [r10-0x08], 0x400106", kKept}),
            HostReturns())
      << path;
}

TEST(ReturnsTest, WhereTheStackIsNotKnownOnlyThePredictorIsTold) {
  TranslatedMachine machine;
  const std::string path = RoundOf(
      &machine, {{0xe8, 0xfb, 0x00, 0x00, 0x00, 0x48, 0xff, 0xc0,
                  0xc3},  // call inner; inc rax; ret
                          // mov rsi, rsp; and rsp, -16; test cl, 63; jz rare; mov rsp, rsi; ret
                 {0x48, 0x89, 0xe6, 0x48, 0x83, 0xe4, 0xf0, 0xf6, 0xc1, 0x3f, 0x74, 0x04, 0x48, 0x89, 0xf4, 0xc3,
                  // rare: inc rax; mov rsp, rsi; ret
                  0x48, 0xff, 0xc0, 0x48, 0x89, 0xf4, 0xc3}});
  EXPECT_EQ(machine.machine.state.gpr[kRax], kRounds + kRounds / 64);
  // By JZ of two, and where the inner one returns elsewhere of one.
  EXPECT_EQ(Count(path, "lea rsp, [rsp+0x08]"), HostReturns() ? 2 + 1 : 0) << path;
  EXPECT_EQ(Count(path, kKept), 0) << path;
}

// What a RET would go by may be used for other code.
TEST(ReturnsTest, GoToWhatHasNotBeenEvicted) {
  constexpr uint64_t kMuch = 0x800000, kMuchPages = 64, kMaxCodeBytes = 1 << 20;
  TranslatedMachine machine({}, kMaxCodeBytes);
  FakeMachine& guest = machine.machine;
  guest.memory.Map(kMuch, kMuchPages, mm::Protection(5));
  // Much code, much of which is probes, up to a SYSCALL: all that there is room for goes.
  uint64_t at = kMuch;
  for (; at + 16 < kMuch + kMuchPages * kPageSize; at += 9)
    guest.memory.Write(at, {0x48, 0x01, 0x07, 0x48, 0x01, 0x0e, 0x90, 0xeb, 0x00});  // add [rdi], rax; add [rsi], rcx
  guest.memory.Write(at, {0x0f, 0x05});
  guest.state.gpr[kRdi] = kData;
  guest.state.gpr[kRsi] = kData + 64;
  guest.memory.Write(kCode,
                     {0xe8, 0xfb, 0x00, 0x00, 0x00, 0x83, 0xc3, 0x01, 0x0f, 0x05});  // call f; add ebx, 1; syscall
  guest.memory.Write(kCode + 0x100, {0x0f, 0x05, 0xc3});                             // f: syscall; ret
  for (uint32_t i = 1; i <= 20; ++i) {
    ASSERT_EQ(machine.RunInSlices(kCode, 1'000).reason, ExitReason::kSyscall);
    ASSERT_EQ(guest.state.rip, kCode + 0x102);
    // Not the same blocks each time.
    guest.state.rip = kMuch + 9 * (i % 3);
    Exit exit;
    while ((exit = guest.Run(10'000)).reason == ExitReason::kBudget) guest.Quiesce();
    ASSERT_EQ(exit.reason, ExitReason::kSyscall);
    ASSERT_EQ(machine.RunInSlices(kCode + 0x102, 1'000).reason, ExitReason::kSyscall);
    ASSERT_EQ(guest.state.rip, kCode + 10);
    ASSERT_EQ(guest.state.gpr[kRbx], i);
  }
  EXPECT_GT(guest.engine->counters().host_bytes_translated, 10 * kMaxCodeBytes);
}

// What a RET goes by is not used up, so a guest can go in a ring by nothing else.
TEST(ReturnsTest, ARingOfThemEndsWithItsBudget) {
  TranslatedMachine machine;
  FakeMachine& guest = machine.machine;
  // call +3; push rax; ret; (the function:) mov rax, [rsp]; ret
  const Exit exit = guest.RunCode({0xe8, 0x02, 0x00, 0x00, 0x00, 0x50, 0xc3, 0x48, 0x8b, 0x04, 0x24, 0xc3}, 10'000);
  EXPECT_EQ(exit.reason, ExitReason::kBudget);
  EXPECT_GE(exit.instructions_retired, 9'000u);
}

// The page of the caller becomes another one while the function runs.
TEST(ReturnsTest, GoToWhatIsThereThen) {
  constexpr uint64_t kCaller = 0x500000, kOther = 0x510000, kShown = 0x520000;
  TranslatedMachine machine;
  FakeMachine& guest = machine.machine;
  for (const uint64_t page : {kCaller, kOther}) guest.memory.Map(page, 1, mm::Protection(5));
  guest.memory.Write(kCode, {0x0f, 0x05, 0xc3});  // syscall; ret
  for (const auto& [page, value] : {std::pair(kCaller, uint8_t{1}), std::pair(kOther, uint8_t{2})}) {
    guest.memory.Write(page, {0xe8});
    guest.memory.Store(page + 1, static_cast<uint32_t>(kCode - (kShown + 5)));
    guest.memory.Write(page + 5, {0x83, 0xc3, value, 0x0f, 0x05});  // add ebx, value; syscall
  }
  const auto show = [&](uint64_t page) {
    guest.memory.Alias(kShown, page, mm::Protection(5));
    guest.memory.FlushAtNextSynchronize();
  };
  uint32_t expected = 0;
  for (int i = 0; i < 100; ++i) {
    const bool changes = i % 3 == 0;
    show(kCaller);
    guest.state.rip = kShown;
    ASSERT_EQ(guest.Run(1'000).reason, ExitReason::kSyscall);
    ASSERT_EQ(guest.state.rip, kCode + 2);
    if (changes) show(kOther);
    ASSERT_EQ(guest.Run(1'000).reason, ExitReason::kSyscall);
    expected += changes ? 2 : 1;
    ASSERT_EQ(guest.state.gpr[kRbx], expected) << i;
  }
}

// --- random programs ---

// Functions that call those behind them, in order and out of it. Their calls and returns: RSI counts. R15 counts
// rounds, RBX is random.
class RandomCalls : public Xbyak::CodeGenerator {
 public:
  explicit RandomCalls(uint32_t seed) : CodeGenerator(FakeMachine::kPages * kPageSize), random_(seed) {
    Xbyak::Label again, end;
    L(again);
    call(functions_[0]);
    Filling();
    call(functions_[1 + Any(3)]);
    dec(r15);
    jnz(again, T_NEAR);
    syscall();
    for (uint32_t i = 0; i < kFunctions; ++i) {
      if (Any(3) == 0) align(kPageSize / 8);
      Function(i);
    }
    // R8 times within itself, which is more than there are places for returns.
    L(recursion_);
    inc(rsi);
    dec(r8);
    jle(end, T_NEAR);
    call(recursion_);
    add(rax, r8);
    L(end);
    ret();
    ready();
  }

 private:
  static constexpr uint32_t kFunctions = 14;

  uint32_t Any(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  // RBX becomes the next random number; flags tell one time in `times`.
  void Throw(uint32_t times) {
    imul(rbx, rbx, 1'103'515'245);
    add(rbx, 12'345);
    mov(rdx, rbx);
    shr(rdx, 16 + Any(8));
    test(edx, times - 1);
  }
  void Filling() {
    for (uint32_t i = Any(4); i > 0; --i) {
      switch (Any(7)) {
        case 0:
          add(rax, rbx);
          break;
        case 1:
          xor_(qword[rbp + 8 * Any(16)], rax);
          break;
        case 2:
          add(rdi, qword[rbp + 8 * Any(16)]);
          break;
        case 3:  // of flags only CF is defined everywhere
          adc(rdi, 0);
          break;
        case 4:
          add(r10, rax);
          break;
        case 5:
          xor_(r11, r10);
          break;
        default:
          rol(rax, 1 + Any(7));
          break;
      }
    }
  }
  void CallOneBehind(uint32_t i) {
    const uint32_t behind = i + 1 + Any(4);
    if (behind >= kFunctions) return Filling();
    Xbyak::Label over, target;
    switch (Any(10)) {
      case 0:  // by its address
        lea(r9, ptr[rip + functions_[behind]]);
        call(r9);
        break;
      case 1:  // with something pushed
        push(rax);
        call(functions_[behind]);
        pop(rdx);
        xor_(rdi, rdx);
        break;
      case 2:  // RSP is no multiple of 8
        lea(rsp, ptr[rsp - 3]);
        call(functions_[behind]);
        lea(rsp, ptr[rsp + 3]);
        break;
      case 3:  // seldom
        Throw(8);
        jnz(over, T_NEAR);
        call(functions_[behind]);
        L(over);
        break;
      case 4:  // a frame
        push(r13);
        mov(r13, rsp);
        sub(rsp, 24);
        and_(rsp, -16);
        call(functions_[behind]);
        mov(rsp, r13);
        pop(r13);
        break;
      case 5:  // deep
        Throw(64);
        jnz(over, T_NEAR);
        mov(r8, 200 + Any(200));
        call(recursion_);
        L(over);
        break;
      case 6:  // nobody returns to
        call(target);
        L(target);
        pop(r9);
        break;
      case 7:  // a return to what was never called
        lea(r9, ptr[rip + over]);
        push(r9);
        lea(r9, ptr[rip + functions_[behind]]);
        push(r9);
        ret();
        L(over);
        break;
      case 8:  // what the function is to drop
        push(rax);
        push(rbx);
        call(target);
        jmp(over, T_NEAR);
        L(target);
        Filling();
        ret(16);
        L(over);
        break;
      default:
        call(functions_[behind]);
        break;
    }
    if (Any(2) == 0) sbb(rax, 7);
    // Where some return to: what some leave out.
    add(rdi, 1);
  }
  void Function(uint32_t i) {
    Xbyak::Label end;
    L(functions_[i]);
    inc(rsi);
    Filling();
    if (i + 1 < kFunctions && Any(6) == 0) {
      Throw(4);
      jz(functions_[i + 1], T_NEAR);  // in its place
    }
    for (uint32_t calls = Any(3); calls > 0; --calls) CallOneBehind(i);
    if (Any(3) == 0) {
      Throw(16);
      jz(end, T_NEAR);
      Filling();
      ret();
      L(end);
    }
    if (Any(4) == 0) {
      // Elsewhere than to where it was called from, one time in 32: behind an instruction of 4 bytes, if it is there.
      Xbyak::Label as_usual;
      Throw(32);
      jnz(as_usual, T_NEAR);
      mov(r9, ptr[rsp]);
      cmp(dword[r9], 0x01'c7'83'48);  // add rdi, 1
      jne(as_usual, T_NEAR);
      add(qword[rsp], 4);
      L(as_usual);
    }
    ret();
  }

  std::mt19937 random_;
  std::array<Xbyak::Label, kFunctions> functions_;
  Xbyak::Label recursion_;
};

class RandomCallsTest : public testing::TestWithParam<const char*> {};

TEST_P(RandomCallsTest, DoWhatTheInterpreterDoes) {
  constexpr uint32_t kPrograms = 60;
  constexpr uint64_t kRandomRounds = 2'000;
  size_t num_paths = 0;
  uint64_t calls = 0;
  for (uint32_t seed = 1; seed <= kPrograms; ++seed) {
    SCOPED_TRACE(seed);
    RandomCalls program(seed);
    FakeMachine expected([](BlockCache* cache) { return MakeInterpreter(cache); });
    translator::Optimizations optimizations;
    ASSERT_TRUE(optimizations.Apply(GetParam()));
    TranslatedMachine machine(optimizations);
    FakeMachine& found = machine.machine;
    for (FakeMachine* guest : {&expected, &found}) {
      guest->memory.Write(kCode, std::span<const uint8_t>(program.getCode(), program.getSize()));
      guest->state.gpr[kRbp] = kData;
      guest->state.gpr[kRbx] = seed;
      guest->state.gpr[kR15] = kRandomRounds;
      guest->state.rip = kCode;
    }
    ASSERT_EQ(machine.RunInSlices(kCode, seed % 2 == 0 ? 300 : 20'000).reason, ExitReason::kSyscall);
    while (expected.Run(1'000'000).reason == ExitReason::kBudget) {
    }
    for (uint64_t i = 0; i < 16; ++i) {
      if (i == kR11) continue;
      ASSERT_EQ(found.state.gpr[i], expected.state.gpr[i]) << i;
    }
    for (uint64_t at = kData; at < kData + 128; at += 8)
      ASSERT_EQ(found.memory.Load<uint64_t>(at), expected.memory.Load<uint64_t>(at));
    num_paths += machine.paths().size();
    calls += found.state.gpr[kRsi];
  }
  EXPECT_GT(calls, kPrograms * kRandomRounds * 4);
  EXPECT_TRUE(num_paths > kPrograms || GetParam() == std::string("-paths")) << num_paths;
}

INSTANTIATE_TEST_SUITE_P(With, RandomCallsTest,
                         testing::Values("+returns", "-returns", "-paths", "-chain", "-table", "-ways", "-coalesce",
                                         "+exact-count"));

}  // namespace
}  // namespace remora::cpu
