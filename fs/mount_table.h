#ifndef REMORA_FS_MOUNT_TABLE_H_
#define REMORA_FS_MOUNT_TABLE_H_

#include <atomic>
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

// What is mounted where: by place, by name, and in order.
//
// Every absolute walk begins in the name index (fs/mount_index.h): "/dev/pts/0" starts at the root of /dev/pts with "0"
// to go, and no directory above is looked at. A walk that goes on from there crosses mounts by place, where
// Dentry::mounted_on says so. The index only shortens: it may lack any mount but what it has is true.
//
// How it stays true: a prefix is indexed only after a walk along it that did not use the index came to the mount, if
// change_count() is what it was before. Whatever could make a prefix untrue (mounting over it, renaming a directory
// above it) first takes it out and counts up; what may be true again is walked along and put in afterwards.
//
// Invariants:
//  1. A mount is in the crossings exactly while it is in the list (the root of everything has no crossing) and nobody
//     mounted at the same place later; its mountpoint counts it (Dentry::AddMount).
//  2. An indexed name leads to a mount of the list by a walk from the root of everything.
//  3. The root of everything is indexed as "/".
// Linux twin: mount_hashtable and the namespace's list. Difference: the index by names, which Linux has not.
// Cost: Crossing and FindByName as LookupHash and MountIndex; changes walk the list.
// Thread safety: Crossing and FindByName without a lock, inside a read section; changes from any thread.
class MountTable {
 public:
  explicit MountTable(sync::Reclaimer* reclaimer) : reclaimer_(reclaimer), crossings_(reclaimer), index_(reclaimer) {}
  ~MountTable();

  // What is mounted on this dentry, seen through `mount`; null if nothing is.
  Ref<Mount> Crossing(const Mount& mount, const Dentry& dentry) const;

  uint64_t NewId();
  // In the place that the mount names. `name`: that of the mountpoint seen from the root, "/" for the root. Whatever is
  // at or below it leaves the index.
  void Attach(const Ref<Mount>& mount, std::string_view name);
  // EBUSY if something is mounted inside it, or (unless `lazily`) if anybody but the caller, with `own_references`,
  // uses it; EINVAL if it is not attached or is the root of everything.
  ErrnoOr<void> Detach(const Ref<Mount>& mount, bool lazily, uint32_t own_references);

  // The mount that an absolute path lies in, by the longest indexed prefix, and the rest of the path. "." and ".." are
  // components like others: behind the prefix the walk sees to them.
  MountIndex<Mount>::Match FindByName(std::string_view path) const { return index_.Lookup(path); }
  // The same, not counted (see MountIndex::Peek).
  MountIndex<Mount>::Seen PeekByName(std::string_view path) const { return index_.Peek(path); }
  // Changes with each mount, unmount and Forget.
  uint64_t change_count() const { return change_count_.load(std::memory_order_acquire); }
  // The name led to the mount after change_count() was read: true if it still does and is indexed now.
  bool Index(const Ref<Mount>& mount, std::string name, uint64_t change_count);
  // The name, and what is below it, no longer leads where it did. True if anything was indexed there.
  bool Forget(std::string_view name);
  // Those that are not indexed.
  std::vector<Ref<Mount>> ListUnindexed() const;

  std::vector<Ref<Mount>> List() const;
  uint64_t size() const;
  // While nobody changes it. In a read section.
  void CheckInvariants() const;

 private:
  struct Crossed {
    uint64_t hash;
    Mount* parent;
    Dentry* mountpoint;
    Mount* mount;  // kept alive by list_ until a grace period after the removal
  };
  struct Attached {
    Ref<Mount> mount;
    std::string name;   // in the index; empty: it is not
    Crossed* crossing;  // null for the root
  };
  bool ForgetLocked(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static uint64_t HashOf(const Mount* mount, const Dentry* dentry);

  sync::Reclaimer* const reclaimer_;
  mutable Mutex mu_{LockRank::kMountTable};
  LookupHash<Crossed> crossings_;  // read without the lock
  MountIndex<Mount> index_;
  std::vector<Attached> list_ ABSL_GUARDED_BY(mu_);
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
  std::atomic<uint64_t> change_count_{0};  // written under mu_
};

}  // namespace remora::fs

#endif  // REMORA_FS_MOUNT_TABLE_H_
