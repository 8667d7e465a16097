#ifndef REMORA_FS_TMPFS_MEMORY_DIRECTORY_H_
#define REMORA_FS_TMPFS_MEMORY_DIRECTORY_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/tmpfs/memory_inode.h"
#include "fs/tmpfs/name_table.h"

namespace remora::fs {

// A directory in memory. In an overlay it may have a lower directory, whose names show through where the table says
// nothing: one implementation of create, unlink and rename serves both, and in a tmpfs the lower layer is empty.
//
// Invariants:
//  1. The names of the lower directory never change, so what was asked of it before the lock holds under it.
//  2. A directory that is in another's table has that one as parent(), and the other way round a ring of references
//     exists exactly there: it ends when the name is removed, or when the file system is taken down (Disband).
//  3. removed_ is set before the directory leaves its parent's table; then no name can be added.
// ESTALE: a name no longer leads where the caller saw it; the VFS looks again.
// Thread safety: all methods from any thread. Locks: MemorySpace::tree_mutex(), then kDirectory of one or two
// directories in address order, then inodes' attributes. No lower hook runs under them.
class MemoryDirectory : public MemoryInode {
 public:
  MemoryDirectory(Ref<MemorySpace> space, const NewNode& node) : MemoryInode(std::move(space), node) {}

  ErrnoOr<Ref<Inode>> Lookup(std::string_view name) override;
  ErrnoOr<Ref<Inode>> Create(std::string_view name, const NewNode& node) override;
  ErrnoOr<Ref<Inode>> CreateUnnamed(const NewNode& node) override;
  ErrnoOr<void> Link(std::string_view name, Inode& target) override;
  ErrnoOr<void> Unlink(std::string_view name, Inode& target) override;
  ErrnoOr<void> RemoveDirectory(std::string_view name, Inode& target) override;
  ErrnoOr<void> Rename(std::string_view name, Inode& moved, Inode& new_directory, std::string_view new_name,
                       Inode* replaced, uint32_t flags) override;
  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override;

  // Takes all names below apart, when the file system goes: directories and their parents refer to each other.
  static void Disband(Ref<MemoryDirectory> top);

 protected:
  // Over a lower directory, found in `parent` (null: the root).
  MemoryDirectory(Ref<MemorySpace> space, uint64_t number, uint32_t type, Ref<MemoryDirectory> parent)
      : MemoryInode(std::move(space), number, type), parent_(std::move(parent)) {}
  ~MemoryDirectory() override = default;

  // The lower layer: what the name leads to there (ENOENT), and all its names. Without a lock.
  virtual ErrnoOr<Ref<Inode>> LookupLower(std::string_view) { return Errno(ENOENT); }
  virtual bool has_lower() const { return false; }
  virtual ErrnoOr<void> ForEachLower(absl::FunctionRef<bool(const DirectoryEntry&)>) { return Ok(); }

  void FillSize(Attributes& attributes) override;

 private:
  friend class MemoryOpenDirectory;
  // What the lower layer knows of a name: null where nothing.
  ErrnoOr<Ref<Inode>> Below(std::string_view name);
  // What the name leads to now, given what lies below.
  Inode* CurrentLocked(std::string_view name, const Ref<Inode>& below) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The name leads nowhere from now on; the reference that goes.
  Ref<Inode> TakeOutLocked(std::string_view name, const Ref<Inode>& below) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ErrnoOr<void> MarkRemovedIfEmpty();  // ENOTEMPTY; ESTALE if it is already
  void UnmarkRemoved();
  bool Owns(const Inode& inode) const { return &inode.file_system() == &file_system(); }
  void SetParent(Ref<MemoryDirectory> parent);
  struct Renaming;
  static ErrnoOr<void> RenameBetween(Renaming& r);

  Mutex mu_{LockRank::kDirectory};
  NameTable names_ ABSL_GUARDED_BY(mu_);
  bool removed_ ABSL_GUARDED_BY(mu_) = false;
  Ref<MemoryDirectory> parent_;  // guarded by the space's tree_mutex(); null: the root, or in no table
};

}  // namespace remora::fs

#endif  // REMORA_FS_TMPFS_MEMORY_DIRECTORY_H_
