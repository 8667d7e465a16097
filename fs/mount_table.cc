#include "fs/mount_table.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "base/check.h"

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

void MountTable::Attach(const Ref<Mount>& mount, std::string_view name) {
  MutexLock lock(&mu_);
  change_count_.fetch_add(1, std::memory_order_acq_rel);
  if (!mount->parent()) {
    index_.Set(name, mount);
    list_.push_back({mount, std::string(name), nullptr});
    return;
  }
  if (name != "/") ForgetLocked(name);
  Mount* parent = mount->parent().get();
  Dentry* mountpoint = mount->mountpoint().get();
  auto* crossing = new Crossed{HashOf(parent, mountpoint), parent, mountpoint, mount.get()};
  // Two callers that mounted at one place at once: the later one covers the earlier.
  if (Crossed* there = crossings_.Find(
          crossing->hash, [&](const Crossed& c) { return c.parent == parent && c.mountpoint == mountpoint; })) {
    crossings_.Erase(there);
  }
  crossings_.Insert(crossing);
  mountpoint->AddMount();
  list_.push_back({mount, "", crossing});
}

ErrnoOr<void> MountTable::Detach(const Ref<Mount>& mount, bool lazily, uint32_t own_references) {
  Attached detached;
  Ref<Mount> unindexed;
  MutexLock lock(&mu_);
  auto it = std::find_if(list_.begin(), list_.end(), [&](const Attached& a) { return a.mount == mount; });
  if (it == list_.end() || it->crossing == nullptr) return Errno(EINVAL);
  for (const Attached& other : list_)
    if (other.mount->parent() == mount) return Errno(EBUSY);
  if (!lazily && mount->ref_count() > own_references + 1 + (it->name.empty() ? 0 : 1)) return Errno(EBUSY);
  change_count_.fetch_add(1, std::memory_order_acq_rel);
  detached = std::move(*it);
  list_.erase(it);
  if (!detached.name.empty()) unindexed = index_.Remove(detached.name);
  if (crossings_.Find(detached.crossing->hash, [&](const Crossed& c) { return &c == detached.crossing; }) != nullptr)
    crossings_.Erase(detached.crossing);
  detached.crossing->mountpoint->RemoveMount();
  reclaimer_->RetireDelete(detached.crossing);
  return Ok();
}

bool MountTable::Index(const Ref<Mount>& mount, std::string name, uint64_t change_count) {
  Ref<Mount> replaced;
  MutexLock lock(&mu_);
  if (change_count_.load(std::memory_order_relaxed) != change_count) return false;
  auto it = std::find_if(list_.begin(), list_.end(), [&](const Attached& a) { return a.mount == mount; });
  if (it == list_.end() || !it->name.empty()) return false;
  replaced = index_.Set(name, mount);
  CHECK_MSG(!replaced, "two mounts were found by one name");
  it->name = std::move(name);
  return true;
}

bool MountTable::ForgetLocked(std::string_view name) {
  if (!index_.AnyAtOrBelow(name)) return false;
  for (Attached& attached : list_) {
    if (attached.crossing == nullptr || !attached.name.starts_with(name)) continue;
    if (attached.name.size() != name.size() && attached.name[name.size()] != '/') continue;
    index_.Remove(attached.name);  // the list keeps it
    attached.name.clear();
  }
  return true;
}

bool MountTable::Forget(std::string_view name) {
  MutexLock lock(&mu_);
  change_count_.fetch_add(1, std::memory_order_acq_rel);
  return ForgetLocked(name);
}

std::vector<Ref<Mount>> MountTable::ListUnindexed() const {
  std::vector<Ref<Mount>> mounts;
  MutexLock lock(&mu_);
  for (const Attached& attached : list_)
    if (attached.name.empty()) mounts.push_back(attached.mount);
  return mounts;
}

void MountTable::CheckInvariants() const {
  index_.CheckInvariants();
  MutexLock lock(&mu_);
  crossings_.CheckInvariants();
  uint64_t num_indexed = 0, num_crossings = 0;
  for (const Attached& attached : list_) {
    if (!attached.name.empty()) {
      ++num_indexed;
      const MountIndex<Mount>::Match match = index_.Lookup(attached.name);
      CHECK(match.value == attached.mount && match.suffix.empty());  // 2, as far as the index goes
    }
    if (attached.crossing == nullptr) {
      CHECK(attached.name == "/");  // 3
      continue;
    }
    ++num_crossings;
    CHECK(attached.crossing->mountpoint->mounted_on());  // 1
  }
  CHECK(num_indexed == index_.size());
  CHECK(crossings_.size() <= num_crossings);
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
