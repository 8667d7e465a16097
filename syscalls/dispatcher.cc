#include "syscalls/dispatcher.h"

#include <algorithm>

#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/tracer.h"

namespace remora::syscalls {
namespace {

SyscallOutcome SysAbsent(SyscallContext&) { return SyscallOutcome::Fail(ENOSYS); }

// Numbers beyond the table come last.
constexpr std::array<Handler, kNumSyscalls + 1> MakeHandlers() {
  std::array<Handler, kNumSyscalls + 1> handlers;
  handlers.fill(&SysAbsent);
#define REMORA_SUPPORTED(number, name, handler, ...) handlers[number] = &handler;
#define REMORA_PARTIAL(number, name, handler, ...) handlers[number] = &handler;
#define REMORA_ABSENT(...)
#define REMORA_UNASSIGNED(...)
#include "syscalls/table.inc"
#undef REMORA_SUPPORTED
#undef REMORA_PARTIAL
#undef REMORA_ABSENT
#undef REMORA_UNASSIGNED
  return handlers;
}

constexpr std::array<Handler, kNumSyscalls + 1> kHandlers = MakeHandlers();

// Adds the time that the handler takes.
proc::SyscallOutcome Measure(Handler handler, SyscallContext& context, Counter* nanos) {
  const int64_t started = context.MonotonicNanos();
  const proc::SyscallOutcome outcome = handler(context);
  nanos->Add(static_cast<uint64_t>(context.MonotonicNanos() - started));
  return outcome;
}

bool IsRestartCode(int64_t value) {
  return value == -proc::kRestartSys || value == -proc::kRestartNoIntr || value == -proc::kRestartNoHandler ||
         value == -proc::kRestartBlock;
}

// What ppoll, pselect6, epoll_pwait and rt_sigsuspend changed goes back, unless a signal is about to be delivered: that
// looks at the temporary mask, and puts the old one back itself.
void RestoreMask(proc::Task& task) {
  if (!task.saved_blocked_signals) return;
  task.set_blocked_signals(*task.saved_blocked_signals);
  task.saved_blocked_signals.reset();
}

// The call copies from a page that a slow file has not given yet: it runs again when the page is there, or at once if
// it has come meanwhile. Nothing has happened yet: handlers copy in before they do anything.
proc::SyscallOutcome WaitForPage(proc::Task& task, const mm::Fault& fault) {
  mm::AddressSpace& space = *task.space();
  task.memory_wait = std::make_unique<proc::MemoryWait>(&task, *space.page_arrivals());
  if (space.IsReady(fault.addr.page(), fault.access)) task.park_deadline_nanos = 0;
  return proc::SyscallOutcome::Blocked();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Dispatcher>> Dispatcher::Create(Options options) {
  std::unique_ptr<Tracer> tracer;
  if (options.strace) {
    auto made = Tracer::Create(options.strace_filter, std::move(options.strace_sink));
    if (!made.ok()) return made.status();
    tracer = *std::move(made);
  }
  return std::unique_ptr<Dispatcher>(new Dispatcher(std::move(options), std::move(tracer)));
}

Dispatcher::Dispatcher(Options options, std::unique_ptr<Tracer> tracer)
    : measure_time_(options.measure_time),
      tracer_(std::move(tracer)),
      is_watched_(measure_time_ || tracer_ != nullptr) {}

Dispatcher::~Dispatcher() = default;

void Dispatcher::Prepare(uint32_t num_workers) { shards_ = std::vector<Shard>(num_workers); }

// Most calls begin with nothing left over from before, and end with a result: that is all there is to do for them.
proc::SyscallOutcome Dispatcher::Dispatch(proc::Task& task, mm::UserMemory memory) {
  memory.tlb().ForgetFault();
  task.park_deadline_nanos = proc::Task::kNoDeadline;
  if (is_watched_ || task.memory_wait || task.syscall_state || task.saved_blocked_signals) [[unlikely]]
    return DispatchWithCare(task, memory);
  const uint64_t slot = std::min<uint64_t>(task.syscall_number, kNumSyscalls);
  shards_[task.worker_number()].calls[slot].Add();
  SyscallContext context(task, memory);
  const proc::SyscallOutcome outcome = kHandlers[slot](context);
  if (outcome.kind() == proc::SyscallOutcome::Kind::kReturned && outcome.value() >= 0 && !task.syscall_state &&
      !task.saved_blocked_signals) [[likely]]
    return outcome;
  return Settle(task, memory, outcome);
}

proc::SyscallOutcome Dispatcher::DispatchWithCare(proc::Task& task, mm::UserMemory memory) {
  const uint64_t slot = std::min<uint64_t>(task.syscall_number, kNumSyscalls);
  Shard& shard = shards_[task.worker_number()];
  // A call that met a page which was still on its way begins anew: only how it is counted and traced tells.
  const bool again = task.memory_wait != nullptr;
  const bool begins = task.syscall_state == nullptr;
  task.memory_wait.reset();
  if (begins) RestoreMask(task);
  if (begins && !again) {
    shard.calls[slot].Add();
    if (tracer_) tracer_->Enter(task, memory);
  }
  SyscallContext context(task, memory);
  const Handler handler = kHandlers[slot];
  return Settle(task, memory, measure_time_ ? Measure(handler, context, &shard.nanos[slot]) : handler(context));
}

proc::SyscallOutcome Dispatcher::Settle(proc::Task& task, mm::UserMemory memory, proc::SyscallOutcome outcome) {
  if (outcome.kind() == proc::SyscallOutcome::Kind::kBlocked) return outcome;
  if (outcome.value() == -EFAULT && memory.tlb().last_fault().kind == mm::FaultKind::kNotReady) [[unlikely]]
    return WaitForPage(task, memory.tlb().last_fault());
  if (outcome.kind() == proc::SyscallOutcome::Kind::kNoReturn) {
    // The task may be dead, and then its state is gone already.
    task.syscall_state.reset();
  } else {
    const bool restarts = IsRestartCode(outcome.value());
    const bool interrupted = restarts || (outcome.value() == -EINTR && task.signal_pending());
    if (!interrupted) RestoreMask(task);
    if (outcome.value() != -proc::kRestartBlock) task.syscall_state.reset();
  }
  if (tracer_) [[unlikely]]
    tracer_->Leave(task, memory, outcome);
  return outcome;
}

void Dispatcher::OnSignalDelivered(proc::Task& task, const proc::SignalInfo& info) {
  if (tracer_) tracer_->SignalDelivered(task, info);
}

void Dispatcher::OnTaskExit(proc::Task& task, int32_t status, bool whole_group) {
  if (tracer_) tracer_->TaskExit(task, status, whole_group);
}

std::vector<Dispatcher::CallCount> Dispatcher::counts() const {
  std::vector<CallCount> counts;
  for (uint64_t number = 0; number <= kNumSyscalls; ++number) {
    CallCount count;
    count.number = number;
    count.absent = kHandlers[number] == &SysAbsent;
    if (number < kNumSyscalls) count.name = RowOf(number).name;
    for (const Shard& shard : shards_) {
      count.calls += shard.calls[number].value();
      count.nanos += shard.nanos[number].value();
    }
    if (count.calls != 0) counts.push_back(count);
  }
  std::sort(counts.begin(), counts.end(), [](const CallCount& a, const CallCount& b) {
    return a.calls != b.calls ? a.calls > b.calls : a.number < b.number;
  });
  return counts;
}

}  // namespace remora::syscalls
