#ifndef REMORA_PROC_PROCESS_TREE_H_
#define REMORA_PROC_PROCESS_TREE_H_

#include <cstdint>
#include <map>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "proc/thread_group.h"
#include "proc/wait.h"

namespace remora::proc {

class PidTable;

// Who is whose child, who is in which process group and session, and what of that a parent has still to hear.
//
// Invariants:
//  1. A registered group is in its parent's list of children (if it has a parent) and in one process group.
//  2. All members of a process group are of one session; its number is held in the pid table while it has members.
//  3. A dead group has no children.
// Thread safety: all methods from any thread. Lock: kKernel, held while SIGCHLD is sent (kThreadGroup, kWaitQueue and
// kScheduler follow it), never while a task runs or a file is closed. Linux twin: what tasklist_lock guards.
class ProcessTree {
 public:
  explicit ProcessTree(PidTable* pids) : pids_(pids) {}

  // A new process. The first one leads a session and a process group of its own; a child gets its parent's.
  void AddFirst(ThreadGroup& group) ABSL_LOCKS_EXCLUDED(mu_);
  void AddChild(ThreadGroup& parent, ThreadGroup& child, int exit_signal) ABSL_LOCKS_EXCLUDED(mu_);
  // CLONE_PARENT: the new process's parent is its maker's, and it dies with its maker's exit signal.
  void AddSibling(ThreadGroup& maker, ThreadGroup& child) ABSL_LOCKS_EXCLUDED(mu_);
  // The last thread has ended: children go to the reaper, the parent is told. True if nobody will wait for it (the
  // caller removes it from the pid table).
  bool OnDead(ThreadGroup& group, int32_t status, uint32_t uid) ABSL_LOCKS_EXCLUDED(mu_);
  void OnStopped(ThreadGroup& group, int signal) ABSL_LOCKS_EXCLUDED(mu_);
  void OnContinued(ThreadGroup& group) ABSL_LOCKS_EXCLUDED(mu_);
  void OnExec(ThreadGroup& group) ABSL_LOCKS_EXCLUDED(mu_);

  // wait.h. `reaped` receives the pid to be removed from the pid table, or 0.
  ErrnoOr<std::optional<WaitedChild>> Collect(ThreadGroup& parent, const WaitRequest& request, int32_t* reaped)
      ABSL_LOCKS_EXCLUDED(mu_);
  ChildUsage ChildrenUsage(const ThreadGroup& group) const ABSL_LOCKS_EXCLUDED(mu_);

  // sessions.h.
  ErrnoOr<int32_t> CreateSession(ThreadGroup& group) ABSL_LOCKS_EXCLUDED(mu_);
  ErrnoOr<void> SetProcessGroup(ThreadGroup& caller, ThreadGroup& target, int32_t process_group)
      ABSL_LOCKS_EXCLUDED(mu_);
  // No member has a parent in the session but outside the group who could continue it: stops from the terminal are
  // ignored there.
  bool IsOrphaned(int32_t process_group) const ABSL_LOCKS_EXCLUDED(mu_);
  // The session of a living process group; 0 if there is none.
  int32_t SessionOfProcessGroup(int32_t process_group) const ABSL_LOCKS_EXCLUDED(mu_);
  // Calls `visit` for the living members, with the tree locked: it may send signals and no more. How many there are.
  uint32_t ForEachMember(int32_t process_group, absl::FunctionRef<void(ThreadGroup&)> visit) const
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Members = std::map<int32_t, ThreadGroup*>;  // by pid

  void Join(ThreadGroup& group, int32_t process_group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Leave(ThreadGroup& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LinkChild(ThreadGroup& parent, ThreadGroup& child) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void UnlinkChild(ThreadGroup& child) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Forget(ThreadGroup& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TellParent(ThreadGroup& group, int code, int status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // True if the parent does not want to wait for it.
  bool TellParentOfDeath(ThreadGroup& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool OrphanedLocked(int32_t process_group, const ThreadGroup* leaving) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Its parent is in the session but outside the group.
  bool KeepsFromBeingOrphaned(const ThreadGroup& member) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasStoppedMember(int32_t process_group) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // POSIX: a process group that becomes orphaned while a member is stopped gets SIGHUP and SIGCONT.
  void HangUpIfNewlyOrphaned(int32_t process_group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  PidTable* const pids_;
  mutable Mutex mu_{LockRank::kKernel};
  absl::flat_hash_map<int32_t, Members> process_groups_ ABSL_GUARDED_BY(mu_);
  int32_t first_pid_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_PROCESS_TREE_H_
