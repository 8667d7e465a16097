#include "fs/file.h"

#include <fcntl.h>

#include <string>
#include <utility>

#include "base/abi/inotify.h"
#include "fs/dentry_cache.h"
#include "fs/mount.h"
#include "fs/watch_events.h"

namespace remora::fs {

namespace {

// Values of x86-64's fcntl.h, which the host shares.
constexpr uint32_t kChangeableFlags =
    O_APPEND | O_NONBLOCK | O_ASYNC | 040000 /* O_DIRECT */ | 01000000 /* O_NOATIME */;
constexpr uint32_t kPathOnly = 010000000;  // O_PATH

bool OpenedForReading(uint32_t flags) {
  return (flags & kPathOnly) == 0 && ((flags & O_ACCMODE) == O_RDONLY || (flags & O_ACCMODE) == O_RDWR);
}
bool OpenedForWriting(uint32_t flags) {
  return (flags & kPathOnly) == 0 && ((flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR);
}

}  // namespace

File::File(Ref<Inode> inode, Path path, uint32_t flags)
    : inode_(std::move(inode)),
      path_(std::move(path)),
      readable_(OpenedForReading(flags)),
      writable_(OpenedForWriting(flags)),
      flags_(flags & ~uint32_t{O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_CLOEXEC}) {
  if (path_.dentry) path_.dentry->AddOpen();
}

File::~File() {
  if (FileWatchers* watchers = watchers_.load(std::memory_order_acquire)) watchers->Release();
}

Ref<FileWatchers> File::watchers() {
  FileWatchers* watchers = watchers_.load(std::memory_order_acquire);
  if (watchers == nullptr) {
    Ref<FileWatchers> fresh = MakeRef<FileWatchers>();
    // Another thread may be faster: `watchers` is its list then.
    if (watchers_.compare_exchange_strong(watchers, fresh.get(), std::memory_order_acq_rel)) watchers = fresh.release();
  }
  return Ref<FileWatchers>(watchers);
}

void File::OnLastRelease() {
  if (FileWatchers* watchers = watchers_.load(std::memory_order_acquire)) watchers->DetachAll();
  if (FileLocks* locks = inode_ ? inode_->file_locks.GetIfAny() : nullptr) locks->ReleaseOwner(this);
  OnLastClose();
  if (const Dentry* dentry = path_.dentry.get()) {
    path_.dentry->DropOpen();
    if ((flags() & kPathOnly) == 0) Tell(*dentry, writable_ ? abi::kIN_CLOSE_WRITE : abi::kIN_CLOSE_NOWRITE);
    TellIfGone(*dentry);
  }
  if (alive_ != nullptr) alive_->OnDropped(this);
  if (sync::Reclaimer* reclaimer = reclaimer_.load(std::memory_order_acquire))
    reclaimer->Retire(static_cast<File*>(this), [](void* file) { delete static_cast<File*>(file); });
  else
    delete this;
}

ErrnoOr<uint64_t> File::Append(mm::IoBuffer&, uint64_t*) { return Errno(ESPIPE); }
ErrnoOr<uint64_t> File::SizeForSeek() { return Errno(ESPIPE); }
ErrnoOr<void> File::ReadDirectory(uint64_t, absl::FunctionRef<bool(const DirectoryEntry&)>) { return Errno(ENOTDIR); }
ErrnoOr<uint64_t> File::Ioctl(const IoctlContext&, uint32_t, uint64_t) { return Errno(ENOTTY); }
ErrnoOr<Ref<File>> File::OpenPeer(uint32_t) { return Errno(ENOTTY); }
ErrnoOr<Ref<mm::Mappable>> File::Mappable() { return Errno(ENODEV); }
ErrnoOr<void> File::Truncate(uint64_t) { return Errno(EINVAL); }
ErrnoOr<void> File::Allocate(int, uint64_t, uint64_t) { return Errno(EOPNOTSUPP); }
ErrnoOr<void> File::Sync() { return Errno(EINVAL); }
ErrnoOr<uint32_t> File::Seals() { return Errno(EINVAL); }
ErrnoOr<void> File::AddSeals(uint32_t) { return Errno(EINVAL); }
ErrnoOr<uint64_t> File::PipeCapacity() { return Errno(EBADF); }
ErrnoOr<uint64_t> File::SetPipeCapacity(uint64_t) { return Errno(EBADF); }

sync::Events File::Readiness(sync::Events interest) { return interest & (sync::kReadable | sync::kWritable); }

// The name within the whole tree of mounts, whoever asks: Vfs::NameOf knows a caller's root.
std::string File::DescribePath() const {
  if (!path_) return "anon_inode:[unknown]";
  std::string name;
  const Mount* mount = path_.mount.get();
  const Dentry* dentry = path_.dentry.get();
  while (true) {
    std::string part;
    dentry->cache().AppendPath(*mount->root(), *dentry, &part);
    name.insert(0, part);
    if (!mount->parent()) break;
    dentry = mount->mountpoint().get();
    mount = mount->parent().get();
  }
  if (name.empty()) name = "/";
  if (path_.dentry->deleted()) name += " (deleted)";
  return name;
}

void File::SetStatusFlags(uint32_t flags) {
  uint32_t old = flags_.load(std::memory_order_relaxed);
  while (!flags_.compare_exchange_weak(old, (old & ~kChangeableFlags) | (flags & kChangeableFlags),
                                       std::memory_order_relaxed)) {
  }
}

bool File::nonblocking() const { return (flags() & O_NONBLOCK) != 0; }
bool File::append() const { return (flags() & O_APPEND) != 0; }

}  // namespace remora::fs
