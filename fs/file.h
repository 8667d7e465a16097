#ifndef REMORA_FS_FILE_H_
#define REMORA_FS_FILE_H_

#include <atomic>
#include <cstdint>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "base/striped_counter.h"
#include "fs/file_watchers.h"
#include "fs/inode.h"
#include "fs/path.h"
#include "mm/io_buffer.h"
#include "mm/mappable.h"
#include "mm/user_memory.h"
#include "sync/pollable.h"
#include "sync/reclaimer.h"

namespace remora::fs {

// One entry that ReadDirectory hands out.
struct DirectoryEntry {
  uint64_t inode_number;
  uint64_t next_offset;  // position behind this entry: what lseek may later come back to
  uint8_t type;          // DT_*
  std::string_view name;
};

class TerminalCaller;

// Who performs an ioctl or a lock: what a file may need to know of the caller without knowing processes.
struct IoctlContext {
  mm::UserMemory memory;
  // What a terminal asks of its caller; null for callers without one.
  class TerminalCaller* terminal_caller = nullptr;
};

// An open file description: what descriptors refer to, shared by dup and fork. One subclass for each kind of file.
//
// Files never block. Read and Write answer EAGAIN where they would have to wait; the caller then arms a Waiter on
// wait_queue() and comes back. Whether O_NONBLOCK is set is the caller's business, not the file's (but for open
// itself). Linux twin: struct file. Difference: no private locking of the position here but PositionLock. Thread
// safety: all methods from any thread.
class File : public RefCounted, public sync::Pollable {
 public:
  // Position-independent transfers. `offset` is ignored by files that are not seekable.
  // Bytes moved; 0 at the end; EAGAIN; EFAULT if the buffer faults before the first byte (else the count before it);
  // A regular file answers EAGAIN also after some bytes (the buffer tells how many) where the rest is on its way from
  // the host's disk. EBADF is the caller's check; EISDIR, EINVAL, ESPIPE, EPIPE, ENOSPC, EIO as read(2) and write(2)
  // tell.
  virtual ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) = 0;
  virtual ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) = 0;
  // Appends at the end (O_APPEND); `end` receives the position behind the last byte written. Seekable files only.
  virtual ErrnoOr<uint64_t> Append(mm::IoBuffer& from, uint64_t* end);

  virtual bool seekable() const { return false; }
  // lseek(2)'s SEEK_END, SEEK_DATA, SEEK_HOLE need the size: seekable files answer it; default ESPIPE.
  virtual ErrnoOr<uint64_t> SizeForSeek();

  // Calls `visit` for entries from `position` on, until it returns false (that entry is not consumed) or the end.
  // ENOTDIR by default.
  virtual ErrnoOr<void> ReadDirectory(uint64_t position, absl::FunctionRef<bool(const DirectoryEntry&)> visit);

  // The value that ioctl(2) returns; ENOTTY by default.
  virtual ErrnoOr<uint64_t> Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument);
  // Job control, asked before each Read of a character device: kRestartSys (512) after SIGTTIN was raised, EIO where
  // that is ignored; Ok for whatever is no terminal.
  virtual ErrnoOr<void> CheckTerminalRead(TerminalCaller&) { return Ok(); }
  // The same before each Write: SIGTTOU, where the terminal has TOSTOP.
  virtual ErrnoOr<void> CheckTerminalWrite(TerminalCaller&) { return Ok(); }
  // How long a Read that answers EAGAIN is to be waited for: a terminal's VTIME.
  struct Patience {
    int64_t nanos = -1;     // negative: for ever
    uint64_t restarts = 0;  // the time begins anew when this changes
  };
  virtual Patience ReadPatience() { return {}; }
  // The patience is over: what there is, perhaps nothing.
  virtual ErrnoOr<uint64_t> ReadImpatiently(mm::IoBuffer&) { return 0u; }
  // A pty's master (TIOCGPTPEER): its slave, opened as open(2) would with `flags`. ENOTTY by default.
  virtual ErrnoOr<Ref<File>> OpenPeer(uint32_t flags);

  // ENODEV by default. The returned object's pages are what mmap shows.
  virtual ErrnoOr<Ref<mm::Mappable>> Mappable();
  virtual ErrnoOr<void> Truncate(uint64_t size_bytes);  // EINVAL by default
  virtual ErrnoOr<void> Allocate(int mode, uint64_t offset,
                                 uint64_t length_bytes);  // fallocate(2); EOPNOTSUPP by default
  virtual ErrnoOr<void> Sync();                           // EINVAL by default; regular files write back

  // A FIFO whose other end nobody has opened yet, and that was not opened O_NONBLOCK: open(2) waits on wait_queue()
  // (any event) until this is false.
  virtual bool open_pending() { return false; }

  // F_GET_SEALS, F_ADD_SEALS (F_SEAL_*): objects of memfd_create only, EINVAL by default.
  virtual ErrnoOr<uint32_t> Seals();
  virtual ErrnoOr<void> AddSeals(uint32_t seals);

  // F_GETPIPE_SZ, F_SETPIPE_SZ: pipes only, EBADF by default. The capacity after the change; EBUSY, EINVAL.
  virtual ErrnoOr<uint64_t> PipeCapacity();
  virtual ErrnoOr<uint64_t> SetPipeCapacity(uint64_t size_bytes);

  // sync::Pollable: by default always readable and writable, nothing to wait for.
  sync::Events Readiness(sync::Events interest) override;
  sync::WaitQueue* wait_queue() override { return nullptr; }
  // From now on each change has to be notified, whether or not somebody was told "not ready" before it: epoll watches
  // the file. For files that otherwise ask the host only when they have to. False: it cannot be waited for after all.
  virtual bool WatchEdges() { return wait_queue() != nullptr; }
  // Those who are told when the last reference goes, without holding one.
  Ref<FileWatchers> watchers();

  // Called when a descriptor of this file is closed (each close(2), not only the last). Releases of locks belong here.
  // No lock is held.
  virtual void OnDescriptorClosed() {}

  // Called once, with no lock held, when the last reference goes: what the last close does to others (end of file for
  // a pipe's reader, EPIPE, wake-ups) belongs here, not into the destructor, which may run a grace period later because
  // lock-free lookups in an FdTable may still look at the count. Linux's file_operations::release.
  virtual void OnLastClose() {}

  // FdTable calls this before it publishes the file: from now on memory is given back through `reclaimer`, and the file
  // counts in `alive` (may be null). The first call decides; both outlive the file.
  void OnPublish(sync::Reclaimer* reclaimer, StripedCounter* alive) {
    if (reclaimer_.load(std::memory_order_acquire) != nullptr) return;
    sync::Reclaimer* none = nullptr;
    if (!reclaimer_.compare_exchange_strong(none, reclaimer, std::memory_order_acq_rel)) return;
    alive_ = alive;
    if (alive != nullptr) alive->OnMade(this);
  }

  // What it was opened as. Null inode never: pipes, sockets and eventfds have anonymous inodes for fstat.
  const Ref<Inode>& inode() const { return inode_; }
  // Where it was opened; dentry null for anonymous files.
  const Path& path() const { return path_; }
  // What readlink of /proc/self/fd/N shows: the path, or "pipe:[7]".
  virtual std::string DescribePath() const;

  // O_APPEND, O_NONBLOCK, O_ASYNC, O_DIRECT, O_NOATIME may change later (F_SETFL); access mode never.
  uint32_t flags() const { return flags_.load(std::memory_order_relaxed); }
  void SetStatusFlags(uint32_t flags);  // only the changeable ones are taken
  bool readable() const { return readable_; }
  bool writable() const { return writable_; }
  bool nonblocking() const;
  bool append() const;

  // The file position, for read, write, lseek, getdents. Held across one transfer of a seekable file, so that two
  // threads' reads do not overlap (as f_pos_lock). Virtual because a host file that other host processes share keeps
  // its position in the host (fs/hostfs/host_stream.h).
  Mutex& position_mutex() ABSL_LOCK_RETURNED(position_mu_) { return position_mu_; }
  virtual uint64_t position() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) { return position_; }
  virtual void set_position(uint64_t p) ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) { position_ = p; }

 protected:
  // `flags`: open(2)'s, the guest's values.
  File(Ref<Inode> inode, Path path, uint32_t flags);
  ~File() override;
  void OnLastRelease() final;

 private:
  std::atomic<sync::Reclaimer*> reclaimer_{nullptr};
  StripedCounter* alive_ = nullptr;               // written by who publishes, read behind the last reference
  std::atomic<FileWatchers*> watchers_{nullptr};  // owned; made when first asked for
  const Ref<Inode> inode_;
  const Path path_;
  const bool readable_, writable_;
  std::atomic<uint32_t> flags_;
  Mutex position_mu_{LockRank::kOpenFilePosition};
  uint64_t position_ ABSL_GUARDED_BY(position_mu_) = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_FILE_H_
