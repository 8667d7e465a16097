#include "fs/regular_file.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <utility>

namespace remora::fs {

RegularFile::RegularFile(Ref<Inode> inode, Path path, uint32_t flags, Ref<FileContent> content)
    : File(std::move(inode), std::move(path), flags), content_(std::move(content)) {}

ErrnoOr<uint64_t> RegularFile::Read(mm::IoBuffer& to, uint64_t offset) {
  REMORA_ASSIGN_OR_RETURN(const uint64_t n, content_->pages()->Read(to, offset));
  if (n != 0) NoteAccessed();
  return n;
}

ErrnoOr<uint64_t> RegularFile::Write(mm::IoBuffer& from, uint64_t offset) {
  if (from.remaining() == 0) return uint64_t{0};
  if (offset >= kMaxSizeBytes) return Errno(EFBIG);
  REMORA_ASSIGN_OR_RETURN(const uint64_t n, content_->pages()->Write(from, offset));
  if (n != 0) NoteModified();
  return n;
}

ErrnoOr<uint64_t> RegularFile::Append(mm::IoBuffer& from, uint64_t* end) {
  uint64_t n = 0;
  {
    MutexLock lock(&content_->append_mutex());
    const uint64_t offset = content_->pages()->size_bytes();
    if (offset >= kMaxSizeBytes) return Errno(EFBIG);
    if (from.remaining() != 0) {
      REMORA_ASSIGN_OR_RETURN(n, content_->pages()->Write(from, offset));
    }
    *end = offset + n;
  }
  if (n != 0) NoteModified();
  return n;
}

ErrnoOr<uint64_t> RegularFile::SizeForSeek() { return content_->pages()->size_bytes(); }

ErrnoOr<Ref<mm::Mappable>> RegularFile::Mappable() { return Ref<mm::Mappable>(content_->pages()); }

ErrnoOr<void> RegularFile::Truncate(uint64_t size_bytes) {
  if (size_bytes > kMaxSizeBytes) return Errno(EFBIG);
  REMORA_RETURN_IF_ERROR(content_->pages()->Truncate(size_bytes));
  NoteModified();
  return Ok();
}

ErrnoOr<void> RegularFile::Allocate(int mode, uint64_t offset, uint64_t length_bytes) {
  if (length_bytes == 0) return Errno(EINVAL);
  if (offset > kMaxSizeBytes || length_bytes > kMaxSizeBytes - offset) return Errno(EFBIG);
  const bool keep_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  const int operation = mode & ~FALLOC_FL_KEEP_SIZE;
  mm::FilePages& pages = *content_->pages();
  {
    MutexLock lock(&content_->append_mutex());
    const uint64_t size = pages.size_bytes();
    if (operation == FALLOC_FL_PUNCH_HOLE) {
      if (!keep_size) return Errno(EOPNOTSUPP);
    } else if (operation != 0 && operation != FALLOC_FL_ZERO_RANGE) {
      return Errno(EOPNOTSUPP);
    }
    if (operation != 0 && offset < size)
      REMORA_RETURN_IF_ERROR(pages.PunchHole(offset, std::min(length_bytes, size - offset)));
    if (!keep_size && offset + length_bytes > size) REMORA_RETURN_IF_ERROR(pages.Truncate(offset + length_bytes));
  }
  NoteModified();
  return Ok();
}

ErrnoOr<void> RegularFile::Sync() { return content_->pages()->Sync(); }

}  // namespace remora::fs
