#ifndef REMORA_FS_HOSTFS_HOST_WINDOWS_H_
#define REMORA_FS_HOSTFS_HOST_WINDOWS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "mm/io_buffer.h"

namespace remora::fs {

// What was lately read from one host file's disk for somebody who had to wait for it, and what is being read. Shared by
// all who have the file open, so that an exec that opens it anew after each wait gets on even where the host itself
// keeps nothing (a FUSE mount).
//
// Invariants:
//  1. At most kMaxWindows windows are kept, each of at most kBytes, for at most kLifeNanos.
//  2. A window is gone once its end has been read. Fetches under way do not begin inside each other.
// Thread safety: all methods from any thread.
class HostWindows final : public RefCounted {
 public:
  static constexpr uint64_t kBytes = 128 << 10;
  static constexpr size_t kMaxWindows = 8;
  static constexpr int64_t kLifeNanos = 5'000'000'000;

  struct Taken {
    uint64_t num_bytes = 0;
    bool file_ended = false;  // behind them
  };
  // Copies from a window that has `offset`, or tells the disk's error (once). No value: there is no such window.
  std::optional<ErrnoOr<Taken>> Take(mm::IoBuffer& to, uint64_t offset);
  // True if nobody fetches `offset` yet: the caller does, and calls Put when it has. `num_drops` is for that.
  bool BeginFetch(uint64_t start, uint64_t* num_drops);
  void Put(uint64_t start, uint64_t num_drops, std::vector<std::byte> bytes, int error_number);
  // The guest wrote to the file: what was read before is not its content any more.
  void Drop();

 private:
  struct Window {
    uint64_t offset = 0;
    std::vector<std::byte> bytes;  // short at the end of the file
    int error_number = 0;
    int64_t read_at_nanos = 0;
  };
  ~HostWindows() override = default;

  std::atomic<bool> any_{false};
  Mutex mu_{LockRank::kLeaf};
  std::vector<Window> windows_ ABSL_GUARDED_BY(mu_);
  absl::InlinedVector<uint64_t, 2> fetching_ ABSL_GUARDED_BY(mu_);
  uint64_t num_drops_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_WINDOWS_H_
