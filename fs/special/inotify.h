#ifndef REMORA_FS_SPECIAL_INOTIFY_H_
#define REMORA_FS_SPECIAL_INOTIFY_H_

#include <cstdint>
#include <string>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "fs/path.h"
#include "fs/special/anonymous_file.h"
#include "fs/watch_list.h"
#include "sync/wait_queue.h"

namespace remora::fs {

class InotifyWatch;
class InotifyQueue;

// An inotify(7) instance: watches on inodes, and a queue of what happened to them.
//
// Invariants:
//  1. A watch is in watches_ exactly until its IN_IGNORED is queued (by removal, by IN_ONESHOT, or because the inode is
//     gone); none comes after it.
//  2. One watch for each inode; numbers grow and are not used again.
// Linux twin: fs/notify/inotify. Differences: 16,384 events and 65,536 watches for each instance, no limits for each
// user; an event whose page faults is kept; IN_DELETE_SELF waits for open files only, not for mappings and for
// files below a removed directory; an exec is not seen; host folders are watched only for what the guest does to them.
// Thread safety: all methods from any thread.
class Inotify final : public AnonymousFile {
 public:
  // flags: IN_NONBLOCK.
  static Ref<Inotify> Make(AnonymousFiles& files, uint32_t flags);

  static constexpr uint32_t kMaxEvents = 16384;
  static constexpr uint32_t kMaxWatches = 65536;

  // The number of the watch of what `path` leads to; `mask`: IN_* with IN_MASK_ADD, IN_MASK_CREATE, IN_ONESHOT,
  // IN_EXCL_UNLINK. EEXIST, ENOSPC. The caller has checked the mask and the right to read.
  ErrnoOr<int32_t> AddWatch(const Path& path, uint32_t mask);
  ErrnoOr<void> RemoveWatch(int32_t number);  // EINVAL

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t) override;
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EBADF); }
  ErrnoOr<uint64_t> Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument) override;
  sync::Events Readiness(sync::Events interest) override;
  sync::WaitQueue* wait_queue() override;
  void OnLastClose() override;
  std::string DescribePath() const override { return "anon_inode:inotify"; }

 private:
  template <typename T, typename... Args>
  friend Ref<T> remora::MakeRef(Args&&... args);
  Inotify(Ref<AnonymousInode> inode, uint32_t flags);
  ~Inotify() override;

  const Ref<InotifyQueue> queue_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_INOTIFY_H_
