// Item 9: what is left of a path of /n bytes behind the mount that it lies in. Eight mounts, 256 paths.
//
// The rival needs each path anew, since it moves it: they are filled in outside of the time that is measured, for both.
// Counter: bytes_changed_per_path.

#include <time.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "benchmarks/rivals/mount_suffix_rival.h"
#include "fs/mount_index.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {
namespace {

struct Target final : RefCounted {};

constexpr const char* kMounts[] = {"/", "/proc", "/sys", "/dev", "/dev/shm", "/dev/pts", "/run", "/home"};
constexpr int kNumPaths = 256, kNumRounds = 4000;

// Paths of `size` bytes below the last mount, each in a buffer of its own.
class Paths {
 public:
  explicit Paths(size_t size) : size_(size), stride_(size + 1), memory_(kNumPaths * stride_) {
    path_ = kMounts[std::size(kMounts) - 1];
    while (path_.size() < size_) path_ += path_.size() % 16 == 0 ? '/' : static_cast<char>('a' + path_.size() % 26);
    path_.resize(size_);
    path_[std::strlen(kMounts[std::size(kMounts) - 1])] = '/';
  }
  void Fill() {
    for (int i = 0; i < kNumPaths; ++i) std::memcpy(at(i), path_.c_str(), stride_);
  }
  char* at(int i) { return memory_.data() + static_cast<size_t>(i) * stride_; }
  // How many bytes are not what Fill wrote.
  uint64_t CountChanged() {
    uint64_t n = 0;
    for (int i = 0; i < kNumPaths; ++i)
      for (size_t j = 0; j < stride_; ++j) n += at(i)[j] != path_.c_str()[j] ? 1 : 0;
    return n;
  }
  size_t size() const { return size_; }

 private:
  const size_t size_, stride_;
  std::vector<char> memory_;
  std::string path_;
};

// CPU time of this thread: others that run meanwhile do not count.
double ThreadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// `strip` answers the length of what is left.
template <typename Strip>
void Run(benchmark::State& state, Strip strip) {
  Paths paths(static_cast<size_t>(state.range(0)));
  const size_t expected = paths.size() - std::strlen(kMounts[std::size(kMounts) - 1]) - 1;
  for (auto _ : state) {
    paths.Fill();
    size_t num_left = 0;
    const double begin = ThreadSeconds();
    for (int i = 0; i < kNumPaths; ++i) {
      num_left += strip(paths.at(i), paths.size());
    }
    state.SetIterationTime((ThreadSeconds() - begin) / kNumPaths);
    CHECK(num_left == expected * kNumPaths);
  }
  state.counters["bytes_changed_per_path"] = static_cast<double>(paths.CountChanged()) / kNumPaths;
}

void BM_RivalMountSuffix(benchmark::State& state) {
  MountSuffixRival<Target> rival;
  for (const char* mount : kMounts) rival.Set(mount, MakeRef<Target>());
  Run(state, [&](char* path, size_t length) {
    Ref<Target> mount = rival.Strip(path, &length);
    benchmark::DoNotOptimize(mount.get());
    return length;
  });
}
void BM_MountSuffix(benchmark::State& state) {
  sync::Reclaimer reclaimer;
  fs::MountIndex<Target> index(&reclaimer);
  for (const char* mount : kMounts) index.Set(mount, MakeRef<Target>());
  sync::Reclaimer::ReadSection section(&reclaimer);
  Run(state, [&](const char* path, size_t length) {
    const auto match = index.Peek(std::string_view(path, length));
    benchmark::DoNotOptimize(match.value);
    return match.suffix.size();
  });
}

BENCHMARK(BM_RivalMountSuffix)->Arg(64)->Arg(256)->Arg(1000)->Arg(4000)->UseManualTime()->Iterations(kNumRounds);
BENCHMARK(BM_MountSuffix)->Arg(64)->Arg(256)->Arg(1000)->Arg(4000)->UseManualTime()->Iterations(kNumRounds);

}  // namespace
}  // namespace remora::benchmarks
