#include "fs/special/anonymous_files.h"

#include <errno.h>

#include "fs/file.h"

namespace remora::fs {

Ref<AnonymousInode> AnonymousFiles::MakeInode(std::string_view label, uint32_t mode, uint32_t uid, uint32_t gid) {
  return MakeInodeOf<AnonymousInode>(label, mode, uid, gid);
}

FileSystem::Statistics AnonymousFiles::GetStatistics() {
  Statistics statistics;
  statistics.magic = 0x50495045;  // PIPEFS_MAGIC
  return statistics;
}

Timestamp AnonymousFiles::Now() const {
  const int64_t nanos = clock_->RealtimeNanos();
  return {nanos / kNanosPerSecond, nanos % kNanosPerSecond};
}

AnonymousInode::AnonymousInode(Ref<AnonymousFiles> files, uint64_t number, std::string_view label, uint32_t mode,
                               uint32_t uid, uint32_t gid)
    : files_(std::move(files)),
      number_(number),
      label_(label),
      created_(files_->Now()),
      mode_(mode),
      uid_(uid),
      gid_(gid) {}

ErrnoOr<Attributes> AnonymousInode::GetAttributes() {
  Attributes a;
  a.device_minor = static_cast<uint32_t>(files_->device_id());
  a.inode_number = number_;
  a.mode = mode_.load(std::memory_order_relaxed);
  a.uid = uid_.load(std::memory_order_relaxed);
  a.gid = gid_.load(std::memory_order_relaxed);
  a.accessed = a.modified = a.changed = a.born = created_;
  return a;
}

ErrnoOr<void> AnonymousInode::SetAttributes(const AttributeChange& change) {
  if (change.permissions) {
    uint32_t mode = mode_.load(std::memory_order_relaxed);
    while (!mode_.compare_exchange_weak(mode, (mode & 0170000) | (*change.permissions & 07777))) {
    }
  }
  if (change.uid) uid_.store(*change.uid, std::memory_order_relaxed);
  if (change.gid) gid_.store(*change.gid, std::memory_order_relaxed);
  return Ok();
}

ErrnoOr<Ref<File>> AnonymousInode::Open(const Path&, uint32_t) { return Errno(ENXIO); }

std::string AnonymousInode::Describe() const {
  if (label_.ends_with(']')) return std::string(label_);
  return std::string(label_) + ":[" + std::to_string(number_) + "]";
}

}  // namespace remora::fs
