#ifndef REMORA_FS_HOSTFS_HOST_PAGES_H_
#define REMORA_FS_HOSTFS_HOST_PAGES_H_

#include <cstdint>
#include <span>
#include <utility>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/hostfs/host_fd.h"
#include "fs/hostfs/host_reader.h"
#include "mm/page_cache.h"

namespace remora::fs {

// A host file as the origin of FilePages: pages are read with pread(2) and written back with pwrite(2), never beyond
// the file's end (what a guest stores behind it in the last page is lost, as on Linux).
// Thread safety: all methods from any thread.
class HostPageBacking final : public mm::PageBacking {
 public:
  // WritePage fails with EBADF where `fd` may not be written. Without a pool ReadPage waits for the host's disk.
  HostPageBacking(HostReadPool* pool, Ref<HostFd> fd, Ref<HostWindows> windows)
      : pool_(pool), fd_(fd), reader_(MakeRef<HostReader>(pool, std::move(fd), std::move(windows))) {}

  ErrnoOr<void> ReadPage(uint64_t page_index, std::span<std::byte> page) override;
  uint64_t ReadPagesAtOnce(uint64_t first_page_index, std::span<std::byte> pages) override;
  ErrnoOr<void> WritePage(uint64_t page_index, std::span<const std::byte> page) override;
  ErrnoOr<uint64_t> Size() override;

  // Another descriptor of the same file, which may be written.
  void SetFd(Ref<HostFd> fd) {
    Ref<HostReader> reader;
    MutexLock lock(&mu_);
    reader = MakeRef<HostReader>(pool_, fd, Ref<HostWindows>(&reader_->windows()));
    std::swap(fd_, fd);
    std::swap(reader_, reader);
  }

 private:
  Ref<HostReader> reader() const {
    MutexLock lock(&mu_);
    return reader_;
  }
  Ref<HostFd> fd() const {
    MutexLock lock(&mu_);
    return fd_;
  }
  HostReadPool* const pool_;
  mutable Mutex mu_{LockRank::kLeaf};
  Ref<HostFd> fd_ ABSL_GUARDED_BY(mu_);
  Ref<HostReader> reader_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_PAGES_H_
