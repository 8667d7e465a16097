#include "fs/special/inotify.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <array>
#include <cstring>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/abi/inotify.h"
#include "fs/dentry_cache.h"

namespace remora::fs {

// One watch of one instance. Its mask and whether it still counts are the queue's.
class InotifyWatch final : public Watch {
 public:
  InotifyWatch(Ref<InotifyQueue> queue, Ref<Dentry> dentry, int32_t number);
  ~InotifyWatch() override { dentry_->cache().RemoveWatch(); }
  void OnEvent(uint32_t events, std::string_view name, uint32_t cookie) override;

  Inode* inode() const { return dentry_->inode().get(); }
  int32_t number() const { return number_; }

 private:
  friend class InotifyQueue;
  const Ref<InotifyQueue> queue_;
  const Ref<Dentry> dentry_;  // as long as it is watched the inode stays
  const int32_t number_;
  uint32_t mask_ = 0;  // guarded by the queue's lock
};

// The part of an instance that outlives its file: watches that are just being told hold it.
// Thread safety: all methods from any thread. Watches are told, and references dropped, outside the lock.
class InotifyQueue final : public RefCounted {
 public:
  ErrnoOr<int32_t> Add(const Path& path, uint32_t mask) {
    Inode* const inode = path.dentry->inode().get();
    Ref<InotifyWatch> fresh;
    int32_t number;
    {
      MutexLock lock(&mu_);
      if (const auto found = by_inode_.find(inode); found != by_inode_.end()) {
        InotifyWatch& watch = *watches_.at(found->second);
        if ((mask & abi::kIN_MASK_CREATE) != 0) return Errno(EEXIST);
        watch.mask_ = ((mask & abi::kIN_MASK_ADD) != 0 ? watch.mask_ : 0) | (mask & kKept);
        return watch.number();
      }
      if (watches_.size() >= Inotify::kMaxWatches || next_number_ == INT32_MAX) return Errno(ENOSPC);
      number = next_number_++;
      fresh = MakeRef<InotifyWatch>(Ref<InotifyQueue>(this), path.dentry, number);
      fresh->mask_ = mask & kKept;
      by_inode_[inode] = number;
      watches_[number] = fresh;
      // Under the lock, so that a removal finds what it has to remove.
      inode->watches.Get().Add(fresh);
    }
    return number;
  }

  ErrnoOr<void> Remove(int32_t number) {
    Ref<InotifyWatch> gone;
    {
      MutexLock lock(&mu_);
      gone = TakeLocked(number);
      if (gone) PushLocked({number, abi::kIN_IGNORED, 0, {}});
    }
    if (!gone) return Errno(EINVAL);
    Detach(std::move(gone));
    events_arrived.Notify(sync::kReadable);
    return Ok();
  }

  void RemoveAll() {
    std::vector<Ref<InotifyWatch>> gone;
    {
      MutexLock lock(&mu_);
      for (auto& [number, watch] : watches_) gone.push_back(std::move(watch));
      watches_.clear();
      by_inode_.clear();
      events_.clear();
    }
    for (Ref<InotifyWatch>& watch : gone) Detach(std::move(watch));
  }

  void OnEvent(InotifyWatch& watch, uint32_t events, std::string_view name, uint32_t cookie) {
    const bool dies = (events & abi::kIN_DELETE_SELF) != 0 && name.empty();
    Ref<InotifyWatch> gone;
    {
      MutexLock lock(&mu_);
      const auto found = watches_.find(watch.number());
      if (found == watches_.end()) return;
      const bool unseen = (events & kOfUnlinkedEntry) != 0 && (watch.mask_ & abi::kIN_EXCL_UNLINK) != 0;
      const bool heard = (events & watch.mask_ & abi::kIN_ALL_EVENTS) != 0 && !unseen;
      if (heard)
        PushLocked({watch.number(), events & (abi::kIN_ALL_EVENTS | abi::kIN_ISDIR), cookie, std::string(name)});
      if (dies || (heard && (watch.mask_ & abi::kIN_ONESHOT) != 0)) {
        gone = TakeLocked(watch.number());
        PushLocked({watch.number(), abi::kIN_IGNORED, 0, {}});
      }
      if (!heard && !gone) return;
    }
    if (gone) Detach(std::move(gone));
    events_arrived.Notify(sync::kReadable);
  }

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to) {
    uint64_t done = 0;
    MutexLock lock(&mu_);
    while (!events_.empty()) {
      const Event& event = events_.front();
      const size_t size = event.size();
      if (to.remaining() < size) return done != 0 ? ErrnoOr<uint64_t>(done) : Errno(EINVAL);
      std::array<std::byte, sizeof(abi::InotifyEvent) + kMaxPaddedName> bytes{};
      const abi::InotifyEvent header = {event.number, event.mask, event.cookie,
                                        static_cast<uint32_t>(event.padded_name())};
      std::memcpy(bytes.data(), &header, sizeof(header));
      std::memcpy(bytes.data() + sizeof(header), event.name.data(), event.name.size());
      const auto copied = to.Write(std::span(bytes).first(size));
      // The event stays where its page is not there or not there yet.
      if (!copied.ok() || *copied < size) return done != 0 ? ErrnoOr<uint64_t>(done) : Errno(EFAULT);
      done += size;
      events_.pop_front();
    }
    return done != 0 ? ErrnoOr<uint64_t>(done) : Errno(EAGAIN);
  }

  int32_t num_bytes() const {
    MutexLock lock(&mu_);
    uint64_t sum = 0;
    for (const Event& event : events_) sum += event.size();
    return static_cast<int32_t>(sum);
  }
  bool has_events() const {
    MutexLock lock(&mu_);
    return !events_.empty();
  }

  sync::WaitQueue events_arrived;

 private:
  static constexpr uint32_t kKept = abi::kIN_ALL_EVENTS | abi::kIN_ONESHOT | abi::kIN_EXCL_UNLINK;
  static constexpr size_t kMaxPaddedName = 256;  // NAME_MAX and its NUL

  struct Event {
    int32_t number = 0;
    uint32_t mask = 0, cookie = 0;
    std::string name;
    // With at least one NUL, to a multiple of the header's size.
    size_t padded_name() const {
      constexpr size_t kUnit = sizeof(abi::InotifyEvent);
      return name.empty() ? 0 : (name.size() + kUnit) / kUnit * kUnit;
    }
    size_t size() const { return sizeof(abi::InotifyEvent) + padded_name(); }
    friend bool operator==(const Event&, const Event&) = default;
  };

  void PushLocked(Event event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (event.name.size() >= kMaxPaddedName) return;  // no file system here has such names
    if (!events_.empty() && events_.back() == event) return;
    if (events_.size() >= Inotify::kMaxEvents) {
      const Event overflow = {-1, abi::kIN_Q_OVERFLOW, 0, {}};
      if (events_.back() != overflow) events_.push_back(overflow);
      return;
    }
    events_.push_back(std::move(event));
  }
  Ref<InotifyWatch> TakeLocked(int32_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto found = watches_.find(number);
    if (found == watches_.end()) return nullptr;
    Ref<InotifyWatch> watch = std::move(found->second);
    watches_.erase(found);
    by_inode_.erase(watch->inode());
    return watch;
  }
  static void Detach(Ref<InotifyWatch> watch) { watch->inode()->watches.Get().Remove(watch.get()); }

  mutable Mutex mu_{LockRank::kPipe};
  absl::flat_hash_map<int32_t, Ref<InotifyWatch>> watches_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const Inode*, int32_t> by_inode_ ABSL_GUARDED_BY(mu_);
  int32_t next_number_ ABSL_GUARDED_BY(mu_) = 1;
  std::deque<Event> events_ ABSL_GUARDED_BY(mu_);
};

InotifyWatch::InotifyWatch(Ref<InotifyQueue> queue, Ref<Dentry> dentry, int32_t number)
    : queue_(std::move(queue)), dentry_(std::move(dentry)), number_(number) {
  dentry_->cache().AddWatch();
}

void InotifyWatch::OnEvent(uint32_t events, std::string_view name, uint32_t cookie) {
  queue_->OnEvent(*this, events, name, cookie);
}

Inotify::Inotify(Ref<AnonymousInode> inode, uint32_t flags)
    : AnonymousFile(std::move(inode), O_RDONLY | (flags & abi::kIN_NONBLOCK)), queue_(MakeRef<InotifyQueue>()) {}

Inotify::~Inotify() = default;

Ref<Inotify> Inotify::Make(AnonymousFiles& files, uint32_t flags) {
  return MakeRef<Inotify>(files.MakeInode("anon_inode:[inotify]", 0600), flags);
}

ErrnoOr<int32_t> Inotify::AddWatch(const Path& path, uint32_t mask) { return queue_->Add(path, mask); }
ErrnoOr<void> Inotify::RemoveWatch(int32_t number) { return queue_->Remove(number); }
ErrnoOr<uint64_t> Inotify::Read(mm::IoBuffer& to, uint64_t) { return queue_->Read(to); }

ErrnoOr<uint64_t> Inotify::Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument) {
  if (request != FIONREAD) return Errno(ENOTTY);
  REMORA_RETURN_IF_ERROR(context.memory.Write(GuestAddr(argument), queue_->num_bytes()));
  return 0u;
}

sync::Events Inotify::Readiness(sync::Events interest) {
  return (queue_->has_events() ? sync::kReadable : 0) & interest;
}
sync::WaitQueue* Inotify::wait_queue() { return &queue_->events_arrived; }

void Inotify::OnLastClose() { queue_->RemoveAll(); }

}  // namespace remora::fs
