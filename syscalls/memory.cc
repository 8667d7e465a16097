// mmap and its kin: argument checks in front of mm::AddressSpace.

#include <algorithm>
#include <array>
#include <cstring>

#include "base/abi/elf.h"
#include "base/abi/fcntl.h"
#include "base/abi/mman.h"
#include "base/abi/personality.h"
#include "mm/address_space.h"
#include "mm/mappable.h"
#include "mm/memory_context.h"
#include "mm/page_cache.h"
#include "mm/retired_frames.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

constexpr uint32_t kProtBits = abi::kPROT_READ | abi::kPROT_WRITE | abi::kPROT_EXEC;

mm::AddressSpace& Space(SyscallContext& c) { return *c.task().space(); }

// The range [start, start + length) in whole pages: EINVAL if start is unaligned, ENOMEM if it leaves user space.
ErrnoOr<PageRange> RangeArgs(SyscallContext& c) {
  if (!c.addr(0).page_aligned()) return Errno(EINVAL);
  const auto range = PageRange::ForUser(c.addr(0), c.arg(1));
  if (!range) return Errno(ENOMEM);
  return *range;
}

// With READ_IMPLIES_EXEC who may read may execute.
mm::Protection ProtectionOf(SyscallContext& c, uint32_t prot) {
  if ((prot & abi::kPROT_READ) != 0 && c.task().HasPersonality(abi::kREAD_IMPLIES_EXEC)) prot |= abi::kPROT_EXEC;
  return mm::Protection(static_cast<uint8_t>(prot & kProtBits));
}

// Whether the file begins as a program does, which nobody changes while it is mapped. Not where that takes waiting.
bool IsProgram(SyscallContext& c, mm::Mappable& file) {
  const mm::MemoryContext& memory = c.kernel().memory();
  const ErrnoOr<mm::FrameId> first = file.GetFrame(0, /*for_write=*/false);
  if (!first.ok()) return false;
  mm::RetiredFrames retired(memory.frames, memory.reclaimer);
  retired.Add(*first);
  return std::memcmp(memory.frames->Data(*first), abi::kElfMagic, sizeof(abi::kElfMagic)) == 0;
}

// mlock rounds its start down instead.
SyscallOutcome CheckLockRange(SyscallContext& c) {
  const GuestAddr start(PageRoundDown(c.arg(0)));
  const uint64_t length = c.arg(1) + c.addr(0).page_offset();
  if (length < c.arg(1)) return Errno(EINVAL);
  if (length == 0) return SyscallOutcome::Return(0);
  return Space(c).CheckMapped(start, length);
}

ErrnoOr<void> CheckFileMapping(fs::File& file, mm::MapRequest& request) {
  if (!file.readable()) return Errno(EACCES);
  if (request.shared && !file.writable()) {
    if (request.protection.writable()) return Errno(EACCES);
    request.max_protection = mm::Protection(mm::Protection::kRead | mm::Protection::kExec);
  }
  if (request.shared) {
    // An object of memfd_create that is sealed against writing.
    const auto seals = file.Seals();
    if (seals.ok() && (*seals & (abi::kF_SEAL_WRITE | abi::kF_SEAL_FUTURE_WRITE)) != 0) {
      if (request.protection.writable()) return Errno(EPERM);
      request.max_protection = mm::Protection(mm::Protection::kRead | mm::Protection::kExec);
    }
  }
  return Ok();
}

}  // namespace

SyscallOutcome SysMmap(SyscallContext& c) {
  const uint32_t prot = c.u32(2), flags = c.u32(3);
  const uint64_t length = c.arg(1), offset = c.arg(5);
  if ((offset & kPageMask) != 0) return Errno(EINVAL);
  mm::MapRequest request;
  switch (flags & abi::kMAP_TYPE) {
    case abi::kMAP_SHARED:
      request.shared = true;
      break;
    case abi::kMAP_SHARED_VALIDATE:
      if ((flags & abi::kMAP_SYNC) != 0) return Errno(EOPNOTSUPP);
      request.shared = true;
      break;
    case abi::kMAP_PRIVATE:
      break;
    default:
      return Errno(EINVAL);
  }
  Ref<fs::File> file;
  if ((flags & abi::kMAP_ANONYMOUS) == 0) {
    REMORA_ASSIGN_OR_RETURN(file, c.FileArg(4));
  }
  if (length == 0) return Errno(EINVAL);
  if (length > kUserAddressEnd) return Errno(ENOMEM);
  if (file && offset + length < offset) return Errno(EOVERFLOW);
  if ((flags & abi::kMAP_HUGETLB) != 0) return Errno(file ? EINVAL : ENOMEM);  // none are set aside
  request.address = c.addr(0);
  request.length_bytes = length;
  request.protection = ProtectionOf(c, prot);
  if ((flags & abi::kMAP_FIXED_NOREPLACE) != 0)
    request.placement = mm::MapRequest::Placement::kFixedNoReplace;
  else if ((flags & abi::kMAP_FIXED) != 0)
    request.placement = mm::MapRequest::Placement::kFixed;
  request.below_2g = (flags & abi::kMAP_32BIT) != 0;
  request.grows_down = (flags & abi::kMAP_GROWSDOWN) != 0;
  request.populate = (flags & abi::kMAP_POPULATE) != 0 && (flags & abi::kMAP_NONBLOCK) == 0;
  if (file) {
    if (request.grows_down) return Errno(EINVAL);
    REMORA_RETURN_IF_ERROR(CheckFileMapping(*file, request));
    REMORA_ASSIGN_OR_RETURN(request.object, file->Mappable());
    request.offset_bytes = offset;
    request.deny_write = (flags & abi::kMAP_DENYWRITE) != 0 && IsProgram(c, *request.object);
  } else if (request.shared) {
    if (request.grows_down) return Errno(EINVAL);
    request.object = mm::CreateSharedAnonymous(&c.kernel().memory(), PageRoundUp(length));
  }
  REMORA_ASSIGN_OR_RETURN(const GuestAddr start, Space(c).Map(std::move(request)));
  return SyscallOutcome::Return(static_cast<int64_t>(start.value()));
}

SyscallOutcome SysMunmap(SyscallContext& c) { return Space(c).Unmap(c.addr(0), c.arg(1)); }

SyscallOutcome SysMprotect(SyscallContext& c) {
  constexpr uint32_t kGrows = abi::kPROT_GROWSDOWN | abi::kPROT_GROWSUP;
  const uint32_t grows = c.u32(2) & kGrows, prot = c.u32(2) & ~kGrows;
  if (grows == kGrows || !c.addr(0).page_aligned()) return Errno(EINVAL);
  if (c.arg(1) == 0) return SyscallOutcome::Return(0);
  REMORA_ASSIGN_OR_RETURN(const PageRange range, RangeArgs(c));
  if (c.arg(2) > UINT32_MAX || (prot & ~(kProtBits | abi::kPROT_SEM)) != 0) return Errno(EINVAL);
  // No mapping grows up here.
  if (grows == abi::kPROT_GROWSUP) return Errno(Space(c).CheckMapped(range.start_addr(), 1).ok() ? EINVAL : ENOMEM);
  return Space(c).Protect(c.addr(0), c.arg(1), mm::Protection(static_cast<uint8_t>(prot & kProtBits)),
                          {.whole_stack = grows == abi::kPROT_GROWSDOWN,
                           .read_implies_exec = c.task().HasPersonality(abi::kREAD_IMPLIES_EXEC)});
}

SyscallOutcome SysMremap(SyscallContext& c) {
  const uint32_t flags = c.u32(3);
  if ((flags & ~(abi::kMREMAP_MAYMOVE | abi::kMREMAP_FIXED | abi::kMREMAP_DONTUNMAP)) != 0) return Errno(EINVAL);
  if ((flags & (abi::kMREMAP_FIXED | abi::kMREMAP_DONTUNMAP)) != 0 && (flags & abi::kMREMAP_MAYMOVE) == 0)
    return Errno(EINVAL);
  if ((flags & abi::kMREMAP_DONTUNMAP) != 0 && PageRoundUp(c.arg(1)) != PageRoundUp(c.arg(2))) return Errno(EINVAL);
  if (!c.addr(0).page_aligned() || c.arg(2) == 0) return Errno(EINVAL);
  mm::AddressSpace::RemapRequest request;
  request.old_address = c.addr(0);
  request.old_length_bytes = c.arg(1);
  request.new_length_bytes = c.arg(2);
  request.may_move = (flags & abi::kMREMAP_MAYMOVE) != 0;
  request.fixed = (flags & abi::kMREMAP_FIXED) != 0;
  request.keep_old = (flags & abi::kMREMAP_DONTUNMAP) != 0;
  request.new_address = c.addr(4);
  REMORA_ASSIGN_OR_RETURN(const GuestAddr start, Space(c).Remap(request));
  return SyscallOutcome::Return(static_cast<int64_t>(start.value()));
}

SyscallOutcome SysBrk(SyscallContext& c) {
  const mm::Protection protection = ProtectionOf(c, abi::kPROT_READ | abi::kPROT_WRITE);
  return SyscallOutcome::Return(static_cast<int64_t>(Space(c).SetBreak(c.addr(0), protection).value()));
}

SyscallOutcome SysMadvise(SyscallContext& c) {
  const int32_t advice = c.i32(2);
  switch (advice) {
    case abi::kMADV_NORMAL:
    case abi::kMADV_RANDOM:
    case abi::kMADV_SEQUENTIAL:
    case abi::kMADV_WILLNEED:
    case abi::kMADV_DONTNEED:
    case abi::kMADV_FREE:
    case abi::kMADV_MERGEABLE:
    case abi::kMADV_UNMERGEABLE:
    case abi::kMADV_HUGEPAGE:
    case abi::kMADV_NOHUGEPAGE:
    case abi::kMADV_DONTDUMP:
    case abi::kMADV_DODUMP:
    case abi::kMADV_COLD:
    case abi::kMADV_PAGEOUT:
    case abi::kMADV_DONTNEED_LOCKED:
      break;
    default:
      return Errno(EINVAL);
  }
  if (!c.addr(0).page_aligned()) return Errno(EINVAL);
  const auto range = PageRange::ForUser(c.addr(0), c.arg(1));
  if (!range) return Errno(c.arg(0) + PageRoundUp(c.arg(1)) < c.arg(0) ? EINVAL : ENOMEM);
  if (range->empty()) return SyscallOutcome::Return(0);
  if (advice == abi::kMADV_DONTNEED || advice == abi::kMADV_FREE || advice == abi::kMADV_DONTNEED_LOCKED)
    return Space(c).DiscardPages(c.addr(0), c.arg(1));
  if (advice == abi::kMADV_NOHUGEPAGE || advice == abi::kMADV_HUGEPAGE)
    return Space(c).SetPageByPage(c.addr(0), c.arg(1), advice == abi::kMADV_NOHUGEPAGE);
  return Space(c).CheckMapped(c.addr(0), c.arg(1));
}

SyscallOutcome SysMsync(SyscallContext& c) {
  const uint32_t flags = c.u32(2);
  if ((flags & ~(abi::kMS_ASYNC | abi::kMS_INVALIDATE | abi::kMS_SYNC)) != 0) return Errno(EINVAL);
  if ((flags & abi::kMS_ASYNC) != 0 && (flags & abi::kMS_SYNC) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const PageRange range, RangeArgs(c));
  if (range.empty()) return SyscallOutcome::Return(0);
  REMORA_RETURN_IF_ERROR(Space(c).CheckMapped(c.addr(0), c.arg(1)));
  if ((flags & abi::kMS_SYNC) == 0) return SyscallOutcome::Return(0);
  ErrnoOr<void> result;
  Space(c).ForEachMapping([&](const mm::MappingInfo& mapping) {
    if (!mapping.shared || !mapping.range.Overlaps(range)) return;
    auto* pages = dynamic_cast<mm::FilePages*>(mapping.object.get());
    if (pages == nullptr) return;
    auto synced = pages->Sync();
    if (!synced.ok()) result = std::move(synced);
  });
  return result;
}

SyscallOutcome SysMincore(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const PageRange range, RangeArgs(c));
  if (range.empty()) return SyscallOutcome::Return(0);
  REMORA_RETURN_IF_ERROR(Space(c).CheckMapped(c.addr(0), c.arg(1)));
  std::array<std::byte, 1024> answers;
  GuestAddr to = c.addr(2);
  for (PageNumber page = range.first; page < range.end;) {
    const uint64_t n = std::min<uint64_t>(answers.size(), range.end - page);
    for (uint64_t i = 0; i < n; ++i) answers[i] = std::byte{Space(c).IsResident(page + i)};
    REMORA_RETURN_IF_ERROR(c.memory().CopyOut(to, std::span(answers).first(n)));
    to = to + n;
    page = page + n;
  }
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysMlock(SyscallContext& c) { return CheckLockRange(c); }
SyscallOutcome SysMlock2(SyscallContext& c) {
  constexpr uint32_t kMlockOnfault = 1;
  if ((c.u32(2) & ~kMlockOnfault) != 0) return Errno(EINVAL);
  return CheckLockRange(c);
}
SyscallOutcome SysMunlock(SyscallContext& c) { return CheckLockRange(c); }
SyscallOutcome SysMlockall(SyscallContext& c) {
  const uint32_t flags = c.u32(0);
  if (flags == 0 || flags == abi::kMCL_ONFAULT ||
      (flags & ~(abi::kMCL_CURRENT | abi::kMCL_FUTURE | abi::kMCL_ONFAULT)) != 0)
    return Errno(EINVAL);
  return SyscallOutcome::Return(0);
}
SyscallOutcome SysMunlockall(SyscallContext&) { return SyscallOutcome::Return(0); }

}  // namespace remora::syscalls
