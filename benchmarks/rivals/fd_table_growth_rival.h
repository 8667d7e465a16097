#ifndef REMORA_BENCHMARKS_RIVALS_FD_TABLE_GROWTH_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_FD_TABLE_GROWTH_RIVAL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"

namespace remora::benchmarks {

// The plain way: the lowest free number is looked for from the first on, and the table grows to exactly what is needed.
class FdTableGrowthRival {
 public:
  FdTableGrowthRival() = default;
  FdTableGrowthRival(const FdTableGrowthRival&) = delete;
  FdTableGrowthRival& operator=(const FdTableGrowthRival&) = delete;
  ~FdTableGrowthRival() {
    for (fs::File* file : files_)
      if (file != nullptr) file->Release();
  }

  ErrnoOr<int32_t> Add(Ref<fs::File> file, int32_t lowest, uint32_t limit) {
    if (lowest < 0 || static_cast<uint32_t>(lowest) >= limit) return Errno(lowest == 0 ? EMFILE : EINVAL);
    MutexLock lock(&mu_);
    auto fd = static_cast<size_t>(lowest);
    if (fd < files_.size())
      fd = static_cast<size_t>(std::find(files_.begin() + lowest, files_.end(), nullptr) - files_.begin());
    if (fd >= limit) return Errno(EMFILE);
    if (fd >= files_.size()) {
      std::vector<fs::File*> larger;
      larger.reserve(fd + 1);
      larger.assign(files_.begin(), files_.end());
      larger.resize(fd + 1);
      files_.swap(larger);
    }
    files_[fd] = file.release();
    return static_cast<int32_t>(fd);
  }

  ErrnoOr<void> Close(int32_t fd) {
    fs::File* file = nullptr;
    {
      MutexLock lock(&mu_);
      if (static_cast<uint32_t>(fd) >= files_.size() || files_[static_cast<size_t>(fd)] == nullptr) return Errno(EBADF);
      std::swap(file, files_[static_cast<size_t>(fd)]);
    }
    file->Release();
    return Ok();
  }

 private:
  Mutex mu_{LockRank::kFdTable};
  std::vector<fs::File*> files_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_FD_TABLE_GROWTH_RIVAL_H_
