#ifndef REMORA_PROC_IPC_IPC_TABLE_H_
#define REMORA_PROC_IPC_IPC_TABLE_H_

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/credentials.h"

namespace remora::proc {

// Who made a System V object, whose it is and who may use it: struct kern_ipc_perm. Guarded by the object's mutex.
struct IpcPermissions {
  int32_t key = 0;
  uint32_t uid = 0, gid = 0, creator_uid = 0, creator_gid = 0;
  uint32_t mode = 0;  // 0777

  // `wanted`: bits of 0666, in any of the three places.
  bool Allows(const fs::Credentials& who, uint32_t wanted) const {
    wanted = (wanted >> 6 | wanted >> 3 | wanted) & 7;
    uint32_t granted = mode;
    if (who.euid == creator_uid || who.euid == uid)
      granted >>= 6;
    else if (who.egid == gid || who.egid == creator_gid || who.InGroup(gid) || who.InGroup(creator_gid))
      granted >>= 3;
    return (wanted & ~granted & 7) == 0 || who.privileged();
  }
  // IPC_SET, IPC_RMID.
  bool Owns(const fs::Credentials& who) const { return who.euid == uid || who.euid == creator_uid || who.privileged(); }
};

// Numbers and keys to the System V objects of one kind. A number is slot + 32768 * (how often slots were given out), so
// that it is not used again soon.
//
// Invariants: 1. A key stands for at most one object, IPC_PRIVATE for none. 2. A slot's object is counted by the table,
// or weakly held: then it calls Forget before its memory goes.
// Thread safety: all methods from any thread. Linux twin: struct ipc_ids.
template <typename T>
class IpcTable {
 public:
  static constexpr int32_t kSlots = 32768;

  explicit IpcTable(uint32_t max_objects) : max_objects_(max_objects) {}

  Ref<T> FindKey(int32_t key) const {
    MutexLock lock(&mu_);
    const auto found = keys_.find(key);
    return found == keys_.end() ? nullptr : CountedLocked(slots_[static_cast<size_t>(found->second % kSlots)], -1);
  }
  // Null if no object has that number now.
  Ref<T> Find(int32_t id) const {
    MutexLock lock(&mu_);
    if (id < 0 || static_cast<size_t>(id % kSlots) >= slots_.size()) return nullptr;
    return CountedLocked(slots_[static_cast<size_t>(id % kSlots)], id);
  }
  // By its slot: SHM_STAT and its kin.
  Ref<T> At(int32_t slot) const {
    MutexLock lock(&mu_);
    if (slot < 0 || static_cast<size_t>(slot) >= slots_.size()) return nullptr;
    return CountedLocked(slots_[static_cast<size_t>(slot)], -1);
  }
  // The number of the new object, which it is told by SetId. EEXIST if another took the key meanwhile, ENOSPC.
  ErrnoOr<int32_t> Insert(int32_t key, Ref<T> object) {
    MutexLock lock(&mu_);
    if (key != 0 && keys_.contains(key)) return Errno(EEXIST);
    if (num_objects_ >= max_objects_) return Errno(ENOSPC);
    size_t slot = 0;
    while (slot < slots_.size() && slots_[slot].object != nullptr) ++slot;
    if (slot == slots_.size()) slots_.emplace_back();
    Entry& entry = slots_[slot];
    const auto id = static_cast<int32_t>(sequence_ * kSlots + slot);
    sequence_ = (sequence_ + 1) % (uint32_t{INT32_MAX} / kSlots);
    object->SetId(id);
    entry = {id, key, object.get(), std::move(object)};
    if (key != 0) keys_[key] = id;
    ++num_objects_;
    return id;
  }
  // Nobody finds it any more.
  void Remove(int32_t id) { const Ref<T> gone = Take(id, /*keep_weakly=*/false); }
  // Its key is free; it is found by its number as long as others count it.
  void Weaken(int32_t id) { const Ref<T> gone = Take(id, /*keep_weakly=*/true); }
  // Of an object that is weakly held, when its last reference is gone. A negative id: it never was in the table.
  void Forget(int32_t id, const T* object) {
    if (id < 0) return;
    MutexLock lock(&mu_);
    Entry& entry = slots_[static_cast<size_t>(id % kSlots)];
    if (entry.object != object) return;
    entry = Entry();
    --num_objects_;
  }
  // The highest slot in use, -1 if there is none; how many there are.
  int32_t max_slot() const {
    MutexLock lock(&mu_);
    auto slot = static_cast<int32_t>(slots_.size());
    while (slot > 0 && slots_[static_cast<size_t>(slot - 1)].object == nullptr) --slot;
    return slot - 1;
  }
  uint32_t num_objects() const {
    MutexLock lock(&mu_);
    return num_objects_;
  }

 private:
  struct Entry {
    int32_t id = -1;
    int32_t key = 0;
    T* object = nullptr;
    Ref<T> counted;  // null: weakly held
  };

  Ref<T> CountedLocked(const Entry& entry, int32_t id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (entry.object == nullptr || (id >= 0 && entry.id != id)) return nullptr;
    return entry.object->TryAddRef() ? Ref<T>::Adopt(entry.object) : nullptr;
  }
  // The table's reference, for the caller to drop without the lock.
  Ref<T> Take(int32_t id, bool keep_weakly) {
    MutexLock lock(&mu_);
    Entry& entry = slots_[static_cast<size_t>(id % kSlots)];
    if (entry.object == nullptr || entry.id != id) return nullptr;
    if (entry.key != 0) keys_.erase(std::exchange(entry.key, 0));
    Ref<T> counted = std::move(entry.counted);
    entry.counted = nullptr;
    if (!keep_weakly) {
      entry = Entry();
      --num_objects_;
    }
    return counted;
  }

  const uint32_t max_objects_;
  mutable Mutex mu_{LockRank::kLeaf};
  std::vector<Entry> slots_ ABSL_GUARDED_BY(mu_);
  std::map<int32_t, int32_t> keys_ ABSL_GUARDED_BY(mu_);
  uint32_t num_objects_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t sequence_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_IPC_IPC_TABLE_H_
