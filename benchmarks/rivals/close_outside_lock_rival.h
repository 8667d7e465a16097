#ifndef REMORA_BENCHMARKS_RIVALS_CLOSE_OUTSIDE_LOCK_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_CLOSE_OUTSIDE_LOCK_RIVAL_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/file.h"

namespace remora::benchmarks {

// The plain way: closing a descriptor drops the file's reference where it stands, under the table's mutex, and so runs
// the file's close handler there. (A std::mutex: ours would end the process for a close with a lock held.)
class CloseOutsideLockRival {
 public:
  ErrnoOr<Ref<fs::File>> Lookup(int32_t fd) const {
    const std::lock_guard lock(mu_);
    if (static_cast<uint32_t>(fd) >= slots_.size() || !slots_[static_cast<size_t>(fd)].file) return Errno(EBADF);
    return slots_[static_cast<size_t>(fd)].file;
  }

  void Set(int32_t fd, Ref<fs::File> file, bool close_on_exec) {
    const std::lock_guard lock(mu_);
    if (static_cast<size_t>(fd) >= slots_.size()) slots_.resize(static_cast<size_t>(fd) + 1);
    slots_[static_cast<size_t>(fd)] = {std::move(file), close_on_exec};
  }

  ErrnoOr<void> Close(int32_t fd) {
    const std::lock_guard lock(mu_);
    if (static_cast<uint32_t>(fd) >= slots_.size() || !slots_[static_cast<size_t>(fd)].file) return Errno(EBADF);
    slots_[static_cast<size_t>(fd)] = {};
    return Ok();
  }

  void CloseOnExec() {
    const std::lock_guard lock(mu_);
    for (Slot& slot : slots_)
      if (slot.close_on_exec) slot = {};
  }

 private:
  struct Slot {
    Ref<fs::File> file;
    bool close_on_exec = false;
  };
  mutable std::mutex mu_;
  std::vector<Slot> slots_;
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_CLOSE_OUTSIDE_LOCK_RIVAL_H_
