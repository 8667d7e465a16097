#include "fs/hostfs/host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <utility>

#include "fs/hostfs/host_io.h"

namespace remora::fs {

HostFile::HostFile(Ref<HostInode> inode, const Path& path, uint32_t flags, Ref<HostFd> fd)
    : File(Ref<Inode>(inode), path, flags),
      host_inode_(std::move(inode)),
      fd_(std::move(fd)),
      reader_(MakeRef<HostReader>(host_inode_->read_pool(), fd_, host_inode_->windows())) {
  host_inode_->PinFd();
}

ErrnoOr<uint64_t> HostFile::Read(mm::IoBuffer& to, uint64_t offset) {
  bool dirty;
  if (Ref<mm::FilePages> pages = host_inode_->PagesIfAny(&dirty); pages && dirty) return pages->Read(to, offset);
  return reader_->ReadAt(to, offset);
}

ErrnoOr<uint64_t> HostFile::Write(mm::IoBuffer& from, uint64_t offset) {
  bool dirty;
  const Ref<mm::FilePages> pages = host_inode_->PagesIfAny(&dirty);
  reader_->windows().Drop();
  const auto n = WriteThrough(from, offset, pages.get());
  if (pages) host_inode_->NoteOwnChange();
  return n;
}

ErrnoOr<uint64_t> HostFile::WriteThrough(mm::IoBuffer& from, uint64_t offset, mm::FilePages* pages) {
  if (pages == nullptr) return host_io::WriteAt(fd_->get(), from, offset);
  uint64_t done = 0;
  while (from.remaining() != 0) {
    const auto piece = from.Peek(UINT64_MAX);
    if (!piece.ok()) {
      if (done != 0) break;
      return piece.error();
    }
    const iovec one{piece->data(), piece->size()};
    const auto n = host_io::WriteVector(fd_->get(), std::span(&one, 1), static_cast<int64_t>(offset + done));
    if (!n.ok()) {
      if (done != 0) break;
      return n.error();
    }
    pages->NoteBackingWritten(piece->first(*n), offset + done);
    from.Advance(*n);
    done += *n;
    if (*n < piece->size()) break;
  }
  return done;
}

ErrnoOr<uint64_t> HostFile::Append(mm::IoBuffer& from, uint64_t* end) {
  bool dirty;
  const Ref<mm::FilePages> pages = host_inode_->PagesIfAny(&dirty);
  reader_->windows().Drop();
  uint64_t done = 0;
  if (pages) {
    // Coherent with the mapping; another host process that appends at the same moment is not excluded.
    REMORA_ASSIGN_OR_RETURN(const uint64_t size, SizeForSeek());
    REMORA_ASSIGN_OR_RETURN(done, WriteThrough(from, size, pages.get()));
    host_inode_->NoteOwnChange();
    *end = size + done;
    return done;
  }
  while (from.remaining() != 0) {
    const uint64_t before = from.remaining();
    // RWF_APPEND: the host finds the end and writes there in one step.
    const auto n = host_io::WriteOnce(fd_->get(), from, UINT64_MAX, 0, RWF_APPEND);
    if (!n.ok()) {
      if (done != 0) break;
      if (n.error_number() != EOPNOTSUPP && n.error_number() != ENOSYS) return n.error();
      REMORA_ASSIGN_OR_RETURN(const uint64_t size, SizeForSeek());
      REMORA_ASSIGN_OR_RETURN(done, host_io::WriteAt(fd_->get(), from, size));
      break;
    }
    done += *n;
    if (*n == 0 || before == *n) break;
  }
  REMORA_ASSIGN_OR_RETURN(*end, SizeForSeek());
  return done;
}

ErrnoOr<uint64_t> HostFile::SizeForSeek() {
  struct stat status;
  if (fstat(fd_->get(), &status) < 0) return Errno(errno);
  return static_cast<uint64_t>(status.st_size);
}

ErrnoOr<Ref<mm::Mappable>> HostFile::Mappable() {
  const bool may_store = readable() && writable();
  REMORA_ASSIGN_OR_RETURN(Ref<mm::FilePages> pages, host_inode_->PagesForMapping(fd_, may_store, DescribePath()));
  return Ref<mm::Mappable>(std::move(pages));
}

ErrnoOr<void> HostFile::Truncate(uint64_t size_bytes) {
  reader_->windows().Drop();
  if (ftruncate(fd_->get(), static_cast<off_t>(size_bytes)) < 0) return Errno(errno);
  bool dirty;
  if (Ref<mm::FilePages> pages = host_inode_->PagesIfAny(&dirty)) {
    REMORA_RETURN_IF_ERROR(pages->Truncate(size_bytes));
    host_inode_->NoteOwnChange();
  }
  return Ok();
}

ErrnoOr<void> HostFile::Allocate(int mode, uint64_t offset, uint64_t length_bytes) {
  REMORA_RETURN_IF_ERROR(Sync());
  reader_->windows().Drop();
  if (fallocate(fd_->get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length_bytes)) < 0)
    return Errno(errno);
  bool dirty;
  if (Ref<mm::FilePages> pages = host_inode_->PagesIfAny(&dirty)) {
    constexpr int kPunchHole = FALLOC_FL_PUNCH_HOLE, kZeroRange = FALLOC_FL_ZERO_RANGE;
    if ((mode & (kPunchHole | kZeroRange)) != 0) REMORA_RETURN_IF_ERROR(pages->PunchHole(offset, length_bytes));
    REMORA_ASSIGN_OR_RETURN(const uint64_t size, SizeForSeek());
    if (size > pages->size_bytes()) REMORA_RETURN_IF_ERROR(pages->Truncate(size));
    host_inode_->NoteOwnChange();
  }
  return Ok();
}

ErrnoOr<void> HostFile::Sync() {
  bool dirty;
  if (Ref<mm::FilePages> pages = host_inode_->PagesIfAny(&dirty); pages && dirty) {
    REMORA_RETURN_IF_ERROR(pages->Sync());
    host_inode_->NoteOwnChange();
  }
  if (fsync(fd_->get()) < 0) return Errno(errno);
  return Ok();
}

void HostFile::OnDescriptorClosed() {
  bool dirty;
  if (!writable()) return;
  if (Ref<mm::FilePages> pages = host_inode_->PagesIfAny(&dirty); pages && dirty) {
    (void)pages->Sync().ok();
    host_inode_->NoteOwnChange();
  }
}

void HostFile::OnLastClose() { host_inode_->UnpinFd(); }

}  // namespace remora::fs
