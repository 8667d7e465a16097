#include "proc/task.h"

#include <utility>

#include "proc/clone.h"
#include "proc/kernel.h"
#include "proc/scheduler.h"
#include "proc/signal_state.h"
#include "proc/thread_group.h"

namespace remora::proc {

Task::Task(Kernel* kernel, int32_t tid, Ref<ThreadGroup> group) : kernel_(kernel), tid_(tid), group_(std::move(group)) {
  kernel_->tasks_alive().OnMade(this);
}

Task::~Task() = default;

void Task::OnLastRelease() {
  kernel_->tasks_alive().OnDropped(this);
  kernel_->reclaimer().Retire(this, [](void* task) { delete static_cast<Task*>(task); });
}

void Task::ReplaceSpace(Ref<mm::AddressSpace> space) {
  MutexLock lock(&mu_);
  std::swap(space_, space);
  // The old one goes, perhaps for good, when `space` dies: after the lock.
}

void Task::ReplaceFds(Ref<fs::FdTable> fds) {
  if (fds) fds->AddUser();
  {
    MutexLock lock(&mu_);
    std::swap(fds_, fds);
  }
  if (fds) fds->DropUser();
}

void Task::ReplaceFsContext(Ref<FsContext> context) {
  MutexLock lock(&mu_);
  std::swap(fs_context_, context);
}

Ref<mm::AddressSpace> Task::SpaceForOthers() const {
  MutexLock lock(&mu_);
  return space_;
}

Ref<fs::FdTable> Task::FdsForOthers() const {
  MutexLock lock(&mu_);
  return fds_;
}

Ref<FsContext> Task::FsContextForOthers() const {
  MutexLock lock(&mu_);
  return fs_context_;
}

std::shared_ptr<const Credentials> Task::credentials() const {
  MutexLock lock(&mu_);
  return credentials_;
}

void Task::set_credentials(std::shared_ptr<const Credentials> credentials) {
  MutexLock lock(&mu_);
  std::swap(credentials_, credentials);
}

std::string Task::name() const {
  MutexLock lock(&mu_);
  return name_;
}

void Task::set_name(std::string_view name) {
  MutexLock lock(&mu_);
  name_.assign(name.substr(0, 15));
}

void Task::set_blocked_signals(SignalSet set) { SignalState::SetBlocked(*this, set); }

ChildUsage Task::usage() const {
  ChildUsage usage;
  usage.user_nanos = user_nanos.load(std::memory_order_relaxed);
  usage.system_nanos = system_nanos.load(std::memory_order_relaxed);
  usage.max_resident_pages = max_resident_pages.load(std::memory_order_relaxed);
  usage.minor_faults = minor_faults.load(std::memory_order_relaxed);
  usage.voluntary_switches = voluntary_switches.load(std::memory_order_relaxed);
  usage.involuntary_switches = involuntary_switches.load(std::memory_order_relaxed);
  return usage;
}

void Task::NoteMemoryUse(bool last_user) {
  if (!space_) return;
  const uint64_t pages = space_->num_resident_pages();
  if (pages > max_resident_pages.load(std::memory_order_relaxed))
    max_resident_pages.store(pages, std::memory_order_relaxed);
  if (last_user) minor_faults.fetch_add(space_->num_faults(), std::memory_order_relaxed);
}

void Task::Wake() { kernel_->scheduler().Wake(*this); }

void Task::ChargeSlice(int64_t now_nanos) {
  if (slice.start_nanos == 0) return;
  const uint64_t used = now_nanos > slice.start_nanos ? static_cast<uint64_t>(now_nanos - slice.start_nanos) : 0;
  const uint64_t kernel_cost = slice.calls * kSyscallCost;
  const uint64_t cost = slice.instructions + kernel_cost;
  // Both are far below 2^32 within one slice.
  const uint64_t system = cost == 0 ? used : used / cost * kernel_cost + used % cost * kernel_cost / cost;
  system_nanos.fetch_add(system, std::memory_order_relaxed);
  user_nanos.fetch_add(used - system, std::memory_order_relaxed);
  slice = Slice{now_nanos, 0, 0};
}

char Task::state_letter() const {
  if (dead()) return 'Z';
  if (stopped_.load(std::memory_order_relaxed)) return 'T';
  switch (run_state_.load(std::memory_order_relaxed)) {
    case RunState::kParked:
      return 'S';
    case RunState::kDead:
      return 'Z';
    default:
      return 'R';
  }
}

}  // namespace remora::proc
