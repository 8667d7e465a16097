#include "fs/inode.h"

#include "fs/file.h"
#include "fs/path.h"

namespace remora::fs {

ErrnoOr<void> Inode::SetAttributes(const AttributeChange&) { return Errno(EPERM); }
ErrnoOr<void> Inode::Truncate(uint64_t) { return Errno(EINVAL); }
ErrnoOr<Ref<Inode>> Inode::Lookup(std::string_view) { return Errno(ENOTDIR); }
ErrnoOr<Ref<Inode>> Inode::Create(std::string_view, const NewNode&) { return Errno(EPERM); }
ErrnoOr<void> Inode::Link(std::string_view, Inode&) { return Errno(EPERM); }
ErrnoOr<void> Inode::Unlink(std::string_view, Inode&) { return Errno(EPERM); }
ErrnoOr<void> Inode::RemoveDirectory(std::string_view, Inode&) { return Errno(EPERM); }
ErrnoOr<void> Inode::Rename(std::string_view, Inode&, Inode&, std::string_view, Inode*, uint32_t) {
  return Errno(EPERM);
}
ErrnoOr<Ref<Inode>> Inode::CreateUnnamed(const NewNode&) { return Errno(EOPNOTSUPP); }
ErrnoOr<std::string> Inode::ReadLink() { return Errno(EINVAL); }
ErrnoOr<std::string> Inode::ReadLinkFor(const CallerIds&) { return ReadLink(); }
ErrnoOr<Ref<File>> Inode::OpenFor(const CallerIds&, const Path& path, uint32_t flags) { return Open(path, flags); }
std::optional<ErrnoOr<Path>> Inode::FollowMagicLink() { return std::nullopt; }

}  // namespace remora::fs
