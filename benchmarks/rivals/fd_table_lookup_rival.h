#ifndef REMORA_BENCHMARKS_RIVALS_FD_TABLE_LOOKUP_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_FD_TABLE_LOOKUP_RIVAL_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"

namespace remora::benchmarks {

// The plain way: the table's mutex is taken on every lookup. Under it a reference is simply counted, since nobody can
// take the last one away meanwhile.
class FdTableLookupRival {
 public:
  ErrnoOr<Ref<fs::File>> Lookup(int32_t fd) const {
    MutexLock lock(&mu_);
    if (static_cast<uint32_t>(fd) >= files_.size() || !files_[static_cast<size_t>(fd)]) return Errno(EBADF);
    return files_[static_cast<size_t>(fd)];
  }

  void Set(int32_t fd, Ref<fs::File> file) {
    MutexLock lock(&mu_);
    if (static_cast<size_t>(fd) >= files_.size()) files_.resize(static_cast<size_t>(fd) + 1);
    std::swap(files_[static_cast<size_t>(fd)], file);
  }

 private:
  mutable Mutex mu_{LockRank::kFdTable};
  std::vector<Ref<fs::File>> files_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_FD_TABLE_LOOKUP_RIVAL_H_
