#include "fs/pseudo/snapshot_file.h"

#include <array>
#include <span>

#include "base/guest_addr.h"

namespace remora::fs {

ErrnoOr<Ref<File>> SnapshotInode::Open(const Path& path, uint32_t flags) {
  return Ref<File>(MakeRef<SnapshotFile>(Ref<SnapshotInode>(this), path, flags));
}

ErrnoOr<uint64_t> SnapshotFile::Read(mm::IoBuffer& to, uint64_t offset) {
  if (to.remaining() == 0) return uint64_t{0};
  SnapshotCounters& counters = source_->file_system().snapshots();
  std::shared_ptr<const std::string> content;
  if (offset != 0) {
    MutexLock lock(&mu_);
    content = content_;
  }
  if (content) {
    counters.reused.fetch_add(1, std::memory_order_relaxed);
  } else {
    counters.built.fetch_add(1, std::memory_order_relaxed);
    REMORA_ASSIGN_OR_RETURN(std::string fresh, source_->generate_());
    content = std::make_shared<const std::string>(std::move(fresh));
    MutexLock lock(&mu_);
    content_ = content;
  }
  if (offset >= content->size()) return uint64_t{0};
  return to.Write(std::as_bytes(std::span(*content)).subspan(offset));
}

ErrnoOr<uint64_t> SnapshotFile::Write(mm::IoBuffer& from, uint64_t) {
  if (!source_->write_) return Errno(EINVAL);
  std::array<std::byte, kPageSize> bytes;
  if (from.remaining() > bytes.size()) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const uint64_t n, from.Read(std::span(bytes).first(from.remaining())));
  REMORA_RETURN_IF_ERROR(source_->write_(std::string_view(reinterpret_cast<const char*>(bytes.data()), n)));
  return n;
}

ErrnoOr<uint64_t> SnapshotFile::Append(mm::IoBuffer& from, uint64_t* end) {
  REMORA_ASSIGN_OR_RETURN(const uint64_t n, Write(from, 0));
  *end = n;
  return n;
}

}  // namespace remora::fs
