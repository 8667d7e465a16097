#include "fs/tmpfs/memfd.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <atomic>
#include <string>
#include <utility>

#include "base/abi/fcntl.h"
#include "fs/regular_file.h"

namespace remora::fs {
namespace {

constexpr uint32_t kNoWrites = abi::kF_SEAL_WRITE | abi::kF_SEAL_FUTURE_WRITE;
constexpr uint32_t kAllSeals = abi::kF_SEAL_SEAL | abi::kF_SEAL_SHRINK | abi::kF_SEAL_GROW | abi::kF_SEAL_WRITE |
                               abi::kF_SEAL_FUTURE_WRITE | abi::kF_SEAL_EXEC;

// What all descriptions of one memfd share. Thread safety: all methods from any thread.
class MemfdInode final : public AnonymousInode {
 public:
  MemfdInode(Ref<AnonymousFiles> files, uint64_t number, std::string_view label, uint32_t mode, uint32_t uid,
             uint32_t gid)
      : AnonymousInode(std::move(files), number, label, mode, uid, gid) {}

  // Before it is opened for the first time.
  void Initialize(mm::MemoryContext* memory, std::string_view name, uint32_t seals) {
    name_ = "/memfd:" + std::string(name) + " (deleted)";
    seals_.store(seals, std::memory_order_relaxed);
    mm::Mappable::Description description;
    description.inode = number();
    description.path = name_;
    content_ = MakeRef<FileContent>(MakeRef<mm::FilePages>(memory, nullptr, std::move(description)));
  }

  const std::string& name() const { return name_; }
  const Ref<FileContent>& content() const { return content_; }
  uint32_t seals() const { return seals_.load(std::memory_order_acquire); }

  ErrnoOr<void> AddSeals(uint32_t added) {
    if ((added & ~kAllSeals) != 0) return Errno(EINVAL);
    uint32_t before = seals();
    do {
      if ((before & abi::kF_SEAL_SEAL) != 0) return Errno(EPERM);
    } while (!seals_.compare_exchange_weak(before, before | added, std::memory_order_acq_rel));
    return Ok();
  }

  ErrnoOr<Attributes> GetAttributes() override {
    REMORA_ASSIGN_OR_RETURN(Attributes attributes, AnonymousInode::GetAttributes());
    attributes.num_links = 0;
    attributes.size_bytes = content_->pages()->size_bytes();
    attributes.num_512_byte_blocks = 8 * content_->pages()->num_pages_present();
    return attributes;
  }

  ErrnoOr<void> SetAttributes(const AttributeChange& change) override {
    if (change.permissions && (seals() & abi::kF_SEAL_EXEC) != 0) {
      REMORA_ASSIGN_OR_RETURN(const Attributes now, GetAttributes());
      if (((now.mode ^ *change.permissions) & 0111) != 0) return Errno(EPERM);
    }
    return AnonymousInode::SetAttributes(change);
  }

  ErrnoOr<void> CheckResize(uint64_t size_bytes) const {
    const uint64_t before = content_->pages()->size_bytes();
    if (size_bytes < before && (seals() & abi::kF_SEAL_SHRINK) != 0) return Errno(EPERM);
    if (size_bytes > before && (seals() & abi::kF_SEAL_GROW) != 0) return Errno(EPERM);
    return Ok();
  }

  ErrnoOr<void> Truncate(uint64_t size_bytes) override {
    if (size_bytes > RegularFile::kMaxSizeBytes) return Errno(EFBIG);
    REMORA_RETURN_IF_ERROR(CheckResize(size_bytes));
    return content_->pages()->Truncate(size_bytes);
  }

  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override;  // through /proc/PID/fd/N

 private:
  std::string name_;
  Ref<FileContent> content_;
  std::atomic<uint32_t> seals_{0};
};

class MemfdFile final : public RegularFile {
 public:
  MemfdFile(Ref<MemfdInode> inode, const Path& path, uint32_t flags)
      : RegularFile(inode, path, flags, inode->content()), memfd_(std::move(inode)) {}

  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) override {
    REMORA_RETURN_IF_ERROR(CheckWrite(from.remaining(), offset));
    return RegularFile::Write(from, offset);
  }
  ErrnoOr<uint64_t> Append(mm::IoBuffer& from, uint64_t* end) override {
    REMORA_RETURN_IF_ERROR(CheckWrite(from.remaining(), content().pages()->size_bytes()));
    return RegularFile::Append(from, end);
  }
  ErrnoOr<void> Truncate(uint64_t size_bytes) override {
    REMORA_RETURN_IF_ERROR(memfd_->CheckResize(size_bytes));
    return RegularFile::Truncate(size_bytes);
  }
  ErrnoOr<void> Allocate(int mode, uint64_t offset, uint64_t length_bytes) override {
    if ((mode & FALLOC_FL_ZERO_RANGE) != 0) return Errno(EOPNOTSUPP);  // as Linux's tmpfs
    if ((mode & FALLOC_FL_PUNCH_HOLE) != 0 && (memfd_->seals() & kNoWrites) != 0) return Errno(EPERM);
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && length_bytes <= kMaxSizeBytes && offset <= kMaxSizeBytes - length_bytes &&
        offset + length_bytes > content().pages()->size_bytes())
      REMORA_RETURN_IF_ERROR(memfd_->CheckResize(offset + length_bytes));
    return RegularFile::Allocate(mode, offset, length_bytes);
  }
  ErrnoOr<uint32_t> Seals() override { return memfd_->seals(); }
  ErrnoOr<void> AddSeals(uint32_t seals) override {
    if (!writable()) return Errno(EPERM);
    return memfd_->AddSeals(seals);
  }
  std::string DescribePath() const override { return memfd_->name(); }

 private:
  ErrnoOr<void> CheckWrite(uint64_t length_bytes, uint64_t offset) const {
    const uint32_t seals = memfd_->seals();
    if (length_bytes == 0 || seals == 0) return Ok();
    if ((seals & kNoWrites) != 0) return Errno(EPERM);
    const uint64_t size = content().pages()->size_bytes();
    if ((seals & abi::kF_SEAL_GROW) != 0 && (offset > size || length_bytes > size - offset)) return Errno(EPERM);
    return Ok();
  }

  const Ref<MemfdInode> memfd_;
};

ErrnoOr<Ref<File>> MemfdInode::Open(const Path& path, uint32_t flags) {
  return Ref<File>(MakeRef<MemfdFile>(Ref<MemfdInode>(this), path, flags));
}

}  // namespace

Ref<File> MakeMemfd(AnonymousFiles& files, mm::MemoryContext* memory, std::string_view name, uint32_t flags,
                    uint32_t uid, uint32_t gid) {
  const bool no_exec = (flags & abi::kMFD_NOEXEC_SEAL) != 0;
  uint32_t seals = no_exec ? abi::kF_SEAL_EXEC : 0;
  if (!no_exec && (flags & abi::kMFD_ALLOW_SEALING) == 0) seals |= abi::kF_SEAL_SEAL;
  auto inode = files.MakeInodeOf<MemfdInode>("memfd]", S_IFREG | (no_exec ? 0666 : 0777), uid, gid);
  inode->Initialize(memory, name, seals);
  return MakeRef<MemfdFile>(std::move(inode), Path(), uint32_t{O_RDWR} | 0100000 /* O_LARGEFILE */);
}

}  // namespace remora::fs
