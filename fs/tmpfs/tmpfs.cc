#include "fs/tmpfs/tmpfs.h"

#include <sys/stat.h>

namespace remora::fs {

namespace {

Inode::NewNode RootNode(const Tmpfs::Options& options) {
  Inode::NewNode node;
  node.mode = S_IFDIR | (options.root_permissions & 07777);
  node.uid = options.uid;
  node.gid = options.gid;
  return node;
}

}  // namespace

Tmpfs::Tmpfs(mm::MemoryContext* memory, Clock* clock, const DeviceRegistry* devices, uint64_t device_id,
             const Options& options)
    : space_(MakeRef<MemorySpace>(this, device_id, 1, memory, clock, devices)),
      root_(MakeRef<MemoryDirectory>(space_, RootNode(options))) {}

Tmpfs::~Tmpfs() { MemoryDirectory::Disband(root_); }

}  // namespace remora::fs
