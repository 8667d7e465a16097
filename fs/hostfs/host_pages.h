#ifndef REMORA_FS_HOSTFS_HOST_PAGES_H_
#define REMORA_FS_HOSTFS_HOST_PAGES_H_

#include <cstdint>
#include <span>
#include <utility>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/hostfs/host_fd.h"
#include "mm/page_cache.h"

namespace remora::fs {

// A host file as the origin of FilePages: pages are read with pread(2) and written back with pwrite(2), never beyond
// the file's end (what a guest stores behind it in the last page is lost, as on Linux).
// Thread safety: all methods from any thread.
class HostPageBacking final : public mm::PageBacking {
 public:
  // `writable`: the descriptor may be written; without it WritePage fails with EBADF.
  explicit HostPageBacking(Ref<HostFd> fd) : fd_(std::move(fd)) {}

  ErrnoOr<void> ReadPage(uint64_t page_index, std::span<std::byte> page) override;
  ErrnoOr<void> WritePage(uint64_t page_index, std::span<const std::byte> page) override;
  ErrnoOr<uint64_t> Size() override;

 private:
  const Ref<HostFd> fd_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_PAGES_H_
