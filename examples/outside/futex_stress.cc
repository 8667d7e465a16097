// Threads hand a token round through remora's futex table: each waits for its turn on a word of its own and wakes the
// next. Prints hand-overs a second.
//
//   futex_stress [THREADS [ROUNDS]]
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <semaphore>
#include <thread>
#include <vector>

#include "sync/futex_table.h"

namespace {

struct Sleeper final : remora::sync::FutexWaiter {
  std::binary_semaphore awake{0};
  void Woken() override { awake.release(); }
};

}  // namespace

int main(int argc, char** argv) {
  const uint32_t threads = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 4;
  const uint32_t rounds = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 20000;
  if (threads == 0 || threads > 1000) {
    std::fprintf(stderr, "futex_stress: 1 to 1000 threads\n");
    return 2;
  }
  remora::sync::FutexTable table;
  std::vector<std::atomic<uint32_t>> turn(threads);
  const auto key = [](uint32_t i) { return remora::sync::FutexKey{1, uint64_t{i} * 4}; };
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> all;
  for (uint32_t i = 0; i < threads; ++i)
    all.emplace_back([&, i] {
      for (uint32_t round = 1; round <= rounds; ++round) {
        while (turn[i].load() < round && !(i == 0 && round == 1)) {
          Sleeper sleeper;
          const auto waited =
              table.Wait(key(i), ~0u, &sleeper, [&]() -> remora::ErrnoOr<bool> { return turn[i].load() < round; });
          if (waited.ok()) sleeper.awake.acquire();
        }
        const uint32_t next = (i + 1) % threads;
        turn[next].store(next == 0 ? round + 1 : round);
        table.Wake(key(next), 1);
      }
    });
  for (std::thread& thread : all) thread.join();
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  std::printf("%u threads, %u rounds: %.0f hand-overs a second\n", threads, rounds, threads * rounds / spent.count());
  return 0;
}
