#include "fs/hostfs/host_file_system.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <utility>

#include "fs/hostfs/host_inode.h"
#include "fs/hostfs/host_key.h"

namespace remora::fs {

absl::StatusOr<Ref<HostFileSystem>> HostFileSystem::Create(Options options) {
  const int fd = open(options.directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    const int error = errno;
    const std::string message = options.directory + ": " + strerror(error);
    return error == ENOENT || error == ENOTDIR ? absl::NotFoundError(message) : absl::PermissionDeniedError(message);
  }
  Ref<HostFd> root_fd = MakeRef<HostFd>(fd);
  struct statx status;
  if (statx(fd, "", AT_EMPTY_PATH, kHostStatMask, &status) < 0)
    return absl::InternalError(options.directory + ": " + strerror(errno));
  // A quarter of all descriptors each for the inodes themselves and for files that were mapped.
  rlimit limit = {1024, 1024};
  getrlimit(RLIMIT_NOFILE, &limit);
  const auto quarter = [&](uint64_t most) {
    return static_cast<uint32_t>(std::clamp<uint64_t>(limit.rlim_cur / 4, 16, most));
  };
  const uint32_t max_cached_fds = options.max_cached_fds != 0 ? options.max_cached_fds : quarter(4096);
  return MakeRef<HostFileSystem>(std::move(options), std::move(root_fd), HostKeyOf(status), max_cached_fds,
                                 quarter(1024));
}

HostFileSystem::HostFileSystem(Options options, Ref<HostFd> root_fd, const Key& root_key, uint32_t max_cached_fds,
                               uint32_t max_inodes_with_pages)
    : options_(std::move(options)),
      root_fd_(std::move(root_fd)),
      root_key_(root_key),
      fds_(max_cached_fds),
      max_inodes_with_pages_(max_inodes_with_pages),
      inodes_(options_.reclaimer) {
  if (!options_.allow_openat2) opener_.DisableOpenat2();
}

Ref<Inode> HostFileSystem::root() {
  const sync::Reclaimer::ReadSection section(options_.reclaimer);
  return inodes_.GetOrCreate(
      root_key_, [&] { return MakeRef<HostInode>(Ref<HostFileSystem>(this), root_key_, nullptr, std::string()); });
}

FileSystem::Statistics HostFileSystem::GetStatistics() {
  Statistics statistics;
  struct statfs host;
  if (fstatfs(root_fd_->get(), &host) < 0) return statistics;
  statistics.magic = static_cast<uint64_t>(host.f_type);
  statistics.block_size = static_cast<uint64_t>(host.f_bsize);
  statistics.num_blocks = host.f_blocks;
  statistics.num_free_blocks = host.f_bavail;
  statistics.num_files = host.f_files;
  statistics.num_free_files = host.f_ffree;
  statistics.max_name_length = static_cast<uint64_t>(host.f_namelen);
  return statistics;
}

void HostFileSystem::Retire(HostInode* inode) {
  const Ref<HostFileSystem> alive(this);  // the inodes hold the last references
  inodes_.Remove(inode->key_, inode);
  {
    MutexLock lock(&mu_);
    ForgetPagesLocked(inode);
    retired_.push_back(inode);
    if (retiring_) return;
    retiring_ = true;
  }
  while (true) {
    HostInode* next;
    {
      MutexLock lock(&mu_);
      if (retired_.empty()) {
        retiring_ = false;
        return;
      }
      next = retired_.back();
      retired_.pop_back();
    }
    bool dirty = false;
    if (Ref<mm::FilePages> pages = next->PagesIfAny(&dirty); pages && dirty) (void)pages->Sync().ok();
    next->LetGo();  // may come back here for its parent, which then only queues it
    options_.reclaimer->Retire(next, [](void* retired) { delete static_cast<HostInode*>(retired); });
  }
}

void HostFileSystem::NotePagesLocked(HostInode* inode) {
  const auto [place, is_new] = places_.try_emplace(inode);
  if (is_new)
    place->second = with_pages_.insert(with_pages_.end(), inode);
  else
    with_pages_.splice(with_pages_.end(), with_pages_, place->second);
}

void HostFileSystem::ForgetPagesLocked(HostInode* inode) {
  const auto place = places_.find(inode);
  if (place == places_.end()) return;
  with_pages_.erase(place->second);
  places_.erase(place);
}

void HostFileSystem::NotePages(HostInode* inode) {
  {
    MutexLock lock(&mu_);
    NotePagesLocked(inode);
    if (with_pages_.size() <= max_inodes_with_pages_) return;
  }
  DropOldestPages(max_inodes_with_pages_);
}

size_t HostFileSystem::DropOldestPages(size_t most) {
  // A few each time: some may be mapped yet.
  constexpr size_t kMaxVictims = 8;
  std::vector<Ref<HostInode>> victims;
  {
    MutexLock lock(&mu_);
    while (with_pages_.size() > most && victims.size() < kMaxVictims) {
      HostInode* const oldest = with_pages_.front();
      ForgetPagesLocked(oldest);
      // Else it is on its way out.
      if (oldest->TryAddRef()) victims.push_back(Ref<HostInode>::Adopt(oldest));
    }
  }
  size_t num_dropped = 0;
  for (const Ref<HostInode>& victim : victims) {
    if (victim->DropPagesIfIdle()) {
      ++num_dropped;
      continue;
    }
    MutexLock lock(&mu_);
    NotePagesLocked(victim.get());
  }
  return num_dropped;
}

bool HostFileSystem::CloseIdle() {
  size_t num_with_pages;
  {
    MutexLock lock(&mu_);
    num_with_pages = with_pages_.size();
  }
  bool closed = fds_.Shrink();
  // Those that are mapped have gone to the list's end, so that each is looked at once.
  for (size_t looked_at = 0; looked_at < num_with_pages / 2 + 1; looked_at += 8)
    closed |= DropOldestPages(num_with_pages / 2) != 0;
  return closed;
}

}  // namespace remora::fs
