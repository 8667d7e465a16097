#ifndef REMORA_BENCHMARKS_RIVALS_PROC_SNAPSHOT_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_PROC_SNAPSHOT_RIVAL_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "base/errno_or.h"
#include "mm/io_buffer.h"

namespace remora::benchmarks {

// The plain way: each read makes the whole content twice, to learn how long it is and to have the bytes, and keeps
// nothing.
class ProcSnapshotRival {
 public:
  explicit ProcSnapshotRival(std::function<std::string()> generate) : generate_(std::move(generate)) {}

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) const {
    const uint64_t size = generate_().size();
    if (offset >= size) return uint64_t{0};
    const std::string content = generate_();
    return to.Write(std::as_bytes(std::span(content)).subspan(offset));
  }

 private:
  const std::function<std::string()> generate_;
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_PROC_SNAPSHOT_RIVAL_H_
