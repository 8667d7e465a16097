// Vfs: making, removing and changing names.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/abi/inotify.h"
#include "fs/vfs.h"
#include "fs/vfs_impl.h"
#include "fs/watch_events.h"

namespace remora::fs {

ErrnoOr<void> Vfs::Impl::MayChangeNames(const Credentials& credentials, const Path& directory) {
  if (directory.dentry->deleted()) return Errno(ENOENT);
  if (credentials.privileged()) return Ok();
  REMORA_ASSIGN_OR_RETURN(const Attributes attributes, directory.dentry->inode()->GetAttributes());
  return PermissionsAllow(credentials, attributes, W_OK | X_OK) ? Ok() : Errno(EACCES);
}

ErrnoOr<void> Vfs::Impl::MayRemove(const Credentials& credentials, const Path& directory, const Dentry& victim,
                                   bool is_directory) {
  REMORA_RETURN_IF_ERROR(MayChangeNames(credentials, directory));
  if (!credentials.privileged()) {
    REMORA_ASSIGN_OR_RETURN(const Attributes attributes, directory.dentry->inode()->GetAttributes());
    if ((attributes.mode & S_ISVTX) != 0 && credentials.fsuid != attributes.uid) {
      REMORA_ASSIGN_OR_RETURN(const Attributes victims, victim.inode()->GetAttributes());
      if (credentials.fsuid != victims.uid) return Errno(EPERM);
    }
  }
  const bool victim_is_directory = victim.inode()->type() == S_IFDIR;
  if (is_directory && !victim_is_directory) return Errno(ENOTDIR);
  if (!is_directory && victim_is_directory) return Errno(EISDIR);
  if (victim.mounted_on()) return Errno(EBUSY);
  return Ok();
}

Ref<Dentry> Vfs::Impl::Adopt(const Ref<Dentry>& directory, std::string_view name, const Ref<Inode>& inode,
                             uint64_t change_count) {
  if (Ref<Dentry> dentry = dentries.Add(directory, name, inode, change_count)) return dentry;
  // Other names changed meanwhile: is this still the one?
  ErrnoOr<Ref<Dentry>> found = LookupName(dentries, directory, name);
  if (found.ok() && *found && (*found)->inode() == inode) return *std::move(found);
  return dentries.MakeUnhashed(directory, name, inode);
}

ErrnoOr<Ref<Dentry>> Vfs::Impl::Create(const Credentials& credentials, const Ref<Dentry>& directory,
                                       std::string_view name, Inode::NewNode node) {
  Inode& inode = *directory->inode();
  REMORA_ASSIGN_OR_RETURN(const Attributes attributes, inode.GetAttributes());
  node.uid = credentials.fsuid;
  node.gid = credentials.fsgid;
  if ((attributes.mode & S_ISGID) != 0) {
    node.gid = attributes.gid;
    if ((node.mode & S_IFMT) == S_IFDIR) node.mode |= S_ISGID;
  }
  const uint64_t change_count = directory->change_count();
  REMORA_ASSIGN_OR_RETURN(const Ref<Inode> created, inode.Create(name, node));
  Ref<Dentry> dentry = Adopt(directory, name, created, change_count);
  TellOfEntry(*directory, abi::kIN_CREATE | ((node.mode & S_IFMT) == S_IFDIR ? abi::kIN_ISDIR : 0), name);
  return dentry;
}

ErrnoOr<void> Vfs::Impl::MakeNamed(const WalkContext& context, std::string_view path, const Inode::NewNode& node) {
  PathWalk walk(mounts, dentries, context);
  REMORA_RETURN_IF_ERROR(walk.Run(path, PathWalk::Goal::kParent));
  REMORA_RETURN_IF_ERROR(walk.CheckName());
  if (walk.last() != PathWalk::Last::kName || walk.target()) return Errno(EEXIST);
  if (walk.trailing_slash() && (node.mode & S_IFMT) != S_IFDIR) return Errno(ENOENT);
  REMORA_RETURN_IF_ERROR(MayWriteTo(walk.parent()));
  REMORA_RETURN_IF_ERROR(MayChangeNames(context.credentials, walk.parent()));
  REMORA_RETURN_IF_ERROR(Create(context.credentials, walk.parent().dentry, walk.name(), node));
  return Ok();
}

ErrnoOr<void> Vfs::MakeDirectory(const WalkContext& context, std::string_view path, uint32_t permissions) {
  return impl_->MakeNamed(context, path, {.mode = S_IFDIR | (permissions & 01777)});
}

ErrnoOr<void> Vfs::MakeNode(const WalkContext& context, std::string_view path, uint32_t mode, uint32_t major,
                            uint32_t minor) {
  if ((mode & S_IFMT) == 0) mode |= S_IFREG;
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
      break;
    case S_IFCHR:
    case S_IFBLK:
      if (!context.credentials.privileged()) return Errno(EPERM);
      break;
    default:
      return Errno((mode & S_IFMT) == S_IFDIR ? EPERM : EINVAL);
  }
  return impl_->MakeNamed(context, path,
                          {.mode = mode & (S_IFMT | 07777), .special_major = major, .special_minor = minor});
}

ErrnoOr<void> Vfs::MakeSymlink(const WalkContext& context, std::string_view target, std::string_view path) {
  if (target.empty()) return Errno(ENOENT);
  if (target.size() >= PathWalk::kMaxPath) return Errno(ENAMETOOLONG);
  return impl_->MakeNamed(context, path, {.mode = S_IFLNK | 0777, .symlink_target = target});
}

ErrnoOr<void> Vfs::Link(const WalkContext& from_context, std::string_view from, const WalkOptions& options,
                        const WalkContext& to_context, std::string_view to) {
  REMORA_ASSIGN_OR_RETURN(const Path source, Resolve(from_context, from, options));
  PathWalk walk(impl_->mounts, impl_->dentries, to_context);
  REMORA_RETURN_IF_ERROR(walk.Run(to, PathWalk::Goal::kParent));
  REMORA_RETURN_IF_ERROR(walk.CheckName());
  if (walk.last() != PathWalk::Last::kName || walk.target()) return Errno(EEXIST);
  if (walk.trailing_slash()) return Errno(ENOENT);
  REMORA_RETURN_IF_ERROR(Impl::MayWriteTo(walk.parent()));
  if (source.mount != walk.parent().mount) return Errno(EXDEV);
  REMORA_RETURN_IF_ERROR(Impl::MayChangeNames(to_context.credentials, walk.parent()));
  const Ref<Inode>& inode = source.dentry->inode();
  if (inode->type() == S_IFDIR) return Errno(EPERM);
  const Ref<Dentry>& directory = walk.parent().dentry;
  const uint64_t change_count = directory->change_count();
  REMORA_RETURN_IF_ERROR(directory->inode()->Link(walk.name(), *inode));
  const Ref<Dentry> linked = impl_->Adopt(directory, walk.name(), inode, change_count);
  TellItself(*linked, abi::kIN_ATTRIB);
  TellOfEntry(*directory, abi::kIN_CREATE, walk.name());
  return Ok();
}

ErrnoOr<void> Vfs::Unlink(const WalkContext& context, std::string_view path) {
  return Impl::WithFreshNames([&](bool revalidate) -> ErrnoOr<void> {
    PathWalk walk(impl_->mounts, impl_->dentries, context);
    REMORA_RETURN_IF_ERROR(walk.Run(path, PathWalk::Goal::kParent, revalidate));
    REMORA_RETURN_IF_ERROR(walk.CheckName());
    if (walk.last() != PathWalk::Last::kName) return Errno(EISDIR);
    REMORA_RETURN_IF_ERROR(Impl::MayWriteTo(walk.parent()));
    if (!walk.target()) return Errno(ENOENT);
    if (walk.target().mount != walk.parent().mount) return Errno(EBUSY);
    if (walk.trailing_slash()) return Errno(walk.inode().type() == S_IFDIR ? EISDIR : ENOTDIR);
    REMORA_RETURN_IF_ERROR(Impl::MayRemove(context.credentials, walk.parent(), *walk.target().dentry, false));
    const Ref<Dentry>& directory = walk.parent().dentry;
    REMORA_RETURN_IF_ERROR(directory->inode()->Unlink(walk.name(), walk.inode()));
    walk.target().dentry->set_deleted();
    impl_->dentries.Invalidate(directory, walk.name());
    TellItself(*walk.target().dentry, abi::kIN_ATTRIB);
    TellIfGone(*walk.target().dentry);
    TellOfEntry(*directory, abi::kIN_DELETE, walk.name());
    return Ok();
  });
}

ErrnoOr<void> Vfs::RemoveDirectory(const WalkContext& context, std::string_view path) {
  return Impl::WithFreshNames([&](bool revalidate) -> ErrnoOr<void> {
    PathWalk walk(impl_->mounts, impl_->dentries, context);
    REMORA_RETURN_IF_ERROR(walk.Run(path, PathWalk::Goal::kParent, revalidate));
    REMORA_RETURN_IF_ERROR(walk.CheckName());
    switch (walk.last()) {
      case PathWalk::Last::kDot:
        return Errno(EINVAL);
      case PathWalk::Last::kDotDot:
        return Errno(ENOTEMPTY);
      case PathWalk::Last::kRoot:
      case PathWalk::Last::kJump:
        return Errno(EBUSY);
      case PathWalk::Last::kName:
        break;
    }
    REMORA_RETURN_IF_ERROR(Impl::MayWriteTo(walk.parent()));
    if (!walk.target()) return Errno(ENOENT);
    if (walk.target().mount != walk.parent().mount) return Errno(EBUSY);
    REMORA_RETURN_IF_ERROR(Impl::MayRemove(context.credentials, walk.parent(), *walk.target().dentry, true));
    const Ref<Dentry>& directory = walk.parent().dentry;
    REMORA_RETURN_IF_ERROR(directory->inode()->RemoveDirectory(walk.name(), walk.inode()));
    walk.target().dentry->set_deleted();
    impl_->dentries.Invalidate(directory, walk.name());
    TellIfGone(*walk.target().dentry);
    TellOfEntry(*directory, abi::kIN_DELETE | abi::kIN_ISDIR, walk.name());
    return Ok();
  });
}

void Vfs::Impl::KeepMoved(const Ref<Dentry>& dentry) {
  constexpr int kMaxTries = 4;
  for (int i = 0; i < kMaxTries; ++i) {
    const Ref<Dentry> directory = dentry->parent();
    const std::string name = dentry->name();
    const uint64_t change_count = directory->change_count();
    ErrnoOr<Ref<Inode>> there = directory->inode()->Lookup(name);
    if (!there.ok() || *there != dentry->inode()) return;
    if (dentries.Keep(dentry, change_count)) return;
  }
}

ErrnoOr<void> Vfs::Rename(const WalkContext& from_context, std::string_view from, const WalkContext& to_context,
                          std::string_view to, uint32_t flags) {
  return Impl::WithFreshNames(
      [&](bool revalidate) { return impl_->Rename(*this, from_context, from, to_context, to, flags, revalidate); });
}

ErrnoOr<void> Vfs::Impl::Rename(const Vfs& vfs, const WalkContext& from_context, std::string_view from,
                                const WalkContext& to_context, std::string_view to, uint32_t flags, bool revalidate) {
  if ((flags & ~uint32_t{RENAME_NOREPLACE | RENAME_EXCHANGE}) != 0) return Errno(EINVAL);
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  const bool no_replace = (flags & RENAME_NOREPLACE) != 0;
  if (exchange && no_replace) return Errno(EINVAL);

  PathWalk old_walk(mounts, dentries, from_context);
  REMORA_RETURN_IF_ERROR(old_walk.Run(from, PathWalk::Goal::kParent, revalidate));
  PathWalk new_walk(mounts, dentries, to_context);
  REMORA_RETURN_IF_ERROR(new_walk.Run(to, PathWalk::Goal::kParent, revalidate));
  const Path& old_parent = old_walk.parent();
  const Path& new_parent = new_walk.parent();
  if (old_walk.last() != PathWalk::Last::kName) return Errno(EBUSY);
  if (new_walk.last() != PathWalk::Last::kName) return Errno(no_replace ? EEXIST : EBUSY);
  if (old_parent.mount != new_parent.mount) return Errno(EXDEV);
  REMORA_RETURN_IF_ERROR(MayWriteTo(old_parent));

  REMORA_RETURN_IF_ERROR(old_walk.CheckName());
  if (!old_walk.target()) return Errno(ENOENT);
  REMORA_RETURN_IF_ERROR(new_walk.CheckName());
  if (old_walk.target().mount != old_parent.mount) return Errno(EBUSY);
  const Ref<Dentry>& moved = old_walk.target().dentry;
  const bool moved_is_directory = moved->inode()->type() == S_IFDIR;
  Ref<Dentry> replaced;
  if (new_walk.target()) {
    if (no_replace) return Errno(EEXIST);
    if (new_walk.target().mount != new_parent.mount) return Errno(EBUSY);
    replaced = new_walk.target().dentry;
  } else if (exchange) {
    return Errno(ENOENT);
  }
  const bool replaced_is_directory = replaced && replaced->inode()->type() == S_IFDIR;
  if (!moved_is_directory && (old_walk.trailing_slash() || (!exchange && new_walk.trailing_slash())))
    return Errno(ENOTDIR);
  if (exchange && !replaced_is_directory && new_walk.trailing_slash()) return Errno(ENOTDIR);
  const bool same_parent = old_parent.dentry == new_parent.dentry;
  if (moved_is_directory && dentries.IsAncestor(*moved, *new_parent.dentry)) return Errno(EINVAL);
  if (replaced_is_directory && dentries.IsAncestor(*replaced, *old_parent.dentry))
    return Errno(exchange ? EINVAL : ENOTEMPTY);
  if (replaced && replaced->inode() == moved->inode()) return Ok();  // two names of one file: nothing to do

  const Credentials& who = from_context.credentials;
  REMORA_RETURN_IF_ERROR(MayRemove(who, old_parent, *moved, moved_is_directory));
  if (!replaced) {
    REMORA_RETURN_IF_ERROR(MayChangeNames(who, new_parent));
  } else {
    REMORA_RETURN_IF_ERROR(
        MayRemove(who, new_parent, *replaced, exchange ? replaced_is_directory : moved_is_directory));
  }
  // A directory that changes its parent has its ".." rewritten.
  const auto may_rewrite = [&](const Ref<Dentry>& dentry) -> ErrnoOr<void> {
    if (same_parent || who.privileged() || dentry->inode()->type() != S_IFDIR) return Ok();
    REMORA_ASSIGN_OR_RETURN(const Attributes attributes, dentry->inode()->GetAttributes());
    return PermissionsAllow(who, attributes, W_OK) ? Ok() : Errno(EACCES);
  };
  REMORA_RETURN_IF_ERROR(may_rewrite(moved));
  if (exchange) REMORA_RETURN_IF_ERROR(may_rewrite(replaced));

  bool moves_mounts = false;
  if (moved_is_directory) moves_mounts = ForgetMountsBelow(vfs, old_walk.target());
  if (exchange && replaced_is_directory) moves_mounts |= ForgetMountsBelow(vfs, new_walk.target());
  const uint64_t change_count = new_parent.dentry->change_count();
  const ErrnoOr<void> renamed =
      old_parent.dentry->inode()->Rename(old_walk.name(), *moved->inode(), *new_parent.dentry->inode(), new_walk.name(),
                                         replaced ? replaced->inode().get() : nullptr, flags);
  if (!renamed.ok()) {
    if (moves_mounts) IndexMounts(vfs);
    return renamed;
  }
  if (exchange) {
    dentries.Exchange(moved, replaced);
    KeepMoved(moved);
    KeepMoved(replaced);
  } else {
    if (replaced) replaced->set_deleted();
    if (!dentries.Move(moved, old_parent.dentry, old_walk.name(), new_parent.dentry, new_walk.name(), change_count))
      KeepMoved(moved);
  }
  if (moves_mounts) IndexMounts(vfs);
  if (dentries.has_watches()) [[unlikely]]
    TellRenamed(old_walk, new_walk, *moved, replaced.get(), exchange);
  return Ok();
}

void Vfs::Impl::TellRenamed(const PathWalk& from, const PathWalk& to, const Dentry& moved, const Dentry* replaced,
                            bool exchange) {
  const auto tell_move = [this](const PathWalk& from, const PathWalk& to, const Dentry& dentry) {
    const uint32_t cookie = last_rename_cookie.fetch_add(1, std::memory_order_relaxed) + 1;
    const uint32_t directory = dentry.type() == S_IFDIR ? abi::kIN_ISDIR : 0;
    TellOfEntry(*from.parent().dentry, abi::kIN_MOVED_FROM | directory, from.name(), cookie);
    TellOfEntry(*to.parent().dentry, abi::kIN_MOVED_TO | directory, to.name(), cookie);
  };
  tell_move(from, to, moved);
  if (replaced != nullptr && !exchange)
    TellItself(*replaced, abi::kIN_ATTRIB | (replaced->type() == S_IFDIR ? abi::kIN_ISDIR : 0));
  TellItself(moved, abi::kIN_MOVE_SELF);
  if (replaced != nullptr && !exchange) TellIfGone(*replaced);
  if (exchange) {
    tell_move(to, from, *replaced);
    TellItself(*replaced, abi::kIN_MOVE_SELF);
  }
}

}  // namespace remora::fs
