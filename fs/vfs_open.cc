// Vfs: open(2) and what belongs to it.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/abi/inotify.h"
#include "fs/vfs.h"
#include "fs/vfs_impl.h"
#include "fs/watch_events.h"

namespace remora::fs {

namespace {

// x86-64's values, whatever headers and _GNU_SOURCE say.
constexpr uint32_t kPathOnly = 010000000;     // O_PATH
constexpr uint32_t kNoAccessDate = 01000000;  // O_NOATIME
constexpr uint32_t kUnnamed = 020000000;      // __O_TMPFILE
constexpr uint32_t kLargeFile = 0100000;      // O_LARGEFILE: every open has it on 64 bits

uint32_t AccessMode(uint32_t flags) {
  uint32_t mode = 0;
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      mode = R_OK;
      break;
    case O_WRONLY:
      mode = W_OK;
      break;
    default:  // O_RDWR, and 3, which asks for both rights and gets neither
      mode = R_OK | W_OK;
  }
  if ((flags & O_TRUNC) != 0) mode |= W_OK;
  return mode;
}

// A place, opened with O_PATH: serves as a dirfd and for fstat, fchdir and /proc/self/fd.
class PathOnlyFile final : public File {
 public:
  PathOnlyFile(Ref<Inode> inode, Path path, uint32_t flags) : File(std::move(inode), std::move(path), flags) {}
  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return Errno(EBADF); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EBADF); }
  ErrnoOr<void> ReadDirectory(uint64_t, absl::FunctionRef<bool(const DirectoryEntry&)>) override {
    return Errno(EBADF);
  }
  ErrnoOr<uint64_t> Ioctl(const IoctlContext&, uint32_t, uint64_t) override { return Errno(EBADF); }
  ErrnoOr<Ref<mm::Mappable>> Mappable() override { return Errno(EBADF); }

 private:
  ~PathOnlyFile() override = default;
};

// May it be opened so? Everything but the directory's part in O_CREAT.
ErrnoOr<void> MayOpen(const Credentials& who, const Path& path, uint32_t flags, bool just_created) {
  Inode& inode = *path.dentry->inode();
  const uint32_t type = inode.type();
  const uint32_t access = AccessMode(flags);
  if (type == S_IFLNK) return Errno(ELOOP);
  if (type == S_IFDIR && (access & W_OK) != 0) return Errno(EISDIR);
  if ((flags & O_DIRECTORY) != 0 && type != S_IFDIR) return Errno(ENOTDIR);
  if (just_created) return Ok();
  const bool device = type == S_IFCHR || type == S_IFBLK;
  if (device && path.mount && (path.mount->flags() & Mount::kNoDev) != 0) return Errno(EACCES);
  if (type == S_IFSOCK) return Errno(ENXIO);
  const bool asks_owner = (flags & kNoAccessDate) != 0 && !who.privileged();
  if (!who.privileged() || asks_owner) {
    REMORA_ASSIGN_OR_RETURN(const Attributes attributes, inode.GetAttributes());
    if (!PermissionsAllow(who, attributes, access)) return Errno(EACCES);
    if (asks_owner && who.fsuid != attributes.uid) return Errno(EPERM);
  }
  // Devices and pipes are written though their file system is read-only.
  if ((access & W_OK) != 0 && type == S_IFREG && path.mount && path.mount->read_only()) return Errno(EROFS);
  return Ok();
}

ErrnoOr<Ref<File>> OpenPlace(const WalkContext& who, const Path& path, uint32_t flags, bool just_created) {
  const Ref<Inode>& inode = path.dentry->inode();
  REMORA_RETURN_IF_ERROR(MayOpen(who.credentials, path, flags, just_created));
  const bool truncates = (flags & O_TRUNC) != 0 && !just_created && inode->type() == S_IFREG;
  if (truncates) REMORA_RETURN_IF_ERROR(inode->Truncate(0));
  ErrnoOr<Ref<File>> file =
      inode->OpenFor(who.caller, path, (flags & ~uint32_t{O_CREAT | O_EXCL | O_TRUNC}) | kLargeFile);
  if (file.ok()) Tell(*path.dentry, abi::kIN_OPEN);
  if (truncates) Tell(*path.dentry, abi::kIN_MODIFY);
  return file;
}

}  // namespace

ErrnoOr<Ref<File>> Vfs::Open(const WalkContext& context, std::string_view path, const OpenOptions& options) {
  const uint32_t flags = options.flags;
  if ((flags & kPathOnly) != 0) {
    const WalkOptions walk{.follow_last = (flags & O_NOFOLLOW) == 0,
                           .must_be_directory = (flags & O_DIRECTORY) != 0,
                           .resolve = options.resolve};
    REMORA_ASSIGN_OR_RETURN(const Path place, Resolve(context, path, walk));
    return Ref<File>(
        MakeRef<PathOnlyFile>(place.dentry->inode(), place, flags & (kPathOnly | O_DIRECTORY | O_NOFOLLOW)));
  }
  if ((flags & kUnnamed) != 0) return OpenUnnamed(context, path, options);
  if ((flags & O_CREAT) == 0) {
    return Impl::WithFreshNames([&](bool revalidate) -> ErrnoOr<Ref<File>> {
      PathWalk walk(impl_->mounts, impl_->dentries, context, options.resolve);
      REMORA_RETURN_IF_ERROR(
          walk.Run(path, (flags & O_NOFOLLOW) != 0 ? PathWalk::Goal::kNoFollow : PathWalk::Goal::kFollow, revalidate));
      // A directory that is asked for by O_DIRECTORY; a symlink that is not followed is none.
      if ((flags & O_DIRECTORY) != 0 && walk.inode().type() != S_IFDIR) return Errno(ENOTDIR);
      return OpenPlace(context, walk.target(), flags, false);
    });
  }

  if ((flags & O_DIRECTORY) != 0) return Errno(EINVAL);
  const bool exclusive = (flags & O_EXCL) != 0;
  const PathWalk::Goal goal =
      exclusive || (flags & O_NOFOLLOW) != 0 ? PathWalk::Goal::kParent : PathWalk::Goal::kParentFollow;
  // A name that comes and goes while it is opened may make each attempt fail; Linux tries once more, too.
  constexpr int kMaxTries = 8;
  for (int attempt = 0;; ++attempt) {
    PathWalk walk(impl_->mounts, impl_->dentries, context, options.resolve);
    walk.RefuseTrailingSlash();
    REMORA_RETURN_IF_ERROR(walk.Run(path, goal, attempt != 0));
    REMORA_RETURN_IF_ERROR(walk.CheckName());
    if (walk.target()) {
      if (exclusive) return Errno(EEXIST);
      if (walk.inode().type() == S_IFDIR) return Errno(EISDIR);
      ErrnoOr<Ref<File>> file = OpenPlace(context, walk.target(), flags, false);
      if (file.error_number() == ESTALE && attempt < kMaxTries) continue;
      return file;
    }
    REMORA_RETURN_IF_ERROR(Impl::MayWriteTo(walk.parent()));
    REMORA_RETURN_IF_ERROR(Impl::MayChangeNames(context.credentials, walk.parent()));
    ErrnoOr<Ref<Dentry>> created = impl_->Create(context.credentials, walk.parent().dentry, walk.name(),
                                                 {.mode = S_IFREG | (options.permissions & 07777)});
    if (!created.ok()) {
      if (created.error_number() == EEXIST && !exclusive && attempt < kMaxTries) continue;
      return created.error();
    }
    return OpenPlace(context, Path(walk.parent().mount, *std::move(created)), flags, true);
  }
}

ErrnoOr<Ref<File>> Vfs::OpenUnnamed(const WalkContext& context, std::string_view directory,
                                    const OpenOptions& options) {
  if ((options.flags & O_DIRECTORY) == 0 || (AccessMode(options.flags) & W_OK) == 0) return Errno(EINVAL);
  const WalkOptions walk{.must_be_directory = true, .resolve = options.resolve};
  REMORA_ASSIGN_OR_RETURN(const Path place, Resolve(context, directory, walk));
  REMORA_RETURN_IF_ERROR(Impl::MayWriteTo(place));
  REMORA_RETURN_IF_ERROR(Impl::MayChangeNames(context.credentials, place));
  Inode::NewNode node{.mode = S_IFREG | (options.permissions & 07777)};
  node.uid = context.credentials.fsuid;
  node.gid = context.credentials.fsgid;
  REMORA_ASSIGN_OR_RETURN(Ref<Inode> inode, place.dentry->inode()->CreateUnnamed(node));
  // Linux shows it as "/directory/#number (deleted)".
  std::string name = "#" + std::to_string(inode->number());
  Ref<Dentry> dentry = impl_->dentries.MakeUnhashed(place.dentry, name, std::move(inode));
  dentry->set_deleted();
  return OpenPlace(context, Path(place.mount, std::move(dentry)), options.flags & ~uint32_t{O_DIRECTORY | kUnnamed},
                   true);
}

ErrnoOr<Ref<File>> Vfs::OpenAt(const WalkContext& context, const Path& path, uint32_t flags) {
  return OpenPlace(context, path, flags, false);
}

}  // namespace remora::fs
