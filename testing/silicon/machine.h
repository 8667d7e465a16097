#ifndef REMORA_TESTING_SILICON_MACHINE_H_
#define REMORA_TESTING_SILICON_MACHINE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "mm/types.h"

namespace remora::silicon {

// The same little world on the host's CPU and in Remora's engines, at the same addresses: code pages full of INT3, two
// writable pages, a read-only page, and nothing around them.
inline constexpr uint64_t kPage = 4096;
inline constexpr uint64_t kScratchStart = 0x2000'1000;  // the page before is not mapped
inline constexpr uint64_t kScratchBytes = 2 * kPage;
inline constexpr uint64_t kReadOnlyStart = kScratchStart + kScratchBytes;
inline constexpr uint64_t kMappedEnd = kReadOnlyStart + kPage;  // the pages behind are not mapped
inline constexpr uint64_t kCodeStart = 0x2800'0000;
inline constexpr uint64_t kCodePages = 16;
inline constexpr size_t kDataBytes = kScratchBytes + kPage;

// One instruction with all that it can see.
struct TestCase {
  cpu::CpuState state;  // rip is where the bytes go
  std::array<uint8_t, 16> bytes;
  unsigned length = 0;
  std::array<uint8_t, kDataBytes> data;  // from kScratchStart: the writable pages, then the read-only one
};

// What came of it.
struct Outcome {
  cpu::ExitReason reason = cpu::ExitReason::kBudget;
  mm::Fault fault;  // for kFault
  cpu::CpuState state;
  std::array<uint8_t, kDataBytes> data;
};

// Something that executes a test case until the INT3 behind it, or wherever it goes.
class Machine {
 public:
  virtual ~Machine() = default;
  virtual void Run(const TestCase& test_case, Outcome* outcome) = 0;
};

}  // namespace remora::silicon

#endif  // REMORA_TESTING_SILICON_MACHINE_H_
