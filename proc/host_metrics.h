#ifndef REMORA_PROC_HOST_METRICS_H_
#define REMORA_PROC_HOST_METRICS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace remora::proc {

// The door for the host's figures: nothing in Remora reads the host's /proc for a guest but through it, so tests and
// replays can show other figures. Thread safety: all methods from any thread.
class HostFiles {
 public:
  virtual ~HostFiles() = default;
  // The whole text of a file of the host, opened, read and closed once; empty if it cannot be read.
  virtual std::string Read(const char* path) = 0;
};

// The host's own. What is read this way is made by the host's kernel in memory and never waits.
class RealHostFiles final : public HostFiles {
 public:
  std::string Read(const char* path) override;
};

// The rows of /proc/meminfo that a guest sees, in the host's order.
enum class MemoryRow : uint8_t {
  kMemTotal,
  kMemFree,
  kMemAvailable,
  kBuffers,
  kCached,
  kSwapCached,
  kActive,
  kInactive,
  kSwapTotal,
  kSwapFree,
  kDirty,
  kWriteback,
  kAnonPages,
  kMapped,
  kShmem,
  kSlab,
  kCount,
};
inline constexpr size_t kNumMemoryRows = static_cast<size_t>(MemoryRow::kCount);
inline constexpr std::array<std::string_view, kNumMemoryRows> kMemoryRowNames = {
    "MemTotal",  "MemFree",  "MemAvailable", "Buffers",   "Cached",    "SwapCached", "Active", "Inactive",
    "SwapTotal", "SwapFree", "Dirty",        "Writeback", "AnonPages", "Mapped",     "Shmem",  "Slab",
};

// One moment of /proc/meminfo. 0 for rows that the host does not have.
struct MemorySample {
  std::array<uint64_t, kNumMemoryRows> bytes{};
  uint64_t& operator[](MemoryRow row) { return bytes[static_cast<size_t>(row)]; }
  uint64_t operator[](MemoryRow row) const { return bytes[static_cast<size_t>(row)]; }
};

// What a guest sees of it that may have `limit_bytes` and uses `used_bytes`: the host's figures, cut to the limit where
// the host has more.
MemorySample WithinLimit(MemorySample host, uint64_t limit_bytes, uint64_t used_bytes);

// One moment of /proc/loadavg: the averages over 1, 5 and 15 minutes in hundredths, as the host shows them.
struct LoadSample {
  std::array<uint32_t, 3> hundredths{};
};

// One moment of /proc/stat. Times are in ticks of 10 ms (USER_HZ is 100 on every x86-64 Linux): user, nice, system,
// idle, iowait, irq, softirq, steal, guest, guest_nice.
struct CpuSample {
  using Ticks = std::array<uint64_t, 10>;
  static constexpr size_t kIdle = 3;
  std::vector<Ticks> cpus;  // one for each that is online
};

// The host's figures as numbers: each Sample call opens the one host file that it needs once, and finds all of its
// values in memory. What a guest reads in /proc/meminfo, loadavg, stat and uptime, and gets of sysinfo(2), comes from
// here.
//
// Costs: one open, read and close; parsing is one pass over the text, about a microsecond. Nothing is kept between two
// samples, so each shows the present, and the values of one belong together.
//
// Invariants:
//  1. A Sample call calls HostFiles::Read exactly once.
//  2. Values have the units that the fields say, whatever the file's are (meminfo's kB are 1024 bytes).
//  3. A file that is missing, cut off or strange gives zeros for what is not understood, never an error.
// Thread safety: all methods from any thread.
class HostMetrics {
 public:
  // Outlives this.
  explicit HostMetrics(HostFiles* files) : files_(*files) {}

  MemorySample SampleMemory() const { return ParseMemory(files_.Read("/proc/meminfo")); }
  LoadSample SampleLoad() const { return ParseLoad(files_.Read("/proc/loadavg")); }
  CpuSample SampleCpus() const { return ParseCpus(files_.Read("/proc/stat")); }

  static MemorySample ParseMemory(std::string_view text);
  static LoadSample ParseLoad(std::string_view text);
  static CpuSample ParseCpus(std::string_view text);

 private:
  HostFiles& files_;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_HOST_METRICS_H_
