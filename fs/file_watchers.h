#ifndef REMORA_FS_FILE_WATCHERS_H_
#define REMORA_FS_FILE_WATCHERS_H_

#include <thread>

#include "base/check.h"
#include "base/mutex.h"
#include "base/ref_counted.h"

namespace remora::fs {

// Somebody who refers to an open file without keeping it, and must let go when its last reference goes: a registration
// with an epoll instance.
class FileWatcher : public RefCounted {
 public:
  // The file is about to be destroyed. Returns true once the watcher has let go of the file and taken itself off the
  // list; false if another thread is just doing that. No lock is held.
  virtual bool OnFileGone() = 0;

 private:
  friend class FileWatchers;
  FileWatcher* next_ = nullptr;
  FileWatcher* prev_ = nullptr;
  bool listed_ = false;
};

// The watchers of one open file. Counted apart from the file, so that one who has just taken himself off may still hold
// its lock. Linux twin: file::f_ep.
//
// Invariants:
//  1. Whoever is on the list is alive: he is counted elsewhere until he is off it.
//  2. The file does not go while somebody is on the list (DetachAll).
// Thread safety: all methods from any thread.
class FileWatchers final : public RefCounted {
 public:
  void Add(FileWatcher* watcher) {
    MutexLock lock(&mu_);
    DCHECK(!watcher->listed_);
    watcher->listed_ = true;
    watcher->prev_ = nullptr;
    watcher->next_ = head_;
    if (head_ != nullptr) head_->prev_ = watcher;
    head_ = watcher;
  }
  void Remove(FileWatcher* watcher) {
    MutexLock lock(&mu_);
    if (!watcher->listed_) return;
    watcher->listed_ = false;
    (watcher->prev_ != nullptr ? watcher->prev_->next_ : head_) = watcher->next_;
    if (watcher->next_ != nullptr) watcher->next_->prev_ = watcher->prev_;
    watcher->next_ = watcher->prev_ = nullptr;
  }
  // The file goes: has all let go.
  void DetachAll() {
    for (;;) {
      Ref<FileWatcher> watcher;
      {
        MutexLock lock(&mu_);
        if (head_ == nullptr) return;
        watcher = Ref<FileWatcher>(head_);
      }
      if (!watcher->OnFileGone()) std::this_thread::yield();
    }
  }

 private:
  Mutex mu_{LockRank::kLeaf};
  FileWatcher* head_ ABSL_GUARDED_BY(mu_) = nullptr;
};

}  // namespace remora::fs

#endif  // REMORA_FS_FILE_WATCHERS_H_
