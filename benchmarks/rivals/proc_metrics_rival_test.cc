#include "benchmarks/rivals/proc_metrics_rival.h"

#include <random>

#include "gtest/gtest.h"

namespace remora::benchmarks {
namespace {

class FixedFiles final : public proc::HostFiles {
 public:
  std::string Read(const char*) override { return text; }
  std::string text;
};

TEST(ProcMetricsRivalTest, FindsTheSameValues) {
  FixedFiles files;
  const ProcMetricsRival rival(&files);
  const proc::HostMetrics metrics(&files);
  std::mt19937_64 random(12);
  for (int i = 0; i < 2000; ++i) {
    files.text.clear();
    for (std::string_view name : proc::kMemoryRowNames) {
      if (random() % 6 == 0) continue;
      if (random() % 6 == 0) files.text += std::string(name) + "(anon): 12 kB\n";
      files.text += std::string(name) + ":   " + std::to_string(random() >> (12 + random() % 50)) + " kB\n";
    }
    const proc::MemorySample sample = metrics.SampleMemory();
    for (size_t row = 0; row < proc::kNumMemoryRows; ++row)
      ASSERT_EQ(sample.bytes[row], rival.Value(proc::kMemoryRowNames[row])) << files.text;
  }
}

}  // namespace
}  // namespace remora::benchmarks
