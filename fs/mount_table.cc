#include "fs/mount_table.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"

namespace remora::fs {

MountTable::~MountTable() {
  MutexLock lock(&mu_);
  for (Attached& attached : list_) delete attached.crossing;
}

uint64_t MountTable::HashOf(const Mount* mount, const Dentry* dentry) { return absl::HashOf(mount, dentry); }

Ref<Mount> MountTable::Crossing(const Mount& mount, const Dentry& dentry) const {
  const Crossed* crossed = crossings_.Find(
      HashOf(&mount, &dentry), [&](const Crossed& c) { return c.parent == &mount && c.mountpoint == &dentry; });
  if (crossed == nullptr || !crossed->mount->TryAddRef()) return nullptr;
  return Ref<Mount>::Adopt(crossed->mount);
}

uint64_t MountTable::NewId() {
  MutexLock lock(&mu_);
  return next_id_++;
}

void MountTable::Attach(const Ref<Mount>& mount, std::string name) {
  Ref<Mount> covered;
  MutexLock lock(&mu_);
  Crossed* crossing = nullptr;
  if (mount->parent()) {
    Mount* parent = mount->parent().get();
    Dentry* mountpoint = mount->mountpoint().get();
    crossing = new Crossed{HashOf(parent, mountpoint), parent, mountpoint, mount.get()};
    // Two callers that mounted at one place at once: the later one covers the earlier.
    if (Crossed* there = crossings_.Find(
            crossing->hash, [&](const Crossed& c) { return c.parent == parent && c.mountpoint == mountpoint; })) {
      crossings_.Erase(there);
    }
    crossings_.Insert(crossing);
    mountpoint->AddMount();
  }
  covered = index_.Set(name, mount);
  list_.push_back({mount, std::move(name), crossing});
}

ErrnoOr<void> MountTable::Detach(const Ref<Mount>& mount, bool lazily, uint32_t own_references) {
  Attached detached;
  Ref<Mount> unindexed;
  MutexLock lock(&mu_);
  auto it = std::find_if(list_.begin(), list_.end(), [&](const Attached& a) { return a.mount == mount; });
  if (it == list_.end() || it->crossing == nullptr) return Errno(EINVAL);
  for (const Attached& other : list_)
    if (other.mount->parent() == mount) return Errno(EBUSY);
  bool indexed = false;
  {
    const MountIndex<Mount>::Match match = index_.Lookup(it->name);
    indexed = match.value == mount && match.suffix.empty();
  }
  if (!lazily && mount->ref_count() > own_references + 1 + (indexed ? 1 : 0)) return Errno(EBUSY);
  detached = std::move(*it);
  list_.erase(it);
  if (crossings_.Find(detached.crossing->hash, [&](const Crossed& c) { return &c == detached.crossing; }) != nullptr)
    crossings_.Erase(detached.crossing);
  detached.crossing->mountpoint->RemoveMount();
  if (indexed) {
    // Of several mounts of one name the one before comes to light again.
    auto below = std::find_if(list_.rbegin(), list_.rend(), [&](const Attached& a) { return a.name == detached.name; });
    unindexed = below == list_.rend() ? index_.Remove(detached.name) : index_.Set(detached.name, below->mount);
  }
  reclaimer_->RetireDelete(detached.crossing);
  return Ok();
}

void MountTable::RefreshNames(absl::FunctionRef<std::string(const Mount&)> name_of) {
  for (const Ref<Mount>& mount : List()) {
    if (!mount->parent()) continue;
    std::string name = name_of(*mount);
    Ref<Mount> removed, replaced;
    MutexLock lock(&mu_);
    auto it = std::find_if(list_.begin(), list_.end(), [&](const Attached& a) { return a.mount == mount; });
    if (it == list_.end() || it->name == name) continue;
    removed = index_.Remove(it->name);
    it->name = std::move(name);
    replaced = index_.Set(it->name, mount);
  }
}

std::vector<Ref<Mount>> MountTable::List() const {
  MutexLock lock(&mu_);
  std::vector<Ref<Mount>> mounts;
  mounts.reserve(list_.size());
  for (const Attached& attached : list_) mounts.push_back(attached.mount);
  return mounts;
}

uint64_t MountTable::size() const {
  MutexLock lock(&mu_);
  return list_.size();
}

}  // namespace remora::fs
