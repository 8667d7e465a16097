#include "benchmarks/heap_meter.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

namespace remora {
namespace {

// Else the compiler leaves out an allocation that nobody uses.
template <typename T>
T* Used(T* memory) {
  asm volatile("" : "+r"(memory) : : "memory");
  return memory;
}

class HeapMeterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HeapMeter::Works()) GTEST_SKIP() << "a sanitizer has malloc";
  }
};

TEST_F(HeapMeterTest, ThePeakOutlivesTheMemory) {
  const HeapMeter meter;
  {
    std::vector<char> bytes(1 << 20);
    Used(bytes.data());
  }
  EXPECT_GE(meter.peak_bytes(), 1u << 20);
  EXPECT_LT(meter.peak_bytes(), (1u << 20) + 8192);
  EXPECT_GE(meter.num_allocations(), 1u);
}

TEST_F(HeapMeterTest, MemoryOneAfterTheOtherIsNotAddedUp) {
  const HeapMeter meter;
  for (int i = 0; i < 10; ++i) free(Used(malloc(100'000)));
  EXPECT_LT(meter.peak_bytes(), 200'000u);
}

TEST_F(HeapMeterTest, OlderMemoryMakesNoRoom) {
  auto old = std::make_unique<char[]>(1 << 20);
  Used(old.get());
  const HeapMeter meter;
  old.reset();
  const auto fresh = std::make_unique<char[]>(1 << 19);
  Used(fresh.get());
  EXPECT_GE(meter.peak_bytes(), 1u << 19);
}

TEST_F(HeapMeterTest, OtherThreadsAndOtherDoorsCount) {
  const HeapMeter meter;
  std::thread([] {
    void* a = Used(calloc(1000, 1000));
    a = Used(realloc(a, 3'000'000));
    void* b = Used(aligned_alloc(4096, 1 << 20));
    free(a);
    free(b);
  }).join();
  EXPECT_GE(meter.peak_bytes(), 4'000'000u);
}

}  // namespace
}  // namespace remora
