#ifndef REMORA_FS_HOSTFS_HOST_INODE_H_
#define REMORA_FS_HOSTFS_HOST_INODE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "fs/hostfs/host_fd_cache.h"
#include "fs/hostfs/host_file_system.h"
#include "fs/hostfs/host_pages.h"
#include "fs/inode.h"
#include "mm/page_cache.h"

struct statx;

namespace remora::fs {

// A host file as the guest's inode. It remembers where it was found (parent and name) and opens it again on demand;
// descriptors are kept only as long as the file system's cache lets them, or while the file is open or unlinked.
//
// Invariants:
//  1. One live HostInode for each key: two names of a file (hard links) are one inode.
//  2. What a descriptor of it refers to has its key: checked each time one is opened.
// Thread safety: all methods from any thread. mu_ is never held across a host call.
class HostInode final : public Inode {
 public:
  using Key = HostFileSystem::Key;

  FileSystem& file_system() const override { return *fs_; }
  uint64_t number() const override { return key_.number; }
  uint32_t type() const override { return key_.type; }
  ErrnoOr<Attributes> GetAttributes() override;
  ErrnoOr<void> SetAttributes(const AttributeChange& change) override;
  ErrnoOr<void> Truncate(uint64_t size_bytes) override;

  ErrnoOr<Ref<Inode>> Lookup(std::string_view name) override;
  ErrnoOr<Ref<Inode>> Create(std::string_view name, const NewNode& node) override;
  ErrnoOr<void> Link(std::string_view name, Inode& target) override;
  ErrnoOr<void> Unlink(std::string_view name, Inode& target) override;
  ErrnoOr<void> RemoveDirectory(std::string_view name, Inode& target) override;
  ErrnoOr<void> Rename(std::string_view name, Inode& moved, Inode& new_directory, std::string_view new_name,
                       Inode* replaced, uint32_t flags) override;
  bool cacheable_lookups() const override { return fs_->options().cacheable_lookups; }
  ErrnoOr<std::string> ReadLink() override;
  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override;

  // For the open files (fs/hostfs/host_file.h).
  HostReadPool* read_pool() const { return fs_->options().stream.read_pool; }
  Ref<HostWindows> windows();
  void PinFd() { slot_->Pin(); }
  void UnpinFd() { slot_->Unpin(); }
  // The pages, made at the first mapping. `fd`: the file's own, readable. `shared_writable`: stores may come, so reads
  // and writes go through the pages from now on.
  ErrnoOr<Ref<mm::FilePages>> PagesForMapping(Ref<HostFd> fd, bool shared_writable, std::string name);
  // The pages if there are any; `dirty`: the host's content may be older.
  Ref<mm::FilePages> PagesIfAny(bool* dirty);
  // After the guest itself changed the file: its new date does not make the pages stale.
  void NoteOwnChange();
  // False: somebody maps them, or they may be newer than the host's file.
  bool DropPagesIfIdle();

 private:
  friend class HostFileSystem;
  template <typename T, typename... Args>
  friend Ref<T> remora::MakeRef(Args&&... args);
  HostInode(Ref<HostFileSystem> fs, const Key& key, Ref<HostInode> parent, std::string name);
  ~HostInode() override = default;
  void OnLastRelease() override { fs_->Retire(this); }
  // When nobody uses it any more: drops what it holds. Its memory stays a while, for lookups that just meet it.
  void LetGo();

  struct Location {
    Ref<HostInode> parent;  // null: the root
    std::string name;
  };
  Location location() const;
  void SetLocation(Ref<HostInode> parent, std::string_view name);

  // An O_PATH descriptor of this very file. ESTALE if it is no longer where it was.
  ErrnoOr<Ref<HostFd>> PathFd();
  // A real one, checked to be this file. `flags`: the host's.
  ErrnoOr<Ref<HostFd>> OpenReal(int flags);
  ErrnoOr<void> CheckIdentity(int fd) const;
  ErrnoOr<void> RequireWritable() const;
  // The child `name` as the host has it now.
  ErrnoOr<Ref<HostInode>> Child(int directory_fd, std::string_view name);
  ErrnoOr<struct statx> Status();
  // So that it can still be asked about when its name is gone. Ends never.
  void KeepForever();

  const Ref<HostFileSystem> fs_;
  const Key key_;
  const Ref<HostFdSlot> slot_ = MakeRef<HostFdSlot>();

  mutable Mutex mu_{LockRank::kInode};
  Ref<HostInode> parent_ ABSL_GUARDED_BY(mu_);
  std::string name_ ABSL_GUARDED_BY(mu_);
  // The descriptor that created the file, for its first opening: the permissions may not allow a second one.
  Ref<HostFd> created_fd_ ABSL_GUARDED_BY(mu_);
  Ref<mm::FilePages> pages_ ABSL_GUARDED_BY(mu_);
  Ref<HostWindows> windows_ ABSL_GUARDED_BY(mu_);            // null until it is first opened
  HostPageBacking* backing_ ABSL_GUARDED_BY(mu_) = nullptr;  // of pages_
  bool maybe_dirty_ ABSL_GUARDED_BY(mu_) = false;
  Timestamp pages_modified_ ABSL_GUARDED_BY(mu_);
  uint64_t pages_size_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_INODE_H_
