#ifndef REMORA_PROC_IPC_SEMAPHORE_SET_H_
#define REMORA_PROC_IPC_SEMAPHORE_SET_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "base/abi/ipc.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "proc/ipc/ipc_table.h"
#include "sync/wait_queue.h"

namespace remora::proc {

// A System V semaphore set. Linux twin: struct sem_array. Difference: who waits is not served first come first served;
// after each change all try again.
//
// Invariants: 1. All values lie in 0..kMaxValue. 2. An operation changes all its semaphores or none.
// Thread safety: all methods from any thread.
class SemaphoreSet final : public RefCounted {
 public:
  static constexpr int32_t kMaxValue = 32767;

  // `total` (may be null) counts the semaphores of all sets: these were added, and are taken off at the end.
  SemaphoreSet(uint32_t num_semaphores, const IpcPermissions& permissions, int64_t now_seconds,
               std::atomic<uint32_t>* total = nullptr);

  int32_t id() const { return id_; }
  void SetId(int32_t id) { id_ = id; }  // before others see it
  uint32_t size() const { return static_cast<uint32_t>(num_semaphores_); }
  sync::WaitQueue& queue() { return queue_; }

  // One semop(2), tried once: EAGAIN if it would have to wait; `blocking` is then the operation at fault. EIDRM, EFBIG,
  // EACCES, ERANGE.
  ErrnoOr<void> Try(std::span<const abi::Sembuf> operations, const fs::Credentials& who, int32_t pid,
                    int64_t now_seconds, size_t* blocking);
  // Those that wait are counted: GETNCNT, GETZCNT.
  void AddWaiter(const abi::Sembuf& operation, int delta);

  // Takes `adjustment` back or forth without waiting, within the bounds: what exit does for SEM_UNDO.
  void Adjust(uint32_t number, int32_t adjustment, int32_t pid, int64_t now_seconds);

  struct Semaphore {
    int32_t value = 0;
    int32_t pid = 0;  // of the last to change it
    uint32_t waiting_for_more = 0, waiting_for_zero = 0;
  };
  // EINVAL for a number beyond the end, EIDRM.
  ErrnoOr<Semaphore> Get(uint32_t number) const;
  ErrnoOr<void> Set(uint32_t number, int32_t value, int32_t pid, int64_t now_seconds);  // ERANGE
  ErrnoOr<std::vector<uint16_t>> Values() const;
  ErrnoOr<void> SetValues(std::span<const uint16_t> values, int32_t pid, int64_t now_seconds);

  struct Facts {
    IpcPermissions permissions;
    bool removed = false;
    int64_t operated_seconds = 0, changed_seconds = 0;
  };
  Facts facts() const;
  void SetOwner(uint32_t uid, uint32_t gid, uint32_t mode, int64_t now_seconds);
  void MarkRemoved();  // those that wait hear EIDRM

 private:
  ~SemaphoreSet() override;

  const size_t num_semaphores_;
  std::atomic<uint32_t>* const total_;
  int32_t id_ = -1;
  sync::WaitQueue queue_;
  mutable Mutex mu_{LockRank::kPipe};
  std::vector<Semaphore> semaphores_ ABSL_GUARDED_BY(mu_);
  Facts facts_ ABSL_GUARDED_BY(mu_);
};

// What the end of a process takes back: SEM_UNDO's adjustments, by process, set and semaphore. Linux's sem_undo_list,
// kept by process whether or not its threads share it.
// Thread safety: all methods from any thread.
class SemaphoreUndo {
 public:
  using Key = std::pair<int32_t, uint32_t>;  // set, semaphore

  void Note(int32_t pid, int32_t set, uint32_t number, int32_t adjustment);
  // The adjustment so far.
  int32_t Find(int32_t pid, int32_t set, uint32_t number) const;
  // SETVAL, SETALL, IPC_RMID: nobody's adjustment of it holds any more. number ~0: of the whole set.
  void Clear(int32_t set, uint32_t number);
  std::map<Key, int32_t> Take(int32_t pid);

 private:
  mutable Mutex mu_{LockRank::kLeaf};
  std::map<int32_t, std::map<Key, int32_t>> by_process_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::proc

#endif  // REMORA_PROC_IPC_SEMAPHORE_SET_H_
