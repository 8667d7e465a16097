#ifndef REMORA_PROC_IPC_SHARED_SEGMENT_H_
#define REMORA_PROC_IPC_SHARED_SEGMENT_H_

#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "base/mutex.h"
#include "base/ref_counted.h"
#include "mm/mappable.h"
#include "mm/page_cache.h"
#include "proc/ipc/ipc_table.h"

namespace remora::proc {

// A System V shared memory segment: pages, counted attachments, and what shmctl tells. Linux twin: struct
// shmid_kernel. After IPC_RMID it lives on until the last attachment goes.
// Thread safety: all methods from any thread.
class SharedSegment final : public mm::Mappable {
 public:
  SharedSegment(IpcTable<SharedSegment>* table, mm::MemoryContext* memory, uint64_t size_bytes,
                const IpcPermissions& permissions, int32_t creator_pid, int64_t now_seconds);

  int32_t id() const { return id_.load(std::memory_order_relaxed); }
  void SetId(int32_t id) { id_.store(id, std::memory_order_relaxed); }
  uint64_t size_bytes() const { return size_bytes_; }
  // Mappings, as Linux counts them: a part with rights of its own counts for itself.
  uint64_t num_attached() const { return num_attached_.load(std::memory_order_relaxed); }

  struct Facts {
    IpcPermissions permissions;
    bool removed = false, locked = false;
    int32_t creator_pid = 0, last_pid = 0;
    int64_t attached_seconds = 0, detached_seconds = 0, changed_seconds = 0;
  };
  Facts facts() const;
  // Changes them under the lock.
  template <typename F>
  void Change(F change) {
    MutexLock lock(&mu_);
    change(facts_);
  }

  // mm::Mappable.
  ErrnoOr<mm::FrameId> GetFrame(uint64_t page_index, bool for_write) override {
    return pages_->GetFrame(page_index, for_write);
  }
  void FindFrames(uint64_t first_page_index, uint64_t wanted, std::span<mm::FrameId> found) override {
    pages_->FindFrames(first_page_index, wanted, found);
  }
  void OnMapped(mm::AddressSpace* space, PageRange range, uint64_t first_page_index) override;
  void OnUnmapped(mm::AddressSpace* space, PageRange range, uint64_t first_page_index) override;
  uint64_t object_id() const override { return pages_->object_id(); }
  Description Describe() const override;

 private:
  ~SharedSegment() override;

  IpcTable<SharedSegment>* const table_;  // outlives all mappings
  const Ref<mm::FilePages> pages_;
  const uint64_t size_bytes_;
  std::atomic<int32_t> id_{-1};
  std::atomic<uint64_t> num_attached_{0};
  mutable Mutex mu_{LockRank::kLeaf};
  Facts facts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::proc

#endif  // REMORA_PROC_IPC_SHARED_SEGMENT_H_
