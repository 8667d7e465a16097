#include "proc/exit.h"

#include <utility>

#include "base/abi/futex.h"
#include "mm/user_memory.h"
#include "proc/clone.h"
#include "proc/ipc/ipc_namespace.h"
#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/process_timers.h"
#include "proc/process_tree.h"
#include "proc/scheduler.h"
#include "proc/signal_state.h"
#include "proc/task_reaper.h"
#include "proc/thread_group.h"
#include "sync/futex_table.h"

namespace remora::proc {

namespace {

void WakeFutex(Task& task, GuestAddr word) {
  sync::FutexTable& futexes = task.kernel().futexes();
  // Whoever waits may have called it private or shared.
  for (bool process_private : {false, true}) {
    const ErrnoOr<sync::FutexKey> key = task.space()->KeyOfFutex(word, process_private);
    if (key.ok()) futexes.Wake(*key, 1);
  }
}

// A robust mutex that the thread still holds: its owner died.
void MarkOwnerDied(Task& task, mm::UserMemory memory, GuestAddr word) {
  for (;;) {
    const ErrnoOr<uint32_t> value = memory.LoadWord(word);
    if (!value.ok() || static_cast<int32_t>(*value & abi::kFUTEX_TID_MASK) != task.tid()) return;
    const ErrnoOr<bool> done =
        memory.CompareExchangeWord(word, *value, (*value & abi::kFUTEX_WAITERS) | abi::kFUTEX_OWNER_DIED);
    if (!done.ok()) return;
    if (!*done) continue;
    if ((*value & abi::kFUTEX_WAITERS) != 0) WakeFutex(task, word);
    return;
  }
}

// set_robust_list(2). The list is the guest's: at most kROBUST_LIST_LIMIT entries are looked at.
void ReleaseRobustFutexes(Task& task, mm::UserMemory memory) {
  const GuestAddr head_addr = std::exchange(task.robust_list_head, GuestAddr());
  if (head_addr.is_null()) return;
  const ErrnoOr<abi::RobustListHead> head = memory.Read<abi::RobustListHead>(head_addr);
  if (!head.ok()) return;
  const auto word_of = [&](uint64_t entry) {
    return GuestAddr((entry & ~uint64_t{1}) + static_cast<uint64_t>(head->futex_offset));
  };
  uint64_t entry = head->list_next;
  const uint64_t pending = head->list_op_pending & ~uint64_t{1};
  for (uint32_t i = 0; i < abi::kROBUST_LIST_LIMIT && (entry & ~uint64_t{1}) != head_addr.value(); ++i) {
    // The next pointer is read first: the entry may be gone once its waiter runs.
    const ErrnoOr<uint64_t> next = memory.Read<uint64_t>(GuestAddr(entry & ~uint64_t{1}));
    if ((entry & ~uint64_t{1}) != pending) MarkOwnerDied(task, memory, word_of(entry));
    if (!next.ok()) break;
    entry = *next;
  }
  if (pending != 0) MarkOwnerDied(task, memory, word_of(pending));
}

}  // namespace

void ReleaseMemoryTies(Task& task) {
  if (task.space() && task.tlb != nullptr) {
    task.tlb->Synchronize();
    const mm::UserMemory memory(task.tlb);
    ReleaseRobustFutexes(task, memory);
    const GuestAddr child_tid = std::exchange(task.clear_child_tid, GuestAddr());
    if (!child_tid.is_null() && memory.StoreWord(child_tid, 0).ok()) WakeFutex(task, child_tid);
  }
  task.robust_list_head = task.clear_child_tid = GuestAddr();
  task.rseq = RseqState();
  // Kept, not cleared: the parent's handler may be reading it.
  if (task.vfork_done) task.vfork_done->Complete();
}

void ExitThread(Task& task, int32_t status) {
  Kernel& kernel = task.kernel();
  ThreadGroup& group = task.group();
  if (task.dead()) return;
  task.memory_wait.reset();
  task.ChargeSlice(kernel.clock().MonotonicNanos());

  ReleaseMemoryTies(task);
  task.NoteMemoryUse(/*last_user=*/group.num_tasks() == 1);
  // Closes files, which may do anything but take our locks.
  task.ReplaceFds(nullptr);
  task.ReplaceFsContext(nullptr);
  task.tlb = nullptr;
  task.ReplaceSpace(nullptr);
  if (task.space_holder != nullptr) task.space_holder->LetGoOfSpace();

  // Whoever waits for this task's end is best run by the worker that gets free with it.
  kernel.scheduler().PromiseToCome(task);

  int32_t group_status = 0;
  int stopped_by = 0;
  const bool last = TaskReaper::RemoveThread(task, status, &group_status, &stopped_by);
  if (stopped_by != 0) kernel.tree().OnStopped(group, stopped_by);
  kernel.options().dispatcher->OnTaskExit(task, last ? group_status : status, last);
  if (!last) {
    // The first thread's number is the process's: it stays until the process is reaped.
    if (task.tid() != group.pid()) kernel.pids().Remove(task.tid());
    return;
  }
  group.timers().Stop();
  kernel.ipc().OnProcessDead(group.pid(), kernel.clock().RealtimeNanos() / kNanosPerSecond);
  if (group.session() == group.pid()) kernel.terminals().OnLeaderExit(group.session());
  kernel.OnProcessDead(group, group_status);
  // The last thread may be another than the first, whose entry the reaper removes.
  if (task.tid() != group.pid()) kernel.pids().Remove(task.tid());
}

void ExitGroup(Task& task, int32_t status) {
  status = SignalState::BeginGroupExit(task.group(), status);
  ExitThread(task, status);
}

bool TaskReaper::RemoveThread(Task& task, int32_t status, int32_t* group_status, int* stopped_by) {
  ThreadGroup& group = task.group();
  Ref<Task> self;  // dropped after the lock
  MutexLock lock(&group.mu_);
  for (auto& each : group.tasks_) {
    if (each.get() != &task) continue;
    self = std::exchange(each, group.tasks_.back());
    group.tasks_.pop_back();
    break;
  }
  task.dead_.store(true, std::memory_order_release);
  task.pending_ = PendingSignals();
  group.num_tasks_.store(static_cast<uint32_t>(group.tasks_.size()), std::memory_order_release);
  group.dead_usage_.Add(task.usage());
  if (task.tid() == group.pid()) group.leader_status_ = status;
  *group_status = group.exiting() ? group.exit_status_ : group.leader_status_;
  if (group.tasks_.empty()) {
    group.pending_ = PendingSignals();
    group.exiting_.store(true, std::memory_order_release);
    return true;
  }
  if (task.stop_counted_) --group.num_stopped_;
  // One that was killed while it waited to exec is soon no more: nobody may wake it.
  Task* execing = &task;
  group.exec_task_.compare_exchange_strong(execing, nullptr, std::memory_order_acq_rel);
  if (execing != nullptr && execing != &task && group.tasks_.size() == 1) execing->Wake();
  if (group.stopping_ && !group.stopped() && group.num_stopped_ == group.tasks_.size()) {
    // The others rest already, and none of them will say so.
    group.stopped_.store(true, std::memory_order_release);
    *stopped_by = group.stop_signal_;
  }
  // What was pending for the process and this thread was to take: another has to look.
  if (!group.pending_.set().empty())
    for (const Ref<Task>& other : group.tasks_) SignalState::KickLocked(*other);
  return false;
}

}  // namespace remora::proc
