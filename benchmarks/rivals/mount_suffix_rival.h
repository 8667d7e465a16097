#ifndef REMORA_BENCHMARKS_RIVALS_MOUNT_SUFFIX_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_MOUNT_SUFFIX_RIVAL_H_

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/ref_counted.h"
#include "benchmarks/rivals/mount_index_rival.h"

namespace remora::benchmarks {

// The plain interface: the caller hands in a buffer with a path, and gets it back with what is left of the path moved
// to its front.
template <typename T>
class MountSuffixRival {
 public:
  void Set(std::string prefix, Ref<T> value) { mounts_.Set(std::move(prefix), std::move(value)); }

  // `path`: NUL-terminated, of *length characters; that of the suffix comes back in it.
  Ref<T> Strip(char* path, size_t* length) const {
    typename MountIndexRival<T>::Match match = mounts_.Lookup(std::string_view(path, *length));
    if (!match.value) return nullptr;
    *length = match.suffix.size();
    std::memmove(path, match.suffix.data(), *length);
    path[*length] = '\0';
    return std::move(match.value);
  }

 private:
  MountIndexRival<T> mounts_;
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_MOUNT_SUFFIX_RIVAL_H_
