#ifndef REMORA_FS_REGULAR_FILE_H_
#define REMORA_FS_REGULAR_FILE_H_

#include <cstdint>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "mm/page_cache.h"

namespace remora::fs {

// The content of a regular file, as its inode keeps it: the pages, and the lock that makes an append one step.
class FileContent final : public RefCounted {
 public:
  explicit FileContent(Ref<mm::FilePages> pages) : pages_(std::move(pages)) {}
  const Ref<mm::FilePages>& pages() const { return pages_; }
  // Held from "where is the end" until the bytes are there. Linux's i_rwsem, for that part.
  Mutex& append_mutex() ABSL_LOCK_RETURNED(append_mu_) { return append_mu_; }

 private:
  ~FileContent() override = default;
  const Ref<mm::FilePages> pages_;
  Mutex append_mu_{LockRank::kInode};
};

// An open regular file whose bytes live in the page cache: tmpfs's, the overlay's upper ones, host files'.
// Reads, writes and mappings meet in the same frames. Thread safety: all methods from any thread.
class RegularFile : public File {
 public:
  // i_size is signed in Linux; page indexes must not overflow either.
  static constexpr uint64_t kMaxSizeBytes = uint64_t{1} << 62;

  RegularFile(Ref<Inode> inode, Path path, uint32_t flags, Ref<FileContent> content);

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override;
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) override;
  ErrnoOr<uint64_t> Append(mm::IoBuffer& from, uint64_t* end) override;
  bool seekable() const override { return true; }
  ErrnoOr<uint64_t> SizeForSeek() override;
  ErrnoOr<Ref<mm::Mappable>> Mappable() override;
  ErrnoOr<void> Truncate(uint64_t size_bytes) override;
  // 0, FALLOC_FL_KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE. Space is not reserved: frames come with the first write.
  ErrnoOr<void> Allocate(int mode, uint64_t offset, uint64_t length_bytes) override;
  ErrnoOr<void> Sync() override;

 protected:
  ~RegularFile() override = default;
  // The inode's dates follow: called after a transfer of at least one byte, without a lock.
  virtual void NoteAccessed() {}
  virtual void NoteModified() {}
  FileContent& content() const { return *content_; }

 private:
  const Ref<FileContent> content_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_REGULAR_FILE_H_
