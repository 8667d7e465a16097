#ifndef REMORA_FS_FD_TABLE_H_
#define REMORA_FS_FD_TABLE_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "base/striped_counter.h"
#include "fs/file.h"
#include "sync/reclaimer.h"

namespace remora::fs {

// Descriptor numbers to open files: one for each process, or for several tasks that share it (CLONE_FILES).
//
//   slots_ --> capacity | file | file | null | file | ...      read by Lookup without a lock
//   open_            1      1      0      1                    one bit for each number
//   close_on_exec_   0      1      0      0
//   full_            one bit for each word of open_: all its 64 numbers are taken
//
// Costs: Lookup takes no lock; two loads and one compare-exchange on the file's count. Add finds the lowest free number
// by reading n/4096 words at most. Growth doubles, so n descriptors cost O(n) in all. Whatever a close does (last
// closes, lock owners, wake-ups) runs behind the table's lock, so that one close that takes its time holds up nobody.
//
// A reference keeps the table, a user keeps what is open in it: tasks are users, whoever only looks (/proc/PID/fd) is
// not, so its last reference never closes files.
//
// Thread safety: all methods from any thread; Lookup inside a read section of the reclaimer. Why a lookup without a
// lock is right: a slot owns a reference, which is given back only after the slot was changed, and a file's memory (and
// that of an array that was outgrown) goes a grace period later. So what a lookup reads there is a file, and if
// TryAddRef still finds a count, then the file stood in the slot at some moment of the call: an array that was replaced
// is never written again, so its slots show what was there at the replacement, which came after the lookup had begun.
// If the count is gone, the slot has changed since, and the lookup reads it again.
//
// Invariants:
//  1. A slot is not null exactly where its bit of open_ is set; each such slot owns one reference.
//  2. A bit of full_ is set exactly where the word of open_ has no zero.
//  3. Bits of close_on_exec_ are set only where those of open_ are.
//  4. Slots change under mu_ only. An array that was replaced is never written again.
//  5. open_ and close_on_exec_ have capacity/64 words, full_ one for each 64 of these.
//
// Linux twin: files_struct with its fdtable. Differences: no RCU-delayed reuse of File memory by type, but a retired
// File; close_range and exec close in batches of at most 64 with the lock dropped between them.
class FdTable final : public RefCounted {
 public:
  static constexpr uint32_t kMaxFds = 1 << 20;  // /proc/sys/fs/nr_open

  // `alive` counts the files that were given a number here, or in a clone, and still live; may be null.
  explicit FdTable(sync::Reclaimer* reclaimer, uint32_t max_fds = kMaxFds, StripedCounter* alive = nullptr);

  // The file of `fd`, counted. EBADF.
  ErrnoOr<Ref<File>> Lookup(int32_t fd) const {
    while (true) {
      const Slots* slots = slots_.load(std::memory_order_acquire);
      // A negative number is beyond any capacity.
      if (static_cast<uint32_t>(fd) >= slots->capacity) return Errno(EBADF);
      File* file = slots->files[static_cast<uint32_t>(fd)].load(std::memory_order_acquire);
      if (file == nullptr) return Errno(EBADF);
      // Fails only if the descriptor was closed since: then the slot has changed, or the array.
      if (file->TryAddRef()) return Ref<File>::Adopt(file);
    }
  }

  // The lowest free number >= lowest. EMFILE at `limit` (RLIMIT_NOFILE), EINVAL if lowest >= limit.
  ErrnoOr<int32_t> Add(Ref<File> file, bool close_on_exec, int32_t lowest = 0, uint32_t limit = kMaxFds)
      ABSL_LOCKS_EXCLUDED(mu_);
  // dup2, dup3: the file that was there is closed outside the lock. EBADF if fd is negative or >= limit.
  ErrnoOr<void> Set(int32_t fd, Ref<File> file, bool close_on_exec, uint32_t limit = kMaxFds) ABSL_LOCKS_EXCLUDED(mu_);
  // EBADF.
  ErrnoOr<void> Close(int32_t fd) ABSL_LOCKS_EXCLUDED(mu_);
  // first..last, both included. EINVAL if first > last.
  ErrnoOr<void> CloseRange(uint32_t first, uint32_t last, bool only_mark_close_on_exec) ABSL_LOCKS_EXCLUDED(mu_);

  // EBADF.
  ErrnoOr<bool> close_on_exec(int32_t fd) const ABSL_LOCKS_EXCLUDED(mu_);
  ErrnoOr<void> set_close_on_exec(int32_t fd, bool value) ABSL_LOCKS_EXCLUDED(mu_);

  // fork: same files, same numbers, same flags, all of one moment. Room for the highest open number, not for the
  // source's capacity.
  Ref<FdTable> Clone() const ABSL_LOCKS_EXCLUDED(mu_);
  // exec.
  void CloseOnExec() ABSL_LOCKS_EXCLUDED(mu_);
  void CloseAll() ABSL_LOCKS_EXCLUDED(mu_);
  // A task has this table now, or no longer: the last one closes everything, on its own thread, without a lock.
  void AddUser() { num_users_.fetch_add(1, std::memory_order_relaxed); }
  void DropUser() {
    if (num_users_.fetch_sub(1, std::memory_order_acq_rel) == 1) CloseAll();
  }
  uint32_t num_users() const { return num_users_.load(std::memory_order_acquire); }
  // From `first` on, in ascending order, until the callback answers false; it runs without a lock.
  void ForEach(uint32_t first,
               absl::FunctionRef<bool(int32_t fd, const Ref<File>& file, bool close_on_exec)> visit) const
      ABSL_LOCKS_EXCLUDED(mu_);
  uint32_t num_open() const ABSL_LOCKS_EXCLUDED(mu_);

  void CheckInvariants() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Slots {
    explicit Slots(uint32_t n) : capacity(n), files(new std::atomic<File*>[n]()) {}
    const uint32_t capacity;
    const std::unique_ptr<std::atomic<File*>[]> files;
  };
  static constexpr uint32_t kBitsPerWord = 64;
  // 64 descriptors need no memory but the slots.
  using Bits = absl::InlinedVector<uint64_t, 1>;
  // What was taken out of one word and is closed behind the lock.
  using Batch = absl::InlinedVector<File*, kBitsPerWord>;

  ~FdTable() override;

  static uint64_t BitOf(uint32_t n) { return uint64_t{1} << (n % kBitsPerWord); }
  void ResizeBits(uint32_t capacity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Makes room for `fd` < max_fds_.
  void GrowFor(uint32_t fd) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsOpen(uint32_t fd) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The lowest number >= lowest that is not open; may be the first one behind the table.
  uint32_t LowestFree(uint32_t lowest) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Puts a file (or null) into a slot that exists; what was there, with its reference.
  File* Exchange(uint32_t fd, File* file, bool close_on_exec) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The first word from `word` on in which open_ (and close_on_exec_, if asked) has bits; the number of words if none.
  uint32_t NextWord(uint32_t word, bool only_close_on_exec) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseFiles(const Batch& files);

  // What lookups read; on another cache line than what changes take.
  sync::Reclaimer* const reclaimer_;
  StripedCounter* const alive_;
  std::atomic<Slots*> slots_;  // written under mu_
  const uint32_t max_fds_;
  std::atomic<uint32_t> num_users_{0};

  alignas(64) mutable Mutex mu_{LockRank::kFdTable};
  Bits open_ ABSL_GUARDED_BY(mu_), close_on_exec_ ABSL_GUARDED_BY(mu_), full_ ABSL_GUARDED_BY(mu_);
  uint32_t num_open_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_FD_TABLE_H_
