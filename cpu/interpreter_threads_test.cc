// Engines that share memory and blocks, each on a thread of its own. What matters most here is ThreadSanitizer's word.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "cpu/testing/engine_under_test.h"
#include "cpu/testing/fake_memory.h"

namespace remora::cpu {
namespace {

constexpr uint64_t kCode = 0x400000, kData = 0x600000, kStacks = 0x700000;

struct Shared {
  Shared() {
    frames.set_code_observer(&cache);
    memory.Map(kCode, 1, mm::Protection(5));
    memory.Map(kData, 1, mm::Protection(3));
    memory.Map(kStacks, 8, mm::Protection(3));
  }
  ~Shared() { frames.set_code_observer(nullptr); }

  sync::Reclaimer reclaimer;
  mm::FramePool frames{mm::FramePool::Options{.max_bytes = uint64_t{16} << 20}};
  FakeMemory memory{&frames};
  BlockCache cache{&frames, &reclaimer};
  std::atomic<uint32_t> interrupt{0};
};

// Runs the code at kCode until its SYSCALL, in slices.
CpuState RunToSyscall(Shared* shared, CpuState state, uint64_t slice) {
  auto tlb = std::make_unique<mm::Tlb>();
  tlb->Bind(&shared->memory, 1);
  const std::unique_ptr<Engine> engine = MakeEngineUnderTest(&shared->cache);
  sync::Reclaimer::Participant participant(&shared->reclaimer);
  state.rip = kCode;
  while (true) {
    participant.Online();
    tlb->Synchronize();
    const Exit exit = engine->Run(state, *tlb, slice, shared->interrupt);
    participant.Offline();
    shared->reclaimer.Collect();
    if (exit.reason == ExitReason::kBudget || exit.reason == ExitReason::kInterrupt) continue;
    EXPECT_EQ(exit.reason, ExitReason::kSyscall) << ExitReasonName(exit.reason);
    return state;
  }
}

void OnThreads(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

constexpr int kThreads = 3;
constexpr uint64_t kRounds = 5000;

TEST(InterpreterThreadsTest, LockedInstructionsLoseNoUpdate) {
  Shared shared;
  // loop: lock inc qword [rdi]; mov eax, 1; lock xadd [rdi+8], rax; lock add dword [rdi+16], 2; dec rcx; jnz loop;
  // syscall
  shared.memory.Write(kCode, {0xf0, 0x48, 0xff, 0x07, 0xb8, 1, 0,    0,    0,    0xf0, 0x48, 0x0f, 0xc1, 0x47,
                              0x08, 0xf0, 0x83, 0x47, 0x10, 2, 0x48, 0xff, 0xc9, 0x75, 0xe7, 0x0f, 0x05});
  OnThreads(kThreads, [&](int) {
    CpuState state;
    state.gpr[kRcx] = kRounds;
    state.gpr[kRdi] = kData;
    RunToSyscall(&shared, state, 777);
  });
  EXPECT_EQ(shared.memory.Load<uint64_t>(kData), kThreads * kRounds);
  EXPECT_EQ(shared.memory.Load<uint64_t>(kData + 8), kThreads * kRounds);
  EXPECT_EQ(shared.memory.Load<uint32_t>(kData + 16), 2 * kThreads * kRounds);
}

TEST(InterpreterThreadsTest, ASpinLockKeepsPlainAccessesApart) {
  Shared shared;
  // loop: mov eax, 1; spin: xchg [rdi], eax; test eax, eax; jnz spin; inc qword [rdi+8]; mov dword [rdi], 0; dec rcx;
  // jnz loop; syscall
  shared.memory.Write(kCode, {0xb8, 1,    0,    0, 0, 0x87, 0x07, 0x85, 0xc0, 0x75, 0xfa, 0x48, 0xff, 0x47,
                              0x08, 0xc7, 0x07, 0, 0, 0,    0,    0x48, 0xff, 0xc9, 0x75, 0xe6, 0x0f, 0x05});
  OnThreads(kThreads, [&](int) {
    CpuState state;
    state.gpr[kRcx] = kRounds / 10;
    state.gpr[kRdi] = kData;
    RunToSyscall(&shared, state, 500);
  });
  EXPECT_EQ(shared.memory.Load<uint64_t>(kData + 8), kThreads * (kRounds / 10));
}

TEST(InterpreterThreadsTest, CodeMayBeDroppedWhileItRuns) {
  Shared shared;
  // loop: call f; dec rcx; jnz loop; syscall; f: inc rax; nops, so that the translator makes a path of it; ret
  shared.memory.Write(kCode, {0xe8, 7,    0,    0,    0,    0x48, 0xff, 0xc9, 0x75, 0xf6, 0x0f,
                              0x05, 0x48, 0xff, 0xc0, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xc3});
  std::atomic<int> running{kThreads};
  OnThreads(kThreads + 1, [&](int index) {
    if (index == kThreads) {
      while (running.load() != 0) {
        shared.cache.DropCode(shared.memory.FrameAt(kCode));
        shared.reclaimer.Collect();
        std::this_thread::yield();
      }
      return;
    }
    CpuState state;
    state.gpr[kRcx] = kRounds;
    state.gpr[kRsp] = kStacks + static_cast<uint64_t>(index + 1) * kPageSize;
    EXPECT_EQ(RunToSyscall(&shared, state, 100).gpr[kRax], kRounds);
    running.fetch_sub(1);
  });
  EXPECT_LE(shared.cache.num_blocks(), 16u);
}

}  // namespace
}  // namespace remora::cpu
