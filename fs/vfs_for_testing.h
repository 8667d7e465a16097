#ifndef REMORA_FS_VFS_FOR_TESTING_H_
#define REMORA_FS_VFS_FOR_TESTING_H_

#include <fcntl.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "fs/device_registry.h"
#include "fs/overlayfs/overlayfs.h"
#include "fs/tmpfs/tmpfs.h"
#include "fs/vfs.h"
#include "mm/memory_for_testing.h"

namespace remora::fs {

// A Vfs with something at its root, and short names for what tests do with it. The thread that makes it is inside a
// read section as long as it lives.
class VfsForTesting {
 public:
  VfsForTesting() : section_(&memory_.reclaimer) {}

  Ref<Tmpfs> NewTmpfs(const Tmpfs::Options& options = {}) {
    return MakeRef<Tmpfs>(&memory_.context, &clock_, &devices_, vfs_.NewDeviceId(), options);
  }
  Ref<Overlayfs> NewOverlay(Ref<FileSystem> lower) {
    auto overlay = Overlayfs::Create(std::move(lower), &memory_.context, &clock_, &devices_, vfs_.NewDeviceId());
    CHECK(overlay.ok());
    return *std::move(overlay);
  }
  // As root, at the root.
  WalkContext context() { return {.root = vfs_.root(), .start = vfs_.root(), .credentials = {}, .caller = {}}; }
  // As a user without privileges.
  WalkContext ContextOf(uint32_t uid, uint32_t gid) {
    WalkContext c = context();
    c.credentials.uid = c.credentials.euid = c.credentials.suid = c.credentials.fsuid = uid;
    c.credentials.gid = c.credentials.egid = c.credentials.sgid = c.credentials.fsgid = gid;
    return c;
  }

  int MakeDirectory(std::string_view path, uint32_t permissions = 0755) {
    return vfs_.MakeDirectory(context(), path, permissions).error_number();
  }
  int WriteFile(std::string_view path, std::string_view text, uint32_t more_flags = 0) {
    auto file = vfs_.Open(context(), path,
                          {.flags = O_CREAT | O_WRONLY | O_TRUNC | more_flags, .permissions = 0644, .resolve = 0});
    if (!file.ok()) return file.error_number();
    return Write(**file, text);
  }
  static int Write(File& file, std::string_view text, uint64_t offset = 0) {
    std::string bytes(text);
    mm::KernelBuffer buffer(mm::IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(bytes)));
    uint64_t end = 0;
    const auto n = file.append() ? file.Append(buffer, &end) : file.Write(buffer, offset);
    return n.ok() && *n != text.size() ? EIO : n.error_number();
  }
  static std::string Read(File& file, uint64_t offset = 0, size_t max_bytes = 1 << 20) {
    std::string bytes(max_bytes, '\0');
    mm::KernelBuffer buffer(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(bytes)));
    const auto n = file.Read(buffer, offset);
    if (!n.ok()) return "errno " + std::to_string(n.error_number());
    bytes.resize(*n);
    return bytes;
  }
  std::string ReadFile(std::string_view path) {
    auto file = vfs_.Open(context(), path, {.flags = O_RDONLY, .permissions = 0, .resolve = 0});
    return file.ok() ? Read(**file) : "errno " + std::to_string(file.error_number());
  }
  // Names without "." and "..", in the order of the listing.
  std::vector<std::string> List(std::string_view path) {
    std::vector<std::string> names;
    auto file = vfs_.Open(context(), path, {.flags = O_RDONLY | O_DIRECTORY, .permissions = 0, .resolve = 0});
    if (!file.ok()) return names;
    (void)(*file)->ReadDirectory(0, [&](const DirectoryEntry& entry) {
      if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
      return true;
    });
    return names;
  }
  ErrnoOr<Attributes> Stat(std::string_view path, bool follow = true) {
    WalkOptions options;
    options.follow_last = follow;
    return vfs_.Stat(context(), path, options);
  }

  // No pointer of a walk's is held: what was retired is freed.
  void Quiesce() {
    section_.Quiesce();
    memory_.reclaimer.Collect();
  }
  Vfs& vfs() { return vfs_; }
  const Vfs& vfs() const { return vfs_; }
  sync::Reclaimer& reclaimer() { return memory_.reclaimer; }
  DeviceRegistry& devices() { return devices_; }

 private:
  mm::MemoryForTesting memory_;
  HostClock clock_;
  DeviceRegistry devices_;
  sync::Reclaimer::ReadSection section_;
  Vfs vfs_{&clock_, &memory_.reclaimer};
};

}  // namespace remora::fs

#endif  // REMORA_FS_VFS_FOR_TESTING_H_
