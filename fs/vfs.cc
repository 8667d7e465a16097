// What Linux's VFS does and this one does not: writing takes no set-user-ID bit away (chown does); protected_symlinks,
// protected_hardlinks and protected_regular are off; bind mounts of a part of a file system, mount propagation and
// extended attributes are absent; SEEK_DATA and SEEK_HOLE see no holes.

#include "fs/vfs.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "fs/vfs_impl.h"

namespace remora::fs {

Vfs::Vfs(Clock* clock, sync::Reclaimer* reclaimer) : clock_(clock), impl_(std::make_unique<Impl>(reclaimer)) {}
Vfs::~Vfs() = default;

namespace {

uint32_t KeptFlags(uint32_t flags) {
  return flags & (Mount::kReadOnly | Mount::kNoSuid | Mount::kNoDev | Mount::kNoExec);
}

std::string OptionsOf(uint32_t flags) {
  std::string options = (flags & Mount::kReadOnly) != 0 ? "ro" : "rw";
  if ((flags & Mount::kNoSuid) != 0) options += ",nosuid";
  if ((flags & Mount::kNoDev) != 0) options += ",nodev";
  if ((flags & Mount::kNoExec) != 0) options += ",noexec";
  return options + ",relatime";
}

}  // namespace

void Vfs::MountRoot(Ref<FileSystem> fs, uint32_t flags) {
  CHECK_MSG(!impl_->root, "the root was mounted twice");
  Ref<Dentry> dentry = impl_->dentries.MakeRoot(fs->root());
  std::string source(fs->type_name());
  auto mount = MakeRef<fs::Mount>(impl_->mounts.NewId(), std::move(fs), dentry, nullptr, nullptr, std::move(source),
                                  KeptFlags(flags));
  impl_->mounts.Attach(mount, "/");
  impl_->root = Path(std::move(mount), std::move(dentry));
}

ErrnoOr<void> Vfs::Mount(const WalkContext& context, std::string_view target, Ref<FileSystem> fs, std::string source,
                         uint32_t flags) {
  PathWalk walk(impl_->mounts, impl_->dentries, context);
  REMORA_RETURN_IF_ERROR(walk.Run(target, PathWalk::Goal::kFollow));
  const Path place = walk.take_target();
  if (!place.mount || place.dentry->deleted()) return Errno(ENOENT);
  Ref<Inode> root = fs->root();
  if ((place.dentry->inode()->type() == S_IFDIR) != (root->type() == S_IFDIR)) return Errno(ENOTDIR);
  auto mount = MakeRef<fs::Mount>(impl_->mounts.NewId(), std::move(fs), impl_->dentries.MakeRoot(std::move(root)),
                                  place.mount, place.dentry, std::move(source), KeptFlags(flags));
  impl_->mounts.Attach(mount, NameOf(place, impl_->root));
  impl_->IndexMounts(*this);
  return Ok();
}

ErrnoOr<void> Vfs::Unmount(const WalkContext& context, std::string_view target, uint32_t flags) {
  PathWalk walk(impl_->mounts, impl_->dentries, context);
  REMORA_RETURN_IF_ERROR(
      walk.Run(target, (flags & UMOUNT_NOFOLLOW) != 0 ? PathWalk::Goal::kNoFollow : PathWalk::Goal::kFollow));
  const Path place = walk.take_target();
  if (!place.mount || place.dentry != place.mount->root()) return Errno(EINVAL);
  // `place` holds one reference, and so does the walk where the path ended in "." or a jump.
  const uint32_t own_references = walk.parent().mount == place.mount ? 2 : 1;
  REMORA_RETURN_IF_ERROR(impl_->mounts.Detach(place.mount, (flags & MNT_DETACH) != 0, own_references));
  impl_->IndexMounts(*this);  // what it covered
  return Ok();
}

bool Vfs::Impl::WayIsCached(const fs::Mount& mount) {
  for (const fs::Mount* m = &mount; m->parent(); m = m->parent().get())
    for (Ref<Dentry> dentry = m->mountpoint()->parent(); dentry; dentry = dentry->parent())
      if (!dentry->cacheable_lookups()) return false;
  return true;
}

void Vfs::Impl::IndexMounts(const Vfs& vfs) {
  const WalkContext context{.root = root, .start = root, .credentials = {}, .caller = {}};
  for (const Ref<fs::Mount>& mount : mounts.ListUnindexed()) {
    if (!WayIsCached(*mount)) continue;
    const uint64_t change_count = mounts.change_count();
    std::string name = vfs.NameOf(Path(mount->parent(), mount->mountpoint()), root);
    PathWalk walk(mounts, dentries, context);
    walk.IgnoreNameIndex();
    if (!walk.Run(name, PathWalk::Goal::kNoFollow).ok()) continue;
    // Covered by another: its name leads elsewhere. What covers the root is not looked at by walks that begin there.
    if (walk.target().mount != mount || name == "/") continue;
    mounts.Index(mount, std::move(name), change_count);
  }
}

bool Vfs::Impl::ForgetMountsBelow(const Vfs& vfs, const Path& directory) {
  return mounts.size() > 1 && mounts.Forget(vfs.NameOf(directory, root));
}

Path Vfs::root() const { return impl_->root; }

Path Vfs::PathOfAnonymous(Ref<Inode> inode) { return Path(nullptr, impl_->dentries.MakeRoot(std::move(inode))); }

ErrnoOr<Path> Vfs::Resolve(const WalkContext& context, std::string_view path, const WalkOptions& options) {
  if (path.empty() && options.allow_empty) return context.start;
  return Impl::WithFreshNames([&](bool revalidate) -> ErrnoOr<Path> {
    PathWalk walk(impl_->mounts, impl_->dentries, context, options.resolve);
    REMORA_RETURN_IF_ERROR(
        walk.Run(path, options.follow_last ? PathWalk::Goal::kFollow : PathWalk::Goal::kNoFollow, revalidate));
    if (options.must_be_directory && walk.inode().type() != S_IFDIR) return Errno(ENOTDIR);
    return walk.take_target();
  });
}

std::string Vfs::NameOf(const Path& path, const Path& root) const {
  if (!path.mount) return "";
  std::string name;
  const fs::Mount* mount = path.mount.get();
  const Dentry* dentry = path.dentry.get();
  bool reachable = true;
  while (true) {
    std::string part;
    if (mount == root.mount.get() && impl_->dentries.AppendPath(*root.dentry, *dentry, &part)) {
      name.insert(0, part);
      break;
    }
    part.clear();
    impl_->dentries.AppendPath(*mount->root(), *dentry, &part);
    name.insert(0, part);
    if (!mount->parent()) {
      reachable = false;
      break;
    }
    dentry = mount->mountpoint().get();
    mount = mount->parent().get();
  }
  if (name.empty()) name = "/";
  if (!reachable) name.insert(0, "(unreachable)");
  if (path.dentry->deleted()) name += " (deleted)";
  return name;
}

std::vector<Vfs::MountInfo> Vfs::ListMounts(const Path& root) const {
  std::vector<MountInfo> infos;
  for (const Ref<fs::Mount>& mount : impl_->mounts.List()) {
    const Path top(mount, mount->root());
    std::string target;
    if (mount == root.mount) {
      target = "/";
    } else {
      target = NameOf(top, root);
      if (target.front() != '/') continue;
    }
    infos.push_back(
        {mount->source(), std::move(target), std::string(mount->file_system().type_name()), OptionsOf(mount->flags())});
  }
  return infos;
}

Vfs::NamedMount Vfs::FindMount(std::string_view path) const {
  MountIndex<fs::Mount>::Match match = impl_->mounts.FindByName(path);
  return {std::move(match.value), match.suffix};
}

ErrnoOr<FileSystem::Statistics> Vfs::GetStatistics(const WalkContext& context, std::string_view path) {
  REMORA_ASSIGN_OR_RETURN(const Path place, Resolve(context, path));
  return place.dentry->inode()->file_system().GetStatistics();
}

void Vfs::CheckInvariants() const {
  impl_->dentries.CheckInvariants();
  impl_->mounts.CheckInvariants();
}

FileSystem::InodeCounts Vfs::CountInodes() const {
  FileSystem::InodeCounts sum;
  absl::flat_hash_set<const FileSystem*> seen;
  for (const Ref<fs::Mount>& mount : impl_->mounts.List()) {
    if (!seen.insert(&mount->file_system()).second) continue;
    const FileSystem::InodeCounts counts = mount->file_system().CountInodes();
    sum.num_entries += counts.num_entries;
    sum.longest_chain = std::max(sum.longest_chain, counts.longest_chain);
  }
  return sum;
}

Vfs::Counters Vfs::counters() const {
  const DentryCache::Counters c = impl_->dentries.counters();
  return {.dentry_hits = c.hits, .dentry_misses = c.misses, .negative_hits = c.negative_hits};
}

}  // namespace remora::fs
