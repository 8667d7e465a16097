#include "proc/host_metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace remora::proc {

namespace {

// Takes the first line off, without its end.
std::string_view TakeLine(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// Takes a decimal number and the blanks before it off; 0, and nothing taken, if there is none or it is too large.
uint64_t TakeNumber(std::string_view& text) {
  const size_t blanks = std::min(text.find_first_not_of(' '), text.size());
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data() + blanks, text.data() + text.size(), value);
  if (error != std::errc()) return 0;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

}  // namespace

std::string RealHostFiles::Read(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  std::string text;
  size_t size = 0;
  while (true) {
    // Pieces of such a file must not be of two moments: most fit into one read.
    constexpr size_t kFirstBytes = 8192;
    if (text.size() - size < kFirstBytes / 2) text.resize(std::max(kFirstBytes, text.size() * 2));
    const ssize_t n = read(fd, text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    size += static_cast<size_t>(n);
  }
  close(fd);
  text.resize(size);
  return text;
}

MemorySample HostMetrics::ParseMemory(std::string_view text) {
  MemorySample sample;
  size_t expected = 0;  // the host's order is ours, so most rows are found at once
  while (!text.empty()) {
    std::string_view line = TakeLine(text);
    const size_t colon = line.find(':');
    if (colon == line.npos) continue;
    const std::string_view name = line.substr(0, colon);
    size_t row = expected;
    if (kMemoryRowNames[row] != name)
      row = static_cast<size_t>(std::find(kMemoryRowNames.begin(), kMemoryRowNames.end(), name) -
                                kMemoryRowNames.begin());
    if (row == kNumMemoryRows) continue;
    line.remove_prefix(colon + 1);
    const uint64_t value = TakeNumber(line);
    const bool in_kib = line == " kB" && value <= UINT64_MAX / 1024;
    sample.bytes[row] = in_kib ? value * 1024 : value;
    expected = (row + 1) % kNumMemoryRows;
  }
  return sample;
}

MemorySample WithinLimit(MemorySample host, uint64_t limit_bytes, uint64_t used_bytes) {
  uint64_t& total = host[MemoryRow::kMemTotal];
  if (total != 0 && total <= limit_bytes) return host;
  // Less than the host's, or a host that does not tell: what is free is free of the limit, and of the host.
  const bool host_tells = total != 0;
  total = limit_bytes;
  const uint64_t left = limit_bytes - std::min(limit_bytes, used_bytes);
  for (const MemoryRow row : {MemoryRow::kMemFree, MemoryRow::kMemAvailable})
    host[row] = host_tells ? std::min(host[row], left) : left;
  for (const MemoryRow row : {MemoryRow::kBuffers, MemoryRow::kCached, MemoryRow::kActive, MemoryRow::kInactive,
                              MemoryRow::kDirty, MemoryRow::kAnonPages, MemoryRow::kMapped, MemoryRow::kShmem})
    host[row] = std::min(host[row], limit_bytes - left);
  return host;
}

LoadSample HostMetrics::ParseLoad(std::string_view text) {
  LoadSample sample;
  for (uint32_t& average : sample.hundredths) {
    const uint64_t whole = std::min<uint64_t>(TakeNumber(text), 1'000'000);
    if (text.size() < 3 || text.front() != '.') return sample;
    text.remove_prefix(1);
    const uint64_t fraction = TakeNumber(text);
    average = static_cast<uint32_t>(whole * 100 + std::min<uint64_t>(fraction, 99));
  }
  return sample;
}

CpuSample HostMetrics::ParseCpus(std::string_view text) {
  constexpr size_t kMaxCpus = 8192;  // Linux's own limit
  CpuSample sample;
  while (!text.empty() && sample.cpus.size() < kMaxCpus) {
    std::string_view line = TakeLine(text);
    if (!line.starts_with("cpu")) break;  // they come first
    line.remove_prefix(3);
    if (line.starts_with(' ')) continue;  // the sum
    (void)TakeNumber(line);
    CpuSample::Ticks ticks{};
    for (uint64_t& value : ticks) value = TakeNumber(line);
    sample.cpus.push_back(ticks);
  }
  return sample;
}

}  // namespace remora::proc
