#include "fs/tty/host_terminal.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>
#include <span>

namespace remora::fs {
namespace {

// Sizes of the kernel's structs (asm-generic/termbits.h, asm/termios.h), which glibc's differ from.
constexpr uint32_t kTermioBytes = 18, kTermiosBytes = 36, kTermios2Bytes = 44, kWinsizeBytes = 8;
constexpr uint32_t kTcgets2 = 0x802c542a, kTcsets2 = 0x402c542b;
constexpr uint32_t kMaxBytes = 64;

}  // namespace

RestoreTerminal::RestoreTerminal(int fd) : fd_(fd) { valid_ = tcgetattr(fd_, &original_) == 0; }

void RestoreTerminal::Restore() {
  if (!valid_ || !changed_.exchange(false, std::memory_order_relaxed)) return;
  const int saved_errno = errno;
  // From a background group tcsetattr would stop Remora.
  sigset_t block, before;
  sigemptyset(&block);
  sigaddset(&block, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &block, &before);
  tcsetattr(fd_, TCSANOW, &original_);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = saved_errno;
}

HostTerminal::HostTerminal(Ref<HostFd> fd, TerminalSessions* sessions)
    : Terminal(sessions), fd_(std::move(fd)), restore_(fd_->get()) {
  char name[256];
  if (ttyname_r(fd_->get(), name, sizeof(name)) == 0) host_name_ = name;
  struct stat status;
  if (fstat(fd_->get(), &status) == 0) {
    device_major_ = major(status.st_rdev);
    device_minor_ = minor(status.st_rdev);
  }
}

ErrnoOr<uint64_t> HostTerminal::Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument) {
  switch (request) {
    case TCGETS:
      return GetBytes(context, request, argument, kTermiosBytes);
    case kTcgets2:
      return GetBytes(context, request, argument, kTermios2Bytes);
    case TCGETA:
      return GetBytes(context, request, argument, kTermioBytes);
    case TIOCGWINSZ:
      return GetBytes(context, request, argument, kWinsizeBytes);
    case FIONREAD:
    case TIOCOUTQ:
      return GetBytes(context, request, argument, sizeof(int32_t));
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
      return SetSettings(context, request, argument, kTermiosBytes);
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
      return SetSettings(context, request, argument, kTermioBytes);
    case kTcsets2:
    case kTcsets2 + 1:
    case kTcsets2 + 2:
      return SetSettings(context, request, argument, kTermios2Bytes);
    case TIOCSWINSZ: {
      std::byte size[kWinsizeBytes];
      REMORA_RETURN_IF_ERROR(context.memory.CopyIn(size, GuestAddr(argument)));
      if (ioctl(fd_->get(), TIOCSWINSZ, size) < 0) return Errno(errno);
      return 0u;
    }
    case TCSBRK:
    case TCSBRKP:
    case TCXONC:
    case TCFLSH: {
      REMORA_RETURN_IF_ERROR(CheckChange(context));
      if (ioctl(fd_->get(), request, argument) < 0) return Errno(errno);
      return 0u;
    }
    default:
      if (const auto done = JobControl(context, request, argument, /*from_outside=*/false, /*may_read=*/true))
        return *done;
      return Errno(ENOTTY);
  }
}

ErrnoOr<uint64_t> HostTerminal::GetBytes(const IoctlContext& context, uint32_t request, uint64_t argument,
                                         uint32_t num_bytes) {
  std::byte bytes[kMaxBytes] = {};
  if (ioctl(fd_->get(), request, bytes) < 0) return Errno(errno);
  REMORA_RETURN_IF_ERROR(context.memory.CopyOut(GuestAddr(argument), std::span(bytes).first(num_bytes)));
  return 0u;
}

ErrnoOr<uint64_t> HostTerminal::SetSettings(const IoctlContext& context, uint32_t request, uint64_t argument,
                                            uint32_t num_bytes) {
  REMORA_RETURN_IF_ERROR(CheckChange(context));
  std::byte bytes[kMaxBytes] = {};
  REMORA_RETURN_IF_ERROR(context.memory.CopyIn(std::span(bytes).first(num_bytes), GuestAddr(argument)));
  restore_.NoteChanged();
  if (ioctl(fd_->get(), request, bytes) < 0) return Errno(errno);
  return 0u;
}

}  // namespace remora::fs
