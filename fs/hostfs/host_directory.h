#ifndef REMORA_FS_HOSTFS_HOST_DIRECTORY_H_
#define REMORA_FS_HOSTFS_HOST_DIRECTORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/mutex.h"
#include "fs/file.h"
#include "fs/hostfs/host_fd.h"
#include "fs/hostfs/host_inode.h"

namespace remora::fs {

// An open directory of the host: getdents64(2) into one buffer, whose entries are handed out until they are used up.
// Positions are the host's own (d_off), so a seek back works however the host's file system numbers them.
// Thread safety: all methods from any thread.
class HostDirectory final : public File {
 public:
  HostDirectory(Ref<HostInode> inode, const Path& path, uint32_t flags, Ref<HostFd> fd);

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override;
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) override;
  ErrnoOr<void> ReadDirectory(uint64_t position, absl::FunctionRef<bool(const DirectoryEntry&)> visit) override;
  ErrnoOr<void> Sync() override;
  void OnLastClose() override;

 private:
  ~HostDirectory() override = default;
  static constexpr uint32_t kBufferBytes = 32768;

  const Ref<HostInode> host_inode_;
  const Ref<HostFd> fd_;
  Mutex mu_{LockRank::kDirectory};
  std::unique_ptr<std::byte[]> buffer_ ABSL_GUARDED_BY(mu_);
  uint32_t filled_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t next_ ABSL_GUARDED_BY(mu_) = 0;           // offset in buffer_ of the entry at position_
  uint64_t position_ ABSL_GUARDED_BY(mu_) = 0;       // of the entry at next_
  uint64_t host_position_ ABSL_GUARDED_BY(mu_) = 0;  // where the descriptor stands
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_DIRECTORY_H_
