#ifndef REMORA_FS_OVERLAYFS_OVERLAYFS_H_
#define REMORA_FS_OVERLAYFS_OVERLAYFS_H_

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/device_registry.h"
#include "fs/inode.h"
#include "fs/overlayfs/overlay_space.h"
#include "mm/memory_context.h"

namespace remora::fs {

// A file system that shows another one and keeps all changes in memory: the default root, over the host's own files.
//
// Its inodes are those of a tmpfs, some of them over a lower inode that speaks until they are changed. Names that were
// made, moved or hidden (whiteouts) stand in the directories' own tables; everything else shows through. A directory
// keeps its lower one wherever it is moved, so renaming a folder of any size costs the same. Numbers of inodes stay
// when a file is changed. Copying up happens at the first open for writing (or truncation), streamed.
//
// Linux twin: overlayfs with an upper tmpfs, redirect_dir and xino. Differences: hard links below stay links when one
// is changed; a file opened for reading sees later changes; the lower tree is taken as constant where its directories
// say that lookups may be cached. The lower file system must give out one Inode object for each file while it is in
// use. Thread safety: all methods from any thread.
class Overlayfs final : public FileSystem {
 public:
  // EIO and the like, where the lower root cannot be asked. The pointers outlive the file system.
  static ErrnoOr<Ref<Overlayfs>> Create(Ref<FileSystem> lower, mm::MemoryContext* memory, Clock* clock,
                                        const DeviceRegistry* devices, uint64_t device_id);

  std::string_view type_name() const override { return "overlay"; }
  Ref<Inode> root() override { return root_; }
  uint64_t device_id() const override { return space_->device_id(); }
  Statistics GetStatistics() override { return space_->StatisticsWithMagic(0x794c7630); }
  InodeCounts CountInodes() const override {
    const InodeCounts own = space_->CountInodes(), lower = lower_->CountInodes();
    return {own.num_entries + lower.num_entries, std::max(own.longest_chain, lower.longest_chain)};
  }

 private:
  template <typename T, typename... Args>
  friend Ref<T> remora::MakeRef(Args&&... args);
  Overlayfs(Ref<FileSystem> lower, Ref<Inode> lower_root, const Attributes& lower_attributes, mm::MemoryContext* memory,
            Clock* clock, const DeviceRegistry* devices, uint64_t device_id);
  ~Overlayfs() override;

  const Ref<FileSystem> lower_;
  const Ref<OverlaySpace> space_;
  const Ref<Inode> root_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_OVERLAYFS_OVERLAYFS_H_
