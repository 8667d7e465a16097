#ifndef REMORA_FS_VFS_H_
#define REMORA_FS_VFS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/errno_or.h"
#include "fs/credentials.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "fs/path.h"
#include "fs/path_walk.h"
#include "fs/special/anonymous_files.h"
#include "sync/reclaimer.h"

namespace remora::fs {

struct WalkOptions {
  bool follow_last = true;         // a symlink as the last component
  bool allow_empty = false;        // AT_EMPTY_PATH: "" is the start itself
  bool must_be_directory = false;  // O_DIRECTORY; a trailing slash does it too
  // openat2(2)'s RESOLVE_* values.
  uint64_t resolve = 0;
};

// All that is done by path name. The syscall handlers' door to the file systems: each is one call here.
//
// One walk serves all of them (fs/path_walk.h). Errors as path_resolution(7) and the man page of each call tell:
// ENOENT, ENOTDIR, EACCES, ELOOP (more than 40 symlinks), ENAMETOOLONG, EROFS, EXDEV, EBUSY, ENOTEMPTY, EISDIR, EEXIST.
// Thread safety: all methods from any thread. File-system hooks are called without a lock of the VFS.
class Vfs {
 public:
  Vfs(Clock* clock, sync::Reclaimer* reclaimer);
  ~Vfs();

  // Mounts `fs` as the root of everything; once, before any walk.
  void MountRoot(Ref<FileSystem> fs, uint32_t flags);
  // Mounts at a directory (or, as bind mounts do, a file). MS_RDONLY, MS_NOEXEC, MS_NOSUID, MS_NODEV.
  ErrnoOr<void> Mount(const WalkContext& context, std::string_view target, Ref<FileSystem> fs, std::string source,
                      uint32_t flags);
  ErrnoOr<void> Unmount(const WalkContext& context, std::string_view target, uint32_t flags);
  Path root() const;
  // A number for FileSystem::device_id() that no other file system of this Vfs has.
  uint64_t NewDeviceId() { return next_device_id_.fetch_add(1, std::memory_order_relaxed); }
  // A Path for what has no name (a pipe, an eventfd), so that a magic link can lead to it: no mount, an unnamed dentry.
  Path PathOfAnonymous(Ref<Inode> inode);

  ErrnoOr<Path> Resolve(const WalkContext& context, std::string_view path, const WalkOptions& options = {});

  struct OpenOptions {
    uint32_t flags = 0;        // open(2)'s
    uint32_t permissions = 0;  // for O_CREAT, umask applied
    uint64_t resolve = 0;
  };
  ErrnoOr<Ref<File>> Open(const WalkContext& context, std::string_view path, const OpenOptions& options);
  // Reopens what a Path names (exec of a file already found).
  ErrnoOr<Ref<File>> OpenAt(const WalkContext& context, const Path& path, uint32_t flags);

  ErrnoOr<Attributes> Stat(const WalkContext& context, std::string_view path, const WalkOptions& options);
  // access(2): mode is R_OK | W_OK | X_OK against the ids in `context`.
  ErrnoOr<void> Access(const WalkContext& context, std::string_view path, uint32_t mode, const WalkOptions& options);
  ErrnoOr<std::string> ReadLink(const WalkContext& context, std::string_view path);
  ErrnoOr<void> MakeDirectory(const WalkContext& context, std::string_view path, uint32_t permissions);
  ErrnoOr<void> MakeNode(const WalkContext& context, std::string_view path, uint32_t mode, uint32_t major,
                         uint32_t minor);
  ErrnoOr<void> MakeSymlink(const WalkContext& context, std::string_view target, std::string_view path);
  ErrnoOr<void> Link(const WalkContext& from_context, std::string_view from, const WalkOptions& options,
                     const WalkContext& to_context, std::string_view to);
  ErrnoOr<void> Unlink(const WalkContext& context, std::string_view path);
  ErrnoOr<void> RemoveDirectory(const WalkContext& context, std::string_view path);
  ErrnoOr<void> Rename(const WalkContext& from_context, std::string_view from, const WalkContext& to_context,
                       std::string_view to, uint32_t flags);
  ErrnoOr<void> Truncate(const WalkContext& context, std::string_view path, uint64_t size_bytes);
  ErrnoOr<void> SetAttributes(const WalkContext& context, std::string_view path, const AttributeChange& change,
                              const WalkOptions& options);
  // fchmod, fchown, futimens: on what is open.
  ErrnoOr<void> SetAttributes(const WalkContext& context, const Path& path, Inode& inode,
                              const AttributeChange& change);
  // A file without a name in the directory (O_TMPFILE).
  ErrnoOr<Ref<File>> OpenUnnamed(const WalkContext& context, std::string_view directory, const OpenOptions& options);
  ErrnoOr<FileSystem::Statistics> GetStatistics(const WalkContext& context, std::string_view path);

  // May `credentials` do `mode` (R_OK | W_OK | X_OK) to an inode with these attributes?
  static bool Permits(const Credentials& credentials, const Attributes& attributes, uint32_t mode) {
    return PermissionsAllow(credentials, attributes, mode);
  }

  // The absolute name of `path` seen from `root`: for getcwd and /proc. "(unreachable)" prefixed where it lies outside;
  // " (deleted)" appended when unlinked.
  std::string NameOf(const Path& path, const Path& root) const;

  struct MountInfo {
    std::string source, target, type_name, options;
  };
  // In the order of mounting, those that `root` can see.
  std::vector<MountInfo> ListMounts(const Path& root) const;
  // The mount that an absolute path without symlinks, "." and ".." lies in, and the rest of the path, by names alone.
  struct NamedMount {
    Ref<fs::Mount> mount;
    std::string_view rest;
  };
  NamedMount FindMount(std::string_view path) const;

  struct Counters {
    uint64_t dentry_hits = 0, dentry_misses = 0, negative_hits = 0;
  };
  Counters counters() const;
  // Of all file systems mounted here; goes through their tables of inodes.
  FileSystem::InodeCounts CountInodes() const;
  // Of names and mounts. While nobody changes them.
  void CheckInvariants() const;

  Clock& clock() const { return *clock_; }
  // Where pipes, eventfds and their kin get their inodes: the argument of MakePipe and the like.
  AnonymousFiles& anonymous_files() const { return *anonymous_files_; }

 private:
  Clock* const clock_;
  std::atomic<uint64_t> next_device_id_{30};  // anonymous device minors, as Linux counts them
  const Ref<AnonymousFiles> anonymous_files_ = MakeRef<AnonymousFiles>(clock_);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_VFS_H_
