#include "syscalls/tracer.h"

#include <cstdio>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "re2/re2.h"

namespace remora::syscalls {
namespace {

CallFacts FactsOf(const proc::Task& task) {
  CallFacts call;
  call.number = task.syscall_number;
  if (task.syscall_number < kNumSyscalls) call.row = &RowOf(task.syscall_number);
  for (int i = 0; i < static_cast<int>(call.args.size()); ++i) call.args[i] = task.syscall_arg(i);
  return call;
}

// exit and exit_group: their line has to stand before the thread's last one.
bool NeverReturns(const CallFacts& call) {
  constexpr uint64_t kExit = 60, kExitGroup = 231;
  return call.number == kExit || call.number == kExitGroup;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tracer>> Tracer::Create(const std::string& filter,
                                                       std::function<void(std::string_view line)> sink) {
  RE2::Options options;
  options.set_log_errors(false);
  const RE2 regex(filter, options);
  if (!regex.ok())
    return absl::InvalidArgumentError(absl::StrCat("\"", filter, "\" is no regular expression: ", regex.error()));
  std::bitset<kNumSyscalls + 1> traced;
  for (uint32_t number = 0; number < kNumSyscalls; ++number) {
    const std::string_view name = RowOf(number).name;
    traced[number] = RE2::PartialMatch(re2::StringPiece(name.data(), name.size()), regex);
  }
  traced[kNumSyscalls] = filter.empty();
  if (!sink) sink = [](std::string_view line) { std::fwrite(line.data(), 1, line.size(), stderr); };
  return std::unique_ptr<Tracer>(new Tracer(traced, std::move(sink)));
}

Tracer::Tracer(std::bitset<kNumSyscalls + 1> traced, std::function<void(std::string_view line)> sink)
    : traced_(traced), sink_(std::move(sink)) {}

void Tracer::Print(int32_t tid, std::string_view text) {
  bool several = false;
  {
    MutexLock lock(&mu_);
    several = alive_.size() > 1;
  }
  std::string line;
  if (several) line = absl::StrCat("[pid ", tid, "] ");
  line.append(text);
  line.push_back('\n');
  sink_(line);
}

void Tracer::Enter(proc::Task& task, mm::UserMemory memory) {
  const CallFacts call = FactsOf(task);
  {
    MutexLock lock(&mu_);
    alive_.try_emplace(task.tid(), true);
  }
  if (!traced_[std::min<uint64_t>(call.number, kNumSyscalls)]) return;
  FormattedArgs entry = FormatEntry(call, memory);
  if (NeverReturns(call)) {
    Print(task.tid(), FormatCallWithoutResult(call, entry));
    return;
  }
  MutexLock lock(&mu_);
  entered_[task.tid()] = {call, std::move(entry)};
}

void Tracer::Leave(proc::Task& task, mm::UserMemory memory, const proc::SyscallOutcome& outcome) {
  Entered entered;
  {
    MutexLock lock(&mu_);
    const auto found = entered_.find(task.tid());
    if (found == entered_.end()) return;
    entered = std::move(found->second);
    entered_.erase(found);
  }
  // A call that set the registers itself (execve, rt_sigreturn) succeeded.
  const bool returned = outcome.kind() == proc::SyscallOutcome::Kind::kReturned;
  Print(task.tid(), FormatCall(entered.call, memory, entered.args, returned ? outcome.value() : 0));
}

void Tracer::SignalDelivered(proc::Task& task, const proc::SignalInfo& info) { Print(task.tid(), FormatSignal(info)); }

void Tracer::TaskExit(proc::Task& task, int32_t status, bool /*whole_group*/) {
  const int32_t tid = task.tid();
  Print(tid, FormatExit(status));
  MutexLock lock(&mu_);
  entered_.erase(tid);
  alive_.erase(tid);
}

}  // namespace remora::syscalls
