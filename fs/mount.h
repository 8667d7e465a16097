#ifndef REMORA_FS_MOUNT_H_
#define REMORA_FS_MOUNT_H_

#include <cstdint>
#include <string>
#include <utility>

#include "base/ref_counted.h"
#include "fs/dentry_cache.h"
#include "fs/inode.h"

namespace remora::fs {

// A tree, or a part of one, where it is mounted. Constant after construction, but that Vfs detaches it.
// Linux twin: struct mount. Thread safety: all methods from any thread.
class Mount final : public RefCounted {
 public:
  // MS_* of mount(2), the part that is kept.
  static constexpr uint32_t kReadOnly = 1, kNoSuid = 2, kNoDev = 4, kNoExec = 8;

  // `parent` and `mountpoint` are null for the root of everything.
  Mount(uint64_t id, Ref<FileSystem> file_system, Ref<Dentry> root, Ref<Mount> parent, Ref<Dentry> mountpoint,
        std::string source, uint32_t flags)
      : id_(id),
        file_system_(std::move(file_system)),
        root_(std::move(root)),
        parent_(std::move(parent)),
        mountpoint_(std::move(mountpoint)),
        source_(std::move(source)),
        flags_(flags) {}

  uint64_t id() const { return id_; }
  FileSystem& file_system() const { return *file_system_; }
  const Ref<FileSystem>& file_system_ref() const { return file_system_; }
  const Ref<Dentry>& root() const { return root_; }
  const Ref<Mount>& parent() const { return parent_; }
  const Ref<Dentry>& mountpoint() const { return mountpoint_; }
  const std::string& source() const { return source_; }
  uint32_t flags() const { return flags_; }
  bool read_only() const { return (flags_ & kReadOnly) != 0; }

 private:
  ~Mount() override = default;
  // Lock-free lookups may still try to count it.
  void OnLastRelease() override {
    root_->reclaimer()->Retire(this, [](void* mount) { delete static_cast<Mount*>(mount); });
  }
  const uint64_t id_;
  const Ref<FileSystem> file_system_;
  const Ref<Dentry> root_;
  const Ref<Mount> parent_;
  const Ref<Dentry> mountpoint_;
  const std::string source_;
  const uint32_t flags_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_MOUNT_H_
