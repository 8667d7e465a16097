#ifndef REMORA_RUNNER_PERF_MAP_H_
#define REMORA_RUNNER_PERF_MAP_H_

#include <cstddef>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace remora::runner {

// /tmp/perf-PID.map: which guest code the host's code is a translation of, for perf(1), whose format this is: a line
// "START SIZE NAME" for each piece, the latest of two at one place being right.
// Thread safety: Add from any thread.
class PerfMap {
 public:
  // FailedPrecondition with a sentence where the file cannot be made.
  static absl::StatusOr<std::unique_ptr<PerfMap>> Create(const std::string& path);
  ~PerfMap();
  PerfMap(const PerfMap&) = delete;
  PerfMap& operator=(const PerfMap&) = delete;

  static std::string PathOfThisProcess();
  void Add(std::span<const std::byte> code, const std::string& name);

 private:
  explicit PerfMap(std::FILE* file) : file_(file) {}

  Mutex mu_{LockRank::kLeaf};
  std::FILE* const file_ ABSL_PT_GUARDED_BY(mu_);
};

}  // namespace remora::runner

#endif  // REMORA_RUNNER_PERF_MAP_H_
