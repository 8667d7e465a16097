// The machine as a whole: uname, limits, sysinfo, usage, random bytes.

#include <algorithm>
#include <array>
#include <cstring>

#include "base/abi/fcntl.h"
#include "base/abi/personality.h"
#include "base/abi/resource.h"
#include "base/abi/uio.h"
#include "base/abi/utsname.h"
#include "base/guest_addr.h"
#include "proc/host_metrics.h"
#include "proc/linux_version.h"
#include "proc/pid_table.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/time_args.h"
#include "syscalls/transfer.h"

namespace remora::syscalls {
namespace {

void SetField(char (&field)[abi::Utsname::kFieldBytes], std::string_view text) {
  std::memcpy(field, text.data(), std::min<size_t>(text.size(), sizeof(field) - 1));
}

// The process named by argument 0, where 0 is the caller's.
ErrnoOr<Ref<proc::ThreadGroup>> GroupArg(SyscallContext& c) {
  const int32_t pid = c.i32(0);
  if (pid == 0 || pid == c.group().pid()) return Ref<proc::ThreadGroup>(&c.group());
  Ref<proc::Task> task = c.kernel().pids().FindTask(pid);
  if (!task) return Errno(ESRCH);
  const auto mine = c.task().credentials(), theirs = task->credentials();
  if (!mine->privileged() && mine->uid != theirs->uid) return Errno(EPERM);
  return Ref<proc::ThreadGroup>(&task->group());
}

ErrnoOr<void> SetLimit(SyscallContext& c, proc::ThreadGroup& group, uint32_t resource, const abi::Rlimit& wanted) {
  if (wanted.rlim_cur > wanted.rlim_max) return Errno(EINVAL);
  constexpr uint64_t kMaxOpenFiles = 1 << 20;  // /proc/sys/fs/nr_open
  if (resource == abi::kRLIMIT_NOFILE && wanted.rlim_max > kMaxOpenFiles) return Errno(EPERM);
  if (wanted.rlim_max > group.limit(static_cast<int>(resource)).hard && !c.task().credentials()->privileged())
    return Errno(EPERM);
  group.set_limit(static_cast<int>(resource), {wanted.rlim_cur, wanted.rlim_max});
  if (resource == abi::kRLIMIT_STACK && &group == &c.group()) c.task().space()->set_stack_limit(wanted.rlim_cur);
  return Ok();
}

abi::Rlimit GetLimit(proc::ThreadGroup& group, uint32_t resource) {
  const proc::ResourceLimit limit = group.limit(static_cast<int>(resource));
  return {limit.soft, limit.hard};
}

}  // namespace

SyscallOutcome SysUname(SyscallContext& c) {
  abi::Utsname out{};
  SetField(out.sysname, "Linux");
  SetField(out.nodename, c.kernel().host_name());
  const uint32_t personality = c.task().personality.load(std::memory_order_relaxed);
  SetField(out.release, (personality & abi::kUNAME26) != 0 ? proc::kLinuxReleaseAs26 : proc::kLinuxRelease);
  SetField(out.version, proc::kLinuxVersion);
  SetField(out.machine, (personality & abi::kPER_MASK) == abi::kPER_LINUX32 ? "i686" : "x86_64");
  SetField(out.domainname, "(none)");
  return c.memory().Write(c.addr(0), out);
}

SyscallOutcome SysSethostname(SyscallContext& c) {
  if (!c.task().credentials()->privileged()) return Errno(EPERM);
  std::array<char, abi::Utsname::kFieldBytes - 1> name;
  if (c.arg(1) > name.size()) return Errno(EINVAL);
  const auto bytes = std::as_writable_bytes(std::span(name)).first(c.arg(1));
  REMORA_RETURN_IF_ERROR(c.memory().CopyIn(bytes, c.addr(0)));
  c.kernel().set_host_name(std::string(name.data(), c.arg(1)));
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysGetrlimit(SyscallContext& c) {
  if (c.u32(0) >= abi::kRLIM_NLIMITS) return Errno(EINVAL);
  return c.memory().Write(c.addr(1), GetLimit(c.group(), c.u32(0)));
}

SyscallOutcome SysSetrlimit(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const auto wanted, c.memory().Read<abi::Rlimit>(c.addr(1)));
  if (c.u32(0) >= abi::kRLIM_NLIMITS) return Errno(EINVAL);
  return SetLimit(c, c.group(), c.u32(0), wanted);
}

SyscallOutcome SysPrlimit64(SyscallContext& c) {
  const uint32_t resource = c.u32(1);
  if (resource >= abi::kRLIM_NLIMITS) return Errno(EINVAL);
  std::optional<abi::Rlimit> wanted;
  if (!c.addr(2).is_null()) {
    REMORA_ASSIGN_OR_RETURN(wanted, c.memory().Read<abi::Rlimit>(c.addr(2)));
  }
  REMORA_ASSIGN_OR_RETURN(const Ref<proc::ThreadGroup> group, GroupArg(c));
  const abi::Rlimit old = GetLimit(*group, resource);
  if (wanted) REMORA_RETURN_IF_ERROR(SetLimit(c, *group, resource, *wanted));
  if (c.addr(3).is_null()) return SyscallOutcome::Return(0);
  return c.memory().Write(c.addr(3), old);
}

SyscallOutcome SysSysinfo(SyscallContext& c) {
  using proc::MemoryRow;
  const proc::MemorySample memory = proc::GuestMemory(c.kernel());
  const proc::LoadSample load = c.kernel().host_metrics().SampleLoad();
  abi::Sysinfo out{};
  out.uptime = c.MonotonicNanos() / kNanosPerSecond;
  constexpr uint64_t kLoadUnit = 1 << 16;  // SI_LOAD_SHIFT
  for (size_t i = 0; i < load.hundredths.size(); ++i) out.loads[i] = load.hundredths[i] * kLoadUnit / 100;
  out.totalram = memory[MemoryRow::kMemTotal];
  out.freeram = memory[MemoryRow::kMemFree];
  out.sharedram = memory[MemoryRow::kShmem];
  out.bufferram = memory[MemoryRow::kBuffers];
  out.totalswap = memory[MemoryRow::kSwapTotal];
  out.freeswap = memory[MemoryRow::kSwapFree];
  out.procs = static_cast<uint16_t>(std::min<uint32_t>(c.kernel().pids().num_groups(), UINT16_MAX));
  out.mem_unit = 1;
  return c.memory().Write(c.addr(0), out);
}

SyscallOutcome SysGetrusage(SyscallContext& c) {
  c.task().ChargeSlice(c.MonotonicNanos());
  proc::ChildUsage usage;
  const int32_t who = c.i32(0);
  switch (who) {
    case abi::kRUSAGE_SELF:
      usage = c.group().usage();
      break;
    case abi::kRUSAGE_CHILDREN:
      usage = c.group().children_usage();
      break;
    case abi::kRUSAGE_THREAD:
      usage = c.task().usage();
      break;
    default:
      return Errno(EINVAL);
  }
  if (who != abi::kRUSAGE_CHILDREN) {
    const mm::AddressSpace& space = *c.task().space();
    usage.minor_faults += space.num_faults();
    usage.max_resident_pages = std::max(usage.max_resident_pages, space.num_resident_pages());
  }
  return c.memory().Write(c.addr(1), ToRusage(usage));
}

// What a read of /dev/urandom does, without the file: random bytes go straight into the guest's pages.
SyscallOutcome SysGetrandom(SyscallContext& c) {
  const uint32_t flags = c.u32(2);
  if ((flags & ~(abi::kGRND_NONBLOCK | abi::kGRND_RANDOM | abi::kGRND_INSECURE)) != 0) return Errno(EINVAL);
  if ((flags & (abi::kGRND_RANDOM | abi::kGRND_INSECURE)) == (abi::kGRND_RANDOM | abi::kGRND_INSECURE))
    return Errno(EINVAL);
  // Linux cuts the length first, and refuses what then reaches beyond user space, be it nothing.
  const uint64_t length = std::min<uint64_t>(c.arg(1), abi::kMAX_RW_COUNT);
  if (!InUserSpace(c.addr(0), length)) return Errno(EFAULT);
  return RunGetrandom(c, c.addr(0), length);
}

}  // namespace remora::syscalls
