#ifndef REMORA_FS_TTY_HOST_TERMINAL_H_
#define REMORA_FS_TTY_HOST_TERMINAL_H_

#include <termios.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/hostfs/host_fd.h"
#include "fs/tty/job_control.h"

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
// the host's line discipline; whose terminal it is and which process group is in the foreground is the guest's own
// business (fs/tty/job_control.h), for host and guest know different groups. Ctrl-C at the host arrives as a signal to
// Remora, and the runner passes it on to the foreground group.
//
// Difference from Linux: no TIOCSTI.
// Thread safety: all methods from any thread.
class HostTerminal final : public Terminal {
 public:
  // `fd`: a terminal (isatty), open for reading and writing where the host allows. `sessions` outlives it.
  HostTerminal(Ref<HostFd> fd, TerminalSessions* sessions);

  // ENOTTY for what it does not know.
  ErrnoOr<uint64_t> Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument);

  const Ref<HostFd>& fd() const { return fd_; }
  // "/dev/pts/3"; empty where the host does not tell.
  const std::string& host_name() const { return host_name_; }
  uint32_t device_major() const override { return device_major_; }
  uint32_t device_minor() const override { return device_minor_; }
  // /dev/tty is a host stream: fs/devfs/devfs.cc opens it.
  ErrnoOr<Ref<File>> OpenAgain(Ref<Inode>, const Path&, uint32_t) override { return Errno(ENXIO); }
  RestoreTerminal& restore() { return restore_; }

 private:
  ErrnoOr<uint64_t> SetSettings(const IoctlContext& context, uint32_t request, uint64_t argument, uint32_t num_bytes);
  ErrnoOr<uint64_t> GetBytes(const IoctlContext& context, uint32_t request, uint64_t argument, uint32_t num_bytes);

  const Ref<HostFd> fd_;
  std::string host_name_;
  uint32_t device_major_ = 0, device_minor_ = 0;
  RestoreTerminal restore_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_TTY_HOST_TERMINAL_H_
