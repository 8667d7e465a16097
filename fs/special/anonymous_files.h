#ifndef REMORA_FS_SPECIAL_ANONYMOUS_FILES_H_
#define REMORA_FS_SPECIAL_ANONYMOUS_FILES_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/ref_counted.h"
#include "fs/inode.h"

namespace remora::fs {

class AnonymousInode;

// The file system of what has no name: pipes, eventfds, epoll instances, memfd-like objects. One for each Kernel; never
// mounted. Gives out inode numbers and dates, so that fstat and "pipe:[N]" tell objects apart. Linux twins: pipefs,
// anon_inodefs. Difference: both in one, and each object has an inode of its own (Linux's anon inodes share one).
// Thread safety: all methods from any thread.
class AnonymousFiles final : public FileSystem {
 public:
  // The clock outlives it.
  explicit AnonymousFiles(Clock* clock) : clock_(clock) {}

  // `mode`: type and permissions. `label`: "pipe" is shown as "pipe:[7]"; one that ends in ']' is shown as it is
  // ("anon_inode:[eventfd]"). A literal: it is kept, not copied.
  Ref<AnonymousInode> MakeInode(std::string_view label, uint32_t mode, uint32_t uid = 0, uint32_t gid = 0);
  // The same for a subclass.
  template <typename T>
  Ref<T> MakeInodeOf(std::string_view label, uint32_t mode, uint32_t uid, uint32_t gid) {
    return MakeRef<T>(Ref<AnonymousFiles>(this), NextNumber(), label, mode, uid, gid);
  }

  std::string_view type_name() const override { return "anon_inodefs"; }
  Ref<Inode> root() override { return nullptr; }
  uint64_t device_id() const override { return kDeviceId; }
  Statistics GetStatistics() override;

  Timestamp Now() const;
  uint64_t NextNumber() { return next_number_.fetch_add(1, std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kDeviceId = 0xffff0;  // far above what mounted file systems count up to
  Clock* const clock_;
  std::atomic<uint64_t> next_number_{1000};
};

// What fstat of a pipe or an eventfd shows. Cannot be opened again by name but through a subclass.
class AnonymousInode : public Inode {
 public:
  AnonymousInode(Ref<AnonymousFiles> files, uint64_t number, std::string_view label, uint32_t mode, uint32_t uid,
                 uint32_t gid);

  FileSystem& file_system() const override { return *files_; }
  uint64_t number() const override { return number_; }
  uint32_t type() const override { return mode_.load(std::memory_order_relaxed) & 0170000; }
  ErrnoOr<Attributes> GetAttributes() override;
  ErrnoOr<void> SetAttributes(const AttributeChange& change) override;  // fchmod, fchown of a pipe
  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override;   // ENXIO

  // "pipe:[7]"
  std::string Describe() const;

 private:
  const Ref<AnonymousFiles> files_;
  const uint64_t number_;
  const std::string_view label_;
  const Timestamp created_;
  std::atomic<uint32_t> mode_, uid_, gid_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_ANONYMOUS_FILES_H_
