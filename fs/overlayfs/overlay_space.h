#ifndef REMORA_FS_OVERLAYFS_OVERLAY_SPACE_H_
#define REMORA_FS_OVERLAYFS_OVERLAY_SPACE_H_

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/inode.h"
#include "fs/inode_table.h"
#include "fs/tmpfs/memory_directory.h"
#include "fs/tmpfs/memory_inode.h"
#include "sync/reclaimer.h"

namespace remora::fs {

// What all inodes of one overlay share: which overlay inode stands for which lower one.
//
// A lower inode has one overlay inode as long as anybody uses it. One that was changed (it owns attributes, content or
// names) is kept from then on, since only it knows; so a name that leads to the lower inode, by whatever lower link,
// leads to the change. Thread safety: all methods from any thread.
class OverlaySpace final : public MemorySpace {
 public:
  // `lower_device_*`: the lower root's st_dev, which the overlay shows as its own; inodes of other devices below
  // (mounts of the host) keep theirs.
  OverlaySpace(FileSystem* file_system, uint64_t device_id, mm::MemoryContext* memory, Clock* clock,
               const DeviceRegistry* devices, uint32_t lower_device_major, uint32_t lower_device_minor)
      : MemorySpace(file_system, device_id, kFirstOwnNumber, memory, clock, devices),
        lower_device_major_(lower_device_major),
        lower_device_minor_(lower_device_minor),
        reclaimer_(memory->reclaimer),
        table_(reclaimer_) {}

  // The overlay inode of `lower`, found in `parent` (null: the root).
  Ref<Inode> InodeOf(const Ref<Inode>& lower, const Ref<MemoryDirectory>& parent);
  // Attributes of a lower inode as the overlay shows them: its number stays, so that it does when the file is changed.
  ErrnoOr<Attributes> AttributesOf(Inode& lower) const;

  FileSystem::InodeCounts CountInodes() const { return {table_.size(), table_.longest_chain()}; }
  void Forget(const Inode* lower, const MemoryInode* inode) { table_.Remove(lower, inode); }
  // Overlay inodes go through it, since the table is read without a lock.
  sync::Reclaimer* reclaimer() const { return reclaimer_; }
  void Pin(const Inode* lower, MemoryInode* inode);
  void Unpin(const Inode* lower);
  // When the file system goes: lets go of everything, whatever it knew.
  void Disband();

 private:
  ~OverlaySpace() override = default;
  // Numbers of what has no lower inode: beyond those that host file systems give out.
  static constexpr uint64_t kFirstOwnNumber = uint64_t{1} << 40;

  const uint32_t lower_device_major_, lower_device_minor_;
  sync::Reclaimer* const reclaimer_;
  InodeTable<const Inode*, MemoryInode> table_;
  Mutex pinned_mu_{LockRank::kLeaf};
  absl::flat_hash_map<const Inode*, Ref<MemoryInode>> pinned_ ABSL_GUARDED_BY(pinned_mu_);
};

}  // namespace remora::fs

#endif  // REMORA_FS_OVERLAYFS_OVERLAY_SPACE_H_
