#ifndef REMORA_FS_OVERLAYFS_OVERLAY_INODE_H_
#define REMORA_FS_OVERLAYFS_OVERLAY_INODE_H_

#include <string>
#include <string_view>
#include <utility>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "fs/overlayfs/overlay_space.h"
#include "fs/tmpfs/memory_directory.h"
#include "fs/tmpfs/memory_file.h"
#include "fs/tmpfs/memory_inode.h"

namespace remora::fs {

// An inode in memory over a lower one: shows the lower's attributes until it has its own, and stays once it has.
template <typename Base>
class OverLower : public Base {
 public:
  template <typename... Args>
  OverLower(Ref<OverlaySpace> overlay, Ref<Inode> lower, Args&&... args)
      : Base(overlay, lower->number(), lower->type(), std::forward<Args>(args)...),
        overlay_(std::move(overlay)),
        lower_(std::move(lower)) {}

 protected:
  ~OverLower() override = default;
  ErrnoOr<Attributes> InheritedAttributes() override { return overlay_->AttributesOf(*lower_); }
  void OnOwned() override { overlay_->Pin(lower_.get(), this); }
  void OnUnlinked() override { overlay_->Unpin(lower_.get()); }
  void OnLastRelease() override {
    overlay_->Forget(lower_.get(), this);
    overlay_->reclaimer()->Retire(this, [](void* self) { delete static_cast<OverLower*>(self); });
  }
  OverlaySpace& overlay() const { return *overlay_; }
  const Ref<OverlaySpace>& overlay_ref() const { return overlay_; }
  const Ref<Inode>& lower() const { return lower_; }

 private:
  const Ref<OverlaySpace> overlay_;
  const Ref<Inode> lower_;
};

// A lower directory, with names of its own over it.
class OverlayDirectory final : public OverLower<MemoryDirectory> {
 public:
  OverlayDirectory(Ref<OverlaySpace> overlay, Ref<Inode> lower, Ref<MemoryDirectory> parent)
      : OverLower(std::move(overlay), std::move(lower), std::move(parent)) {}
  bool cacheable_lookups() const override { return lower()->cacheable_lookups(); }

 protected:
  ErrnoOr<Ref<Inode>> LookupLower(std::string_view name) override;
  bool has_lower() const override { return true; }
  ErrnoOr<void> ForEachLower(absl::FunctionRef<bool(const DirectoryEntry&)> visit) override;
};

// A lower file: read and mapped from the lower layer's own pages until somebody writes to it.
class OverlayFile final : public OverLower<MemoryFile> {
 public:
  OverlayFile(Ref<OverlaySpace> overlay, Ref<Inode> lower) : OverLower(std::move(overlay), std::move(lower)) {}
  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override;
  // The own content; null as long as the lower file's serves.
  Ref<FileContent> own_content() const { return content(); }

 protected:
  // Copy-up. Two writers at once both copy, and one copy is dropped: the lower file does not change. EAGAIN where the
  // lower file is slow: the next call goes on where this one stopped.
  ErrnoOr<Ref<FileContent>> WritableContent(const Path* path, uint64_t keep_bytes) override;

 private:
  struct Copy {
    Ref<FileContent> content;
    uint64_t done_bytes = 0;
  };
  // Copies on up to `keep_bytes` or the lower file's end.
  ErrnoOr<void> CopyFromLower(Copy& copy, uint64_t keep_bytes);
  Mutex unfinished_mu_{LockRank::kLeaf};
  Copy unfinished_ ABSL_GUARDED_BY(unfinished_mu_);  // null content: none
};

class OverlaySymlink final : public OverLower<MemorySymlink> {
 public:
  OverlaySymlink(Ref<OverlaySpace> overlay, Ref<Inode> lower) : OverLower(std::move(overlay), std::move(lower)) {}
  ErrnoOr<std::string> ReadLink() override { return lower()->ReadLink(); }
  ErrnoOr<std::string> ReadLinkFor(const CallerIds& caller) override { return lower()->ReadLinkFor(caller); }
  bool cacheable_link() const override { return lower()->cacheable_link(); }
  std::optional<ErrnoOr<Path>> FollowMagicLink() override { return lower()->FollowMagicLink(); }
};

// A FIFO of the lower layer is a pipe of Remora's own, as on Linux's overlay; a device node opens what is registered.
class OverlaySpecial final : public OverLower<MemorySpecial> {
 public:
  OverlaySpecial(Ref<OverlaySpace> overlay, Ref<Inode> lower) : OverLower(std::move(overlay), std::move(lower)) {}
};

// An OverlayFile, opened for reading while the lower file served. Goes over to the own content when there is one, so it
// sees what others write later (Linux's overlay would go on showing the lower file).
class OverlayLowerFile final : public File {
 public:
  OverlayLowerFile(Ref<OverlayFile> inode, Path path, uint32_t flags, Ref<File> lower_file)
      : File(inode, std::move(path), flags), overlay_inode_(std::move(inode)), lower_file_(std::move(lower_file)) {}

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override;
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EBADF); }
  bool seekable() const override { return lower_file_->seekable(); }
  ErrnoOr<uint64_t> SizeForSeek() override;
  ErrnoOr<uint64_t> Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument) override {
    return lower_file_->Ioctl(context, request, argument);
  }
  ErrnoOr<Ref<mm::Mappable>> Mappable() override;
  ErrnoOr<void> Sync() override { return Ok(); }
  sync::Events Readiness(sync::Events interest) override { return lower_file_->Readiness(interest); }
  sync::WaitQueue* wait_queue() override { return lower_file_->wait_queue(); }
  bool WatchEdges() override { return lower_file_->WatchEdges(); }

 private:
  ~OverlayLowerFile() override = default;
  const Ref<OverlayFile> overlay_inode_;
  const Ref<File> lower_file_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_OVERLAYFS_OVERLAY_INODE_H_
