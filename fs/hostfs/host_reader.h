#ifndef REMORA_FS_HOSTFS_HOST_READER_H_
#define REMORA_FS_HOSTFS_HOST_READER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/hostfs/host_fd.h"
#include "fs/hostfs/host_read_pool.h"
#include "fs/hostfs/host_windows.h"
#include "mm/io_buffer.h"

namespace remora::fs {

// Reads of one regular host file that never wait for its disk.
//
// What the host has in memory is copied at once, straight into the buffer. For the rest a thread of the pool reads one
// window, which brings it into the host's memory and is kept in HostWindows besides. What is in the host's memory is
// newer and comes first.
// Without a pool, and on file systems that cannot tell what they have and do not hang (tmpfs), reads go to the host
// directly. Thread safety: all methods from any thread.
class HostReader final : public RefCounted {
 public:
  // `pool` may be null and outlives the reader's users (its threads may outlive the pool, and keep the reader).
  HostReader(HostReadPool* pool, Ref<HostFd> fd, Ref<HostWindows> windows);

  // Fills `to` until it is full, the file ends or the buffer faults: as host_io::ReadAt. EAGAIN where bytes have to
  // come from the disk first; `to` tells how many were there. They are on their way then: wait for arrivals().
  ErrnoOr<uint64_t> ReadAt(mm::IoBuffer& to, uint64_t offset);
  // What can be read into `to` with one call that does not wait for a slow disk: the bytes read, 0 also where it cannot
  // be told or fails. Nothing is fetched.
  uint64_t ReadAtOnce(std::span<std::byte> to, uint64_t offset);
  // Null without a pool.
  sync::WaitQueue* arrivals() const { return pool_ != nullptr ? &pool_->arrivals() : nullptr; }
  HostWindows& windows() const { return *windows_; }

 private:
  friend class HostReadPool;
  // How this file is read: ReadNow tells, the pool must wait, or the caller itself may.
  enum class Way : uint8_t { kNow, kPool, kDirect };

  ~HostReader() override = default;
  void Request(uint64_t offset);
  // In a thread of the pool: reads the window at `start`, waiting for it.
  void Fetch(uint64_t start, uint64_t num_drops);

  HostReadPool* const pool_;
  HostDisk* const disk_;  // the pool's, which its threads keep
  const Ref<HostFd> fd_;
  const Ref<HostWindows> windows_;
  std::atomic<Way> way_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_READER_H_
