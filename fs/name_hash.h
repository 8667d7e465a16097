#ifndef REMORA_FS_NAME_HASH_H_
#define REMORA_FS_NAME_HASH_H_

#include <cstdint>
#include <string_view>

#include "absl/hash/hash.h"
#include "base/strings.h"

namespace remora::fs {

// The hash of a name in the directory with this id. As absl::string_view: Abseil hashes that inline and with a seed of
// the process, so that a guest cannot choose names that collide; std::string_view would go to libstdc++, slower and
// without a seed.
inline uint64_t HashOfName(uint64_t directory_id, std::string_view name) {
  return absl::HashOf(directory_id, ToAbsl(name));
}

}  // namespace remora::fs

#endif  // REMORA_FS_NAME_HASH_H_
