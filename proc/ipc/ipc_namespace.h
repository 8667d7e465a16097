#ifndef REMORA_PROC_IPC_IPC_NAMESPACE_H_
#define REMORA_PROC_IPC_IPC_NAMESPACE_H_

#include <atomic>
#include <cstdint>

#include "proc/ipc/ipc_table.h"
#include "proc/ipc/message_queue.h"
#include "proc/ipc/semaphore_set.h"
#include "proc/ipc/shared_segment.h"

namespace remora::proc {

// A Kernel's System V objects. Limits are Linux's defaults but for the number of semaphores in all, which bounds what
// guests can make the host allocate. Thread safety: all members from any thread.
struct IpcNamespace {
  static constexpr uint32_t kMaxSegments = 4096;            // shmmni
  static constexpr uint32_t kMaxSets = 32000;               // semmni
  static constexpr uint32_t kMaxQueues = 32000;             // msgmni
  static constexpr uint32_t kMaxSemaphoresOfSet = 32000;    // semmsl
  static constexpr uint32_t kMaxSemaphores = 1'000'000;     // semmns
  static constexpr uint32_t kMaxSemaphoreOperations = 500;  // semopm

  std::atomic<uint32_t> num_semaphores{0};  // before the sets, which count in it
  IpcTable<SharedSegment> segments{kMaxSegments};
  IpcTable<SemaphoreSet> semaphores{kMaxSets};
  IpcTable<MessageQueue> queues{kMaxQueues};
  SemaphoreUndo undo;

  // The process has ended: SEM_UNDO.
  void OnProcessDead(int32_t pid, int64_t now_seconds) {
    for (const auto& [key, adjustment] : undo.Take(pid))
      if (const Ref<SemaphoreSet> set = semaphores.Find(key.first))
        set->Adjust(key.second, adjustment, pid, now_seconds);
  }
};

}  // namespace remora::proc

#endif  // REMORA_PROC_IPC_IPC_NAMESPACE_H_
