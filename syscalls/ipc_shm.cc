// System V shared memory.

#include <algorithm>

#include "base/abi/ipc.h"
#include "base/abi/personality.h"
#include "mm/address_space.h"
#include "proc/ipc/ipc_namespace.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/ipc_args.h"

namespace remora::syscalls {
namespace {

using proc::SharedSegment;

constexpr uint64_t kMaxSegmentBytes = uint64_t{1} << 46;

abi::ShmidDs ToShmidDs(const SharedSegment& segment) {
  const SharedSegment::Facts facts = segment.facts();
  abi::ShmidDs out{};
  out.shm_perm = ToIpcPerm(facts.permissions, segment.id());
  out.shm_perm.mode |= (facts.removed ? abi::kSHM_DEST : 0) | (facts.locked ? abi::kSHM_LOCKED : 0);
  out.shm_segsz = segment.size_bytes();
  out.shm_atim = facts.attached_seconds;
  out.shm_dtim = facts.detached_seconds;
  out.shm_ctim = facts.changed_seconds;
  out.shm_cpid = facts.creator_pid;
  out.shm_lpid = facts.last_pid;
  out.shm_nattch = segment.num_attached();
  return out;
}

SyscallOutcome Information(SyscallContext& c) {
  const auto& segments = c.kernel().ipc().segments;
  abi::ShmInfo64 out{};
  out.shmmax = kMaxSegmentBytes;
  out.shmmin = 1;
  out.shmmni = out.shmseg = proc::IpcNamespace::kMaxSegments;
  out.shmall = kMaxSegmentBytes / kPageSize;
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(2), out));
  return SyscallOutcome::Return(std::max(segments.max_slot(), 0));
}

SyscallOutcome Usage(SyscallContext& c) {
  const auto& segments = c.kernel().ipc().segments;
  abi::ShmUsage out{};
  out.used_ids = static_cast<int32_t>(segments.num_objects());
  for (int32_t slot = segments.max_slot(); slot >= 0; --slot)
    if (const Ref<SharedSegment> segment = segments.At(slot)) out.shm_tot += PageRoundUp(segment->size_bytes()) >> 12;
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(2), out));
  return SyscallOutcome::Return(std::max(segments.max_slot(), 0));
}

SyscallOutcome Status(SyscallContext& c, int32_t command) {
  const auto& segments = c.kernel().ipc().segments;
  const bool by_slot = command != abi::kIPC_STAT;
  const Ref<SharedSegment> segment = by_slot ? segments.At(c.i32(0)) : segments.Find(c.i32(0));
  if (!segment) return Errno(EINVAL);
  if (command != abi::kSHM_STAT_ANY && !segment->facts().permissions.Allows(*c.task().credentials(), 0444))
    return Errno(EACCES);
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(2), ToShmidDs(*segment)));
  return SyscallOutcome::Return(by_slot ? segment->id() : 0);
}

}  // namespace

SyscallOutcome SysShmget(SyscallContext& c) {
  const uint64_t size = c.arg(1);
  const uint32_t flags = c.u32(2);
  const int32_t key = c.i32(0);
  auto& segments = c.kernel().ipc().segments;
  if ((flags & abi::kSHM_HUGETLB) != 0) return Errno(EINVAL);  // there are no huge pages
  return GetByKey(
      c, segments, key, flags,
      [&](const SharedSegment& there) -> ErrnoOr<void> {
        if (size > there.size_bytes()) return Errno(EINVAL);
        return Ok();
      },
      [&]() -> ErrnoOr<Ref<SharedSegment>> {
        if (size == 0 || size > kMaxSegmentBytes) return Errno(EINVAL);
        return MakeRef<SharedSegment>(&segments, &c.kernel().memory(), size, NewPermissions(c, key, flags),
                                      c.group().pid(), NowSeconds(c));
      });
}

SyscallOutcome SysShmat(SyscallContext& c) {
  const uint32_t flags = c.u32(2);
  const Ref<SharedSegment> segment = c.kernel().ipc().segments.Find(c.i32(0));
  if (!segment) return Errno(EINVAL);
  uint64_t address = c.arg(1);
  mm::MapRequest request;
  if (address != 0) {
    if ((address & kPageMask) != 0) {
      if ((flags & abi::kSHM_RND) == 0) return Errno(EINVAL);
      address = PageRoundDown(address);
      if (address == 0 && (flags & abi::kSHM_REMAP) != 0) return Errno(EINVAL);
    }
    request.placement =
        (flags & abi::kSHM_REMAP) != 0 ? mm::MapRequest::Placement::kFixed : mm::MapRequest::Placement::kFixedNoReplace;
  } else if ((flags & abi::kSHM_REMAP) != 0) {
    return Errno(EINVAL);
  }
  const bool read_only = (flags & abi::kSHM_RDONLY) != 0, executable = (flags & abi::kSHM_EXEC) != 0;
  const bool may_execute = executable || c.task().HasPersonality(abi::kREAD_IMPLIES_EXEC);
  const uint32_t wanted = (read_only ? 0444 : 0666) | (executable ? 0111 : 0);
  if (!segment->facts().permissions.Allows(*c.task().credentials(), wanted)) return Errno(EACCES);
  using mm::Protection;
  request.address = GuestAddr(address);
  request.length_bytes = segment->size_bytes();
  request.protection = Protection(static_cast<uint8_t>(Protection::kRead | (read_only ? 0 : Protection::kWrite) |
                                                       (may_execute ? Protection::kExec : 0)));
  if (read_only) request.max_protection = Protection(Protection::kRead | Protection::kExec);
  request.shared = true;
  request.object = segment;
  const auto start = c.task().space()->Map(std::move(request));
  // Something is there already.
  if (!start.ok()) return Errno(start.error_number() == EEXIST ? EINVAL : start.error_number());
  segment->Change([&](SharedSegment::Facts& facts) {
    facts.attached_seconds = NowSeconds(c);
    facts.last_pid = c.group().pid();
  });
  return SyscallOutcome::Return(static_cast<int64_t>(start->value()));
}

SyscallOutcome SysShmdt(SyscallContext& c) {
  if (!c.addr(0).page_aligned()) return Errno(EINVAL);
  mm::AddressSpace& space = *c.task().space();
  // The first mapping of a segment that an attachment here would have made; the others of it follow.
  Ref<SharedSegment> segment;
  std::vector<PageRange> parts;
  space.ForEachMapping([&](const mm::MappingInfo& mapping) {
    auto* found = dynamic_cast<SharedSegment*>(mapping.object.get());
    if (found == nullptr || GuestAddr(mapping.range.first) < c.addr(0)) return;
    if (GuestAddr(mapping.range.first) - c.addr(0) != mapping.offset_bytes) return;
    if (segment && segment.get() != found) return;
    segment = Ref<SharedSegment>(found);
    parts.push_back(mapping.range);
  });
  if (!segment) return Errno(EINVAL);
  for (const PageRange& part : parts)
    REMORA_RETURN_IF_ERROR(space.Unmap(GuestAddr(part.first), (part.end - part.first) * kPageSize));
  segment->Change([&](SharedSegment::Facts& facts) {
    facts.detached_seconds = NowSeconds(c);
    facts.last_pid = c.group().pid();
  });
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysShmctl(SyscallContext& c) {
  const int32_t id = c.i32(0), command = c.i32(1);
  if (id < 0 || command < 0) return Errno(EINVAL);
  switch (command) {
    case abi::kIPC_INFO:
      return Information(c);
    case abi::kSHM_INFO:
      return Usage(c);
    case abi::kIPC_STAT:
    case abi::kSHM_STAT:
    case abi::kSHM_STAT_ANY:
      return Status(c, command);
    default:
      break;
  }
  auto& segments = c.kernel().ipc().segments;
  const auto credentials = c.task().credentials();
  abi::ShmidDs in{};
  if (command == abi::kIPC_SET) {
    REMORA_ASSIGN_OR_RETURN(in, c.memory().Read<abi::ShmidDs>(c.addr(2)));
  }
  const Ref<SharedSegment> segment = segments.Find(id);
  if (!segment) return Errno(EINVAL);
  const bool owns = segment->facts().permissions.Owns(*credentials);
  switch (command) {
    case abi::kIPC_SET:
      if (!owns) return Errno(EPERM);
      segment->Change([&](SharedSegment::Facts& facts) {
        facts.permissions.uid = in.shm_perm.uid;
        facts.permissions.gid = in.shm_perm.gid;
        facts.permissions.mode = in.shm_perm.mode & 0777;
        facts.changed_seconds = NowSeconds(c);
      });
      return SyscallOutcome::Return(0);
    case abi::kIPC_RMID:
      if (!owns) return Errno(EPERM);
      segment->Change([](SharedSegment::Facts& facts) {
        facts.removed = true;
        facts.permissions.key = abi::kIPC_PRIVATE;
      });
      segments.Weaken(id);
      return SyscallOutcome::Return(0);
    case abi::kSHM_LOCK:
    case abi::kSHM_UNLOCK:
      if (!owns) return Errno(EPERM);
      segment->Change([&](SharedSegment::Facts& facts) { facts.locked = command == abi::kSHM_LOCK; });
      return SyscallOutcome::Return(0);
    default:
      return Errno(EINVAL);
  }
}

}  // namespace remora::syscalls
