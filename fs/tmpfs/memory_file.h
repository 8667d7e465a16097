#ifndef REMORA_FS_TMPFS_MEMORY_FILE_H_
#define REMORA_FS_TMPFS_MEMORY_FILE_H_

#include <cstdint>
#include <utility>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/path.h"
#include "fs/regular_file.h"
#include "fs/tmpfs/memory_inode.h"

namespace remora::fs {

// A regular file whose bytes live in frames of the FramePool. Thread safety: all methods from any thread.
class MemoryFile : public MemoryInode {
 public:
  MemoryFile(Ref<MemorySpace> space, const NewNode& node) : MemoryInode(std::move(space), node) {}

  ErrnoOr<void> Truncate(uint64_t size_bytes) override;
  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override;

 protected:
  MemoryFile(Ref<MemorySpace> space, uint64_t number, uint32_t type) : MemoryInode(std::move(space), number, type) {}
  ~MemoryFile() override = default;

  void FillSize(Attributes& attributes) override;

  // The content; null where nobody has needed it yet.
  Ref<FileContent> content() const;
  // The content, to be written to: made where it was not yet there, with what an overlay's lower file holds in its
  // first `keep_bytes` bytes. `path` (may be null) is what mappings of it will be shown as.
  virtual ErrnoOr<Ref<FileContent>> WritableContent(const Path* path, uint64_t keep_bytes);
  // Empty pages for WritableContent, and the step that makes one content out of perhaps several.
  Ref<FileContent> NewContent(const Path* path);
  Ref<FileContent> Install(Ref<FileContent> fresh);

 private:
  mutable Mutex content_mu_{LockRank::kLeaf};
  Ref<FileContent> content_ ABSL_GUARDED_BY(content_mu_);
};

// A MemoryFile, opened. The inode's dates follow its use.
class MemoryOpenFile final : public RegularFile {
 public:
  MemoryOpenFile(Ref<MemoryFile> inode, Path path, uint32_t flags, Ref<FileContent> content)
      : RegularFile(inode, std::move(path), flags, std::move(content)), memory_inode_(std::move(inode)) {}

 protected:
  ~MemoryOpenFile() override = default;
  void NoteAccessed() override {
    if ((flags() & 01000000 /* O_NOATIME */) == 0) memory_inode_->NoteAccessed();
  }
  void NoteModified() override { memory_inode_->NoteModified(); }

 private:
  const Ref<MemoryFile> memory_inode_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_TMPFS_MEMORY_FILE_H_
