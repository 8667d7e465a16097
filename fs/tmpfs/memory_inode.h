#ifndef REMORA_FS_TMPFS_MEMORY_INODE_H_
#define REMORA_FS_TMPFS_MEMORY_INODE_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/device_registry.h"
#include "fs/inode.h"
#include "fs/special/fifo.h"
#include "mm/memory_context.h"

namespace remora::fs {

// What all inodes of one file system in memory share. The pointers outlive it; `file_system` outlives every use of an
// inode by name (whoever reaches one holds a mount). Thread safety: all methods from any thread.
class MemorySpace : public RefCounted {
 public:
  MemorySpace(FileSystem* file_system, uint64_t device_id, uint64_t first_number, mm::MemoryContext* memory,
              Clock* clock, const DeviceRegistry* devices)
      : file_system_(file_system),
        device_id_(device_id),
        memory_(memory),
        clock_(clock),
        devices_(devices),
        next_number_(first_number) {}

  FileSystem& file_system() const { return *file_system_; }
  uint64_t device_id() const { return device_id_; }
  mm::MemoryContext* memory() const { return memory_; }
  const DeviceRegistry& devices() const { return *devices_; }
  uint64_t NewNumber() { return next_number_.fetch_add(1, std::memory_order_relaxed); }
  Timestamp Now() const {
    const int64_t nanos = clock_->RealtimeNanos();
    return {nanos / kNanosPerSecond, nanos % kNanosPerSecond};
  }
  // Held while a directory changes its parent, so that no two such moves make a ring. Linux's s_vfs_rename_mutex.
  Mutex& tree_mutex() ABSL_LOCK_RETURNED(tree_mu_) { return tree_mu_; }
  // What statfs tells of the memory that is left.
  FileSystem::Statistics StatisticsWithMagic(uint64_t magic) const;

 protected:
  ~MemorySpace() override = default;

 private:
  FileSystem* const file_system_;
  const uint64_t device_id_;
  mm::MemoryContext* const memory_;
  Clock* const clock_;
  const DeviceRegistry* const devices_;
  std::atomic<uint64_t> next_number_;
  Mutex tree_mu_{LockRank::kRename};
};

// An inode whose attributes live in memory: tmpfs's, and those of an overlay. The latter may at first have the
// attributes of a lower inode; then everything that changes something calls Own() first, which copies them.
// Thread safety: all methods from any thread; one lock (kInode) for the attributes, held over nothing else.
class MemoryInode : public Inode {
 public:
  FileSystem& file_system() const override { return space_->file_system(); }
  uint64_t number() const override { return number_; }
  uint32_t type() const override { return type_; }
  ErrnoOr<Attributes> GetAttributes() override;
  ErrnoOr<void> SetAttributes(const AttributeChange& change) override;

  // Makes the attributes its own. EIO and the like, where the lower layer cannot tell them.
  ErrnoOr<void> Own();
  // The rest wants Own() to have succeeded.
  // A name was added or taken away (or a subdirectory, for a directory's count); how many there are.
  uint32_t ChangeLinks(int delta);
  void SetNoLinks();  // of a directory that was removed
  void NoteModified();
  void NoteChanged();
  // Reading moves the access date only if it lies before the last change: relatime.
  void NoteAccessed() {
    if (!access_noted_.load(std::memory_order_relaxed)) NoteAccessedSlow();
  }

  MemorySpace& space() const { return *space_; }

 protected:
  // With attributes of its own.
  MemoryInode(Ref<MemorySpace> space, const NewNode& node);
  // With those of a lower inode, until Own().
  MemoryInode(Ref<MemorySpace> space, uint64_t number, uint32_t type);
  ~MemoryInode() override = default;

  // What Own() copies and what GetAttributes shows until then.
  virtual ErrnoOr<Attributes> InheritedAttributes();
  // From now on this object knows what the lower layer does not: it must stay.
  virtual void OnOwned() {}
  // Its last name is gone.
  virtual void OnUnlinked() {}
  // Puts size and blocks in, where they follow from the content. Without the lock.
  virtual void FillSize(Attributes&) {}

  bool owned() const { return owned_.load(std::memory_order_acquire); }
  Ref<MemorySpace> space_ref() const { return space_; }
  void SetSize(uint64_t size_bytes);

 private:
  void NoteAccessedSlow();

  const Ref<MemorySpace> space_;
  const uint64_t number_;
  const uint32_t type_;
  std::atomic<bool> owned_;
  std::atomic<bool> access_noted_{false};
  Mutex mu_{LockRank::kInode};
  Attributes attributes_ ABSL_GUARDED_BY(mu_);
};

class MemorySymlink : public MemoryInode {
 public:
  MemorySymlink(Ref<MemorySpace> space, const NewNode& node);
  ErrnoOr<std::string> ReadLink() override { return text_; }
  ErrnoOr<Ref<File>> Open(const Path&, uint32_t) override { return Errno(ELOOP); }

 protected:
  MemorySymlink(Ref<MemorySpace> space, uint64_t number, uint32_t type) : MemoryInode(std::move(space), number, type) {}

 private:
  const std::string text_;
};

// A FIFO, a socket's name, a device node.
class MemorySpecial : public MemoryInode {
 public:
  MemorySpecial(Ref<MemorySpace> space, const NewNode& node);
  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override;
  ErrnoOr<Ref<File>> OpenFor(const CallerIds& caller, const Path& path, uint32_t flags) override;

 protected:
  MemorySpecial(Ref<MemorySpace> space, uint64_t number, uint32_t type);

 private:
  const Ref<FifoBuffer> fifo_;  // null but for FIFOs
};

// The inode for a NewNode: a directory, a file, a symlink or a special one. EINVAL for a type that there is not.
ErrnoOr<Ref<MemoryInode>> MakeMemoryInode(const Ref<MemorySpace>& space, const Inode::NewNode& node);

}  // namespace remora::fs

#endif  // REMORA_FS_TMPFS_MEMORY_INODE_H_
