#ifndef REMORA_FS_HOSTFS_HOST_FILE_H_
#define REMORA_FS_HOSTFS_HOST_FILE_H_

#include <cstdint>

#include "fs/file.h"
#include "fs/hostfs/host_fd.h"
#include "fs/hostfs/host_inode.h"
#include "fs/hostfs/host_reader.h"

namespace remora::fs {

// An open regular file of the host, by a descriptor of its own. Bytes go straight between the host and the guest's
// pages; where the file is also mapped, writes update the mapped pages, and once it is mapped shared and writable,
// reads come from those pages. Reading never waits for the host's disk (fs/hostfs/host_reader.h); writing does where
// the host's write does. Thread safety: all methods from any thread.
class HostFile final : public File {
 public:
  HostFile(Ref<HostInode> inode, const Path& path, uint32_t flags, Ref<HostFd> fd);

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override;
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) override;
  ErrnoOr<uint64_t> Append(mm::IoBuffer& from, uint64_t* end) override;
  bool seekable() const override { return true; }
  ErrnoOr<uint64_t> SizeForSeek() override;
  ErrnoOr<Ref<mm::Mappable>> Mappable() override;
  ErrnoOr<void> Truncate(uint64_t size_bytes) override;
  ErrnoOr<void> Allocate(int mode, uint64_t offset, uint64_t length_bytes) override;
  ErrnoOr<void> Sync() override;
  // Where bytes that the host's disk has not given yet are waited for; null without a pool of threads for that.
  sync::WaitQueue* wait_queue() override { return reader_->arrivals(); }
  void OnDescriptorClosed() override;
  void OnLastClose() override;

 private:
  ~HostFile() override = default;
  // To the host, and to the pages of `pages` (may be null).
  ErrnoOr<uint64_t> WriteThrough(mm::IoBuffer& from, uint64_t offset, mm::FilePages* pages);

  const Ref<HostInode> host_inode_;
  const Ref<HostFd> fd_;
  const Ref<HostReader> reader_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_FILE_H_
