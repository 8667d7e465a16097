// open, openat, openat2, creat.

#include <string>
#include <string_view>
#include <utility>

#include "base/abi/fcntl.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

// What open(2) looks at; it ignores other bits, openat2(2) refuses them.
constexpr uint32_t kKnownOpenFlags = abi::kO_ACCMODE | abi::kO_CREAT | abi::kO_EXCL | abi::kO_NOCTTY | abi::kO_TRUNC |
                                     abi::kO_APPEND | abi::kO_NONBLOCK | abi::kO_SYNC | abi::kO_ASYNC | abi::kO_DIRECT |
                                     abi::kO_LARGEFILE | abi::kO_DIRECTORY | abi::kO_NOFOLLOW | abi::kO_NOATIME |
                                     abi::kO_CLOEXEC | abi::kO_PATH | abi::kO_TMPFILE;

// What is to be opened, copied in and checked.
struct OpenRequest {
  std::string path;
  fs::WalkContext walk;
  uint32_t flags = 0;  // the guest's
  fs::Vfs::OpenOptions options;
};

// Either a FIFO of ours that waits for its other end (file), or an open that has to be tried again now and then (no
// file): a host's FIFO that nobody reads yet, a file that is copied up from a slow disk.
struct OpenState : FileWait {
  OpenState(proc::Task* task, Ref<fs::File> file, bool cloexec)
      : FileWait(task, std::move(file)), close_on_exec(cloexec) {}
  OpenState(proc::Task* task, OpenRequest what) : FileWait(task, nullptr), request(std::move(what)) {}
  bool close_on_exec = false;
  OpenRequest request;
};
constexpr int64_t kRetryNanos = 20'000'000;

// A FIFO waits for its other end; everything else is complete at once.
SyscallOutcome Finish(SyscallContext& c, Ref<fs::File> file, bool close_on_exec) {
  if (file->open_pending()) {
    auto* state = c.state<OpenState>();
    if (state == nullptr || !state->file) state = &c.MakeState<OpenState>(&c.task(), file, close_on_exec);
    SyscallContext::Arm(state->waiter, *file, sync::kAllEvents);
    if (file->open_pending()) return c.Park();
  }
  return c.AddFd(std::move(file), close_on_exec);
}

SyscallOutcome TryOpen(SyscallContext& c, const OpenRequest& request) {
  ErrnoOr<Ref<fs::File>> file = c.vfs().Open(request.walk, request.path, request.options);
  if (!file.ok() && file.error_number() == EAGAIN && (request.flags & abi::kO_NONBLOCK) == 0) {
    if (c.state<OpenState>() == nullptr) c.MakeState<OpenState>(&c.task(), request);
    if (sync::WaitQueue* arrivals = c.kernel().memory().page_arrivals)
      c.task().memory_wait = std::make_unique<proc::MemoryWait>(&c.task(), *arrivals);
    return c.Park(Interrupted::kRestart, c.MonotonicNanos() + kRetryNanos);
  }
  if (!file.ok()) return file.error();
  return Finish(c, *std::move(file), (request.flags & abi::kO_CLOEXEC) != 0);
}

// A later run of any open: nothing of the guest's is read again.
SyscallOutcome Resume(SyscallContext& c, OpenState& state) {
  if (state.file) return Finish(c, state.file, state.close_on_exec);
  const OpenRequest request = state.request;  // the state may be replaced
  return TryOpen(c, request);
}

SyscallOutcome Open(SyscallContext& c, int32_t dirfd, int path_arg, uint32_t flags, uint32_t mode, uint64_t resolve) {
  if (auto* state = c.state<OpenState>()) return Resume(c, *state);
  OpenRequest request;
  REMORA_ASSIGN_OR_RETURN(request.path, c.PathArg(path_arg));
  if (request.path.empty()) return Errno(ENOENT);  // whatever dirfd is
  // RESOLVE_IN_ROOT makes a root of dirfd for absolute paths too.
  const bool from_dirfd = (resolve & abi::kRESOLVE_IN_ROOT) != 0;
  REMORA_ASSIGN_OR_RETURN(request.walk, c.WalkFrom(dirfd, from_dirfd ? std::string_view(".") : request.path));
  request.flags = flags;
  request.options.flags = flags & kKnownOpenFlags;
  if ((flags & abi::kO_PATH) == 0) request.options.flags |= abi::kO_LARGEFILE;
  if ((flags & (abi::kO_CREAT | abi::kO_TMPFILE_BIT)) != 0) request.options.permissions = c.ApplyUmask(mode & 07777);
  request.options.resolve = resolve;
  return TryOpen(c, request);
}

}  // namespace

SyscallOutcome SysOpen(SyscallContext& c) { return Open(c, abi::kAT_FDCWD, 0, c.u32(1), c.u32(2), 0); }
SyscallOutcome SysOpenat(SyscallContext& c) { return Open(c, c.i32(0), 1, c.u32(2), c.u32(3), 0); }
SyscallOutcome SysCreat(SyscallContext& c) {
  return Open(c, abi::kAT_FDCWD, 0, abi::kO_CREAT | abi::kO_WRONLY | abi::kO_TRUNC, c.u32(1), 0);
}

SyscallOutcome SysOpenat2(SyscallContext& c) {
  if (auto* state = c.state<OpenState>()) return Resume(c, *state);
  const uint64_t size = c.arg(3);
  if (size < sizeof(abi::OpenHow)) return Errno(EINVAL);
  if (size > kPageSize) return Errno(E2BIG);
  REMORA_ASSIGN_OR_RETURN(const auto how, c.memory().Read<abi::OpenHow>(c.addr(2)));
  // A longer struct of a later kernel is fine as long as it asks for nothing new.
  for (uint64_t offset = sizeof(abi::OpenHow); offset < size; ++offset) {
    REMORA_ASSIGN_OR_RETURN(const uint8_t byte, c.memory().Read<uint8_t>(c.addr(2) + offset));
    if (byte != 0) return Errno(E2BIG);
  }
  constexpr uint64_t kResolve = abi::kRESOLVE_NO_XDEV | abi::kRESOLVE_NO_MAGICLINKS | abi::kRESOLVE_NO_SYMLINKS |
                                abi::kRESOLVE_BENEATH | abi::kRESOLVE_IN_ROOT | abi::kRESOLVE_CACHED;
  const bool creates = (how.flags & (abi::kO_CREAT | abi::kO_TMPFILE_BIT)) != 0;
  if ((how.flags & ~uint64_t{kKnownOpenFlags}) != 0 || (how.resolve & ~kResolve) != 0) return Errno(EINVAL);
  if ((how.mode & ~uint64_t{07777}) != 0 || (how.mode != 0 && !creates)) return Errno(EINVAL);
  if ((how.resolve & abi::kRESOLVE_BENEATH) != 0 && (how.resolve & abi::kRESOLVE_IN_ROOT) != 0) return Errno(EINVAL);
  return Open(c, c.i32(0), 1, static_cast<uint32_t>(how.flags), static_cast<uint32_t>(how.mode), how.resolve);
}

}  // namespace remora::syscalls
