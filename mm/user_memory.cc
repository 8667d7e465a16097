#include "mm/user_memory.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "base/full_fence.h"
#include "mm/guest_copy.h"

namespace remora::mm {
namespace {

template <typename T>
void LoadAligned(std::byte* to, const std::byte* from) {
  const T value = __atomic_load_n(reinterpret_cast<const T*>(from), __ATOMIC_ACQUIRE);
  std::memcpy(to, &value, sizeof(T));
}

template <typename T>
void StoreAligned(std::byte* to, const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  __atomic_store_n(reinterpret_cast<T*>(to), value, __ATOMIC_RELEASE);
}

// Sizes and alignments whose copies must be one access. Such a copy never crosses a page.
bool IsAtomicCopy(GuestAddr addr, uint64_t n) {
  return (n == 1 || n == 2 || n == 4 || n == 8) && (addr.value() & (n - 1)) == 0;
}

void CopyInPiece(std::byte* to, const std::byte* host, GuestAddr addr, uint64_t n) {
  if (!IsAtomicCopy(addr, n)) return CopyGuestMemory(to, host, n);
  switch (n) {
    case 1:
      return LoadAligned<uint8_t>(to, host);
    case 2:
      return LoadAligned<uint16_t>(to, host);
    case 4:
      return LoadAligned<uint32_t>(to, host);
    default:
      return LoadAligned<uint64_t>(to, host);
  }
}

void CopyOutPiece(std::byte* host, const std::byte* from, GuestAddr addr, uint64_t n) {
  if (!IsAtomicCopy(addr, n)) return CopyGuestMemory(host, from, n);
  switch (n) {
    case 1:
      return StoreAligned<uint8_t>(host, from);
    case 2:
      return StoreAligned<uint16_t>(host, from);
    case 4:
      return StoreAligned<uint32_t>(host, from);
    default:
      return StoreAligned<uint64_t>(host, from);
  }
}

uint64_t PieceAt(GuestAddr at, uint64_t left) { return std::min(left, kPageSize - at.page_offset()); }

}  // namespace

std::byte* UserMemory::Resolve(GuestAddr addr, Access access) const {
  for (bool again = false;; again = true) {
    std::byte* host = access == Access::kWrite ? tlb_->Lookup<Access::kWrite>(addr) : tlb_->Lookup<Access::kRead>(addr);
    // Usually the page is in place already, and others have to see that only before this task's next guest instruction;
    // else they leave guest code now, because they have been interrupted.
    if (host != nullptr || tlb_->last_fault().kind != FaultKind::kMustWait) return host;
    tlb_->Synchronize();
    if (again) std::this_thread::yield();
  }
}

std::byte* UserMemory::ResolveWaiting(GuestAddr addr, Access access) const {
  while (true) {
    std::byte* host = Resolve(addr, access);
    if (host != nullptr || tlb_->last_fault().kind != FaultKind::kNotReady) return host;
    tlb_->source()->AwaitPage(addr.page(), access);
    tlb_->Synchronize();
  }
}

bool UserMemory::IsUnchangedBehindWrites(uint64_t generation) const {
  // Our stores must be visible before the generation is read; whoever prepares code or copies a page bumps it, then
  // reads the bytes.
  FullFence();
  return tlb_->source()->generation() == generation;
}

void UserMemory::FollowWrite(GuestAddr to, const std::byte* host, uint64_t length_bytes) const {
  DCHECK(length_bytes <= kPageSize - to.page_offset());
  uint64_t generation;
  do {
    tlb_->Synchronize();
    generation = tlb_->seen_generation();
    std::byte* now = Resolve(to, Access::kWrite);
    // Behind this a copy of the page has the bytes. Or the guest has unmapped it meanwhile.
    if (now == host || now == nullptr) return;
    // The old frame is not anybody else's before this worker's next quiescent point, though the child may write to it.
    CopyGuestMemory(now, host, length_bytes);
    host = now;
  } while (!IsUnchangedBehindWrites(generation));
}

ErrnoOr<void> UserMemory::CopyIn(std::span<std::byte> to, GuestAddr from) const {
  tlb_->Synchronize();
  for (uint64_t done = 0; done < to.size();) {
    const GuestAddr at = from + done;
    const uint64_t n = PieceAt(at, to.size() - done);
    const std::byte* host = Resolve(at, Access::kRead);
    if (host == nullptr) return Errno(EFAULT);
    CopyInPiece(to.data() + done, host, at, n);
    done += n;
  }
  return Ok();
}

ErrnoOr<void> UserMemory::CopyOut(GuestAddr to, std::span<const std::byte> from) const {
  tlb_->Synchronize();
  const uint64_t generation = tlb_->seen_generation();
  for (uint64_t done = 0; done < from.size();) {
    const GuestAddr at = to + done;
    const uint64_t n = PieceAt(at, from.size() - done);
    std::byte* host = ResolveWaiting(at, Access::kWrite);
    if (host == nullptr) return Errno(EFAULT);
    CopyOutPiece(host, from.data() + done, at, n);
    FinishWrite(at, host, n, generation);
    done += n;
  }
  return Ok();
}

ErrnoOr<void> UserMemory::Zero(GuestAddr to, uint64_t length_bytes) const {
  tlb_->Synchronize();
  const uint64_t generation = tlb_->seen_generation();
  for (uint64_t done = 0; done < length_bytes;) {
    const GuestAddr at = to + done;
    const uint64_t n = PieceAt(at, length_bytes - done);
    std::byte* host = ResolveWaiting(at, Access::kWrite);
    if (host == nullptr) return Errno(EFAULT);
    ZeroGuestMemory(host, n);
    FinishWrite(at, host, n, generation);
    done += n;
  }
  return Ok();
}

ErrnoOr<std::string> UserMemory::ReadString(GuestAddr from, uint64_t max_bytes) const {
  tlb_->Synchronize();
  std::string result;
  std::array<char, 256> chunk;
  while (result.size() < max_bytes) {
    const GuestAddr at = from + result.size();
    const uint64_t n = std::min<uint64_t>(PieceAt(at, max_bytes - result.size()), chunk.size());
    const std::byte* host = Resolve(at, Access::kRead);
    if (host == nullptr) return Errno(EFAULT);
    CopyGuestMemory(reinterpret_cast<std::byte*>(chunk.data()), host, n);
    if (const void* end = std::memchr(chunk.data(), 0, n)) {
      result.append(chunk.data(), static_cast<size_t>(static_cast<const char*>(end) - chunk.data()));
      return result;
    }
    result.append(chunk.data(), n);
  }
  return Errno(ENAMETOOLONG);
}

ErrnoOr<uint32_t> UserMemory::LoadWord(GuestAddr addr) const {
  if ((addr.value() & 3) != 0) return Errno(EINVAL);
  tlb_->Synchronize();
  const std::byte* host = ResolveWaiting(addr, Access::kRead);
  if (host == nullptr) return Errno(EFAULT);
  return __atomic_load_n(reinterpret_cast<const uint32_t*>(host), __ATOMIC_SEQ_CST);
}

// Others act upon the word as soon as it is there, so it cannot be repaired afterwards.
ErrnoOr<void> UserMemory::StoreAtomically(GuestAddr addr, absl::FunctionRef<void(std::byte* host)> store) const {
  if ((addr.value() & 3) != 0) return Errno(EINVAL);
  while (true) {
    tlb_->Synchronize();
    const uint64_t generation = tlb_->seen_generation();
    std::byte* host = ResolveWaiting(addr, Access::kWrite);
    if (host == nullptr) return Errno(EFAULT);
    if (tlb_->source()->StoreIfUnchanged(generation, [&] { store(host); })) return Ok();
  }
}

ErrnoOr<void> UserMemory::StoreWord(GuestAddr addr, uint32_t value) const {
  return StoreAtomically(
      addr, [value](std::byte* host) { __atomic_store_n(reinterpret_cast<uint32_t*>(host), value, __ATOMIC_SEQ_CST); });
}

ErrnoOr<bool> UserMemory::CompareExchangeWord(GuestAddr addr, uint32_t expected, uint32_t desired) const {
  bool stored = false;
  REMORA_RETURN_IF_ERROR(StoreAtomically(addr, [&](std::byte* host) {
    stored = __atomic_compare_exchange_n(reinterpret_cast<uint32_t*>(host), &expected, desired,
                                         /*weak=*/false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  }));
  return stored;
}

}  // namespace remora::mm
