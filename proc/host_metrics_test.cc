#include "proc/host_metrics.h"

#include <sys/sysinfo.h>

#include <array>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace remora::proc {
namespace {

// Shows what it was given, and counts.
class FakeFiles final : public HostFiles {
 public:
  std::string Read(const char* path) override {
    ++reads[path];
    return texts[path];
  }
  std::map<std::string, std::string> texts;
  std::map<std::string, int> reads;
};

TEST(HostMetricsTest, EachSampleReadsItsFileOnce) {
  FakeFiles files;
  const HostMetrics metrics(&files);
  (void)metrics.SampleMemory();
  (void)metrics.SampleLoad();
  (void)metrics.SampleCpus();
  (void)metrics.SampleCpus();
  EXPECT_EQ(files.reads, (std::map<std::string, int>{{"/proc/meminfo", 1}, {"/proc/loadavg", 1}, {"/proc/stat", 2}}));
}

TEST(HostMetricsTest, MemoryIsInBytes) {
  const MemorySample m = HostMetrics::ParseMemory(
      "MemTotal:       24683656 kB\nMemFree:          552648 kB\nMemAvailable:   22615472 kB\nBuffers:           42492 "
      "kB\n"
      "Active:           646988 kB\nActive(anon):       1624 kB\nSwapTotal:             4 kB\nHugePages_Total:       "
      "9\n"
      "Slab:             249096 kB\n");
  EXPECT_EQ(m[MemoryRow::kMemTotal], uint64_t{24683656} * 1024);
  EXPECT_EQ(m[MemoryRow::kMemFree], uint64_t{552648} * 1024);
  EXPECT_EQ(m[MemoryRow::kBuffers], 42492u * 1024);
  EXPECT_EQ(m[MemoryRow::kActive], uint64_t{646988} * 1024);
  EXPECT_EQ(m[MemoryRow::kSwapTotal], 4096u);
  EXPECT_EQ(m[MemoryRow::kSlab], uint64_t{249096} * 1024);
  EXPECT_EQ(m[MemoryRow::kSwapCached], 0u);
}

TEST(HostMetricsTest, LoadIsInHundredths) {
  const LoadSample load = HostMetrics::ParseLoad("7.03 15.64 0.05 5/285 27878\n");
  EXPECT_EQ(load.hundredths, (std::array<uint32_t, 3>{703, 1564, 5}));
}

TEST(HostMetricsTest, CpusAreTheSingleOnes) {
  const CpuSample sample = HostMetrics::ParseCpus(
      "cpu  30 0 7 70 0 0 0 0 0 0\ncpu0 10 1 2 30 4 5 6 7 8 9\ncpu3 20 0 5 40\nintr 5 6\ncpu9 1\n");
  ASSERT_EQ(sample.cpus.size(), 2u);
  EXPECT_EQ(sample.cpus[0], (CpuSample::Ticks{10, 1, 2, 30, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(sample.cpus[1][CpuSample::kIdle], 40u);
  EXPECT_EQ(sample.cpus[1][9], 0u);
}

TEST(HostMetricsTest, AStrangeHostGivesZeros) {
  for (const char* text : {"", "\n\n\n", ":", "MemTotal", "MemTotal:", "MemTotal: x kB", "99999999999999999999 kB",
                           "cpu", "cpuX 1", "1.", ".5", "1.5", "MemTotal: 99999999999999999999999 kB"}) {
    EXPECT_EQ(HostMetrics::ParseMemory(text).bytes, MemorySample().bytes) << text;
    (void)HostMetrics::ParseLoad(text);
    (void)HostMetrics::ParseCpus(text);
  }
  std::mt19937 random(1);
  std::string all = "MemTotal: 5 kB\nMemFree: 3 kB\ncpu 1 2\ncpu0 4 5\n1.25 3.50 0.00 1/2 3\n";
  for (int i = 0; i < 100'000; ++i) {
    std::string text = all;
    for (int j = 0; j < 4; ++j) text[random() % text.size()] = static_cast<char>(random());
    text.resize(random() % text.size());
    (void)HostMetrics::ParseMemory(text);
    (void)HostMetrics::ParseLoad(text);
    (void)HostMetrics::ParseCpus(text);
  }
}

// A slow and obvious reader of the same text: sscanf for each row.
TEST(HostMetricsTest, AgreesWithALookForEachKey) {
#ifdef NDEBUG
  constexpr int kSamples = 65'000;  // of 16 values
#else
  constexpr int kSamples = 3'000;
#endif
  std::mt19937_64 random(2);
  for (int i = 0; i < kSamples; ++i) {
    std::string text;
    std::array<bool, kNumMemoryRows> there{};
    for (size_t row = 0; row < kNumMemoryRows; ++row) {
      const size_t shown = random() % 50 == 0 ? random() % kNumMemoryRows : row;
      const std::string name(kMemoryRowNames[shown]);
      if (std::exchange(there[shown], true)) continue;
      char line[100];
      snprintf(line, sizeof line, "%s:%*lu kB\n", name.c_str(), static_cast<int>(random() % 16),
               static_cast<unsigned long>(random() >> (12 + random() % 50)));
      text += line;
      if (random() % 3 == 0) text += "Other" + name + ": 7 kB\n" + name + "(x): 8 kB\n";
    }
    const MemorySample sample = HostMetrics::ParseMemory(text);
    const std::string searched = "\n" + text;
    for (size_t row = 0; row < kNumMemoryRows; ++row) {
      const std::string key = "\n" + std::string(kMemoryRowNames[row]) + ":";
      const size_t at = searched.find(key);
      unsigned long kib = 0;
      if (at != std::string::npos) sscanf(searched.c_str() + at + key.size(), "%lu", &kib);
      ASSERT_EQ(sample.bytes[row], uint64_t{kib} * 1024) << text;
    }
  }
}

TEST(HostMetricsTest, ALimitCutsWhatTheHostHas) {
  MemorySample host;
  host[MemoryRow::kMemTotal] = 1000;
  host[MemoryRow::kMemFree] = 600;
  host[MemoryRow::kMemAvailable] = 700;
  host[MemoryRow::kCached] = 300;
  EXPECT_EQ(WithinLimit(host, 1000, 50).bytes, host.bytes);
  const MemorySample cut = WithinLimit(host, 400, 100);
  EXPECT_EQ(cut[MemoryRow::kMemTotal], 400u);
  EXPECT_EQ(cut[MemoryRow::kMemFree], 300u);
  EXPECT_EQ(cut[MemoryRow::kMemAvailable], 300u);
  EXPECT_EQ(cut[MemoryRow::kCached], 100u);
  EXPECT_EQ(WithinLimit(host, 400, 500)[MemoryRow::kMemFree], 0u);
  // A host without /proc.
  EXPECT_EQ(WithinLimit(MemorySample(), 400, 100)[MemoryRow::kMemFree], 300u);
}

TEST(HostMetricsTest, ValuesAreTheHostsOwn) {
  RealHostFiles files;
  const HostMetrics metrics(&files);
  struct sysinfo info;
  ASSERT_EQ(sysinfo(&info), 0);
  const MemorySample memory = metrics.SampleMemory();
  EXPECT_EQ(memory[MemoryRow::kMemTotal], info.totalram * info.mem_unit);
  EXPECT_EQ(memory[MemoryRow::kSwapTotal], info.totalswap * info.mem_unit);
  EXPECT_LE(memory[MemoryRow::kMemFree], memory[MemoryRow::kMemTotal]);
  EXPECT_EQ(metrics.SampleCpus().cpus.size(), static_cast<size_t>(get_nprocs()));
}

}  // namespace
}  // namespace remora::proc
