#include "proc/process_timers.h"

#include <utility>
#include <vector>

#include "base/abi/resource.h"
#include "base/abi/signal.h"
#include "base/clock.h"
#include "proc/kernel.h"
#include "proc/signals.h"
#include "proc/thread_group.h"

namespace remora::proc {

namespace {

int64_t All(const ChildUsage& usage) { return static_cast<int64_t>(usage.user_nanos + usage.system_nanos); }

void SendFromKernel(ThreadGroup& group, int signal) {
  SignalInfo info;
  info.signal = signal;
  info.code = abi::kSI_KERNEL;
  (void)SendToGroup(group, info);
}

// SIGXCPU at the soft limit and each second beyond it, SIGKILL at the hard one.
void CheckLimit(ThreadGroup& group, int64_t used_nanos) {
  ResourceLimit limit = group.limit(abi::kRLIMIT_CPU);
  const auto seconds = static_cast<uint64_t>(used_nanos / kNanosPerSecond);
  if (limit.hard != abi::kRLIM_INFINITY && seconds >= limit.hard) return SendFromKernel(group, abi::kSIGKILL);
  if (limit.soft == abi::kRLIM_INFINITY || seconds < limit.soft) return;
  SendFromKernel(group, abi::kSIGXCPU);
  if (limit.soft < limit.hard) limit.soft = seconds + 1;
  group.set_limit(abi::kRLIMIT_CPU, limit);
}

}  // namespace

ProcessTimers::ProcessTimers(Kernel* kernel, int32_t pid)
    : kernel_(kernel), pid_(pid), real_(MakeRef<RealTimer>(kernel, pid)) {}

IntervalTimer ProcessTimers::ExchangeCpu(CpuTimer which, int64_t used_nanos, const IntervalTimer& timer) {
  if (timer.remaining_nanos > 0) WatchCpuTime();
  MutexLock lock(&mu_);
  RepeatingDeadline& schedule = cpu_[static_cast<size_t>(which)];
  const IntervalTimer old{schedule.Remaining(used_nanos), schedule.interval_nanos()};
  int64_t deadline = 0;
  if (timer.remaining_nanos > 0 && __builtin_add_overflow(used_nanos, timer.remaining_nanos, &deadline))
    deadline = INT64_MAX;
  schedule.Set(deadline, timer.interval_nanos);
  return old;
}

IntervalTimer ProcessTimers::GetCpu(CpuTimer which, int64_t used_nanos) const {
  MutexLock lock(&mu_);
  const RepeatingDeadline& schedule = cpu_[static_cast<size_t>(which)];
  return {schedule.Remaining(used_nanos), schedule.interval_nanos()};
}

ErrnoOr<int32_t> ProcessTimers::Create(PosixTimer::Options options, uint64_t limit) {
  if (options.clock != TimerClock::kWall) WatchCpuTime();
  MutexLock lock(&mu_);
  if (posix_.size() >= limit) return Errno(EAGAIN);
  while (posix_.contains(next_id_)) next_id_ = next_id_ == INT32_MAX ? 0 : next_id_ + 1;
  options.id = next_id_;
  if (options.value_is_id) options.value = static_cast<uint64_t>(options.id);
  next_id_ = next_id_ == INT32_MAX ? 0 : next_id_ + 1;
  posix_[options.id] = MakeRef<PosixTimer>(kernel_, pid_, options);
  return options.id;
}

Ref<PosixTimer> ProcessTimers::Find(int32_t id) const {
  MutexLock lock(&mu_);
  const auto found = posix_.find(id);
  return found == posix_.end() ? nullptr : found->second;
}

bool ProcessTimers::Delete(int32_t id) {
  Ref<PosixTimer> timer;
  {
    MutexLock lock(&mu_);
    const auto found = posix_.find(id);
    if (found == posix_.end()) return false;
    timer = std::move(found->second);
    posix_.erase(found);
  }
  timer->Cancel();
  return true;
}

void ProcessTimers::DeleteAll() {
  std::map<int32_t, Ref<PosixTimer>> all;
  {
    MutexLock lock(&mu_);
    std::swap(all, posix_);
    next_id_ = 0;
  }
  for (const auto& [id, timer] : all) timer->Cancel();
}

void ProcessTimers::OnSignalDropped(int signal) {
  std::vector<Ref<PosixTimer>> concerned;
  {
    MutexLock lock(&mu_);
    for (const auto& [id, timer] : posix_)
      if (timer->options().signal == signal) concerned.push_back(timer);
  }
  for (const Ref<PosixTimer>& timer : concerned) timer->OnSignalDropped();
}

std::optional<int32_t> ProcessTimers::OnSignalTaken(int32_t id, int32_t setting) {
  const Ref<PosixTimer> timer = Find(id);
  if (!timer) return std::nullopt;
  return timer->OnSignalTaken(setting);
}

void ProcessTimers::Stop() {
  (void)real_->Exchange({});
  DeleteAll();
}

void ProcessTimers::CheckCpuTime(ThreadGroup& group, Task& ran) {
  const ChildUsage process = group.usage();
  const auto user = static_cast<int64_t>(process.user_nanos);
  const int64_t all = All(process);
  bool virtual_due, prof_due;
  std::vector<Ref<PosixTimer>> counting;
  {
    MutexLock lock(&mu_);
    virtual_due = cpu_[static_cast<size_t>(CpuTimer::kVirtual)].Expire(user) != 0;
    prof_due = cpu_[static_cast<size_t>(CpuTimer::kProf)].Expire(all) != 0;
    for (const auto& [id, timer] : posix_)
      if (timer->counts_cpu_time()) counting.push_back(timer);
  }
  if (virtual_due) SendFromKernel(group, abi::kSIGVTALRM);
  if (prof_due) SendFromKernel(group, abi::kSIGPROF);
  const auto thread_user = static_cast<int64_t>(ran.user_nanos.load(std::memory_order_relaxed));
  const auto thread_all = thread_user + static_cast<int64_t>(ran.system_nanos.load(std::memory_order_relaxed));
  for (const Ref<PosixTimer>& timer : counting) {
    const TimerClock clock = timer->options().clock;
    const bool of_thread = clock == TimerClock::kThreadCpu || clock == TimerClock::kThreadUser;
    if (of_thread && timer->options().clock_thread != ran.tid()) continue;
    const bool user_only = clock == TimerClock::kProcessUser || clock == TimerClock::kThreadUser;
    timer->CheckCpuTime(group, of_thread ? (user_only ? thread_user : thread_all) : (user_only ? user : all));
  }
  CheckLimit(group, all);
}

}  // namespace remora::proc
