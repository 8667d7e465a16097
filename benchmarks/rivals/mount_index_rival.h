#ifndef REMORA_BENCHMARKS_RIVALS_MOUNT_INDEX_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_MOUNT_INDEX_RIVAL_H_

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/ref_counted.h"

namespace remora::benchmarks {

// The plain table of mounts: a list of prefixes, the longest first, under one mutex. The first that fits is the answer.
template <typename T>
class MountIndexRival {
 public:
  struct Match {
    Ref<T> value;
    std::string_view suffix;
  };
  // Prefixes and paths are absolute, without doubled slashes; "/" is the root.
  void Set(std::string prefix, Ref<T> value) {
    if (prefix == "/") prefix.clear();
    MutexLock lock(&mu_);
    for (Mounted& mounted : mounts_) {
      if (mounted.prefix != prefix) continue;
      mounted.value = std::move(value);
      return;
    }
    const auto place =
        std::find_if(mounts_.begin(), mounts_.end(), [&](const Mounted& m) { return m.prefix.size() < prefix.size(); });
    mounts_.insert(place, Mounted{std::move(prefix), std::move(value)});
  }
  void Remove(std::string_view prefix) {
    if (prefix == "/") prefix = "";
    MutexLock lock(&mu_);
    std::erase_if(mounts_, [&](const Mounted& m) { return m.prefix == prefix; });
  }
  Match Lookup(std::string_view path) const {
    MutexLock lock(&mu_);
    for (const Mounted& mounted : mounts_) {
      const size_t size = mounted.prefix.size();
      if (!path.starts_with(mounted.prefix)) continue;
      if (path.size() == size) return {mounted.value, ""};
      if (path[size] == '/') return {mounted.value, path.substr(size + 1)};
    }
    return {nullptr, path};
  }

 private:
  struct Mounted {
    std::string prefix;
    Ref<T> value;
  };
  mutable Mutex mu_{LockRank::kMountTable};
  std::vector<Mounted> mounts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_MOUNT_INDEX_RIVAL_H_
