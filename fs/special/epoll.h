#ifndef REMORA_FS_SPECIAL_EPOLL_H_
#define REMORA_FS_SPECIAL_EPOLL_H_

#include <cstdint>
#include <utility>

#include "base/ref_counted.h"
#include "fs/special/anonymous_file.h"
#include "fs/special/anonymous_files.h"
#include "fs/special/epoll_set.h"

namespace remora::fs {

// An open epoll instance. What it does stands in EpollSet. Linux's fs/eventpoll.c.
class EpollFile final : public AnonymousFile {
 public:
  // epoll_create1(2); EPOLL_CLOEXEC is the descriptor's.
  static Ref<EpollFile> Make(AnonymousFiles& files, Ref<EpollNesting> nesting);
  // The instance behind a file; null for other files (EINVAL).
  static EpollFile* From(File& file);

  // Can its readiness be waited for? Else EPERM.
  static bool CanWatch(File& file);

  // epoll_ctl(2) on an open file: as EpollSet tells, and EINVAL for what EPOLLEXCLUSIVE forbids or an unknown `op`.
  ErrnoOr<void> Control(int32_t op, int32_t fd, File& file, uint32_t events, uint64_t data);
  EpollSet& set() { return *set_; }

  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return Errno(EINVAL); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EINVAL); }
  sync::Events Readiness(sync::Events interest) override;
  sync::WaitQueue* wait_queue() override { return &set_->queue(); }
  void OnLastClose() override { set_->Close(); }

 private:
  template <typename T, typename... Args>
  friend Ref<T> remora::MakeRef(Args&&... args);
  EpollFile(Ref<AnonymousInode> inode, Ref<EpollNesting> nesting);

  const Ref<EpollSet> set_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_EPOLL_H_
