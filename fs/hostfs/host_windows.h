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
//  1. At most kMaxWindows windows are kept, each of at most kBytes. What is older than kLifeNanos is not told.
//  2. A window is gone once its end has been read, once the host has had some of it in memory, or once the pool has
//     read many others since. Fetches under way do not begin inside each other.
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
  // What a fetch has brought.
  struct Fetched {
    std::vector<std::byte> bytes;
    bool ends_file = false;  // the file ends behind them; else they are short where the disk failed
    int error_number = 0;    // of a disk that failed at once
  };
  // Copies from a window that has `offset`, or tells the disk's error (once). No value: there is no such window.
  std::optional<ErrnoOr<Taken>> Take(mm::IoBuffer& to, uint64_t offset);
  // True if nobody fetches `offset` yet: the caller does, and calls Put when it has. `num_drops` is for that.
  bool BeginFetch(uint64_t start, uint64_t* num_drops);
  void Put(uint64_t start, uint64_t num_drops, Fetched fetched);
  // The host has had these bytes in memory: windows that have some of them are not needed. One load if there is none.
  void NoteServed(uint64_t offset, uint64_t num_bytes);
  // The window that was fetched from `start` on is not kept any longer.
  void Forget(uint64_t start);
  // The guest wrote to the file: what was read before is not its content any more.
  void Drop();
  uint64_t bytes_kept() const;

 private:
  struct Window {
    uint64_t offset = 0;
    Fetched fetched;
    int64_t read_at_nanos = 0;

    // Behind a file's end there is nothing, and an error is that of the whole window.
    uint64_t size() const {
      return fetched.ends_file || fetched.error_number != 0 ? kBytes : uint64_t{fetched.bytes.size()};
    }
    bool Has(uint64_t at) const { return at - offset < size(); }  // the difference wraps where `at` is below
  };
  void EraseIf(auto unwanted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ~HostWindows() override = default;

  std::atomic<bool> any_{false};
  mutable Mutex mu_{LockRank::kLeaf};
  std::vector<Window> windows_ ABSL_GUARDED_BY(mu_);
  absl::InlinedVector<uint64_t, 2> fetching_ ABSL_GUARDED_BY(mu_);
  uint64_t num_drops_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_WINDOWS_H_
