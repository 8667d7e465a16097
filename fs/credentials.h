#ifndef REMORA_FS_CREDENTIALS_H_
#define REMORA_FS_CREDENTIALS_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"

namespace remora::fs {

// Who asks, as far as file permissions go. A value: proc/ hands a copy to each walk.
struct Credentials {
  uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0;
  uint32_t gid = 0, egid = 0, sgid = 0, fsgid = 0;
  absl::InlinedVector<uint32_t, 8> groups;

  bool privileged() const { return euid == 0; }
  bool InGroup(uint32_t group) const {
    if (group == fsgid) return true;
    for (uint32_t g : groups)
      if (g == group) return true;
    return false;
  }
};

}  // namespace remora::fs

#endif  // REMORA_FS_CREDENTIALS_H_
