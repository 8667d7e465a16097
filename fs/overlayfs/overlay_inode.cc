#include "fs/overlayfs/overlay_inode.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

namespace remora::fs {

namespace {

constexpr uint64_t kCopyPieceBytes = 64 << 10;

bool AllZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

Ref<Inode> OverlaySpace::InodeOf(const Ref<Inode>& lower, const Ref<MemoryDirectory>& parent) {
  return table_.GetOrCreate(lower.get(), [&]() -> Ref<MemoryInode> {
    Ref<OverlaySpace> self(this);
    switch (lower->type()) {
      case S_IFDIR:
        return MakeRef<OverlayDirectory>(std::move(self), lower, parent);
      case S_IFREG:
        return MakeRef<OverlayFile>(std::move(self), lower);
      case S_IFLNK:
        return MakeRef<OverlaySymlink>(std::move(self), lower);
      default:
        return MakeRef<OverlaySpecial>(std::move(self), lower);
    }
  });
}

ErrnoOr<Attributes> OverlaySpace::AttributesOf(Inode& lower) const {
  REMORA_ASSIGN_OR_RETURN(Attributes attributes, lower.GetAttributes());
  if (attributes.device_major == lower_device_major_ && attributes.device_minor == lower_device_minor_) {
    attributes.device_major = 0;
    attributes.device_minor = static_cast<uint32_t>(device_id());
  }
  return attributes;
}

void OverlaySpace::Pin(const Inode* lower, MemoryInode* inode) {
  MutexLock lock(&pinned_mu_);
  pinned_.emplace(lower, Ref<MemoryInode>(inode));
}

void OverlaySpace::Unpin(const Inode* lower) {
  Ref<MemoryInode> unpinned;  // goes behind the lock
  MutexLock lock(&pinned_mu_);
  auto it = pinned_.find(lower);
  if (it == pinned_.end()) return;
  unpinned = std::move(it->second);
  pinned_.erase(it);
}

void OverlaySpace::Disband() {
  absl::flat_hash_map<const Inode*, Ref<MemoryInode>> pinned;
  {
    MutexLock lock(&pinned_mu_);
    std::swap(pinned, pinned_);
  }
  for (auto& [lower, inode] : pinned)
    if (inode->type() == S_IFDIR)
      MemoryDirectory::Disband(Ref<MemoryDirectory>(static_cast<MemoryDirectory*>(inode.get())));
}

ErrnoOr<Ref<Inode>> OverlayDirectory::LookupLower(std::string_view name) {
  REMORA_ASSIGN_OR_RETURN(const Ref<Inode> below, lower()->Lookup(name));
  return overlay().InodeOf(below, Ref<MemoryDirectory>(this));
}

ErrnoOr<void> OverlayDirectory::ForEachLower(absl::FunctionRef<bool(const DirectoryEntry&)> visit) {
  REMORA_ASSIGN_OR_RETURN(const Ref<File> open, lower()->Open(Path(), O_RDONLY | O_DIRECTORY));
  return open->ReadDirectory(0, visit);
}

ErrnoOr<Ref<File>> OverlayFile::Open(const Path& path, uint32_t flags) {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (writes || own_content()) return MemoryFile::Open(path, flags);
  REMORA_ASSIGN_OR_RETURN(Ref<File> lower_file, lower()->Open(path, flags));
  return Ref<File>(MakeRef<OverlayLowerFile>(Ref<OverlayFile>(this), path, flags, std::move(lower_file)));
}

ErrnoOr<void> OverlayFile::CopyFromLower(Copy& copy, uint64_t keep_bytes) {
  if (copy.done_bytes >= keep_bytes) return Ok();
  mm::FilePages& pages = *copy.content->pages();
  REMORA_ASSIGN_OR_RETURN(const Ref<File> lower_file, lower()->Open(Path(), O_RDONLY));
  std::vector<std::byte> piece(std::min(keep_bytes, kCopyPieceBytes));
  while (copy.done_bytes < keep_bytes) {
    const uint64_t wanted = std::min<uint64_t>(piece.size(), keep_bytes - copy.done_bytes);
    mm::KernelBuffer fill(mm::IoBuffer::Direction::kFill, std::span(piece).first(wanted));
    REMORA_ASSIGN_OR_RETURN(const uint64_t n, lower_file->Read(fill, copy.done_bytes));
    if (n == 0) break;
    const std::span<std::byte> bytes = std::span(piece).first(n);
    // Holes stay holes.
    for (uint64_t done = 0; done < n && !AllZero(bytes);) {
      mm::KernelBuffer drain(mm::IoBuffer::Direction::kDrain, bytes.subspan(done));
      REMORA_ASSIGN_OR_RETURN(const uint64_t written, pages.Write(drain, copy.done_bytes + done));
      if (written == 0) return Errno(ENOSPC);
      done += written;
    }
    copy.done_bytes += n;
  }
  if (pages.size_bytes() < copy.done_bytes) REMORA_RETURN_IF_ERROR(pages.Truncate(copy.done_bytes));
  return Ok();
}

ErrnoOr<Ref<FileContent>> OverlayFile::WritableContent(const Path* path, uint64_t keep_bytes) {
  if (Ref<FileContent> there = content()) return there;
  REMORA_RETURN_IF_ERROR(Own());
  Copy copy;
  {
    MutexLock lock(&unfinished_mu_);
    std::swap(copy, unfinished_);
  }
  if (!copy.content || copy.done_bytes > keep_bytes) copy = {NewContent(path), 0};
  const ErrnoOr<void> copied = CopyFromLower(copy, keep_bytes);
  if (!copied.ok()) {
    if (copied.error_number() == EAGAIN) {
      MutexLock lock(&unfinished_mu_);
      std::swap(copy, unfinished_);  // what another writer left there goes behind the lock
    }
    return copied.error();
  }
  return Install(std::move(copy.content));
}

ErrnoOr<uint64_t> OverlayLowerFile::Read(mm::IoBuffer& to, uint64_t offset) {
  if (const Ref<FileContent> own = overlay_inode_->own_content()) return own->pages()->Read(to, offset);
  return lower_file_->Read(to, offset);
}

ErrnoOr<uint64_t> OverlayLowerFile::SizeForSeek() {
  if (const Ref<FileContent> own = overlay_inode_->own_content()) return own->pages()->size_bytes();
  return lower_file_->SizeForSeek();
}

ErrnoOr<Ref<mm::Mappable>> OverlayLowerFile::Mappable() {
  if (const Ref<FileContent> own = overlay_inode_->own_content()) return Ref<mm::Mappable>(own->pages());
  return lower_file_->Mappable();
}

}  // namespace remora::fs
