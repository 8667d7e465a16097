#include "proc/procfs/process_files.h"

#include <algorithm>
#include <bit>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/abi/resource.h"
#include "base/abi/signal.h"
#include "proc/kernel.h"
#include "proc/procfs/mount_files.h"
#include "proc/signals.h"
#include "proc/thread_group.h"

namespace remora::proc {

namespace {

constexpr uint64_t kNanosPerTick = 10'000'000;  // USER_HZ is 100
// /proc/PID/{cmdline,environ} show at most this: the limit of exec's arguments.
constexpr uint64_t kMaxArgumentBytes = 6 << 20;

ErrnoOr<Ref<mm::AddressSpace>> SpaceOf(const Task& task) {
  Ref<mm::AddressSpace> space = AnyLiveThread(task)->SpaceForOthers();
  if (!space) return Errno(ESRCH);
  return space;
}

ErrnoOr<std::string> ReadGuest(const Task& task, GuestAddr mm::AddressSpace::ProgramInfo::* start,
                               GuestAddr mm::AddressSpace::ProgramInfo::* end) {
  const ErrnoOr<Ref<mm::AddressSpace>> space = SpaceOf(task);
  if (!space.ok()) return std::string();  // a zombie's are empty
  const mm::AddressSpace::ProgramInfo info = (*space)->program_info();
  const uint64_t length = info.*end > info.*start ? info.*end - info.*start : 0;
  std::string text(std::min(length, kMaxArgumentBytes), '\0');
  text.resize((*space)->ReadRemote(info.*start, std::as_writable_bytes(std::span(text))));
  return text;
}

struct StateName {
  char letter;
  const char* name;
};
constexpr StateName kStates[] = {{'R', "running"}, {'S', "sleeping"}, {'T', "stopped"}, {'Z', "zombie"}};

const char* NameOfState(char letter) {
  for (const StateName& state : kStates)
    if (state.letter == letter) return state.name;
  return "running";
}

char StateOf(const Task& task, bool whole_process) {
  if (!whole_process) return task.state_letter();
  return task.group().num_tasks() == 0 ? 'Z' : AnyLiveThread(task)->state_letter();
}

struct SignalSummary {
  SignalSet ignored, caught;
};
SignalSummary ActionsOf(const ThreadGroup& group) {
  SignalSummary summary;
  for (int signal = 1; signal <= kNumSignals; ++signal) {
    const uint64_t handler = group.action(signal).handler;
    if (handler == abi::kSIG_IGN) summary.ignored = summary.ignored.With(signal);
    if (handler > abi::kSIG_IGN) summary.caught = summary.caught.With(signal);
  }
  return summary;
}

ChildUsage UsageOf(const Task& task, bool whole_process) {
  if (whole_process) return task.group().usage();
  return {task.user_nanos.load(std::memory_order_relaxed), task.system_nanos.load(std::memory_order_relaxed)};
}

struct MemoryPages {
  uint64_t mapped = 0, resident = 0, text = 0, data = 0, stack = 0, shared = 0;
};
MemoryPages MemoryOf(const Task& task) {
  MemoryPages pages;
  const ErrnoOr<Ref<mm::AddressSpace>> space = SpaceOf(task);
  if (!space.ok()) return pages;
  pages.mapped = (*space)->num_mapped_pages();
  pages.resident = (*space)->num_resident_pages();
  (*space)->ForEachMapping([&](const mm::MappingInfo& mapping) {
    const uint64_t n = mapping.range.num_pages();
    if (mapping.name == "[stack]") pages.stack += n;
    if (mapping.protection.executable() && !mapping.protection.writable()) pages.text += n;
    if (mapping.protection.writable() && !mapping.shared) pages.data += n;
  });
  return pages;
}

struct LimitRow {
  int resource;
  const char* name;
  const char* unit;
};
constexpr LimitRow kLimitRows[] = {
    {abi::kRLIMIT_CPU, "Max cpu time", "seconds"},         {abi::kRLIMIT_FSIZE, "Max file size", "bytes"},
    {abi::kRLIMIT_DATA, "Max data size", "bytes"},         {abi::kRLIMIT_STACK, "Max stack size", "bytes"},
    {abi::kRLIMIT_CORE, "Max core file size", "bytes"},    {abi::kRLIMIT_RSS, "Max resident set", "bytes"},
    {abi::kRLIMIT_NPROC, "Max processes", "processes"},    {abi::kRLIMIT_NOFILE, "Max open files", "files"},
    {abi::kRLIMIT_MEMLOCK, "Max locked memory", "bytes"},  {abi::kRLIMIT_AS, "Max address space", "bytes"},
    {abi::kRLIMIT_LOCKS, "Max file locks", "locks"},       {abi::kRLIMIT_SIGPENDING, "Max pending signals", "signals"},
    {abi::kRLIMIT_MSGQUEUE, "Max msgqueue size", "bytes"}, {abi::kRLIMIT_NICE, "Max nice priority", ""},
    {abi::kRLIMIT_RTPRIO, "Max realtime priority", ""},    {abi::kRLIMIT_RTTIME, "Max realtime timeout", "us"},
};

std::string LimitText(uint64_t value) { return value == abi::kRLIM_INFINITY ? "unlimited" : absl::StrCat(value); }

}  // namespace

Ref<Task> AnyLiveThread(const Task& task) {
  if (task.dead())
    for (Ref<Task>& other : task.group().Tasks()) return std::move(other);
  return Ref<Task>(const_cast<Task*>(&task));
}

ErrnoOr<std::string> AuxvText(Task& task, bool) {
  const ErrnoOr<Ref<mm::AddressSpace>> space = SpaceOf(task);
  if (!space.ok()) return std::string();
  const std::vector<uint64_t> auxv = (*space)->program_info().auxv;
  return std::string(reinterpret_cast<const char*>(auxv.data()), auxv.size() * sizeof(uint64_t));
}

ErrnoOr<std::string> CmdlineText(Task& task, bool) {
  using Info = mm::AddressSpace::ProgramInfo;
  return ReadGuest(task, &Info::arg_start, &Info::arg_end);
}

ErrnoOr<std::string> EnvironText(Task& task, bool) {
  using Info = mm::AddressSpace::ProgramInfo;
  return ReadGuest(task, &Info::env_start, &Info::env_end);
}

ErrnoOr<std::string> CommText(Task& task, bool) { return absl::StrCat(task.name(), "\n"); }

ErrnoOr<std::string> PersonalityText(Task& task, bool) {
  return absl::StrFormat("%08x\n", task.personality.load(std::memory_order_relaxed));
}

ErrnoOr<void> WriteComm(Task& task, std::string_view text) {
  task.set_name(text.substr(0, text.find('\n')));
  return Ok();
}

ErrnoOr<std::string> LimitsText(Task& task, bool) {
  std::string out = absl::StrFormat("%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
  for (const LimitRow& row : kLimitRows) {
    const ResourceLimit limit = task.group().limit(row.resource);
    absl::StrAppendFormat(&out, "%-25s %-20s %-20s %-10s\n", row.name, LimitText(limit.soft), LimitText(limit.hard),
                          row.unit);
  }
  return out;
}

ErrnoOr<std::string> MapsText(Task& task, bool) {
  const ErrnoOr<Ref<mm::AddressSpace>> space = SpaceOf(task);
  if (!space.ok()) return std::string();
  constexpr size_t kNameColumn = 73;
  std::string out;
  (*space)->ForEachMapping([&](const mm::MappingInfo& mapping) {
    mm::Mappable::Description description;
    if (mapping.object) description = mapping.object->Describe();
    const uint8_t p = mapping.protection.bits();
    std::string line =
        absl::StrFormat("%08x-%08x %c%c%c%c %08x %02x:%02x %u ", mapping.range.start_addr().value(),
                        mapping.range.end_addr().value(), p & 1 ? 'r' : '-', p & 2 ? 'w' : '-', p & 4 ? 'x' : '-',
                        mapping.shared ? 's' : 'p', mapping.object ? mapping.offset_bytes : 0, description.device_major,
                        description.device_minor, description.inode);
    const std::string& name = mapping.name.empty() ? description.path : mapping.name;
    if (!name.empty()) {
      if (line.size() < kNameColumn) line.resize(kNameColumn, ' ');
      line += name;
    }
    absl::StrAppend(&out, line, "\n");
  });
  return out;
}

ErrnoOr<std::string> MountsText(Task& task, bool) {
  const Ref<FsContext> context = AnyLiveThread(task)->FsContextForOthers();
  if (!context) return Errno(EINVAL);
  return MountsTable(task.kernel(), context->root());
}

ErrnoOr<std::string> MountInfoText(Task& task, bool) {
  const Ref<FsContext> context = AnyLiveThread(task)->FsContextForOthers();
  if (!context) return Errno(EINVAL);
  return MountInfoTable(task.kernel(), context->root());
}

ErrnoOr<std::string> StatmText(Task& task, bool) {
  const MemoryPages pages = MemoryOf(task);
  return absl::StrFormat("%u %u %u %u 0 %u 0\n", pages.mapped, pages.resident, pages.shared, pages.text, pages.data);
}

ErrnoOr<std::string> StatText(Task& task, bool whole_process) {
  const ThreadGroup& group = task.group();
  const ChildUsage usage = UsageOf(task, whole_process);
  const ChildUsage children = group.children_usage();
  const MemoryPages pages = MemoryOf(task);
  const SignalSummary actions = ActionsOf(group);
  mm::AddressSpace::ProgramInfo info;
  if (const ErrnoOr<Ref<mm::AddressSpace>> space = SpaceOf(task); space.ok()) info = (*space)->program_info();
  // As new_encode_dev: the minor's upper bits stand behind the major.
  int32_t terminal_device = 0, foreground = -1;
  if (const Ref<fs::Terminal> terminal = task.kernel().terminals().Find(group.session())) {
    const uint32_t minor = terminal->device_minor();
    terminal_device = static_cast<int32_t>((minor & 0xff) | terminal->device_major() << 8 | (minor & ~0xffu) << 12);
    foreground = terminal->foreground_group();
  }
  const int32_t nice = task.nice.load(std::memory_order_relaxed);
  const int64_t start = group.start_time_nanos();  // since the host's boot, as /proc/uptime
  std::string out = absl::StrFormat(
      "%d (%s) %c %d %d %d %d %d 4194304 0 0 0 0 %u %u %u %u %d %d %u 0 %u %u %u %u", task.tid(), task.name(),
      StateOf(task, whole_process), group.parent_pid(), group.process_group(), group.session(), terminal_device,
      foreground, usage.user_nanos / kNanosPerTick, usage.system_nanos / kNanosPerTick,
      children.user_nanos / kNanosPerTick, children.system_nanos / kNanosPerTick, 20 + nice, nice,
      std::max(group.num_tasks(), 1u), static_cast<uint64_t>(std::max<int64_t>(start, 0)) / kNanosPerTick,
      pages.mapped * kPageSize, pages.resident, group.limit(abi::kRLIMIT_RSS).soft);
  absl::StrAppendFormat(&out, " %u %u %u 0 0 %u %u %u %u 0 0 0 17 0 0 0 0 0 0 %u %u %u %u %u %u %u 0\n",
                        info.start_code.value(), info.end_code.value(), info.start_stack.value(),
                        PendingSignals(task).bits() & 0x7fffffff, task.blocked_signals().bits() & 0x7fffffff,
                        actions.ignored.bits() & 0x7fffffff, actions.caught.bits() & 0x7fffffff,
                        info.start_data.value(), info.end_data.value(), info.start_brk.value(), info.arg_start.value(),
                        info.arg_end.value(), info.env_start.value(), info.env_end.value());
  return out;
}

ErrnoOr<std::string> StatusText(Task& task, bool whole_process) {
  const ThreadGroup& group = task.group();
  const std::shared_ptr<const Credentials> c = task.credentials();
  const Ref<Task> live = AnyLiveThread(task);
  const char state = StateOf(task, whole_process);
  std::string out = absl::StrFormat("Name:\t%s\n", task.name());
  if (const Ref<FsContext> context = live->FsContextForOthers())
    absl::StrAppendFormat(&out, "Umask:\t%04o\n", context->umask());
  absl::StrAppendFormat(&out, "State:\t%c (%s)\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", state,
                        NameOfState(state), group.pid(), task.tid(), group.parent_pid());
  if (c) {
    absl::StrAppendFormat(&out, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", c->uid, c->euid, c->suid, c->fsuid,
                          c->gid, c->egid, c->sgid, c->fsgid);
  }
  if (const Ref<fs::FdTable> fds = live->FdsForOthers())
    absl::StrAppendFormat(&out, "FDSize:\t%u\n", std::bit_ceil(std::max(fds->num_open(), 64u)));
  absl::StrAppend(&out, "Groups:\t");
  if (c)
    for (uint32_t g : c->groups) absl::StrAppend(&out, g, " ");
  absl::StrAppendFormat(&out, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", group.pid(), task.tid(),
                        group.process_group(), group.session());
  if (live->SpaceForOthers()) {
    const MemoryPages pages = MemoryOf(task);
    constexpr uint64_t kKib = kPageSize / 1024;
    absl::StrAppendFormat(&out, "VmSize:\t%8u kB\nVmRSS:\t%8u kB\nVmData:\t%8u kB\nVmStk:\t%8u kB\nVmExe:\t%8u kB\n",
                          pages.mapped * kKib, pages.resident * kKib, pages.data * kKib, pages.stack * kKib,
                          pages.text * kKib);
  }
  const SignalSummary actions = ActionsOf(group);
  absl::StrAppendFormat(&out, "Threads:\t%u\n", group.num_tasks());
  absl::StrAppendFormat(&out, "SigPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
                        PendingSignals(task).bits(), task.blocked_signals().bits(), actions.ignored.bits(),
                        actions.caught.bits());
  const uint32_t num_cpus = task.kernel().options().num_workers;
  absl::StrAppendFormat(&out, "Cpus_allowed:\t%x\nCpus_allowed_list:\t0%s\n",
                        num_cpus >= 64 ? ~uint64_t{0} : (uint64_t{1} << num_cpus) - 1,
                        num_cpus > 1 ? absl::StrCat("-", num_cpus - 1) : "");
  absl::StrAppendFormat(&out, "voluntary_ctxt_switches:\t%u\nnonvoluntary_ctxt_switches:\t%u\n",
                        task.voluntary_switches.load(std::memory_order_relaxed),
                        task.involuntary_switches.load(std::memory_order_relaxed));
  return out;
}

}  // namespace remora::proc
