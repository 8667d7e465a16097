#include "proc/process_tree.h"

#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "proc/pid_table.h"
#include "proc/signal_sets.h"
#include "proc/signals.h"

namespace remora::proc {

void ProcessTree::Join(ThreadGroup& group, int32_t process_group) {
  Members& members = process_groups_[process_group];
  if (members.empty()) pids_->Hold(process_group);
  members[group.pid_] = &group;
  group.process_group_.store(process_group, std::memory_order_relaxed);
}

void ProcessTree::Leave(ThreadGroup& group) {
  const int32_t process_group = group.process_group();
  const auto found = process_groups_.find(process_group);
  if (found == process_groups_.end()) return;
  found->second.erase(group.pid_);
  if (!found->second.empty()) return;
  process_groups_.erase(found);
  pids_->Unhold(process_group);
}

void ProcessTree::LinkChild(ThreadGroup& parent, ThreadGroup& child) {
  ThreadGroup::Family& family = parent.family_;
  child.family_.parent = &parent;
  child.family_.previous = family.last_child;
  child.family_.next = nullptr;
  (family.last_child ? family.last_child->family_.next : family.first_child) = &child;
  family.last_child = &child;
  child.parent_pid_.store(parent.pid_, std::memory_order_relaxed);
}

void ProcessTree::UnlinkChild(ThreadGroup& child) {
  ThreadGroup::Family& own = child.family_;
  if (own.parent == nullptr) return;
  ThreadGroup::Family& family = own.parent->family_;
  (own.previous ? own.previous->family_.next : family.first_child) = own.next;
  (own.next ? own.next->family_.previous : family.last_child) = own.previous;
  own.parent = own.next = own.previous = nullptr;
}

void ProcessTree::AddFirst(ThreadGroup& group) {
  MutexLock lock(&mu_);
  group.family_.registered = true;
  group.session_.store(group.pid_, std::memory_order_relaxed);
  pids_->Hold(group.pid_);  // the session
  Join(group, group.pid_);
  first_pid_ = group.pid_;
}

void ProcessTree::AddChild(ThreadGroup& parent, ThreadGroup& child, int exit_signal) {
  MutexLock lock(&mu_);
  child.family_.registered = true;
  child.family_.exit_signal = exit_signal;
  child.session_.store(parent.session(), std::memory_order_relaxed);
  Join(child, parent.process_group());
  LinkChild(parent, child);
}

void ProcessTree::AddSibling(ThreadGroup& maker, ThreadGroup& child) {
  MutexLock lock(&mu_);
  child.family_.registered = true;
  child.family_.exit_signal = maker.family_.exit_signal;
  child.session_.store(maker.session(), std::memory_order_relaxed);
  Join(child, maker.process_group());
  if (maker.family_.parent != nullptr)
    LinkChild(*maker.family_.parent, child);
  else
    child.parent_pid_.store(maker.parent_pid(), std::memory_order_relaxed);
}

void ProcessTree::Forget(ThreadGroup& group) {
  UnlinkChild(group);
  Leave(group);
  if (group.session() == group.pid_) pids_->Unhold(group.pid_);
  group.family_.registered = false;
}

void ProcessTree::TellParent(ThreadGroup& group, int code, int status) {
  ThreadGroup* parent = group.family_.parent;
  if (parent == nullptr) return;
  SignalInfo info;
  info.signal = abi::kSIGCHLD;
  info.code = code;
  info.pid = group.pid_;
  info.uid = group.family_.uid;
  info.status = status;
  const ChildUsage usage = group.usage();
  info.user_ticks = static_cast<int64_t>(usage.user_nanos / 10'000'000);
  info.system_ticks = static_cast<int64_t>(usage.system_nanos / 10'000'000);
  const bool is_stop = code == abi::kCLD_STOPPED || code == abi::kCLD_CONTINUED;
  if (!is_stop) info.signal = group.family_.exit_signal;
  const SignalAction action = parent->action(abi::kSIGCHLD);
  if (info.signal != 0 && !(is_stop && ((action.flags & abi::kSA_NOCLDSTOP) != 0 || action.handler == abi::kSIG_IGN)))
    SendToGroup(*parent, info);
  parent->child_queue_.Notify(sync::kReadable);
}

bool ProcessTree::TellParentOfDeath(ThreadGroup& group) {
  ThreadGroup* parent = group.family_.parent;
  const int32_t status = group.family_.status;
  if (parent == nullptr) return group.pid_ != first_pid_;
  const int signal = status & 0x7f;
  const int code = signal == 0 ? abi::kCLD_EXITED : (status & 0x80) != 0 ? abi::kCLD_DUMPED : abi::kCLD_KILLED;
  const SignalAction action = parent->action(abi::kSIGCHLD);
  const bool unwanted = group.family_.exit_signal == abi::kSIGCHLD &&
                        (action.handler == abi::kSIG_IGN || (action.flags & abi::kSA_NOCLDWAIT) != 0);
  TellParent(group, code, signal == 0 ? (status >> 8) & 0xff : signal);
  return unwanted;
}

bool ProcessTree::OnDead(ThreadGroup& group, int32_t status, uint32_t uid) {
  std::vector<int32_t> reaped;
  absl::flat_hash_set<int32_t> left_groups;  // process groups of children, whose link outside this one was
  bool unwanted = false;
  {
    MutexLock lock(&mu_);
    ThreadGroup::Family& family = group.family_;
    if (!family.registered) return true;
    family.status = status;
    family.uid = uid;
    family.dead = true;

    // Children go to the nearest sub-reaper, else to nobody: Remora itself is then their parent, pid 1.
    ThreadGroup* reaper = family.parent;
    while (reaper != nullptr && !reaper->child_subreaper.load(std::memory_order_relaxed))
      reaper = reaper->family_.parent;
    while (ThreadGroup* child = family.first_child) {
      UnlinkChild(*child);
      child->family_.exit_signal = abi::kSIGCHLD;
      if (reaper != nullptr) {
        LinkChild(*reaper, *child);
        if (child->family_.dead && TellParentOfDeath(*child)) {
          Forget(*child);
          reaped.push_back(child->pid_);
        }
      } else {
        child->parent_pid_.store(1, std::memory_order_relaxed);
        if (child->family_.dead) {
          Forget(*child);
          reaped.push_back(child->pid_);
          continue;
        }
      }
      for (const Ref<Task>& task : child->Tasks()) {
        const int signal = task->parent_death_signal.load(std::memory_order_relaxed);
        if (signal == 0) continue;
        SignalInfo info;
        info.signal = signal;
        info.pid = group.pid_;
        info.uid = uid;
        SendToTask(*task, info);
      }
      if (child->process_group() != group.process_group() && child->session() == group.session())
        left_groups.insert(child->process_group());
    }
    for (int32_t process_group : left_groups) HangUpIfNewlyOrphaned(process_group);
    // Looks at all members: not for each of ten thousand whose parent is in the same group.
    if (KeepsFromBeingOrphaned(group)) HangUpIfNewlyOrphaned(group.process_group());
    group.ended_.store(true, std::memory_order_release);
    group.exit_queue_.Notify(sync::kReadable | sync::kHangup);
    unwanted = TellParentOfDeath(group);
    if (unwanted) Forget(group);
  }
  for (int32_t pid : reaped) pids_->Remove(pid);
  return unwanted;
}

void ProcessTree::OnStopped(ThreadGroup& group, int signal) {
  MutexLock lock(&mu_);
  group.family_.stopped_by = signal;
  group.family_.continued = false;
  TellParent(group, abi::kCLD_STOPPED, signal);
}

void ProcessTree::OnContinued(ThreadGroup& group) {
  MutexLock lock(&mu_);
  group.family_.stopped_by = 0;
  group.family_.continued = true;
  TellParent(group, abi::kCLD_CONTINUED, abi::kSIGCONT);
}

void ProcessTree::OnExec(ThreadGroup& group) {
  MutexLock lock(&mu_);
  group.family_.has_execed = true;
  group.family_.exit_signal = abi::kSIGCHLD;
}

ErrnoOr<std::optional<WaitedChild>> ProcessTree::Collect(ThreadGroup& parent, const WaitRequest& request,
                                                         int32_t* reaped) {
  *reaped = 0;
  MutexLock lock(&mu_);
  bool any = false;
  // One that is named is found without looking at its siblings.
  const bool by_pid = request.who == WaitRequest::Who::kPid;
  const Ref<ThreadGroup> named = by_pid ? pids_->FindGroup(request.id) : nullptr;
  ThreadGroup* child = parent.family_.first_child;
  if (by_pid) child = named && named->family_.parent == &parent ? named.get() : nullptr;
  for (; child != nullptr; child = by_pid ? nullptr : child->family_.next) {
    if (request.who == WaitRequest::Who::kProcessGroup && child->process_group() != request.id) continue;
    ThreadGroup::Family& family = child->family_;
    const bool is_clone = family.exit_signal != abi::kSIGCHLD;
    if (request.clones != WaitRequest::Clones::kToo && is_clone != (request.clones == WaitRequest::Clones::kOnly))
      continue;
    any = true;
    WaitedChild waited;
    waited.pid = child->pid_;
    waited.uid = family.uid;
    if (family.dead) {
      if (!request.exited) continue;
      waited.status = family.status;
      waited.usage = child->usage();
      waited.usage.Add(family.children_usage);
      if (!request.leave_waitable) {
        parent.family_.children_usage.Add(waited.usage);
        Forget(*child);
        *reaped = child->pid_;
      }
      return std::optional<WaitedChild>(waited);
    }
    if (request.stopped && family.stopped_by != 0) {
      waited.status = family.stopped_by << 8 | 0x7f;
      if (!request.leave_waitable) family.stopped_by = 0;
      return std::optional<WaitedChild>(waited);
    }
    if (request.continued && family.continued) {
      waited.status = 0xffff;
      if (!request.leave_waitable) family.continued = false;
      return std::optional<WaitedChild>(waited);
    }
  }
  if (!any) return Errno(ECHILD);
  return std::optional<WaitedChild>();
}

ChildUsage ProcessTree::ChildrenUsage(const ThreadGroup& group) const {
  MutexLock lock(&mu_);
  return group.family_.children_usage;
}

ErrnoOr<int32_t> ProcessTree::CreateSession(ThreadGroup& group) {
  MutexLock lock(&mu_);
  // A process group of this number exists already: that of a leader, or one that outlived it.
  if (process_groups_.contains(group.pid_) || group.session() == group.pid_) return Errno(EPERM);
  const int32_t old_process_group = group.process_group();
  Leave(group);
  group.session_.store(group.pid_, std::memory_order_relaxed);
  pids_->Hold(group.pid_);
  Join(group, group.pid_);
  HangUpIfNewlyOrphaned(old_process_group);
  return group.pid_;
}

ErrnoOr<void> ProcessTree::SetProcessGroup(ThreadGroup& caller, ThreadGroup& target, int32_t process_group) {
  MutexLock lock(&mu_);
  if (!target.family_.registered || target.family_.dead) return Errno(ESRCH);
  if (&target != &caller) {
    if (target.family_.parent != &caller) return Errno(ESRCH);
    if (target.session() != caller.session()) return Errno(EPERM);
    if (target.family_.has_execed) return Errno(EACCES);
  }
  if (target.session() == target.pid_) return Errno(EPERM);
  if (process_group != target.pid_) {
    const auto found = process_groups_.find(process_group);
    if (found == process_groups_.end()) return Errno(EPERM);
    if (found->second.begin()->second->session() != caller.session()) return Errno(EPERM);
  }
  if (process_group == target.process_group()) return Ok();
  const int32_t old_process_group = target.process_group();
  Leave(target);
  Join(target, process_group);
  HangUpIfNewlyOrphaned(old_process_group);
  return Ok();
}

bool ProcessTree::OrphanedLocked(int32_t process_group, const ThreadGroup* leaving) const {
  const auto found = process_groups_.find(process_group);
  if (found == process_groups_.end()) return true;
  for (const auto& [pid, member] : found->second) {
    if (member == leaving || member->family_.dead) continue;
    if (KeepsFromBeingOrphaned(*member)) return false;
  }
  return true;
}

bool ProcessTree::KeepsFromBeingOrphaned(const ThreadGroup& member) const {
  // Whoever started Remora can continue the first process: a shell with job control.
  if (member.pid_ == first_pid_) return true;
  const ThreadGroup* parent = member.family_.parent;
  return parent != nullptr && parent->process_group() != member.process_group() &&
         parent->session() == member.session();
}

bool ProcessTree::IsOrphaned(int32_t process_group) const {
  MutexLock lock(&mu_);
  return OrphanedLocked(process_group, nullptr);
}

bool ProcessTree::HasStoppedMember(int32_t process_group) const {
  const auto found = process_groups_.find(process_group);
  if (found == process_groups_.end()) return false;
  for (const auto& [pid, member] : found->second)
    if (!member->family_.dead && member->stopped()) return true;
  return false;
}

void ProcessTree::HangUpIfNewlyOrphaned(int32_t process_group) {
  if (!HasStoppedMember(process_group) || !OrphanedLocked(process_group, nullptr)) return;
  for (const auto& [pid, member] : process_groups_.find(process_group)->second) {
    for (int signal : {abi::kSIGHUP, abi::kSIGCONT}) {
      SignalInfo info;
      info.signal = signal;
      info.code = abi::kSI_KERNEL;
      SendToGroup(*member, info);
    }
  }
}

int32_t ProcessTree::SessionOfProcessGroup(int32_t process_group) const {
  MutexLock lock(&mu_);
  const auto found = process_groups_.find(process_group);
  return found == process_groups_.end() ? 0 : found->second.begin()->second->session();
}

uint32_t ProcessTree::ForEachMember(int32_t process_group, absl::FunctionRef<void(ThreadGroup&)> visit) const {
  MutexLock lock(&mu_);
  const auto found = process_groups_.find(process_group);
  if (found == process_groups_.end()) return 0;
  for (const auto& [pid, member] : found->second) visit(*member);
  return static_cast<uint32_t>(found->second.size());
}

}  // namespace remora::proc
