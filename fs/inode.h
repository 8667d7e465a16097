#ifndef REMORA_FS_INODE_H_
#define REMORA_FS_INODE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/credentials.h"
#include "fs/file_locks.h"
#include "fs/watch_list.h"

namespace remora::fs {

class File;
class FileSystem;
struct Path;

// A point in time with nanoseconds, as struct timespec.
struct Timestamp {
  int64_t seconds = 0;
  int64_t nanos = 0;
};

// What stat(2) and statx(2) tell.
struct Attributes {
  uint32_t device_major = 0, device_minor = 0;
  uint64_t inode_number = 0;
  uint32_t mode = 0;  // type and permissions, S_IF* | 07777
  uint32_t num_links = 1;
  uint32_t uid = 0, gid = 0;
  uint32_t special_major = 0, special_minor = 0;  // st_rdev
  uint64_t size_bytes = 0;
  uint32_t block_size = 4096;
  uint64_t num_512_byte_blocks = 0;
  Timestamp accessed, modified, changed, born;

  uint32_t type() const { return mode & 0170000; }
  bool is_directory() const { return type() == 0040000; }
  bool is_regular() const { return type() == 0100000; }
  bool is_symlink() const { return type() == 0120000; }
};

// What setattr changes; absent means unchanged.
struct AttributeChange {
  std::optional<uint32_t> permissions;  // 07777
  std::optional<uint32_t> uid, gid;
  std::optional<Timestamp> accessed, modified;
  // The dates are the present time, as utimensat(NULL or UTIME_NOW) asks: who may write may do that, not only the
  // owner.
  bool dates_are_now = false;
};

// Which process and thread a walk is for: /proc/self and /proc/thread-self; for terminals, whose session and group it
// is in, and whom a new pty shall belong to. 0: none (set-up by the runner).
struct CallerIds {
  int32_t process_id = 0;
  int32_t thread_id = 0;
  int32_t session_id = 0;
  int32_t process_group_id = 0;
  uint32_t fsuid = 0;
  uint32_t fsgid = 0;
};

// An object of a file system. Names are single components, never "", "." or "..", and at most 255 bytes.
// The VFS has checked permissions and that `this` is a directory before it calls; hooks are called without any lock of
// the VFS. Defaults: EPERM for changes, ENOTDIR for Lookup, EINVAL for ReadLink. Linux twin: struct inode and its
// inode_operations. Thread safety: all methods from any thread.
class Inode : public RefCounted {
 public:
  virtual FileSystem& file_system() const = 0;
  virtual uint64_t number() const = 0;
  // Type bits (S_IF*) never change in an inode's life.
  virtual uint32_t type() const = 0;
  virtual ErrnoOr<Attributes> GetAttributes() = 0;
  virtual ErrnoOr<void> SetAttributes(const AttributeChange& change);
  virtual ErrnoOr<void> Truncate(uint64_t size_bytes);

  // Directories.
  virtual ErrnoOr<Ref<Inode>> Lookup(std::string_view name);  // ENOENT
  struct NewNode {
    uint32_t mode =
        0;  // S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK with permissions (umask applied)
    uint32_t uid = 0, gid = 0;
    uint32_t special_major = 0, special_minor = 0;
    std::string_view symlink_target = {};
  };
  virtual ErrnoOr<Ref<Inode>> Create(std::string_view name, const NewNode& node);  // EEXIST
  virtual ErrnoOr<void> Link(std::string_view name, Inode& target);
  virtual ErrnoOr<void> Unlink(std::string_view name, Inode& target);
  virtual ErrnoOr<void> RemoveDirectory(std::string_view name, Inode& target);  // ENOTEMPTY
  // Within one file system. `replaced` is null or what new_name was. flags: RENAME_NOREPLACE, RENAME_EXCHANGE.
  virtual ErrnoOr<void> Rename(std::string_view name, Inode& moved, Inode& new_directory, std::string_view new_name,
                               Inode* replaced, uint32_t flags);
  // May the dentry cache keep what Lookup answered (also ENOENT)? False for /proc-like directories and for host folders
  // that others change. Constant in an inode's life.
  virtual bool cacheable_lookups() const { return true; }
  // Where lookups may not be cached as such: would Lookup(name) still answer `child`, which it did once? Saves the walk
  // making what it has. False says nothing. Linux's d_revalidate.
  virtual bool StillFinds(std::string_view, Inode&) { return false; }

  // A regular file without a name (O_TMPFILE); EOPNOTSUPP by default.
  virtual ErrnoOr<Ref<Inode>> CreateUnnamed(const NewNode& node);

  // Symlinks.
  virtual ErrnoOr<std::string> ReadLink();
  // As ReadLink, where the text depends on who asks (/proc/self). Overriders answer false in cacheable_link().
  virtual ErrnoOr<std::string> ReadLinkFor(const CallerIds& caller);
  // May the walk keep the text of this symlink for as long as it knows the inode?
  virtual bool cacheable_link() const { return true; }
  // A symlink that is not text but a jump (/proc/PID/exe, /proc/PID/fd/N): its destination.
  virtual std::optional<ErrnoOr<Path>> FollowMagicLink();

  // Opens it; flags are open(2)'s, already checked against permissions; O_CREAT, O_EXCL and O_TRUNC have been dealt
  // with. `path` is where it was found, for the File to keep.
  // EAGAIN (without O_NONBLOCK only): what it waits for can only be asked again and again; the caller does, now and
  // then.
  virtual ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) = 0;
  // As Open, where it matters who opens: /dev/tty is the caller's terminal, a terminal may become it. What open(2)
  // calls.
  virtual ErrnoOr<Ref<File>> OpenFor(const CallerIds& caller, const Path& path, uint32_t flags);

  // Advisory locks of fcntl(2) and flock(2).
  LazyFileLocks file_locks;
  // Who hears of what happens to it: inotify(7).
  LazyWatchList watches;
};

// A mounted tree's origin. Linux's super_block.
class FileSystem : public RefCounted {
 public:
  virtual std::string_view type_name() const = 0;  // "tmpfs", "overlay", "proc"
  virtual Ref<Inode> root() = 0;
  virtual uint64_t device_id() const = 0;  // unique in the Kernel; st_dev's minor where the fs has none of its own
  struct Statistics {                      // statfs(2)
    uint64_t magic = 0, block_size = 4096, num_blocks = 0, num_free_blocks = 0, num_files = 0, num_free_files = 0,
             max_name_length = 255;
  };
  virtual Statistics GetStatistics() = 0;
  // Of its InodeTables, those of file systems below included; for --stats. It may go through all inodes.
  struct InodeCounts {
    uint64_t num_entries = 0, longest_chain = 0;
  };
  virtual InodeCounts CountInodes() const { return {}; }
};

}  // namespace remora::fs

#endif  // REMORA_FS_INODE_H_
