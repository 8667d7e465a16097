#include "fs/overlayfs/overlayfs.h"

#include <utility>

#include "fs/overlayfs/overlay_inode.h"

namespace remora::fs {

ErrnoOr<Ref<Overlayfs>> Overlayfs::Create(Ref<FileSystem> lower, mm::MemoryContext* memory, Clock* clock,
                                          const DeviceRegistry* devices, uint64_t device_id) {
  Ref<Inode> root = lower->root();
  REMORA_ASSIGN_OR_RETURN(const Attributes attributes, root->GetAttributes());
  if (!attributes.is_directory()) return Errno(ENOTDIR);
  return MakeRef<Overlayfs>(std::move(lower), std::move(root), attributes, memory, clock, devices, device_id);
}

Overlayfs::Overlayfs(Ref<FileSystem> lower, Ref<Inode> lower_root, const Attributes& lower_attributes,
                     mm::MemoryContext* memory, Clock* clock, const DeviceRegistry* devices, uint64_t device_id)
    : lower_(std::move(lower)),
      space_(MakeRef<OverlaySpace>(this, device_id, memory, clock, devices, lower_attributes.device_major,
                                   lower_attributes.device_minor)),
      root_(space_->InodeOf(lower_root, nullptr)) {}

Overlayfs::~Overlayfs() {
  space_->Disband();
  MemoryDirectory::Disband(Ref<MemoryDirectory>(static_cast<MemoryDirectory*>(root_.get())));
}

}  // namespace remora::fs
