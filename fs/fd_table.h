#ifndef REMORA_FS_FD_TABLE_H_
#define REMORA_FS_FD_TABLE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "sync/reclaimer.h"

namespace remora::fs {

// Descriptor numbers to open files. Lookup takes no lock; closes run outside the table's lock; growth is amortised; the
// lowest free number is found by a two-level bitmap. Linux's files_struct.
//
// A reference keeps the table, a user keeps what is open in it: tasks are users, whoever only looks (/proc/PID/fd) is
// not, so its last reference never closes files. Thread safety: all methods from any thread.
class FdTable final : public RefCounted {
 public:
  explicit FdTable(sync::Reclaimer* reclaimer, uint32_t max_fds = 1 << 20);

  // The file of `fd`, counted. EBADF. Lock-free.
  ErrnoOr<Ref<File>> Lookup(int32_t fd) const;

  // The lowest free number >= lowest. EMFILE at `limit` (RLIMIT_NOFILE), EINVAL if lowest >= limit.
  ErrnoOr<int32_t> Add(Ref<File> file, bool close_on_exec, int32_t lowest = 0, uint32_t limit = 1 << 20);
  // dup2, dup3: the file that was there is closed outside the lock. EBADF if fd is negative or >= limit.
  ErrnoOr<void> Set(int32_t fd, Ref<File> file, bool close_on_exec, uint32_t limit = 1 << 20);
  ErrnoOr<void> Close(int32_t fd);
  ErrnoOr<void> CloseRange(uint32_t first, uint32_t last, bool only_mark_close_on_exec);

  ErrnoOr<bool> close_on_exec(int32_t fd) const;
  ErrnoOr<void> set_close_on_exec(int32_t fd, bool value);

  // fork: same files, same numbers, same flags.
  Ref<FdTable> Clone() const;
  // exec.
  void CloseOnExec();
  void CloseAll();
  // A task has this table now, or no longer: the last one closes everything, on its own thread, without a lock.
  void AddUser() { num_users_.fetch_add(1, std::memory_order_relaxed); }
  void DropUser() {
    if (num_users_.fetch_sub(1, std::memory_order_acq_rel) == 1) CloseAll();
  }
  uint32_t num_users() const { return num_users_.load(std::memory_order_acquire); }
  // In ascending order; the callback runs without a lock.
  void ForEach(absl::FunctionRef<void(int32_t fd, const Ref<File>& file, bool close_on_exec)> visit) const;
  uint32_t num_open() const;

 private:
  ~FdTable() override;
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::atomic<uint32_t> num_users_{0};
};

}  // namespace remora::fs

#endif  // REMORA_FS_FD_TABLE_H_
