#ifndef REMORA_FS_FD_TABLE_H_
#define REMORA_FS_FD_TABLE_H_

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
// lowest free number is found by a two-level bitmap. Linux's files_struct. Thread safety: all methods from any thread.
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
  // In ascending order; the callback runs without a lock.
  void ForEach(absl::FunctionRef<void(int32_t fd, const Ref<File>& file, bool close_on_exec)> visit) const;
  uint32_t num_open() const;

 private:
  ~FdTable() override;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_FD_TABLE_H_
