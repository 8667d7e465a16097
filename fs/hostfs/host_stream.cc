#include "fs/hostfs/host_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "fs/hostfs/host_io.h"
#include "fs/hostfs/host_pages.h"

namespace remora::fs {
namespace {

constexpr uint32_t kAccessMode = O_ACCMODE;
constexpr uint64_t kPipeAtomicBytes = PIPE_BUF;
// What a terminal takes without waiting once it says that it is writable, where we cannot have it in non-blocking mode.
constexpr uint64_t kTerminalChunk = 256;

enum class Kind : uint8_t { kRegular, kPipe, kTerminal, kSocket, kOther };

// How a transfer is kept from blocking.
enum class Mode : uint8_t {
  kNonblocking,  // the description has O_NONBLOCK
  kNowait,       // RWF_NOWAIT, with poll first where the host turns out not to know it
  kNeverBlocks,  // regular files
};

sync::Events PollNow(int fd, sync::Events interest) {
  pollfd p{.fd = fd, .events = static_cast<short>(interest & 0x7fff), .revents = 0};
  while (poll(&p, 1, 0) < 0) {
    if (errno != EINTR) return 0;
  }
  return static_cast<sync::Events>(static_cast<unsigned short>(p.revents));
}

std::string HostName(int fd) {
  char link[64], name[PATH_MAX];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, name, sizeof(name));
  return n > 0 ? std::string(name, static_cast<size_t>(n)) : std::string("host:[") + std::to_string(fd) + "]";
}

// Another open file description of what `fd` is open on, in non-blocking mode. Null where the host refuses.
Ref<HostFd> OpenAgainNonblocking(int fd, uint32_t flags) {
  char link[64];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const int again = open(link, static_cast<int>(flags & kAccessMode) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return again < 0 ? nullptr : MakeRef<HostFd>(again);
}

// Has the FIFO that `fd` reads never had a writer? tee(2) tells without taking anything: 0 without a writer, EAGAIN
// where one is there but no data.
bool HasNoWriterYet(int fd) {
  if ((PollNow(fd, sync::kReadable) & (sync::kReadable | sync::kHangup)) != 0) return false;
  int scratch[2];
  if (pipe2(scratch, O_CLOEXEC | O_NONBLOCK) < 0) return false;
  const ssize_t n = tee(fd, scratch[1], 1, SPLICE_F_NONBLOCK);
  close(scratch[0]);
  close(scratch[1]);
  return n == 0;
}

// What fstat of an inherited descriptor shows: the host's answer, always asked afresh.
class HostStreamInode final : public Inode {
 public:
  HostStreamInode(const HostStreamContext& context, Ref<HostFd> fd, uint32_t type, uint64_t number,
                  Ref<HostTerminal> terminal)
      : context_(context),
        files_(context.anonymous_files),
        fd_(std::move(fd)),
        type_(type),
        number_(number),
        terminal_(std::move(terminal)) {}

  FileSystem& file_system() const override { return *files_; }
  uint64_t number() const override { return number_; }
  uint32_t type() const override { return type_; }
  ErrnoOr<Attributes> GetAttributes() override {
    struct statx status;
    if (statx(fd_->get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &status) < 0) return Errno(errno);
    return host_io::ToAttributes(status);
  }
  ErrnoOr<void> Truncate(uint64_t size_bytes) override {
    if (ftruncate(fd_->get(), static_cast<off_t>(size_bytes)) < 0) return Errno(errno);
    return Ok();
  }
  // /dev/stdin, /proc/self/fd/0: a description of its own where the host allows one, else the same once more.
  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override {
    REMORA_ASSIGN_OR_RETURN(const uint32_t had, HostStreamFlags(fd_->get()));
    const uint32_t mode = flags & kAccessMode, had_mode = had & kAccessMode;
    if (had_mode != O_RDWR && mode != had_mode) return Errno(EACCES);
    Ref<HostFd> fd = OpenAgainNonblocking(fd_->get(), flags);
    return MakeNamedHostStream(context_, fd ? std::move(fd) : fd_, flags, terminal_, Ref<Inode>(this), path);
  }

 private:
  const HostStreamContext context_;
  const Ref<AnonymousFiles> files_;
  const Ref<HostFd> fd_;
  const uint32_t type_;
  const uint64_t number_;
  const Ref<HostTerminal> terminal_;
};

class HostStreamFile final : public File {
 public:
  HostStreamFile(const HostStreamContext& context, Ref<HostFd> fd, uint32_t flags, Ref<HostTerminal> terminal,
                 Ref<Inode> inode, const Path& path, Kind kind, bool wait_for_writer)
      : File(std::move(inode), path, flags),
        context_(context),
        fd_(std::move(fd)),
        kind_(kind),
        terminal_(kind == Kind::kTerminal ? std::move(terminal) : nullptr),
        waits_for_writer_(wait_for_writer && kind == Kind::kPipe && (flags & (kAccessMode | O_NONBLOCK)) == O_RDONLY) {
    const int host_flags = fcntl(fd_->get(), F_GETFL);
    if (kind_ == Kind::kRegular) {
      mode_ = Mode::kNeverBlocks;
    } else if (host_flags >= 0 && (host_flags & O_NONBLOCK) != 0) {
      mode_ = Mode::kNonblocking;
    } else if (kind_ == Kind::kPipe || kind_ == Kind::kTerminal) {
      if (Ref<HostFd> again = OpenAgainNonblocking(fd_->get(), flags)) {
        transfer_fd_ = std::move(again);
        mode_ = Mode::kNonblocking;
      }
    }
    if (!transfer_fd_) transfer_fd_ = fd_;
    if (kind_ == Kind::kRegular)
      reader_ = MakeRef<HostReader>(context_.read_pool, fd_, MakeRef<HostWindows>());
    else
      watch_ = context_.reactor->Add(transfer_fd_->get());
  }

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override {
    if (to.remaining() == 0 && kind_ != Kind::kSocket) return 0u;
    if (kind_ == Kind::kRegular) return TransferRegular(to, offset, /*read=*/true);
    uint64_t done = 0;
    while (to.remaining() != 0) {
      const auto n = ReadNow(to);
      if (!n.ok()) {
        if (done != 0) break;
        if (n.error_number() == EAGAIN) context_.reactor->NotifyOnce(*watch_, sync::kReadable);
        return n.error();
      }
      done += *n;
      // Only a pipe may be asked again: a terminal would give a second line, a socket a second datagram.
      if (*n == 0 || kind_ != Kind::kPipe || mode_ != Mode::kNonblocking) break;
    }
    return done;
  }

  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) override {
    if (kind_ == Kind::kRegular) return TransferRegular(from, offset, /*read=*/false);
    uint64_t done = 0;
    do {
      const auto n = WriteNow(from);
      if (!n.ok()) {
        if (done != 0) break;
        if (n.error_number() == EAGAIN) context_.reactor->NotifyOnce(*watch_, sync::kWritable);
        return n.error();
      }
      done += *n;
      if (*n == 0 || kind_ == Kind::kSocket) break;
    } while (from.remaining() != 0);
    return done;
  }

  ErrnoOr<uint64_t> Append(mm::IoBuffer& from, uint64_t* end) override {
    if (kind_ != Kind::kRegular) return File::Append(from, end);
    uint64_t done = 0;
    while (from.remaining() != 0) {
      const int rwf = (fcntl(fd_->get(), F_GETFL) & O_APPEND) != 0 ? 0 : RWF_APPEND;
      const auto n = host_io::WriteOnce(fd_->get(), from, UINT64_MAX, host_io::kCurrentPosition, rwf);
      if (!n.ok()) {
        if (done != 0) break;
        return n.error();
      }
      done += *n;
      if (*n == 0) break;
    }
    const off_t at = lseek(fd_->get(), 0, SEEK_CUR);
    *end = at < 0 ? 0 : static_cast<uint64_t>(at);
    expected_position_.store(*end, std::memory_order_relaxed);
    return done;
  }

  bool open_pending() override {
    if (!waits_for_writer_.load(std::memory_order_relaxed)) return false;
    if (HasNoWriterYet(fd_->get())) {
      context_.reactor->NotifyLater(*watch_, kAskAgainMillis);
      return true;
    }
    waits_for_writer_.store(false, std::memory_order_relaxed);
    return false;
  }

  bool seekable() const override { return kind_ == Kind::kRegular; }
  ErrnoOr<uint64_t> SizeForSeek() override {
    if (kind_ != Kind::kRegular) return Errno(ESPIPE);
    struct stat status;
    if (fstat(fd_->get(), &status) < 0) return Errno(errno);
    return static_cast<uint64_t>(status.st_size);
  }
  ErrnoOr<void> CheckTerminalRead(TerminalCaller& caller) override {
    return terminal_ ? terminal_->CheckRead(caller) : Ok();
  }

  ErrnoOr<uint64_t> Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument) override {
    if (terminal_) return terminal_->Ioctl(context, request, argument);
    if (request == FIONREAD && kind_ != Kind::kOther) {
      int available = 0;
      if (ioctl(fd_->get(), FIONREAD, &available) < 0) return Errno(errno);
      REMORA_RETURN_IF_ERROR(context.memory.Write<int32_t>(GuestAddr(argument), available));
      return 0u;
    }
    return Errno(ENOTTY);
  }
  ErrnoOr<Ref<mm::Mappable>> Mappable() override {
    if (kind_ != Kind::kRegular || context_.memory == nullptr) return Errno(ENODEV);
    MutexLock lock(&mu_);
    if (!pages_) {
      REMORA_ASSIGN_OR_RETURN(const Attributes a, inode()->GetAttributes());
      pages_ = MakeRef<mm::FilePages>(
          context_.memory,
          std::make_unique<HostPageBacking>(context_.read_pool, fd_, Ref<HostWindows>(&reader_->windows())),
          mm::Mappable::Description{a.device_major, a.device_minor, a.inode_number, DescribePath()});
    }
    return Ref<mm::Mappable>(pages_);
  }
  ErrnoOr<void> Truncate(uint64_t size_bytes) override {
    if (kind_ != Kind::kRegular) return Errno(EINVAL);
    return inode()->Truncate(size_bytes);
  }
  ErrnoOr<void> Sync() override {
    Ref<mm::FilePages> pages;
    {
      MutexLock lock(&mu_);
      pages = pages_;
    }
    if (pages) REMORA_RETURN_IF_ERROR(pages->Sync());
    if (fsync(fd_->get()) < 0) return Errno(errno);
    return Ok();
  }

  sync::Events Readiness(sync::Events interest) override {
    if (kind_ == Kind::kRegular) return File::Readiness(interest);
    const sync::Events ready = PollNow(fd_->get(), interest);
    const sync::Events missing =
        interest & ~ready & (sync::kReadable | sync::kWritable | sync::kPriority | sync::kReadHangup);
    if (missing != 0) context_.reactor->NotifyOnce(*watch_, missing);
    return ready & (interest | sync::kError | sync::kHangup);
  }
  sync::WaitQueue* wait_queue() override { return watch_ ? &watch_->queue() : reader_->arrivals(); }
  bool WatchEdges() override { return watch_ && context_.reactor->WatchEdges(*watch_); }
  std::string DescribePath() const override { return path().mount ? File::DescribePath() : HostName(fd_->get()); }
  void OnLastClose() override {
    if (watch_) context_.reactor->Remove(*watch_);
    Ref<mm::FilePages> pages;
    {
      MutexLock lock(&mu_);
      pages = std::move(pages_);
    }
    if (pages) (void)pages->Sync().ok();
  }

  // A regular file's position is the host's, so that other host processes with the same description go on where the
  // guest stopped.
  uint64_t position() const override {
    if (kind_ != Kind::kRegular) return 0;
    const off_t at = lseek(fd_->get(), 0, SEEK_CUR);
    const uint64_t position = at < 0 ? 0 : static_cast<uint64_t>(at);
    asked_position_.store(position, std::memory_order_relaxed);
    return position;
  }
  void set_position(uint64_t p) override {
    asked_position_.store(kNone, std::memory_order_relaxed);
    // The transfer before moved the host's position itself; setting it now could undo what another process moved since.
    if (expected_position_.exchange(kNone, std::memory_order_relaxed) == p) return;
    if (kind_ == Kind::kRegular) lseek(fd_->get(), static_cast<off_t>(p), SEEK_SET);
  }

 private:
  static constexpr uint64_t kNone = ~uint64_t{0};
  static constexpr uint32_t kAskAgainMillis = 20;

  // At the position that position() just told: by the host's own position, in one step, so that writers that share it
  // do not overwrite each other. Elsewhere (pread, pwrite): by offset.
  ErrnoOr<uint64_t> TransferRegular(mm::IoBuffer& buffer, uint64_t offset, bool read) {
    const bool at_position = asked_position_.exchange(kNone, std::memory_order_relaxed) == offset;
    if (read) return reader_->ReadAt(buffer, offset);  // set_position moves the host's position
    if (!at_position) return host_io::WriteAt(fd_->get(), buffer, offset);
    uint64_t done = 0;
    while (buffer.remaining() != 0) {
      const uint64_t before = buffer.remaining();
      const auto n = host_io::WriteOnce(fd_->get(), buffer, UINT64_MAX, host_io::kCurrentPosition);
      if (!n.ok()) {
        if (done != 0) break;
        return n.error();
      }
      done += *n;
      if (*n == 0 || before == *n) break;
    }
    expected_position_.store(offset + done, std::memory_order_relaxed);
    return done;
  }

  ErrnoOr<uint64_t> ReadNow(mm::IoBuffer& to) {
    const int fd = transfer_fd_->get();
    if (kind_ == Kind::kSocket) return SocketTransfer(to, /*read=*/true);
    if (mode_ == Mode::kNonblocking) return host_io::ReadOnce(fd, to, UINT64_MAX, host_io::kCurrentPosition);
    if (nowait_works_.load(std::memory_order_relaxed)) {
      const auto n = host_io::ReadOnce(fd, to, UINT64_MAX, host_io::kCurrentPosition, RWF_NOWAIT);
      if (n.ok() || !IsUnsupported(n.error_number())) return n;
      nowait_works_.store(false, std::memory_order_relaxed);
    }
    if (PollNow(fd, sync::kReadable) == 0) return Errno(EAGAIN);
    int available = 0;
    if (kind_ == Kind::kOther || ioctl(fd, FIONREAD, &available) < 0) return host_io::ReadOnce(fd, to, UINT64_MAX, -1);
    return host_io::ReadOnce(fd, to, static_cast<uint64_t>(std::max(available, 1)), host_io::kCurrentPosition);
  }

  ErrnoOr<uint64_t> WriteNow(mm::IoBuffer& from) {
    const int fd = transfer_fd_->get();
    if (kind_ == Kind::kSocket) return SocketTransfer(from, /*read=*/false);
    if (mode_ == Mode::kNonblocking) return WriteAtomically(from, UINT64_MAX, 0);
    if (kind_ != Kind::kTerminal && nowait_works_.load(std::memory_order_relaxed)) {
      const auto n = WriteAtomically(from, UINT64_MAX, RWF_NOWAIT);
      if (n.ok() || !IsUnsupported(n.error_number())) return n;
      nowait_works_.store(false, std::memory_order_relaxed);
    }
    if ((PollNow(fd, sync::kWritable) & (sync::kWritable | sync::kError | sync::kHangup)) == 0) return Errno(EAGAIN);
    if (kind_ == Kind::kOther) return host_io::WriteOnce(fd, from, UINT64_MAX, host_io::kCurrentPosition);
    return WriteAtomically(from, kind_ == Kind::kPipe ? kPipeAtomicBytes : kTerminalChunk, 0);
  }

  // One host call. What is at most PIPE_BUF long goes whole, however many pieces it has: a pipe must not see it split.
  ErrnoOr<uint64_t> WriteAtomically(mm::IoBuffer& from, uint64_t max_bytes, int rwf_flags) {
    const int fd = transfer_fd_->get();
    const uint64_t length = from.remaining();
    if (length <= kPipeAtomicBytes && length <= max_bytes && kind_ == Kind::kPipe) {
      iovec few[host_io::kMaxPieces];
      REMORA_ASSIGN_OR_RETURN(uint32_t count, from.Gather(few, length));
      uint64_t gathered = 0;
      for (uint32_t i = 0; i < count; ++i) gathered += few[i].iov_len;
      if (gathered < length && count == host_io::kMaxPieces) {
        std::vector<iovec> many(IOV_MAX);
        REMORA_ASSIGN_OR_RETURN(count, from.Gather(many, length));
        REMORA_ASSIGN_OR_RETURN(const uint64_t n, host_io::WriteVector(fd, std::span(many.data(), count),
                                                                       host_io::kCurrentPosition, rwf_flags));
        from.Advance(n);
        return n;
      }
      REMORA_ASSIGN_OR_RETURN(const uint64_t n,
                              host_io::WriteVector(fd, std::span(few, count), host_io::kCurrentPosition, rwf_flags));
      from.Advance(n);
      return n;
    }
    return host_io::WriteOnce(fd, from, max_bytes, host_io::kCurrentPosition, rwf_flags);
  }

  ErrnoOr<uint64_t> SocketTransfer(mm::IoBuffer& buffer, bool read) {
    iovec pieces[host_io::kMaxPieces];
    REMORA_ASSIGN_OR_RETURN(const uint32_t count, buffer.Gather(pieces, 0x7ffff000));
    msghdr message = {};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    while (true) {
      // syscall(2): see host_io.h.
      const long n = read ? syscall(SYS_recvmsg, fd_->get(), &message, MSG_DONTWAIT)
                          : syscall(SYS_sendmsg, fd_->get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n >= 0) {
        buffer.Advance(static_cast<uint64_t>(n));
        return static_cast<uint64_t>(n);
      }
      if (errno != EINTR) return Errno(errno);
    }
  }

  static bool IsUnsupported(int error) { return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL; }

  const HostStreamContext context_;
  const Ref<HostFd> fd_;
  Ref<HostFd> transfer_fd_;  // another description of the same object, or fd_
  const Kind kind_;
  Mode mode_ = Mode::kNowait;
  const Ref<HostTerminal> terminal_;
  // One of them is null: regular files are read, the others watched.
  Ref<HostReader> reader_;
  Ref<HostWatch> watch_;
  std::atomic<bool> nowait_works_{true};
  std::atomic<bool> waits_for_writer_;
  // What position() told last and no transfer has used yet; where the host's position stands after one that did.
  mutable std::atomic<uint64_t> asked_position_{kNone};
  std::atomic<uint64_t> expected_position_{kNone};
  Mutex mu_{LockRank::kLeaf};
  Ref<mm::FilePages> pages_ ABSL_GUARDED_BY(mu_);
};

Kind KindOf(int fd, uint32_t type) {
  switch (type) {
    case S_IFREG:
    case S_IFBLK:
    case S_IFDIR:  // reads answer EISDIR
      return Kind::kRegular;
    case S_IFIFO:
      return Kind::kPipe;
    case S_IFSOCK:
      return Kind::kSocket;
    case S_IFCHR:
      return isatty(fd) != 0 ? Kind::kTerminal : Kind::kOther;
    default:
      return Kind::kOther;
  }
}

}  // namespace

ErrnoOr<uint32_t> HostStreamFlags(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return Errno(errno);
  return static_cast<uint32_t>(flags) & (kAccessMode | O_APPEND | O_NONBLOCK);
}

ErrnoOr<Ref<File>> MakeNamedHostStream(const HostStreamContext& context, Ref<HostFd> fd, uint32_t flags,
                                       Ref<HostTerminal> terminal, Ref<Inode> inode, const Path& path,
                                       bool wait_for_writer) {
  struct stat status;
  if (fstat(fd->get(), &status) < 0) return Errno(errno);
  const Kind kind = KindOf(fd->get(), status.st_mode & S_IFMT);
  return Ref<File>(MakeRef<HostStreamFile>(context, std::move(fd), flags, std::move(terminal), std::move(inode), path,
                                           kind, wait_for_writer));
}

ErrnoOr<Ref<File>> MakeHostStream(const HostStreamContext& context, Ref<HostFd> fd, uint32_t flags,
                                  Ref<HostTerminal> terminal) {
  struct stat status;
  if (fstat(fd->get(), &status) < 0) return Errno(errno);
  Ref<Inode> inode = MakeRef<HostStreamInode>(context, fd, status.st_mode & S_IFMT, status.st_ino, terminal);
  return MakeNamedHostStream(context, std::move(fd), flags, std::move(terminal), std::move(inode), Path());
}

}  // namespace remora::fs
