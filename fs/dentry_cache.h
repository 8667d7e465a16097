#ifndef REMORA_FS_DENTRY_CACHE_H_
#define REMORA_FS_DENTRY_CACHE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/lock_rank.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/inode.h"
#include "fs/lookup_hash.h"
#include "sync/reclaimer.h"

namespace remora::fs {

class DentryCache;

// A name that leads to an inode: the node of the tree that paths walk. It exists as long as the cache, an open file, a
// working directory, a mount or a child refers to it. Names that lead nowhere have no Dentry but an entry in the cache.
//
// Invariants:
//  1. inode() never changes. parent() and the name change only by DentryCache::Move.
//  2. A directory has at most one dentry that the cache would find (but where a lookup raced with four changes).
// Linux twin: struct dentry. Difference: the hash holds small entries of its own, so a rename changes no memory that a
// lock-free lookup reads. Thread safety: all methods from any thread; raw pointers inside a read section.
class Dentry final : public RefCounted {
 public:
  const Ref<Inode>& inode() const { return inode_; }
  // What walks ask at each component, kept here so that they need not go to the inode.
  uint32_t type() const { return type_; }  // the inode's
  bool cacheable_lookups() const { return cacheable_lookups_; }
  DentryCache& cache() const { return *cache_; }
  sync::Reclaimer* reclaimer() const { return reclaimer_; }
  // Null for the root of a file system. Counted, since a rename may drop the old one at any time. In a read section.
  Ref<Dentry> parent() const;
  // Not counted: its memory stays until the read section ends.
  const Dentry* PeekParent() const { return parent_.load(std::memory_order_acquire); }
  std::string name() const;

  // Is something mounted on it, in any mount? Then the mount table has to be asked.
  bool mounted_on() const { return num_mounts_.load(std::memory_order_acquire) != 0; }
  void AddMount() { num_mounts_.fetch_add(1, std::memory_order_acq_rel); }
  void RemoveMount() { num_mounts_.fetch_sub(1, std::memory_order_acq_rel); }

  // Its name was unlinked.
  bool deleted() const { return deleted_.load(std::memory_order_acquire); }
  void set_deleted() { deleted_.store(true, std::memory_order_release); }

  // Open files of this name; what keeps an unlinked object.
  uint32_t num_open() const { return num_open_.load(); }
  void AddOpen() { num_open_.fetch_add(1, std::memory_order_relaxed); }
  void DropOpen() { num_open_.fetch_sub(1); }

  // May everybody search this directory, by its permissions when they were last looked at? Saves the walk a call of
  // GetAttributes for each component. False says nothing.
  bool known_searchable() const { return known_searchable_.load(std::memory_order_acquire); }
  // The permissions that were asked for after reading `change_count` let everybody search.
  void NoteSearchable(uint64_t change_count) {
    known_searchable_.exchange(true);
    if (change_count_.load() != change_count) known_searchable_.store(false);
  }
  // The permissions have changed.
  void ForgetSearchable() {
    change_count_.fetch_add(1);
    known_searchable_.store(false);
  }

  // The text of a symlink, once known. Stays valid as long as the dentry does.
  const std::string* link_text() const { return link_text_.load(std::memory_order_acquire); }
  const std::string* SetLinkText(std::string text);

  // Grows whenever a name in this directory changes; see DentryCache.
  uint64_t change_count() const { return change_count_.load(std::memory_order_acquire); }

 private:
  friend class DentryCache;
  template <typename T, typename... Args>
  friend Ref<T> remora::MakeRef(Args&&... args);
  Dentry(DentryCache* cache, Ref<Dentry> parent, std::string_view name, Ref<Inode> inode);
  ~Dentry() override;
  void OnLastRelease() override;

  // What a walk that passes through looks at, on one line with the count.
  const uint64_t id_;  // never reused: what cache entries know their directory by
  const uint32_t type_;
  const bool cacheable_lookups_;
  std::atomic<bool> known_searchable_{false};
  std::atomic<bool> deleted_{false};
  std::atomic<uint32_t> num_mounts_{0};
  std::atomic<uint32_t> num_open_{0};

  DentryCache* const cache_;
  sync::Reclaimer* const reclaimer_;  // outlives the cache
  const Ref<Inode> inode_;
  std::atomic<Dentry*> parent_;  // counted; written under the cache's tree lock
  std::string name_;             // guarded by the cache's tree lock
  std::atomic<uint64_t> change_count_{0};
  std::atomic<const std::string*> link_text_{nullptr};
};

// Which names of which directories lead where: positive and negative answers of file systems, kept.
//
// Lookups take no lock. How answers stay true though file systems are asked without one: whoever asks reads the
// directory's change_count() first, and hands it in with the answer; an answer is kept only if no name of the directory
// changed since. Whoever changes a name does so in the file system first, then here (which counts up).
//
// Bounded: beyond `capacity` entries, negative ones and dentries that nobody else uses are evicted by a clock.
// Linux twin: dcache. Thread safety: all methods from any thread; Lookup inside a read section of the reclaimer. Locks:
// kRename (the tree's shape: parents and names), then kDentryShard. References are dropped outside them.
class DentryCache {
 public:
  explicit DentryCache(sync::Reclaimer* reclaimer, uint64_t capacity = 1 << 17);
  ~DentryCache();

  Ref<Dentry> MakeRoot(Ref<Inode> inode);
  // A dentry that no lookup finds: a name that went while it was opened, an unnamed file.
  Ref<Dentry> MakeUnhashed(const Ref<Dentry>& parent, std::string_view name, Ref<Inode> inode);

  enum class Answer : uint8_t { kUnknown, kPositive, kNegative };
  struct Found {
    Answer answer = Answer::kUnknown;
    Ref<Dentry> dentry;
  };
  // Without a lock, and allocates nothing.
  Found Lookup(const Dentry& directory, std::string_view name) const;
  // As Lookup, but null also for what is negative, and neither counted nor noted in the counters: for walks that only
  // pass through. The dentry's memory stays until the read section ends, TryAddRef tells whether it still lives.
  Dentry* Peek(const Dentry& directory, std::string_view name) const;
  // Peek answered `n` times for a walk that got to `place`.
  void NotePeeks(const Dentry& place, uint64_t n) const;

  // Keeps what the file system answered (null inode: ENOENT), if directory->change_count() is still `change_count`.
  // The dentry to use: the one already there if it leads to the same inode, however old the answer is. Null if the
  // answer is too old, or was negative.
  Ref<Dentry> Insert(const Ref<Dentry>& directory, std::string_view name, Ref<Inode> inode, uint64_t change_count);

  // The file system has just made `name`, which leads to `inode`; change_count is from before it was asked. The dentry.
  // Null: other names of the directory changed meanwhile, perhaps this one again, so the caller has to look it up.
  Ref<Dentry> Add(const Ref<Dentry>& directory, std::string_view name, Ref<Inode> inode, uint64_t change_count);

  // The name was removed, or what is cached about it is no longer true.
  void Invalidate(const Ref<Dentry>& directory, std::string_view name);

  // `dentry`, found by `name` in `from`, is now `new_name` in `to`; what was there is deleted. True if the cache finds
  // it there: `change_count` is to's, from before the file system was asked, and if it moved on the caller has to make
  // sure by Keep.
  bool Move(const Ref<Dentry>& dentry, const Ref<Dentry>& from, std::string_view name, const Ref<Dentry>& to,
            std::string_view new_name, uint64_t change_count);
  // Makes an unhashed dentry findable where it is, unless change_count moved on or another is there.
  bool Keep(const Ref<Dentry>& dentry, uint64_t change_count);
  // RENAME_EXCHANGE. Both become unhashed and have to be Kept again.
  void Exchange(const Ref<Dentry>& a, const Ref<Dentry>& b);

  // Is `ancestor` the dentry itself or above it (within its file system)?
  bool IsAncestor(const Dentry& ancestor, const Dentry& dentry) const;
  // Appends the components from `top` (exclusive) to `dentry`, front first: "/a/b". False, and the whole way to the
  // file system's root, if `top` is not above it.
  bool AppendPath(const Dentry& top, const Dentry& dentry, std::string* out) const;

  // Drops all entries. Dentries in use stay, unhashed.
  void Clear();

  sync::Reclaimer* reclaimer() const { return reclaimer_; }
  uint64_t num_entries() const;

  // Does anybody watch an inode here (fs/watch_list.h)? What happens need not be told otherwise.
  bool has_watches() const { return num_watches_.load(std::memory_order_relaxed) != 0; }
  void AddWatch() { num_watches_.fetch_add(1, std::memory_order_relaxed); }
  void RemoveWatch() { num_watches_.fetch_sub(1, std::memory_order_relaxed); }

  struct Counters {
    uint64_t hits = 0, negative_hits = 0, misses = 0;
  };
  Counters counters() const;
  void CheckInvariants() const;

 private:
  friend class Dentry;
  struct Entry;
  struct alignas(64) Shard;
  struct Shards;
  static constexpr uint32_t kNumShards = 64;

  // What was taken out under locks and is disposed of behind them: deleters and last releases run file systems' code.
  class Trash;

  static uint64_t HashOf(uint64_t directory_id, std::string_view name);
  Shard& ShardOf(uint64_t hash) const;
  static Entry* NewEntry(uint64_t hash, uint64_t directory_id, std::string_view name, Ref<Dentry> dentry);
  // Makes the dentry findable as `name` of `directory`, instead of what was there.
  void PutLocked(Shard& shard, Entry* entry, Trash* trash);
  void TakeOutLocked(Shard& shard, uint64_t hash, uint64_t directory_id, std::string_view name, Trash* trash);
  void EvictLocked(Shard& shard, Trash* trash);

  sync::Reclaimer* const reclaimer_;
  const uint64_t shard_capacity_;
  std::atomic<uint64_t> next_id_{1};
  alignas(64) std::atomic<uint32_t> num_watches_{0};
  mutable SharedMutex tree_mu_{LockRank::kRename};
  const std::unique_ptr<Shards> shards_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_DENTRY_CACHE_H_
