#include "runner/periodic_stats.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

namespace remora::runner {

PeriodicStats::PeriodicStats(double seconds, std::function<std::string()> report)
    : thread_([this, seconds, report = std::move(report)] {
        // Deadlines, not pauses: what a report takes does not add up.
        const auto period =
            std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
        auto next = std::chrono::steady_clock::now() + period;
        while (!stop_.try_acquire_until(next)) {
          const std::string text = report();
          std::fwrite(text.data(), 1, text.size(), stderr);
          next = std::max(next + period, std::chrono::steady_clock::now());
        }
      }) {}

PeriodicStats::~PeriodicStats() {
  stop_.release();
  thread_.join();
}

}  // namespace remora::runner
