#include "fs/tmpfs/memory_file.h"

#include <utility>

#include "fs/dentry_cache.h"
#include "fs/mount.h"

namespace remora::fs {

namespace {

// The name within the whole tree, as it was when the file was first opened.
std::string NameForMaps(const Path& path) {
  std::string name;
  const Mount* mount = path.mount.get();
  const Dentry* dentry = path.dentry.get();
  while (mount != nullptr) {
    std::string part;
    dentry->cache().AppendPath(*mount->root(), *dentry, &part);
    name.insert(0, part);
    dentry = mount->mountpoint().get();
    mount = mount->parent().get();
  }
  return name;
}

}  // namespace

Ref<FileContent> MemoryFile::content() const {
  MutexLock lock(&content_mu_);
  return content_;
}

Ref<FileContent> MemoryFile::NewContent(const Path* path) {
  mm::Mappable::Description description;
  description.device_minor = static_cast<uint32_t>(space().device_id());
  description.inode = number();
  if (path != nullptr && path->dentry) description.path = NameForMaps(*path);
  return MakeRef<FileContent>(MakeRef<mm::FilePages>(space().memory(), nullptr, std::move(description)));
}

Ref<FileContent> MemoryFile::Install(Ref<FileContent> fresh) {
  MutexLock lock(&content_mu_);
  if (!content_) content_ = fresh;
  return content_;  // `fresh`, if it came second, goes behind the lock
}

ErrnoOr<Ref<FileContent>> MemoryFile::WritableContent(const Path* path, uint64_t) {
  if (Ref<FileContent> there = content()) return there;
  return Install(NewContent(path));
}

ErrnoOr<void> MemoryFile::Truncate(uint64_t size_bytes) {
  if (size_bytes > RegularFile::kMaxSizeBytes) return Errno(EFBIG);
  REMORA_RETURN_IF_ERROR(Own());
  REMORA_ASSIGN_OR_RETURN(const Ref<FileContent> content, WritableContent(nullptr, size_bytes));
  REMORA_RETURN_IF_ERROR(content->pages()->Truncate(size_bytes));
  NoteModified();
  return Ok();
}

ErrnoOr<Ref<File>> MemoryFile::Open(const Path& path, uint32_t flags) {
  REMORA_ASSIGN_OR_RETURN(Ref<FileContent> content, WritableContent(&path, ~uint64_t{0}));
  return Ref<File>(MakeRef<MemoryOpenFile>(Ref<MemoryFile>(this), path, flags, std::move(content)));
}

void MemoryFile::FillSize(Attributes& attributes) {
  const Ref<FileContent> content = this->content();
  if (!content) return;
  attributes.size_bytes = content->pages()->size_bytes();
  attributes.num_512_byte_blocks = 8 * content->pages()->num_pages_present();
}

}  // namespace remora::fs
