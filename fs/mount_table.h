#ifndef REMORA_FS_MOUNT_TABLE_H_
#define REMORA_FS_MOUNT_TABLE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/dentry_cache.h"
#include "fs/lookup_hash.h"
#include "fs/mount.h"
#include "fs/mount_index.h"
#include "sync/reclaimer.h"

namespace remora::fs {

// What is mounted where: by place (for walks, which ask only where Dentry::mounted_on says so), by name, and in order.
//
// Invariants:
//  1. A mount is in the crossings exactly while it is in the list (the root of everything has no crossing), and its
//     mountpoint counts it (Dentry::AddMount).
//  2. The index leads from each mounted name to the mount that was made there last.
// Linux twin: mount_hashtable and the namespace's list. Thread safety: Crossing and FindByName without a lock, inside a
// read section; changes from any thread.
class MountTable {
 public:
  explicit MountTable(sync::Reclaimer* reclaimer) : reclaimer_(reclaimer), crossings_(reclaimer), index_(reclaimer) {}
  ~MountTable();

  // What is mounted on this dentry, seen through `mount`; null if nothing is.
  Ref<Mount> Crossing(const Mount& mount, const Dentry& dentry) const;

  uint64_t NewId();
  // `name`: the absolute name of the mountpoint, "/" for the root.
  void Attach(const Ref<Mount>& mount, std::string name);
  // EBUSY if something is mounted inside it, or (unless `lazily`) if anybody but the caller, with `own_references`,
  // uses it; EINVAL if it is not attached or is the root of everything.
  ErrnoOr<void> Detach(const Ref<Mount>& mount, bool lazily, uint32_t own_references);

  // The mount that an absolute path without "." and ".." lies in, by the names that mountpoints had when they were
  // mounted (or when directories above them were renamed, see Rename), and the rest of the path.
  MountIndex<Mount>::Match FindByName(std::string_view path) const { return index_.Lookup(path); }
  // Mountpoints that `name_of` names differently now get their new names.
  void RefreshNames(absl::FunctionRef<std::string(const Mount&)> name_of);

  std::vector<Ref<Mount>> List() const;
  uint64_t size() const;

 private:
  struct Crossed {
    uint64_t hash;
    Mount* parent;
    Dentry* mountpoint;
    Mount* mount;  // kept alive by list_ until a grace period after the removal
  };
  struct Attached {
    Ref<Mount> mount;
    std::string name;
    Crossed* crossing;  // null for the root
  };
  static uint64_t HashOf(const Mount* mount, const Dentry* dentry);

  sync::Reclaimer* const reclaimer_;
  mutable Mutex mu_{LockRank::kMountTable};
  LookupHash<Crossed> crossings_;  // read without the lock
  MountIndex<Mount> index_;
  std::vector<Attached> list_ ABSL_GUARDED_BY(mu_);
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
};

}  // namespace remora::fs

#endif  // REMORA_FS_MOUNT_TABLE_H_
