#ifndef REMORA_FS_TMPFS_TMPFS_H_
#define REMORA_FS_TMPFS_TMPFS_H_

#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "base/ref_counted.h"
#include "fs/device_registry.h"
#include "fs/inode.h"
#include "fs/tmpfs/memory_directory.h"
#include "fs/tmpfs/memory_inode.h"
#include "mm/memory_context.h"

namespace remora::fs {

// A file system in memory, empty at first. Linux's tmpfs. Difference: no size limit of its own but the FramePool's.
// Thread safety: all methods from any thread.
class Tmpfs final : public FileSystem {
 public:
  struct Options {
    uint32_t root_permissions = 01777;
    uint32_t uid = 0, gid = 0;
  };
  // The pointers outlive the file system and all that was opened in it.
  Tmpfs(mm::MemoryContext* memory, Clock* clock, const DeviceRegistry* devices, uint64_t device_id,
        const Options& options);
  Tmpfs(mm::MemoryContext* memory, Clock* clock, const DeviceRegistry* devices, uint64_t device_id)
      : Tmpfs(memory, clock, devices, device_id, Options()) {}

  std::string_view type_name() const override { return "tmpfs"; }
  Ref<Inode> root() override { return root_; }
  uint64_t device_id() const override { return space_->device_id(); }
  Statistics GetStatistics() override { return space_->StatisticsWithMagic(0x01021994); }

 private:
  ~Tmpfs() override;
  const Ref<MemorySpace> space_;
  const Ref<MemoryDirectory> root_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_TMPFS_TMPFS_H_
