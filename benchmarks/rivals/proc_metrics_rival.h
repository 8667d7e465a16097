#ifndef REMORA_BENCHMARKS_RIVALS_PROC_METRICS_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_PROC_METRICS_RIVAL_H_

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "proc/host_metrics.h"

namespace remora::benchmarks {

// The plain way: a function that gives the value of one key of /proc/meminfo, opening the file each time.
class ProcMetricsRival {
 public:
  explicit ProcMetricsRival(proc::HostFiles* files) : files_(*files) {}

  // In bytes; 0 if there is no such key.
  uint64_t Value(std::string_view key) const {
    const std::string text = files_.Read("/proc/meminfo");
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      std::string_view line = std::string_view(text).substr(at, end - at);
      if (line.starts_with(key) && line.substr(key.size()).starts_with(':')) {
        line.remove_prefix(key.size() + 1);
        line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
        uint64_t value = 0;
        std::from_chars(line.data(), line.data() + line.size(), value);
        return line.ends_with(" kB") ? value * 1024 : value;
      }
      at = end + 1;
    }
    return 0;
  }

 private:
  proc::HostFiles& files_;
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_PROC_METRICS_RIVAL_H_
