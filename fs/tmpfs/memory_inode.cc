#include "fs/tmpfs/memory_inode.h"

#include <sys/stat.h>

#include <utility>

#include "fs/tmpfs/memory_directory.h"
#include "fs/tmpfs/memory_file.h"

namespace remora::fs {

FileSystem::Statistics MemorySpace::StatisticsWithMagic(uint64_t magic) const {
  const uint64_t num_frames = memory_->frames->max_frames();
  const uint64_t num_used = memory_->frames->num_allocated();
  const uint64_t num_free = num_frames > num_used ? num_frames - num_used : 0;
  return {.magic = magic,
          .block_size = 4096,
          .num_blocks = num_frames,
          .num_free_blocks = num_free,
          .num_files = num_frames,
          .num_free_files = num_free,
          .max_name_length = 255};
}

MemoryInode::MemoryInode(Ref<MemorySpace> space, const NewNode& node)
    : space_(std::move(space)), number_(space_->NewNumber()), type_(node.mode & S_IFMT), owned_(true) {
  attributes_.device_minor = static_cast<uint32_t>(space_->device_id());
  attributes_.inode_number = number_;
  attributes_.mode = node.mode;
  attributes_.num_links = type_ == S_IFDIR ? 2 : 1;
  attributes_.uid = node.uid;
  attributes_.gid = node.gid;
  attributes_.special_major = node.special_major;
  attributes_.special_minor = node.special_minor;
  const Timestamp now = space_->Now();
  attributes_.accessed = attributes_.modified = attributes_.changed = attributes_.born = now;
}

MemoryInode::MemoryInode(Ref<MemorySpace> space, uint64_t number, uint32_t type)
    : space_(std::move(space)), number_(number), type_(type), owned_(false) {}

ErrnoOr<Attributes> MemoryInode::InheritedAttributes() { return Errno(EIO); }

ErrnoOr<Attributes> MemoryInode::GetAttributes() {
  if (!owned()) return InheritedAttributes();
  Attributes attributes;
  {
    MutexLock lock(&mu_);
    attributes = attributes_;
  }
  FillSize(attributes);
  return attributes;
}

ErrnoOr<void> MemoryInode::Own() {
  if (owned()) return Ok();
  REMORA_ASSIGN_OR_RETURN(const Attributes inherited, InheritedAttributes());
  {
    MutexLock lock(&mu_);
    if (owned()) return Ok();
    attributes_ = inherited;
    owned_.store(true, std::memory_order_release);
  }
  OnOwned();
  return Ok();
}

ErrnoOr<void> MemoryInode::SetAttributes(const AttributeChange& change) {
  REMORA_RETURN_IF_ERROR(Own());
  const Timestamp now = space_->Now();
  MutexLock lock(&mu_);
  if (change.permissions) attributes_.mode = (attributes_.mode & S_IFMT) | (*change.permissions & 07777);
  if (change.uid) attributes_.uid = *change.uid;
  if (change.gid) attributes_.gid = *change.gid;
  if (change.accessed) attributes_.accessed = *change.accessed;
  if (change.modified) attributes_.modified = *change.modified;
  attributes_.changed = now;
  return Ok();
}

uint32_t MemoryInode::ChangeLinks(int delta) {
  const Timestamp now = space_->Now();
  uint32_t num_links = 0;
  {
    MutexLock lock(&mu_);
    attributes_.changed = now;
    // A lower directory that does not count its subdirectories says 1.
    if (type_ != S_IFDIR || attributes_.num_links != 1)
      attributes_.num_links = static_cast<uint32_t>(static_cast<int64_t>(attributes_.num_links) + delta);
    num_links = attributes_.num_links;
  }
  if (num_links == 0) OnUnlinked();
  return num_links;
}

void MemoryInode::SetNoLinks() {
  const Timestamp now = space_->Now();
  {
    MutexLock lock(&mu_);
    attributes_.num_links = 0;
    attributes_.changed = now;
  }
  OnUnlinked();
}

void MemoryInode::NoteModified() {
  const Timestamp now = space_->Now();
  MutexLock lock(&mu_);
  attributes_.modified = attributes_.changed = now;
  access_noted_.store(false, std::memory_order_relaxed);
}

void MemoryInode::NoteChanged() {
  const Timestamp now = space_->Now();
  MutexLock lock(&mu_);
  attributes_.changed = now;
}

void MemoryInode::NoteAccessedSlow() {
  if (!owned()) return;
  const Timestamp now = space_->Now();
  MutexLock lock(&mu_);
  attributes_.accessed = now;
  access_noted_.store(true, std::memory_order_relaxed);
}

void MemoryInode::SetSize(uint64_t size_bytes) {
  MutexLock lock(&mu_);
  attributes_.size_bytes = size_bytes;
}

MemorySymlink::MemorySymlink(Ref<MemorySpace> space, const NewNode& node)
    : MemoryInode(std::move(space), node), text_(node.symlink_target) {
  SetSize(text_.size());
}

MemorySpecial::MemorySpecial(Ref<MemorySpace> space, const NewNode& node)
    : MemoryInode(std::move(space), node), fifo_(type() == S_IFIFO ? MakeRef<FifoBuffer>() : nullptr) {}

MemorySpecial::MemorySpecial(Ref<MemorySpace> space, uint64_t number, uint32_t type)
    : MemoryInode(std::move(space), number, type), fifo_(type == S_IFIFO ? MakeRef<FifoBuffer>() : nullptr) {}

ErrnoOr<Ref<File>> MemorySpecial::Open(const Path& path, uint32_t flags) { return OpenFor(CallerIds(), path, flags); }

ErrnoOr<Ref<File>> MemorySpecial::OpenFor(const CallerIds& caller, const Path& path, uint32_t flags) {
  if (fifo_) return OpenFifo(fifo_, Ref<Inode>(this), path, flags);
  if (type() != S_IFCHR && type() != S_IFBLK) return Errno(ENXIO);
  REMORA_ASSIGN_OR_RETURN(const Attributes attributes, GetAttributes());
  const auto kind = type() == S_IFCHR ? DeviceRegistry::Kind::kCharacter : DeviceRegistry::Kind::kBlock;
  return space().devices().Open(kind, attributes.special_major,
                                {Ref<Inode>(this), path, flags, attributes.special_minor, caller});
}

ErrnoOr<Ref<MemoryInode>> MakeMemoryInode(const Ref<MemorySpace>& space, const Inode::NewNode& node) {
  switch (node.mode & S_IFMT) {
    case S_IFDIR:
      return Ref<MemoryInode>(MakeRef<MemoryDirectory>(space, node));
    case S_IFREG:
      return Ref<MemoryInode>(MakeRef<MemoryFile>(space, node));
    case S_IFLNK:
      return Ref<MemoryInode>(MakeRef<MemorySymlink>(space, node));
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
      return Ref<MemoryInode>(MakeRef<MemorySpecial>(space, node));
    default:
      return Errno(EINVAL);
  }
}

}  // namespace remora::fs
