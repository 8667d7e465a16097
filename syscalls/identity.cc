// User and group ids. Credentials are immutable values: a change makes a new one. They belong to the thread; glibc
// changes those of all threads of a process itself.

#include <algorithm>
#include <array>
#include <memory>

#include "base/abi/prctl.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

constexpr uint32_t kKeep = ~0u;  // -1: leave this one as it is
constexpr uint32_t kMaxGroups = 65536;

// Has `who` the right to set this id: CAP_SETUID or CAP_SETGID, or it has it already in one of the three?
bool MaySet(bool privileged, uint32_t id, uint32_t a, uint32_t b, uint32_t c) {
  return privileged || id == kKeep || id == a || id == b || id == c;
}

SyscallOutcome Install(SyscallContext& c, proc::Credentials credentials) {
  c.task().set_credentials(std::make_shared<const proc::Credentials>(std::move(credentials)));
  return SyscallOutcome::Return(0);
}

}  // namespace

SyscallOutcome SysGetuid(SyscallContext& c) { return SyscallOutcome::Return(c.task().credentials()->uid); }
SyscallOutcome SysGeteuid(SyscallContext& c) { return SyscallOutcome::Return(c.task().credentials()->euid); }
SyscallOutcome SysGetgid(SyscallContext& c) { return SyscallOutcome::Return(c.task().credentials()->gid); }
SyscallOutcome SysGetegid(SyscallContext& c) { return SyscallOutcome::Return(c.task().credentials()->egid); }

SyscallOutcome SysGetresuid(SyscallContext& c) {
  const auto who = c.task().credentials();
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(0), who->uid));
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(1), who->euid));
  return c.memory().Write(c.addr(2), who->suid);
}
SyscallOutcome SysGetresgid(SyscallContext& c) {
  const auto who = c.task().credentials();
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(0), who->gid));
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(1), who->egid));
  return c.memory().Write(c.addr(2), who->sgid);
}

SyscallOutcome SysSetuid(SyscallContext& c) {
  const uint32_t id = c.u32(0);
  if (id == kKeep) return Errno(EINVAL);
  proc::Credentials who = *c.task().credentials();
  if (who.privileged())
    who.uid = who.suid = id;
  else if (id != who.uid && id != who.suid)
    return Errno(EPERM);
  who.euid = who.fsuid = id;
  return Install(c, std::move(who));
}
SyscallOutcome SysSetgid(SyscallContext& c) {
  const uint32_t id = c.u32(0);
  if (id == kKeep) return Errno(EINVAL);
  proc::Credentials who = *c.task().credentials();
  if (who.privileged())
    who.gid = who.sgid = id;
  else if (id != who.gid && id != who.sgid)
    return Errno(EPERM);
  who.egid = who.fsgid = id;
  return Install(c, std::move(who));
}

SyscallOutcome SysSetreuid(SyscallContext& c) {
  const uint32_t real = c.u32(0), effective = c.u32(1);
  const auto old = c.task().credentials();
  proc::Credentials who = *old;
  const bool privileged = old->privileged();
  // The real id may not become the saved one, the effective may.
  if (!MaySet(privileged, real, old->uid, old->euid, old->uid)) return Errno(EPERM);
  if (!MaySet(privileged, effective, old->uid, old->euid, old->suid)) return Errno(EPERM);
  if (real != kKeep) who.uid = real;
  if (effective != kKeep) who.euid = effective;
  if (real != kKeep || (effective != kKeep && effective != old->uid)) who.suid = who.euid;
  who.fsuid = who.euid;
  return Install(c, std::move(who));
}
SyscallOutcome SysSetregid(SyscallContext& c) {
  const uint32_t real = c.u32(0), effective = c.u32(1);
  const auto old = c.task().credentials();
  proc::Credentials who = *old;
  const bool privileged = old->privileged();
  if (!MaySet(privileged, real, old->gid, old->egid, old->gid)) return Errno(EPERM);
  if (!MaySet(privileged, effective, old->gid, old->egid, old->sgid)) return Errno(EPERM);
  if (real != kKeep) who.gid = real;
  if (effective != kKeep) who.egid = effective;
  if (real != kKeep || (effective != kKeep && effective != old->gid)) who.sgid = who.egid;
  who.fsgid = who.egid;
  return Install(c, std::move(who));
}

SyscallOutcome SysSetresuid(SyscallContext& c) {
  const auto old = c.task().credentials();
  proc::Credentials who = *old;
  for (int i = 0; i < 3; ++i)
    if (!MaySet(old->privileged(), c.u32(i), old->uid, old->euid, old->suid)) return Errno(EPERM);
  if (c.u32(0) != kKeep) who.uid = c.u32(0);
  if (c.u32(1) != kKeep) who.euid = c.u32(1);
  if (c.u32(2) != kKeep) who.suid = c.u32(2);
  who.fsuid = who.euid;
  return Install(c, std::move(who));
}
SyscallOutcome SysSetresgid(SyscallContext& c) {
  const auto old = c.task().credentials();
  proc::Credentials who = *old;
  for (int i = 0; i < 3; ++i)
    if (!MaySet(old->privileged(), c.u32(i), old->gid, old->egid, old->sgid)) return Errno(EPERM);
  if (c.u32(0) != kKeep) who.gid = c.u32(0);
  if (c.u32(1) != kKeep) who.egid = c.u32(1);
  if (c.u32(2) != kKeep) who.sgid = c.u32(2);
  who.fsgid = who.egid;
  return Install(c, std::move(who));
}

// setfsuid and setfsgid answer the old id, whatever came of it.
SyscallOutcome SysSetfsuid(SyscallContext& c) {
  const auto old = c.task().credentials();
  const uint32_t id = c.u32(0);
  if (id != kKeep && (MaySet(old->privileged(), id, old->uid, old->euid, old->suid) || id == old->fsuid)) {
    proc::Credentials who = *old;
    who.fsuid = id;
    (void)Install(c, std::move(who));
  }
  return SyscallOutcome::Return(old->fsuid);
}
SyscallOutcome SysSetfsgid(SyscallContext& c) {
  const auto old = c.task().credentials();
  const uint32_t id = c.u32(0);
  if (id != kKeep && (MaySet(old->privileged(), id, old->gid, old->egid, old->sgid) || id == old->fsgid)) {
    proc::Credentials who = *old;
    who.fsgid = id;
    (void)Install(c, std::move(who));
  }
  return SyscallOutcome::Return(old->fsgid);
}

SyscallOutcome SysGetgroups(SyscallContext& c) {
  const auto who = c.task().credentials();
  const int32_t size = c.i32(0);
  if (size < 0) return Errno(EINVAL);
  const auto n = static_cast<int32_t>(who->groups.size());
  if (size == 0) return SyscallOutcome::Return(n);
  if (size < n) return Errno(EINVAL);
  REMORA_RETURN_IF_ERROR(c.memory().CopyOut(c.addr(1), std::as_bytes(std::span(who->groups))));
  return SyscallOutcome::Return(n);
}

SyscallOutcome SysSetgroups(SyscallContext& c) {
  const uint32_t n = c.u32(0);
  if (!c.task().credentials()->privileged()) return Errno(EPERM);
  if (n > kMaxGroups) return Errno(EINVAL);
  proc::Credentials who = *c.task().credentials();
  who.groups.clear();
  for (uint32_t i = 0; i < n; ++i) {
    REMORA_ASSIGN_OR_RETURN(const uint32_t group, c.memory().Read<uint32_t>(c.addr(1) + i * sizeof(uint32_t)));
    who.groups.push_back(group);
  }
  return Install(c, std::move(who));
}

SyscallOutcome SysCapget(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const auto header, c.memory().Read<abi::CapUserHeader>(c.addr(0)));
  const bool version1 = header.version == abi::k_LINUX_CAPABILITY_VERSION_1;
  if (!version1 && header.version != abi::k_LINUX_CAPABILITY_VERSION_2 &&
      header.version != abi::k_LINUX_CAPABILITY_VERSION_3) {
    REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(0), uint32_t{abi::k_LINUX_CAPABILITY_VERSION_3}));
    return c.addr(1).is_null() ? SyscallOutcome::Return(0) : SyscallOutcome(Errno(EINVAL));
  }
  if (c.addr(1).is_null()) return SyscallOutcome::Return(0);
  constexpr uint64_t kAll = (uint64_t{1} << 41) - 1;
  const uint64_t have = c.task().credentials()->privileged() ? kAll : 0;
  const auto low = static_cast<uint32_t>(have), high = static_cast<uint32_t>(have >> 32);
  const std::array<abi::CapUserData, 2> data{{{low, low, 0}, {high, high, 0}}};
  return c.memory().CopyOut(c.addr(1), std::as_bytes(std::span(data)).first((version1 ? 1 : 2) * sizeof(data[0])));
}

SyscallOutcome SysCapset(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const auto header, c.memory().Read<abi::CapUserHeader>(c.addr(0)));
  if (header.version != abi::k_LINUX_CAPABILITY_VERSION_1 && header.version != abi::k_LINUX_CAPABILITY_VERSION_2 &&
      header.version != abi::k_LINUX_CAPABILITY_VERSION_3)
    return Errno(EINVAL);
  if (c.task().credentials()->privileged()) return SyscallOutcome::Return(0);
  REMORA_ASSIGN_OR_RETURN(const auto data, c.memory().Read<abi::CapUserData>(c.addr(1)));
  return (data.effective | data.permitted) == 0 ? SyscallOutcome::Return(0) : SyscallOutcome(Errno(EPERM));
}

}  // namespace remora::syscalls
