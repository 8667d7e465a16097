#ifndef REMORA_RUNNER_PERIODIC_STATS_H_
#define REMORA_RUNNER_PERIODIC_STATS_H_

#include <functional>
#include <semaphore>
#include <string>
#include <thread>

namespace remora::runner {

// Prints what `report` answers to stderr, again and again, until it is destroyed. Each report is one write, so that the
// guest's lines do not come between its own.
// Thread safety: `report` is called by a thread of this object's.
class PeriodicStats {
 public:
  PeriodicStats(double seconds, std::function<std::string()> report);
  ~PeriodicStats();
  PeriodicStats(const PeriodicStats&) = delete;
  PeriodicStats& operator=(const PeriodicStats&) = delete;

 private:
  std::binary_semaphore stop_{0};
  std::thread thread_;
};

}  // namespace remora::runner

#endif  // REMORA_RUNNER_PERIODIC_STATS_H_
