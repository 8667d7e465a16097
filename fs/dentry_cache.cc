#include "fs/dentry_cache.h"

#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "fs/name_hash.h"

namespace remora::fs {

// One name that is known: to a dentry, or (null) to nothing. Immutable but for the clock's bit; the name lies behind
// it.
struct DentryCache::Entry {
  const uint64_t hash;
  const uint64_t directory_id;
  Dentry* const dentry;  // one reference is the entry's
  std::atomic<bool> used{true};
  const uint32_t name_size;

  std::string_view name() const { return {reinterpret_cast<const char*>(this + 1), name_size}; }
  static void Free(void* entry) {
    static_cast<Entry*>(entry)->~Entry();
    ::operator delete(entry);
  }
};

struct alignas(64) DentryCache::Shard {
  explicit Shard(sync::Reclaimer* reclaimer) : entries(reclaimer) {}

  LookupHash<Entry> entries;  // read without the lock, written under it
  mutable Mutex mu{LockRank::kDentryShard};
  uint32_t clock_hand ABSL_GUARDED_BY(mu) = 0;
  // For --stats. Off the line of what every lookup reads.
  alignas(64) std::atomic<uint64_t> hits{0}, negative_hits{0}, misses{0};

  Entry* Find(uint64_t hash, uint64_t directory_id, std::string_view name) const {
    return entries.Find(hash, [&](const Entry& e) { return e.directory_id == directory_id && e.name() == name; });
  }
};

// In one piece, since a shard neither copies nor moves.
struct DentryCache::Shards {
  explicit Shards(sync::Reclaimer* reclaimer) : Shards(reclaimer, std::make_index_sequence<kNumShards>()) {}
  Shard& operator[](uint64_t i) { return all[i]; }
  std::array<Shard, kNumShards> all;

 private:
  template <size_t... I>
  Shards(sync::Reclaimer* reclaimer, std::index_sequence<I...>) : all{{(static_cast<void>(I), Shard(reclaimer))...}} {}
};

class DentryCache::Trash {
 public:
  explicit Trash(DentryCache* cache) : cache_(cache) {}
  ~Trash() {
    for (Entry* entry : entries_) {
      Dentry* dentry = entry->dentry;
      cache_->reclaimer_->Retire(entry, &Entry::Free);
      if (dentry) dentry->Release();
    }
    // Their only reference was taken by TryDropLast.
    for (Entry* entry : last_users_) {
      Dentry* dentry = entry->dentry;
      cache_->reclaimer_->Retire(entry, &Entry::Free);
      dentry->OnLastRelease();
    }
  }
  void Add(Entry* entry) { entries_.push_back(entry); }
  void AddLastUser(Entry* entry) { last_users_.push_back(entry); }

 private:
  DentryCache* const cache_;
  absl::InlinedVector<Entry*, 4> entries_;
  absl::InlinedVector<Entry*, 4> last_users_;
};

Dentry::Dentry(DentryCache* cache, Ref<Dentry> parent, std::string_view name, Ref<Inode> inode)
    : id_(cache->next_id_.fetch_add(1, std::memory_order_relaxed)),
      type_(inode->type()),
      cacheable_lookups_(inode->cacheable_lookups()),
      cache_(cache),
      reclaimer_(cache->reclaimer_),
      inode_(std::move(inode)),
      parent_(parent.release()),
      name_(name) {}

Dentry::~Dentry() {
  if (Dentry* parent = parent_.load(std::memory_order_relaxed)) parent->Release();
  delete link_text_.load(std::memory_order_relaxed);
}

void Dentry::OnLastRelease() {
  reclaimer_->Retire(this, [](void* dentry) { delete static_cast<Dentry*>(dentry); });
}

Ref<Dentry> Dentry::parent() const {
  while (true) {
    Dentry* parent = parent_.load(std::memory_order_acquire);
    if (parent == nullptr) return nullptr;
    // Fails only if a rename took the reference away since; then there is another parent.
    if (parent->TryAddRef()) return Ref<Dentry>::Adopt(parent);
  }
}

std::string Dentry::name() const {
  ReaderLock lock(&cache_->tree_mu_);
  return name_;
}

const std::string* Dentry::SetLinkText(std::string text) {
  auto* fresh = new std::string(std::move(text));
  const std::string* there = nullptr;
  if (link_text_.compare_exchange_strong(there, fresh, std::memory_order_acq_rel)) return fresh;
  delete fresh;
  return there;
}

DentryCache::DentryCache(sync::Reclaimer* reclaimer, uint64_t capacity)
    : reclaimer_(reclaimer),
      shard_capacity_(capacity / kNumShards < 4 ? 4 : capacity / kNumShards),
      shards_(std::make_unique<Shards>(reclaimer)) {}

DentryCache::~DentryCache() { Clear(); }

uint64_t DentryCache::HashOf(uint64_t directory_id, std::string_view name) { return HashOfName(directory_id, name); }

DentryCache::Shard& DentryCache::ShardOf(uint64_t hash) const { return (*shards_)[hash >> 58]; }

DentryCache::Entry* DentryCache::NewEntry(uint64_t hash, uint64_t directory_id, std::string_view name,
                                          Ref<Dentry> dentry) {
  void* memory = ::operator new(sizeof(Entry) + name.size());
  auto* entry = new (memory) Entry{.hash = hash,
                                   .directory_id = directory_id,
                                   .dentry = dentry.release(),
                                   .name_size = static_cast<uint32_t>(name.size())};
  std::memcpy(entry + 1, name.data(), name.size());
  return entry;
}

Ref<Dentry> DentryCache::MakeRoot(Ref<Inode> inode) { return MakeRef<Dentry>(this, nullptr, "", std::move(inode)); }

Ref<Dentry> DentryCache::MakeUnhashed(const Ref<Dentry>& parent, std::string_view name, Ref<Inode> inode) {
  return MakeRef<Dentry>(this, parent, name, std::move(inode));
}

DentryCache::Found DentryCache::Lookup(const Dentry& directory, std::string_view name) const {
  const uint64_t hash = HashOf(directory.id_, name);
  Shard& shard = ShardOf(hash);
  Entry* entry = shard.Find(hash, directory.id_, name);
  // An entry whose dentry takes no reference is just being evicted.
  if (entry == nullptr || (entry->dentry != nullptr && !entry->dentry->TryAddRef())) {
    shard.misses.fetch_add(1, std::memory_order_relaxed);
    return {};
  }
  if (!entry->used.load(std::memory_order_relaxed)) entry->used.store(true, std::memory_order_relaxed);
  if (entry->dentry == nullptr) {
    shard.negative_hits.fetch_add(1, std::memory_order_relaxed);
    return {Answer::kNegative, nullptr};
  }
  shard.hits.fetch_add(1, std::memory_order_relaxed);
  return {Answer::kPositive, Ref<Dentry>::Adopt(entry->dentry)};
}

Dentry* DentryCache::Peek(const Dentry& directory, std::string_view name) const {
  const uint64_t hash = HashOf(directory.id_, name);
  Entry* entry = ShardOf(hash).Find(hash, directory.id_, name);
  if (entry == nullptr) return nullptr;
  if (!entry->used.load(std::memory_order_relaxed)) entry->used.store(true, std::memory_order_relaxed);
  return entry->dentry;
}

void DentryCache::NotePeeks(const Dentry& place, uint64_t n) const {
  (*shards_)[place.id_ % kNumShards].hits.fetch_add(n, std::memory_order_relaxed);
}

DentryCache::Counters DentryCache::counters() const {
  Counters sum;
  for (uint32_t i = 0; i < kNumShards; ++i) {
    sum.hits += (*shards_)[i].hits.load(std::memory_order_relaxed);
    sum.negative_hits += (*shards_)[i].negative_hits.load(std::memory_order_relaxed);
    sum.misses += (*shards_)[i].misses.load(std::memory_order_relaxed);
  }
  return sum;
}

void DentryCache::PutLocked(Shard& shard, Entry* entry, Trash* trash) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  TakeOutLocked(shard, entry->hash, entry->directory_id, entry->name(), trash);
  shard.entries.Insert(entry);
  if (shard.entries.size() > shard_capacity_) EvictLocked(shard, trash);
}

// Looks at a few slots for each entry that is put in, so the work for one insertion is bounded.
void DentryCache::EvictLocked(Shard& shard, Trash* trash) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (int i = 0; i < 24 && shard.entries.size() > shard_capacity_; ++i) {
    Entry* entry = shard.entries.SlotAt(shard.clock_hand++);
    if (entry == nullptr || entry->used.exchange(false, std::memory_order_relaxed)) continue;
    if (entry->dentry == nullptr) {
      shard.entries.Erase(entry);
      trash->Add(entry);
    } else if (entry->dentry->TryDropLast()) {
      shard.entries.Erase(entry);
      trash->AddLastUser(entry);
    }
  }
}

Ref<Dentry> DentryCache::Insert(const Ref<Dentry>& directory, std::string_view name, Ref<Inode> inode,
                                uint64_t change_count) {
  const uint64_t hash = HashOf(directory->id_, name);
  Shard& shard = ShardOf(hash);
  Trash trash(this);
  Ref<Dentry> fresh;
  if (inode) fresh = MakeRef<Dentry>(this, directory, name, inode);
  MutexLock lock(&shard.mu);
  Entry* there = shard.Find(hash, directory->id_, name);
  if (there != nullptr) {
    if (!inode && there->dentry == nullptr) return nullptr;
    if (inode && there->dentry != nullptr && there->dentry->inode() == inode) return Ref<Dentry>(there->dentry);
  }
  if (directory->change_count() != change_count) return nullptr;
  PutLocked(shard, NewEntry(hash, directory->id_, name, fresh), &trash);
  return fresh;
}

Ref<Dentry> DentryCache::Add(const Ref<Dentry>& directory, std::string_view name, Ref<Inode> inode,
                             uint64_t change_count) {
  const uint64_t hash = HashOf(directory->id_, name);
  Shard& shard = ShardOf(hash);
  Trash trash(this);
  Ref<Dentry> fresh = MakeRef<Dentry>(this, directory, name, std::move(inode));
  MutexLock lock(&shard.mu);
  // Who was told before that there is no such name must not keep that.
  if (directory->change_count_.fetch_add(1, std::memory_order_acq_rel) == change_count) {
    PutLocked(shard, NewEntry(hash, directory->id_, name, fresh), &trash);
    return fresh;
  }
  TakeOutLocked(shard, hash, directory->id_, name, &trash);
  return nullptr;
}

void DentryCache::TakeOutLocked(Shard& shard, uint64_t hash, uint64_t directory_id, std::string_view name,
                                Trash* trash) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (Entry* there = shard.Find(hash, directory_id, name)) {
    shard.entries.Erase(there);
    trash->Add(there);
  }
}

void DentryCache::Invalidate(const Ref<Dentry>& directory, std::string_view name) {
  const uint64_t hash = HashOf(directory->id_, name);
  Shard& shard = ShardOf(hash);
  Trash trash(this);
  MutexLock lock(&shard.mu);
  directory->change_count_.fetch_add(1, std::memory_order_acq_rel);
  TakeOutLocked(shard, hash, directory->id_, name, &trash);
}

bool DentryCache::Move(const Ref<Dentry>& dentry, const Ref<Dentry>& from, std::string_view name, const Ref<Dentry>& to,
                       std::string_view new_name, uint64_t change_count) {
  Trash trash(this);
  Ref<Dentry> old_parent;  // dropped behind the locks
  bool kept = false;
  WriterLock tree(&tree_mu_);
  {
    const uint64_t hash = HashOf(to->id_, new_name);
    Shard& shard = ShardOf(hash);
    MutexLock lock(&shard.mu);
    kept = to->change_count_.fetch_add(1, std::memory_order_acq_rel) == change_count;
    if (kept)
      PutLocked(shard, NewEntry(hash, to->id_, new_name, dentry), &trash);
    else
      TakeOutLocked(shard, hash, to->id_, new_name, &trash);
  }
  {
    const uint64_t hash = HashOf(from->id_, name);
    Shard& shard = ShardOf(hash);
    MutexLock lock(&shard.mu);
    from->change_count_.fetch_add(1, std::memory_order_acq_rel);
    TakeOutLocked(shard, hash, from->id_, name, &trash);
  }
  old_parent = Ref<Dentry>::Adopt(dentry->parent_.load(std::memory_order_relaxed));
  dentry->parent_.store(Ref<Dentry>(to).release(), std::memory_order_release);
  dentry->name_ = std::string(new_name);
  return kept;
}

bool DentryCache::Keep(const Ref<Dentry>& dentry, uint64_t change_count) {
  Trash trash(this);
  ReaderLock tree(&tree_mu_);
  Dentry* directory = dentry->parent_.load(std::memory_order_relaxed);
  if (directory == nullptr) return false;
  const uint64_t hash = HashOf(directory->id_, dentry->name_);
  Shard& shard = ShardOf(hash);
  MutexLock lock(&shard.mu);
  if (directory->change_count() != change_count) return false;
  if (Entry* there = shard.Find(hash, directory->id_, dentry->name_)) return there->dentry == dentry.get();
  PutLocked(shard, NewEntry(hash, directory->id_, dentry->name_, dentry), &trash);
  return true;
}

void DentryCache::Exchange(const Ref<Dentry>& a, const Ref<Dentry>& b) {
  Trash trash(this);
  WriterLock tree(&tree_mu_);
  for (Dentry* dentry : {a.get(), b.get()}) {
    Dentry* directory = dentry->parent_.load(std::memory_order_relaxed);
    const uint64_t hash = HashOf(directory->id_, dentry->name_);
    Shard& shard = ShardOf(hash);
    MutexLock lock(&shard.mu);
    directory->change_count_.fetch_add(1, std::memory_order_acq_rel);
    TakeOutLocked(shard, hash, directory->id_, dentry->name_, &trash);
  }
  // The references change places with the pointers.
  Dentry* const parent_of_a = a->parent_.load(std::memory_order_relaxed);
  a->parent_.store(b->parent_.load(std::memory_order_relaxed), std::memory_order_release);
  b->parent_.store(parent_of_a, std::memory_order_release);
  std::swap(a->name_, b->name_);
}

bool DentryCache::IsAncestor(const Dentry& ancestor, const Dentry& dentry) const {
  ReaderLock lock(&tree_mu_);
  for (const Dentry* d = &dentry; d != nullptr; d = d->parent_.load(std::memory_order_relaxed))
    if (d == &ancestor) return true;
  return false;
}

bool DentryCache::AppendPath(const Dentry& top, const Dentry& dentry, std::string* out) const {
  ReaderLock lock(&tree_mu_);
  absl::InlinedVector<const Dentry*, 32> chain;
  const Dentry* d = &dentry;
  for (; d != &top; d = d->parent_.load(std::memory_order_relaxed)) {
    if (d->parent_.load(std::memory_order_relaxed) == nullptr) break;
    chain.push_back(d);
  }
  for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
    *out += '/';
    *out += (*it)->name_;
  }
  return d == &top;
}

void DentryCache::Clear() {
  for (uint32_t i = 0; i < kNumShards; ++i) {
    Trash trash(this);
    Shard& shard = (*shards_)[i];
    MutexLock lock(&shard.mu);
    shard.entries.ForEach([&](Entry* entry) {
      shard.entries.Erase(entry);
      trash.Add(entry);
    });
  }
}

uint64_t DentryCache::num_entries() const {
  uint64_t n = 0;
  for (uint32_t i = 0; i < kNumShards; ++i) {
    MutexLock lock(&(*shards_)[i].mu);
    n += (*shards_)[i].entries.size();
  }
  return n;
}

void DentryCache::CheckInvariants() const {
  for (uint32_t i = 0; i < kNumShards; ++i) {
    ReaderLock tree(&tree_mu_);
    MutexLock lock(&(*shards_)[i].mu);
    (*shards_)[i].entries.CheckInvariants();
    (*shards_)[i].entries.ForEach([&](Entry* entry) {
      CHECK(entry->hash == HashOf(entry->directory_id, entry->name()));
      CHECK(&ShardOf(entry->hash) == &(*shards_)[i]);
      if (entry->dentry == nullptr) return;
      const Dentry* parent = entry->dentry->parent_.load(std::memory_order_relaxed);
      CHECK(parent != nullptr && parent->id_ == entry->directory_id);
      CHECK(entry->dentry->name_ == entry->name());
    });
  }
}

}  // namespace remora::fs
