#include "fs/tmpfs/memory_directory.h"

#include <linux/fs.h>
#include <sys/stat.h>

#include <optional>
#include <utility>
#include <vector>

#include "fs/tmpfs/memory_open_directory.h"

namespace remora::fs {

ErrnoOr<Ref<Inode>> MemoryDirectory::Below(std::string_view name) {
  if (!has_lower()) return Ref<Inode>();
  ErrnoOr<Ref<Inode>> below = LookupLower(name);
  if (below.error_number() == ENOENT) return Ref<Inode>();
  return below;
}

Inode* MemoryDirectory::CurrentLocked(std::string_view name, const Ref<Inode>& below) const {
  const NameTable::Entry* entry = names_.Find(name);
  return entry != nullptr ? entry->inode.get() : below.get();
}

Ref<Inode> MemoryDirectory::TakeOutLocked(std::string_view name, const Ref<Inode>& below) {
  if (below) return names_.Put(name, nullptr);
  return names_.Remove(name);
}

void MemoryDirectory::SetParent(Ref<MemoryDirectory> parent) {
  MutexLock lock(&space().tree_mutex());
  std::swap(parent_, parent);  // the old one goes behind the lock
}

ErrnoOr<Ref<Inode>> MemoryDirectory::Lookup(std::string_view name) {
  {
    MutexLock lock(&mu_);
    if (removed_) return Errno(ENOENT);
    if (const NameTable::Entry* entry = names_.Find(name)) {
      if (!entry->inode) return Errno(ENOENT);
      return entry->inode;
    }
  }
  return LookupLower(name);
}

ErrnoOr<Ref<Inode>> MemoryDirectory::Create(std::string_view name, const NewNode& node) {
  REMORA_RETURN_IF_ERROR(Own());
  REMORA_ASSIGN_OR_RETURN(const Ref<Inode> below, Below(name));
  REMORA_ASSIGN_OR_RETURN(Ref<MemoryInode> created, MakeMemoryInode(space_ref(), node));
  const bool is_directory = created->type() == S_IFDIR;
  if (is_directory) static_cast<MemoryDirectory&>(*created).SetParent(Ref<MemoryDirectory>(this));
  {
    MutexLock lock(&mu_);
    if (removed_ || CurrentLocked(name, below) != nullptr) {
      const int error = removed_ ? ENOENT : EEXIST;
      if (is_directory) static_cast<MemoryDirectory&>(*created).parent_ = nullptr;  // nobody else has seen it
      return Errno(error);
    }
    names_.Put(name, created);
  }
  if (is_directory) ChangeLinks(1);
  NoteModified();
  return Ref<Inode>(std::move(created));
}

ErrnoOr<Ref<Inode>> MemoryDirectory::CreateUnnamed(const NewNode& node) {
  REMORA_ASSIGN_OR_RETURN(Ref<MemoryInode> created, MakeMemoryInode(space_ref(), node));
  created->ChangeLinks(-1);
  return Ref<Inode>(std::move(created));
}

ErrnoOr<void> MemoryDirectory::Link(std::string_view name, Inode& target) {
  if (!Owns(target)) return Errno(EXDEV);
  if (target.type() == S_IFDIR) return Errno(EPERM);
  auto& inode = static_cast<MemoryInode&>(target);
  REMORA_RETURN_IF_ERROR(Own());
  REMORA_RETURN_IF_ERROR(inode.Own());
  REMORA_ASSIGN_OR_RETURN(const Ref<Inode> below, Below(name));
  {
    MutexLock lock(&mu_);
    if (removed_) return Errno(ENOENT);
    if (CurrentLocked(name, below) != nullptr) return Errno(EEXIST);
    names_.Put(name, Ref<Inode>(&inode));
  }
  inode.ChangeLinks(1);
  NoteModified();
  return Ok();
}

ErrnoOr<void> MemoryDirectory::Unlink(std::string_view name, Inode& target) {
  if (!Owns(target)) return Errno(ESTALE);
  auto& inode = static_cast<MemoryInode&>(target);
  REMORA_RETURN_IF_ERROR(Own());
  REMORA_RETURN_IF_ERROR(inode.Own());
  REMORA_ASSIGN_OR_RETURN(const Ref<Inode> below, Below(name));
  Ref<Inode> gone;
  {
    MutexLock lock(&mu_);
    if (CurrentLocked(name, below) != &target) return Errno(ESTALE);
    gone = TakeOutLocked(name, below);
  }
  inode.ChangeLinks(-1);
  NoteModified();
  return Ok();
}

ErrnoOr<void> MemoryDirectory::MarkRemovedIfEmpty() {
  // Names below can only become covered by more whiteouts, so this may be asked before the lock.
  bool shows_through = false;
  if (has_lower()) {
    REMORA_RETURN_IF_ERROR(ForEachLower([&](const DirectoryEntry& entry) {
      if (entry.name == "." || entry.name == "..") return true;
      MutexLock lock(&mu_);
      shows_through = names_.Find(entry.name) == nullptr;
      return !shows_through;
    }));
  }
  MutexLock lock(&mu_);
  if (removed_) return Errno(ESTALE);
  if (shows_through || names_.num_inodes() != 0) return Errno(ENOTEMPTY);
  removed_ = true;
  return Ok();
}

void MemoryDirectory::UnmarkRemoved() {
  MutexLock lock(&mu_);
  removed_ = false;
}

ErrnoOr<void> MemoryDirectory::RemoveDirectory(std::string_view name, Inode& target) {
  if (!Owns(target) || target.type() != S_IFDIR) return Errno(ESTALE);
  auto& directory = static_cast<MemoryDirectory&>(target);
  REMORA_RETURN_IF_ERROR(Own());
  REMORA_RETURN_IF_ERROR(directory.Own());
  REMORA_ASSIGN_OR_RETURN(const Ref<Inode> below, Below(name));
  REMORA_RETURN_IF_ERROR(directory.MarkRemovedIfEmpty());
  Ref<Inode> gone;
  bool stale = false;
  {
    MutexLock lock(&mu_);
    stale = CurrentLocked(name, below) != &target;
    if (!stale) gone = TakeOutLocked(name, below);
  }
  if (stale) {
    directory.UnmarkRemoved();
    return Errno(ESTALE);
  }
  directory.SetParent(nullptr);
  directory.SetNoLinks();
  ChangeLinks(-1);
  NoteModified();
  return Ok();
}

// All that one rename is about.
struct MemoryDirectory::Renaming {
  MemoryDirectory& from;
  MemoryDirectory& to;
  std::string_view name, new_name;
  MemoryInode& moved;
  MemoryInode* replaced;
  bool exchange;
  Ref<Inode> below, new_below;
  // What goes, behind the locks.
  Ref<Inode> gone[2];
  Ref<MemoryDirectory> old_parents[2];

  bool moves_directory() const { return moved.type() == S_IFDIR || (exchange && replaced->type() == S_IFDIR); }
};

// The step itself, under the locks of both directories; with the tree's, where a directory changes its parent.
ErrnoOr<void> MemoryDirectory::RenameBetween(Renaming& r) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  std::optional<MutexLock> tree;
  const bool new_parents = &r.from != &r.to && r.moves_directory();
  if (new_parents) {
    tree.emplace(&r.from.space().tree_mutex());
    for (const MemoryDirectory* up = &r.to; up != nullptr; up = up->parent_.get())
      if (up == &r.moved) return Errno(EINVAL);
    if (r.exchange)
      for (const MemoryDirectory* up = &r.from; up != nullptr; up = up->parent_.get())
        if (up == r.replaced) return Errno(EINVAL);
  }
  MutexPairLock lock(&r.from.mu_, &r.to.mu_);
  if (r.from.removed_ || r.to.removed_) return Errno(ENOENT);
  if (r.from.CurrentLocked(r.name, r.below) != &r.moved || r.to.CurrentLocked(r.new_name, r.new_below) != r.replaced)
    return Errno(ESTALE);
  if (r.exchange)
    r.gone[0] = r.from.names_.Put(r.name, Ref<Inode>(r.replaced));
  else
    r.gone[0] = r.from.TakeOutLocked(r.name, r.below);
  r.gone[1] = r.to.names_.Put(r.new_name, Ref<Inode>(&r.moved));
  // A directory over a lower one has a parent before it is in a table, so moves within one parent set it, too.
  if (new_parents) {
    if (r.moved.type() == S_IFDIR)
      r.old_parents[0] = std::exchange(static_cast<MemoryDirectory&>(r.moved).parent_, Ref<MemoryDirectory>(&r.to));
    if (r.exchange && r.replaced->type() == S_IFDIR)
      r.old_parents[1] =
          std::exchange(static_cast<MemoryDirectory&>(*r.replaced).parent_, Ref<MemoryDirectory>(&r.from));
  }
  return Ok();
}

ErrnoOr<void> MemoryDirectory::Rename(std::string_view name, Inode& moved, Inode& new_directory,
                                      std::string_view new_name, Inode* replaced, uint32_t flags) {
  if (!Owns(moved) || !Owns(new_directory) || (replaced != nullptr && !Owns(*replaced))) return Errno(EXDEV);
  Renaming r{.from = *this,
             .to = static_cast<MemoryDirectory&>(new_directory),
             .name = name,
             .new_name = new_name,
             .moved = static_cast<MemoryInode&>(moved),
             .replaced = static_cast<MemoryInode*>(replaced),
             .exchange = (flags & RENAME_EXCHANGE) != 0,
             .below = nullptr,
             .new_below = nullptr,
             .gone = {},
             .old_parents = {}};
  REMORA_RETURN_IF_ERROR(Own());
  REMORA_RETURN_IF_ERROR(r.to.Own());
  REMORA_RETURN_IF_ERROR(r.moved.Own());
  if (r.replaced != nullptr) REMORA_RETURN_IF_ERROR(r.replaced->Own());
  REMORA_ASSIGN_OR_RETURN(r.below, Below(name));
  REMORA_ASSIGN_OR_RETURN(r.new_below, r.to.Below(new_name));

  MemoryDirectory* removed = nullptr;
  if (!r.exchange && replaced != nullptr && replaced->type() == S_IFDIR) {
    removed = static_cast<MemoryDirectory*>(r.replaced);
    REMORA_RETURN_IF_ERROR(removed->MarkRemovedIfEmpty());
  }
  ErrnoOr<void> renamed = RenameBetween(r);
  if (!renamed.ok()) {
    if (removed != nullptr) removed->UnmarkRemoved();
    return renamed;
  }

  int links_here = 0, links_there = 0;
  if (moved.type() == S_IFDIR) {
    --links_here;
    ++links_there;
  }
  if (r.exchange) {
    if (replaced->type() == S_IFDIR) {
      ++links_here;
      --links_there;
    }
    r.replaced->NoteChanged();
  } else if (removed != nullptr) {
    --links_there;
    removed->SetParent(nullptr);
    removed->SetNoLinks();
  } else if (r.replaced != nullptr) {
    r.replaced->ChangeLinks(-1);
  }
  if (&r.to == this) {
    if (links_here + links_there != 0) ChangeLinks(links_here + links_there);
  } else {
    if (links_here != 0) ChangeLinks(links_here);
    if (links_there != 0) r.to.ChangeLinks(links_there);
    r.to.NoteModified();
  }
  NoteModified();
  r.moved.NoteChanged();
  return Ok();
}

ErrnoOr<Ref<File>> MemoryDirectory::Open(const Path& path, uint32_t flags) {
  return Ref<File>(MakeRef<MemoryOpenDirectory>(Ref<MemoryDirectory>(this), path, flags));
}

void MemoryDirectory::FillSize(Attributes& attributes) {
  if (has_lower()) return;
  MutexLock lock(&mu_);
  attributes.size_bytes = 40 + 20 * names_.num_inodes();  // as Linux's tmpfs counts: 20 for each name, "." and ".." too
}

void MemoryDirectory::Disband(Ref<MemoryDirectory> top) {
  std::vector<Ref<MemoryDirectory>> left;
  left.push_back(std::move(top));
  while (!left.empty()) {
    const Ref<MemoryDirectory> directory = std::move(left.back());
    left.pop_back();
    NameTable names;
    {
      MutexLock lock(&directory->mu_);
      std::swap(names, directory->names_);
    }
    for (const NameTable::Entry* entry = names.NextFrom(0); entry != nullptr; entry = names.NextFrom(entry->cookie + 1))
      if (entry->inode && entry->inode->type() == S_IFDIR)
        left.emplace_back(static_cast<MemoryDirectory*>(entry->inode.get()));
    directory->SetParent(nullptr);
  }
}

}  // namespace remora::fs
