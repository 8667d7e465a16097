#ifndef REMORA_FS_HOSTFS_SLOW_DISK_FOR_TESTING_H_
#define REMORA_FS_HOSTFS_SLOW_DISK_FOR_TESTING_H_

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "base/guest_addr.h"
#include "fs/hostfs/host_disk.h"

namespace remora::fs {

// A host whose disk is as slow as a test wants: reads of the files named wait until the test lets them go.
// Thread safety: all methods from any thread.
class SlowDiskForTesting final : public HostDisk {
 public:
  enum class Kind : uint8_t {
    kKeepsPages,   // a disk: what has been read once is in memory
    kKeepsNothing  // a remote file system: cannot tell what it has, and may hang
  };
  explicit SlowDiskForTesting(Kind kind = Kind::kKeepsPages) : kind_(kind) {}

  void MakeSlow(const std::string& path) {
    struct stat status;
    if (stat(path.c_str(), &status) == 0) slow_files_.insert(status.st_ino);
  }
  // Lets `n` reads go, those waiting or to come.
  void Allow(uint64_t n) {
    std::lock_guard lock(mu_);
    allowed_ += n;
    changed_.notify_all();
  }
  void FailNext(int error_number) {
    std::lock_guard lock(mu_);
    error_number_ = error_number;
  }
  // Reads come piece by piece, and fail from there on.
  void FailBehind(uint64_t offset, uint64_t piece_bytes, int error_number) {
    std::lock_guard lock(mu_);
    fails_behind_ = offset;
    piece_bytes_ = piece_bytes;
    error_behind_ = error_number;
  }
  // Returns once that many reads are waiting.
  void AwaitWaiting(uint64_t n) {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [&] { return num_waiting_ >= n; });
  }
  uint64_t num_waiting() const {
    std::lock_guard lock(mu_);
    return num_waiting_;
  }

  ErrnoOr<uint64_t> ReadNow(int fd, std::span<const iovec> pieces, uint64_t offset) override {
    if (!IsSlow(fd)) return HostDisk::ReadNow(fd, pieces, offset);
    if (kind_ == Kind::kKeepsNothing) return Errno(EOPNOTSUPP);
    if (offset >= SizeOf(fd)) return 0u;
    uint64_t ready = 0;
    {
      std::lock_guard lock(mu_);
      while (pages_in_memory_.contains({InodeOf(fd), (offset + ready) >> kPageShift}))
        ready = PageRoundDown(offset + ready) + kPageSize - offset;
    }
    if (ready == 0) return Errno(EAGAIN);
    uint64_t done = 0;
    for (const iovec& piece : pieces) {
      const uint64_t wanted = std::min<uint64_t>(piece.iov_len, ready - done);
      auto n = HostDisk::ReadWaiting(fd, std::span(static_cast<std::byte*>(piece.iov_base), wanted), offset + done);
      if (!n.ok()) return n;
      done += *n;
      if (*n < piece.iov_len) break;
    }
    return done;
  }

  ErrnoOr<uint64_t> ReadWaiting(int fd, std::span<std::byte> to, uint64_t offset) override {
    if (IsSlow(fd)) {
      std::unique_lock lock(mu_);
      ++num_waiting_;
      changed_.notify_all();
      changed_.wait(lock, [&] { return allowed_ != 0; });
      --allowed_;
      --num_waiting_;
      if (const int error = std::exchange(error_number_, 0); error != 0) return Errno(error);
      if (offset >= fails_behind_) return Errno(error_behind_);
      to = to.first(std::min<uint64_t>(to.size(), piece_bytes_));
      for (uint64_t at = PageRoundDown(offset); at < offset + to.size(); at += kPageSize)
        pages_in_memory_.insert({InodeOf(fd), at >> kPageShift});
    }
    return HostDisk::ReadWaiting(fd, to, offset);
  }

  bool MayHang(int fd) override { return IsSlow(fd) || HostDisk::MayHang(fd); }

 private:
  static uint64_t InodeOf(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 ? status.st_ino : 0;
  }
  static uint64_t SizeOf(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 ? static_cast<uint64_t>(status.st_size) : 0;
  }
  bool IsSlow(int fd) const { return slow_files_.contains(InodeOf(fd)); }

  const Kind kind_;
  std::set<uint64_t> slow_files_;
  mutable std::mutex mu_;
  std::condition_variable changed_;
  std::set<std::pair<uint64_t, uint64_t>> pages_in_memory_;
  uint64_t allowed_ = 0, num_waiting_ = 0;
  uint64_t fails_behind_ = UINT64_MAX, piece_bytes_ = UINT64_MAX;
  int error_number_ = 0, error_behind_ = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_SLOW_DISK_FOR_TESTING_H_
