#ifndef REMORA_FS_TTY_BYTE_QUEUE_H_
#define REMORA_FS_TTY_BYTE_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"

namespace remora::fs {

// Bytes in order, up to a limit; what is queued is one contiguous piece. Takes memory only while it is used.
// Thread safety: none.
class ByteQueue {
 public:
  explicit ByteQueue(size_t max_bytes) : max_bytes_(max_bytes) {}

  size_t size() const { return bytes_.size() - begin_; }
  bool empty() const { return size() == 0; }
  size_t room() const { return max_bytes_ - size(); }
  std::span<const uint8_t> front() const { return std::span(bytes_).subspan(begin_); }

  // bytes.size() <= room().
  void Append(std::span<const uint8_t> bytes) {
    DCHECK(bytes.size() <= room());
    if (begin_ >= max_bytes_) {  // each byte is moved once at most for each time the queue is filled
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(begin_));
      begin_ = 0;
    }
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void Consume(size_t num_bytes) {
    DCHECK(num_bytes <= size());
    begin_ += num_bytes;
    if (empty()) Clear();
  }
  // Forgets all but the first `num_bytes`.
  void Truncate(size_t num_bytes) {
    if (num_bytes < size()) bytes_.resize(begin_ + num_bytes);
  }
  void Clear() {
    bytes_.clear();
    begin_ = 0;
  }

 private:
  const size_t max_bytes_;
  std::vector<uint8_t> bytes_;
  size_t begin_ = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_TTY_BYTE_QUEUE_H_
