#ifndef REMORA_FS_SPECIAL_EPOLL_ITEM_H_
#define REMORA_FS_SPECIAL_EPOLL_ITEM_H_

#include <atomic>
#include <cstdint>
#include <list>
#include <utility>

#include "base/abi/epoll.h"
#include "base/ref_counted.h"
#include "fs/file_watchers.h"
#include "sync/wait_queue.h"

namespace remora::fs {

class EpollSet;
class File;

// One registration: an open file under a descriptor's number, in one epoll instance. Does not keep the file.
//
// Life: made by EpollSet::Add -> armed on the file's queue (or linked in EpollNesting, where the file is an epoll
// instance) -> claimed by one of those who may end it -> off its queue, off the ready list, off the file's list of
// watchers, out of the set, in this order. Linux twin: struct epitem.
// Thread safety: as told at each group of members.
class EpollItem final : public FileWatcher, public sync::Waiter {
 public:
  // What Linux calls the private bits: the rest are events. Without one of those the item is a used one-shot.
  static constexpr uint32_t kFlagBits = abi::kEPOLLET | abi::kEPOLLONESHOT | abi::kEPOLLWAKEUP | abi::kEPOLLEXCLUSIVE;

  EpollItem(Ref<EpollSet> owner, int32_t fd, File& file, Ref<FileWatchers> watchers, Ref<EpollSet> watched,
            uint32_t events, uint64_t data);

  // FileWatcher.
  bool OnFileGone() override;
  // sync::Waiter, under the lock of the file's queue.
  void Notify(sync::Events events) override;
  bool NotifyExclusive(sync::Events events) override;

 private:
  friend class EpollSet;
  friend class EpollNesting;
  ~EpollItem() override;

  // True for the one who is to take it off.
  bool Claim() { return !claimed_.exchange(true, std::memory_order_acq_rel); }
  bool claimed() const { return claimed_.load(std::memory_order_acquire); }

  const Ref<EpollSet> owner_;
  const int32_t fd_;
  File* const file_;  // lives while this is on its list of watchers
  const Ref<FileWatchers> watchers_;
  const Ref<EpollSet> watched_;  // what the file is, if it is an epoll instance
  std::atomic<bool> claimed_{false};

  // Guarded by owner_->mu_. events_ and data_ change under control_mu_ as well.
  uint32_t events_;
  uint64_t data_;
  EpollItem* next_ = nullptr;
  EpollItem* prev_ = nullptr;
  bool queued_ = false;
  uint32_t pins_ = 0;           // who is asking the file
  uint32_t notifications_ = 0;  // so that who asked sees that something happened since
  uint64_t round_ = 0;          // the last Collect that looked at it

  // Guarded by EpollNesting.
  std::list<EpollItem*>::iterator above_place_, below_place_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_EPOLL_ITEM_H_
