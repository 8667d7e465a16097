#include "fs/pseudo/pseudo_inode.h"

namespace remora::fs {

FileSystem::Statistics PseudoFileSystem::GetStatistics() {
  return {.magic = magic_, .block_size = 4096, .max_name_length = 255};
}

Timestamp PseudoFileSystem::Now() const {
  const int64_t nanos = clock_->RealtimeNanos();
  return {nanos / kNanosPerSecond, nanos % kNanosPerSecond};
}

ErrnoOr<Attributes> PseudoInode::GetAttributes() {
  Attributes a;
  a.device_minor = static_cast<uint32_t>(file_system_->device_id());
  a.inode_number = number_;
  a.mode = mode_;
  a.num_links = a.is_directory() ? 2 : 1;
  a.block_size = 1024;
  a.accessed = a.modified = a.changed = a.born = made_;
  REMORA_RETURN_IF_ERROR(AdjustAttributes(a));
  return a;
}

}  // namespace remora::fs
