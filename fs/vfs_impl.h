#ifndef REMORA_FS_VFS_IMPL_H_
#define REMORA_FS_VFS_IMPL_H_

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/errno_or.h"
#include "fs/dentry_cache.h"
#include "fs/mount.h"
#include "fs/mount_table.h"
#include "fs/path_walk.h"
#include "fs/vfs.h"

namespace remora::fs {

// What Vfs' sources share; nobody else includes it.
struct Vfs::Impl {
  explicit Impl(sync::Reclaimer* reclaimer) : dentries(reclaimer), mounts(reclaimer) {}

  DentryCache dentries;
  MountTable mounts;
  Path root;
  std::atomic<uint32_t> last_rename_cookie{0};

  // Runs `operation(revalidate)`, and once more, believing no cache, if a file system says that what a cached name led
  // to is gone (a host folder that others change).
  template <typename Operation>
  static auto WithFreshNames(Operation operation) {
    auto result = operation(false);
    if (result.error_number() != ESTALE) return result;
    return operation(true);
  }

  // May names in this directory be made or removed? ENOENT if it was removed, EACCES.
  static ErrnoOr<void> MayChangeNames(const Credentials& credentials, const Path& directory);
  // Also that of a sticky directory: EPERM. `is_directory`: what the call wants; EISDIR, ENOTDIR.
  static ErrnoOr<void> MayRemove(const Credentials& credentials, const Path& directory, const Dentry& victim,
                                 bool is_directory);
  // EROFS.
  static ErrnoOr<void> MayWriteTo(const Path& path) {
    if (path.mount && path.mount->read_only()) return Errno(EROFS);
    return Ok();
  }
  // Makes `name` in `directory` and its dentry.
  ErrnoOr<Ref<Dentry>> Create(const Credentials& credentials, const Ref<Dentry>& directory, std::string_view name,
                              Inode::NewNode node);
  // The dentry of an inode that was just given the name.
  Ref<Dentry> Adopt(const Ref<Dentry>& directory, std::string_view name, const Ref<Inode>& inode,
                    uint64_t change_count);
  // Tells who watches of what a finished rename did.
  void TellRenamed(const PathWalk& from, const PathWalk& to, const Dentry& moved, const Dentry* replaced,
                   bool exchange);
  // Makes a dentry that was moved while other names of its directory changed findable, if its name is still its own.
  void KeepMoved(const Ref<Dentry>& dentry);
  // mkdir, mknod and symlink: everything but the node.
  ErrnoOr<void> MakeNamed(const WalkContext& context, std::string_view path, const Inode::NewNode& node);
  // One attempt of Vfs::Rename.
  ErrnoOr<void> Rename(const Vfs& vfs, const WalkContext& from_context, std::string_view from,
                       const WalkContext& to_context, std::string_view to, uint32_t flags, bool revalidate);
  // Before and after a directory is renamed: the names of what is mounted below it. True: the latter is needed.
  bool ForgetMountsBelow(const Vfs& vfs, const Path& directory);
  // Puts mounts whose names lead to them into the index that walks begin in.
  void IndexMounts(const Vfs& vfs);
  // Is every directory on the way to the mount one whose look-ups are cached? Else its name may come to lead elsewhere
  // without anybody here hearing of it.
  static bool WayIsCached(const fs::Mount& mount);
};

}  // namespace remora::fs

#endif  // REMORA_FS_VFS_IMPL_H_
