#ifndef REMORA_FS_DEVICE_REGISTRY_H_
#define REMORA_FS_DEVICE_REGISTRY_H_

#include <cstdint>
#include <functional>

#include "absl/container/flat_hash_map.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"

namespace remora::fs {

// What opening a device node opens: (character or block, major, minor) to a function. Device nodes of every file
// system come here, so a node made by mknod(2) in /tmp is as good as the one in /dev. Linux's cdev_map.
// Thread safety: all methods from any thread; the functions run without a lock.
class DeviceRegistry {
 public:
  // `inode` and `path` are the node that was opened, for the File to keep.
  struct Opening {
    Ref<Inode> inode;
    const Path& path;
    uint32_t flags = 0;
    uint32_t minor = 0;
    const CallerIds& caller;
  };
  using OpenFunction = std::function<ErrnoOr<Ref<File>>(Opening)>;
  enum class Kind : uint8_t { kCharacter, kBlock };

  void Register(Kind kind, uint32_t major, uint32_t minor, OpenFunction open);
  // All minors of a major that have no function of their own (pseudo-terminal slaves).
  void RegisterMajor(Kind kind, uint32_t major, OpenFunction open);
  // ENXIO where nothing is registered.
  ErrnoOr<Ref<File>> Open(Kind kind, uint32_t major, Opening opening) const;

 private:
  static constexpr uint32_t kAnyMinor = ~0u;
  struct Key {
    Kind kind;
    uint32_t major, minor;
    friend bool operator==(const Key&, const Key&) = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& k) {
      return H::combine(std::move(h), k.kind, k.major, k.minor);
    }
  };
  mutable SharedMutex mu_{LockRank::kLeaf};
  absl::flat_hash_map<Key, OpenFunction> devices_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::fs

#endif  // REMORA_FS_DEVICE_REGISTRY_H_
