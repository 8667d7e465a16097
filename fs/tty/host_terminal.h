#ifndef REMORA_FS_TTY_HOST_TERMINAL_H_
#define REMORA_FS_TTY_HOST_TERMINAL_H_

#include <termios.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/hostfs/host_fd.h"
#include "fs/terminal_caller.h"

namespace remora::fs {

// Puts a terminal back as it was found, however Remora ends. Constructed before the guest runs; Restore may be called
// from a signal handler, from atexit and from both.
// Thread safety: Restore is async-signal-safe and may run at any time after construction.
class RestoreTerminal {
 public:
  // Remembers the settings of `fd`, which is a terminal and stays open.
  explicit RestoreTerminal(int fd);
  void NoteChanged() { changed_.store(true, std::memory_order_relaxed); }
  // Does nothing where the guest changed nothing. Works from a background process group too.
  void Restore();

 private:
  const int fd_;
  struct termios original_;
  bool valid_ = false;
  std::atomic<bool> changed_{false};
};

// The terminal that Remora was started on, handed through to the guest: line editing, echo and special characters are
// the host's line discipline; which process group is in the foreground is the guest's own business and kept here, for
// host and guest know different groups. Ctrl-C at the host arrives as a signal to Remora, and the runner passes it on
// with SignalForeground.
//
// Differences from Linux: a read from a guest's background process group is not stopped with SIGTTIN (one would have to
// know the reader: see CheckRead, for the syscall layer); no TIOCSTI; no ptys: a line discipline of its own is not here
// yet.
// Thread safety: all methods from any thread.
class HostTerminal final : public RefCounted {
 public:
  // `fd`: a terminal (isatty), open for reading and writing where the host allows.
  explicit HostTerminal(Ref<HostFd> fd);

  // ENOTTY for what it does not know. TIOCSPGRP from the background answers kRestartSys (512) after raising SIGTTOU.
  ErrnoOr<uint64_t> Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument);

  // Whose controlling terminal it is, and the group in the foreground: the runner sets it for the first process.
  void SetSession(int32_t session, int32_t foreground_group);
  int32_t session() const;
  int32_t foreground_group() const;  // 0: none

  // What the host's SIGINT, SIGQUIT, SIGTSTP, SIGWINCH become.
  void SignalForeground(int signal, TerminalCaller& by);
  // Job control for a read: Ok, or SIGTTIN was raised and the read restarts (512), or EIO where SIGTTIN is ignored.
  ErrnoOr<void> CheckRead(TerminalCaller& caller);

  const Ref<HostFd>& fd() const { return fd_; }
  // "/dev/pts/3"; empty where the host does not tell.
  const std::string& host_name() const { return host_name_; }
  uint32_t device_major() const { return device_major_; }
  uint32_t device_minor() const { return device_minor_; }
  RestoreTerminal& restore() { return restore_; }

 private:
  ErrnoOr<uint64_t> SetSettings(const IoctlContext& context, uint32_t request, uint64_t argument, uint32_t num_bytes);
  ErrnoOr<uint64_t> GetBytes(const IoctlContext& context, uint32_t request, uint64_t argument, uint32_t num_bytes);
  ErrnoOr<uint64_t> SetForegroundGroup(const IoctlContext& context, uint64_t argument);
  ErrnoOr<uint64_t> SetControlling(const IoctlContext& context);
  ErrnoOr<uint64_t> GiveUp(const IoctlContext& context);
  // A change from a background group: raises SIGTTOU unless it is blocked or ignored.
  ErrnoOr<void> CheckChange(const IoctlContext& context);

  const Ref<HostFd> fd_;
  std::string host_name_;
  uint32_t device_major_ = 0, device_minor_ = 0;
  RestoreTerminal restore_;
  mutable Mutex mu_{LockRank::kTerminal};
  int32_t session_ ABSL_GUARDED_BY(mu_) = 0;
  int32_t foreground_group_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_TTY_HOST_TERMINAL_H_
