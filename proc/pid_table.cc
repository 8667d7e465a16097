#include "proc/pid_table.h"

#include <utility>

namespace remora::proc {

PidTable::PidTable(sync::Reclaimer* reclaimer, int32_t max_pid) : map_(reclaimer, max_pid) {}
PidTable::~PidTable() = default;

ErrnoOr<int32_t> PidTable::Allocate() { return map_.Allocate(); }

ErrnoOr<int32_t> PidTable::AllocateExactly(int32_t number) { return map_.AllocateExactly(number); }

void PidTable::Publish(int32_t tid, Ref<Task> task) {
  const bool is_process = task->group().pid() == tid;
  const Ref<RefCounted> before = map_.Publish(tid, std::move(task), is_process);
}

void PidTable::Remove(int32_t tid) { const Ref<RefCounted> gone = map_.Remove(tid); }
void PidTable::Hold(int32_t number) { map_.Hold(number); }
void PidTable::Unhold(int32_t number) { map_.Unhold(number); }

Ref<Task> PidTable::FindTask(int32_t tid) const {
  Ref<RefCounted> found = map_.Lookup(tid);
  return Ref<Task>::Adopt(static_cast<Task*>(found.release()));
}

Ref<ThreadGroup> PidTable::FindGroup(int32_t pid) const {
  const Ref<Task> task = FindTask(pid);
  if (!task || task->group().pid() != pid) return nullptr;
  return Ref<ThreadGroup>(&task->group());
}

Ref<ThreadGroup> PidTable::NextGroup(int32_t pid) const {
  while ((pid = map_.NextMarked(pid)) != 0) {
    if (Ref<ThreadGroup> group = FindGroup(pid)) return group;
    ++pid;
  }
  return nullptr;
}

uint32_t PidTable::num_groups() const { return map_.num_marked(); }

}  // namespace remora::proc
