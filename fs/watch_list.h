#ifndef REMORA_FS_WATCH_LIST_H_
#define REMORA_FS_WATCH_LIST_H_

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/ref_counted.h"

namespace remora::fs {

// Beside IN_*, of OnEvent: the entry that it happened to has no name any more (IN_EXCL_UNLINK).
inline constexpr uint32_t kOfUnlinkedEntry = 0x00100000;

// Somebody who wants to hear what happens to one inode, or to the names in a directory: one inotify watch.
// Thread safety: OnEvent is called from any thread, with no lock held that it could see.
class Watch : public RefCounted {
 public:
  // `events`: IN_* of inotify(7). `name`: of the directory's entry that it happened to; empty: the inode itself.
  // `cookie` joins the two halves of a rename.
  virtual void OnEvent(uint32_t events, std::string_view name, uint32_t cookie) = 0;
};

// The watches of one inode. Linux twin: fsnotify's marks on an inode.
// Thread safety: all methods from any thread. No lock is held while a watch is told.
class WatchList {
 public:
  void Add(Ref<Watch> watch);
  void Remove(const Watch* watch);
  void Notify(uint32_t events, std::string_view name, uint32_t cookie) const;

 private:
  mutable Mutex mu_{LockRank::kLeaf};
  std::vector<Ref<Watch>> watches_ ABSL_GUARDED_BY(mu_);
};

// An inode's WatchList, made when the first watch comes: most inodes never have one.
// Thread safety: all methods from any thread.
class LazyWatchList {
 public:
  ~LazyWatchList() { delete list_.load(std::memory_order_relaxed); }
  WatchList* GetIfAny() const { return list_.load(std::memory_order_acquire); }
  WatchList& Get();
  void Notify(uint32_t events, std::string_view name = {}, uint32_t cookie = 0) const {
    if (const WatchList* list = GetIfAny()) [[unlikely]]
      list->Notify(events, name, cookie);
  }

 private:
  std::atomic<WatchList*> list_{nullptr};
};

}  // namespace remora::fs

#endif  // REMORA_FS_WATCH_LIST_H_
