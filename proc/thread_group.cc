#include "proc/thread_group.h"

#include <algorithm>
#include <utility>

#include "base/abi/resource.h"
#include "proc/kernel.h"
#include "proc/process_timers.h"
#include "proc/process_tree.h"
#include "proc/signal_sets.h"
#include "proc/task.h"

namespace remora::proc {

namespace {

// What a first process starts with: the usual values of a Linux system.
void SetDefaultLimits(std::array<ResourceLimit, abi::kRLIM_NLIMITS>& limits) {
  constexpr uint64_t kInfinity = abi::kRLIM_INFINITY;
  limits[abi::kRLIMIT_STACK] = {8 << 20, kInfinity};
  limits[abi::kRLIMIT_CORE] = {0, kInfinity};
  limits[abi::kRLIMIT_NPROC] = {32768, 32768};
  limits[abi::kRLIMIT_NOFILE] = {1024, 1 << 20};
  limits[abi::kRLIMIT_MEMLOCK] = {8 << 20, 8 << 20};
  limits[abi::kRLIMIT_SIGPENDING] = {PendingSignals::kMaxQueued, PendingSignals::kMaxQueued};
  limits[abi::kRLIMIT_MSGQUEUE] = {819'200, 819'200};
  limits[abi::kRLIMIT_NICE] = {0, 0};
  limits[abi::kRLIMIT_RTPRIO] = {0, 0};
}

}  // namespace

ThreadGroup::ThreadGroup(Kernel* kernel, int32_t pid)
    : kernel_(kernel),
      pid_(pid),
      serial_(kernel->NewProcessSerial()),
      start_time_nanos_(kernel->clock().MonotonicNanos()),
      timers_(std::make_unique<ProcessTimers>(kernel, pid)) {
  static_assert(kNumLimits == abi::kRLIM_NLIMITS);
  MutexLock lock(&mu_);
  SetDefaultLimits(limits_);
}

ThreadGroup::~ThreadGroup() = default;

std::vector<Ref<Task>> ThreadGroup::Tasks() const {
  MutexLock lock(&mu_);
  return tasks_;
}

SignalAction ThreadGroup::action(int signal) const {
  MutexLock lock(&mu_);
  return actions_[signal - 1];
}

SignalAction ThreadGroup::ExchangeAction(int signal, const SignalAction& action) {
  MutexLock lock(&mu_);
  SignalAction& current = actions_[signal - 1];
  const SignalAction old = current;
  current = action;
  current.mask = current.mask & ~kUnblockable;
  const bool ignored =
      action.handler == abi::kSIG_IGN || (action.handler == abi::kSIG_DFL && kIgnoredByDefault.Contains(signal));
  if (ignored) {
    const SignalSet dropped = SignalSet().With(signal);
    pending_.Discard(dropped);
    for (const Ref<Task>& task : tasks_) task->pending_.Discard(dropped);
    timers_->OnSignalDropped(signal);
  }
  return old;
}

ResourceLimit ThreadGroup::limit(int resource) const {
  if (resource < 0 || resource >= kNumLimits) return {};
  MutexLock lock(&mu_);
  return limits_[resource];
}

void ThreadGroup::set_limit(int resource, ResourceLimit limit) {
  if (resource < 0 || resource >= kNumLimits) return;
  if (resource == abi::kRLIMIT_CPU && limit.soft != abi::kRLIM_INFINITY) timers_->WatchCpuTime();
  MutexLock lock(&mu_);
  limits_[resource] = limit;
}

fs::Path ThreadGroup::executable() const {
  MutexLock lock(&mu_);
  return executable_;
}

void ThreadGroup::set_executable(fs::Path path) {
  MutexLock lock(&mu_);
  std::swap(executable_, path);
}

ChildUsage ThreadGroup::usage() const {
  MutexLock lock(&mu_);
  ChildUsage usage = dead_usage_;
  for (const Ref<Task>& task : tasks_) usage.Add(task->usage());
  return usage;
}

ChildUsage ThreadGroup::children_usage() const { return kernel_->tree().ChildrenUsage(*this); }

}  // namespace remora::proc
