#ifndef REMORA_PROC_PID_TABLE_H_
#define REMORA_PROC_PID_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "proc/task.h"
#include "proc/thread_group.h"
#include "proc/tid_map.h"
#include "sync/reclaimer.h"

namespace remora::proc {

// Numbers to tasks and processes. Lookups and listings take no lock (see TidMap for who may look up, what it costs and
// its invariants); numbers are handed out round robin, as Linux does.
// Thread safety: all methods from any thread.
class PidTable {
 public:
  PidTable(sync::Reclaimer* reclaimer, int32_t max_pid);
  ~PidTable();

  // A free number in 1..max_pid-1, reserved. EAGAIN when all are taken.
  ErrnoOr<int32_t> Allocate();
  int32_t last_number() const { return map_.last_number(); }  // that Allocate answered
  // This one. EEXIST if it is taken or held, EINVAL if there is no such number.
  ErrnoOr<int32_t> AllocateExactly(int32_t number);
  void Publish(int32_t tid, Ref<Task> task);  // after which lookups find it
  void Remove(int32_t tid);                   // reaped; the number may be used again
  // Process groups and sessions keep their number from being handed out again.
  void Hold(int32_t number);
  void Unhold(int32_t number);

  Ref<Task> FindTask(int32_t tid) const;          // null
  Ref<ThreadGroup> FindGroup(int32_t pid) const;  // null; zombies are found
  // The pids >= `from` of processes, zombies included, in ascending order: as many as there are, or as fit. Cost
  // follows the live ones, not max_pid; it takes neither a lock nor a reference, so forks go on beside a listing.
  size_t ListPids(int32_t from, std::span<int32_t> out) const { return map_.ListMarked(from, out); }
  // The first process whose pid is >= `pid`; null behind the last.
  Ref<ThreadGroup> NextGroup(int32_t pid) const;
  uint32_t num_groups() const;

 private:
  TidMap map_;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_PID_TABLE_H_
