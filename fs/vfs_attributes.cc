// Vfs: what is asked of and done to an inode that a path leads to.

#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/abi/inotify.h"
#include "fs/vfs.h"
#include "fs/vfs_impl.h"
#include "fs/watch_events.h"

namespace remora::fs {

ErrnoOr<Attributes> Vfs::Stat(const WalkContext& context, std::string_view path, const WalkOptions& options) {
  if (path.empty() && options.allow_empty) return context.start.dentry->inode()->GetAttributes();
  return Impl::WithFreshNames([&](bool revalidate) -> ErrnoOr<Attributes> {
    PathWalk walk(impl_->mounts, impl_->dentries, context, options.resolve);
    REMORA_RETURN_IF_ERROR(
        walk.Run(path, options.follow_last ? PathWalk::Goal::kFollow : PathWalk::Goal::kNoFollow, revalidate));
    if (options.must_be_directory && walk.inode().type() != S_IFDIR) return Errno(ENOTDIR);
    return walk.inode().GetAttributes();
  });
}

ErrnoOr<void> Vfs::Access(const WalkContext& context, std::string_view path, uint32_t mode,
                          const WalkOptions& options) {
  REMORA_ASSIGN_OR_RETURN(const Path place, Resolve(context, path, options));
  if (mode == F_OK) return Ok();
  REMORA_ASSIGN_OR_RETURN(const Attributes attributes, place.dentry->inode()->GetAttributes());
  if ((mode & X_OK) != 0 && attributes.is_regular() && place.mount && (place.mount->flags() & fs::Mount::kNoExec) != 0)
    return Errno(EACCES);
  const bool written_to_disk = attributes.is_regular() || attributes.is_directory() || attributes.is_symlink();
  if (!PermissionsAllow(context.credentials, attributes, mode)) return Errno(EACCES);
  if ((mode & W_OK) != 0 && written_to_disk) REMORA_RETURN_IF_ERROR(Impl::MayWriteTo(place));
  return Ok();
}

ErrnoOr<std::string> Vfs::ReadLink(const WalkContext& context, std::string_view path) {
  // readlinkat(fd, ""): of a symlink that was opened with O_PATH | O_NOFOLLOW.
  if (path.empty()) {
    Inode& inode = *context.start.dentry->inode();
    if (inode.type() != S_IFLNK) return Errno(ENOENT);
    return inode.ReadLinkFor(context.caller);
  }
  return Impl::WithFreshNames([&](bool revalidate) -> ErrnoOr<std::string> {
    PathWalk walk(impl_->mounts, impl_->dentries, context);
    REMORA_RETURN_IF_ERROR(walk.Run(path, PathWalk::Goal::kNoFollow, revalidate));
    if (walk.inode().type() != S_IFLNK) return Errno(EINVAL);
    return walk.inode().ReadLinkFor(context.caller);
  });
}

ErrnoOr<void> Vfs::Truncate(const WalkContext& context, std::string_view path, uint64_t size_bytes) {
  REMORA_ASSIGN_OR_RETURN(const Path place, Resolve(context, path));
  Inode& inode = *place.dentry->inode();
  if (inode.type() == S_IFDIR) return Errno(EISDIR);
  if (inode.type() != S_IFREG) return Errno(EINVAL);
  REMORA_RETURN_IF_ERROR(Impl::MayWriteTo(place));
  REMORA_ASSIGN_OR_RETURN(const Attributes attributes, inode.GetAttributes());
  if (!PermissionsAllow(context.credentials, attributes, W_OK)) return Errno(EACCES);
  REMORA_RETURN_IF_ERROR(inode.Truncate(size_bytes));
  Tell(*place.dentry, abi::kIN_MODIFY);
  return Ok();
}

ErrnoOr<void> Vfs::SetAttributes(const WalkContext& context, std::string_view path, const AttributeChange& change,
                                 const WalkOptions& options) {
  REMORA_ASSIGN_OR_RETURN(const Path place, Resolve(context, path, options));
  return SetAttributes(context, place, *place.dentry->inode(), change);
}

ErrnoOr<void> Vfs::SetAttributes(const WalkContext& context, const Path& path, Inode& inode,
                                 const AttributeChange& requested) {
  REMORA_RETURN_IF_ERROR(Impl::MayWriteTo(path));
  const Credentials& who = context.credentials;
  REMORA_ASSIGN_OR_RETURN(const Attributes now, inode.GetAttributes());
  const bool owner = who.privileged() || who.fsuid == now.uid;
  AttributeChange change = requested;
  if (change.permissions) {
    if (!owner) return Errno(EPERM);
    change.permissions = *change.permissions & 07777;
    if (!who.privileged() && !who.InGroup(now.gid)) change.permissions = *change.permissions & ~uint32_t{S_ISGID};
  }
  if (change.uid || change.gid) {
    if (!who.privileged()) {
      if (change.uid && (*change.uid != now.uid || !owner)) return Errno(EPERM);
      if (change.gid && (!owner || (*change.gid != now.gid && !who.InGroup(*change.gid)))) return Errno(EPERM);
    }
    // A program must not run as the new owner only because it was given away.
    if (!now.is_directory() && !change.permissions && (now.mode & (S_ISUID | S_ISGID)) != 0) {
      uint32_t permissions = now.mode & 07777 & ~uint32_t{S_ISUID};
      if ((now.mode & S_IXGRP) != 0) permissions &= ~uint32_t{S_ISGID};
      change.permissions = permissions;
    }
  }
  if ((change.accessed || change.modified) && !owner) {
    if (!change.dates_are_now) return Errno(EPERM);
    if (!PermissionsAllow(who, now, W_OK)) return Errno(EACCES);
  }
  REMORA_RETURN_IF_ERROR(inode.SetAttributes(change));
  if (path.dentry && now.is_directory()) path.dentry->ForgetSearchable();
  if (path.dentry) Tell(*path.dentry, abi::kIN_ATTRIB);
  return Ok();
}

}  // namespace remora::fs
