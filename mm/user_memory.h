#ifndef REMORA_MM_USER_MEMORY_H_
#define REMORA_MM_USER_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "mm/scratch_buffer.h"
#include "mm/tlb.h"

namespace remora::mm {

// Copies between the kernel and the guest's memory through the worker's TLB: copy_from_user and copy_to_user.
// Every failure is EFAULT. So is, for CopyIn and ReadString, a page still on its way from a slow file: the Dispatcher
// sees it in the TLB's last_fault() and runs the call again when the page has come. Copies out come behind side
// effects, so they wait instead. Copies that cross pages are not atomic; naturally aligned ones of 1, 2, 4 or 8 bytes
// are. Thread safety: used by the TLB's worker.
class UserMemory {
 public:
  // `scratch`: the worker's bounce buffer; null for users that never ask for it.
  explicit UserMemory(Tlb* tlb, ScratchBuffer* scratch = nullptr) : tlb_(tlb), scratch_(scratch) {}
  Tlb& tlb() const { return *tlb_; }
  ScratchBuffer& scratch() const { return *scratch_; }

  ErrnoOr<void> CopyIn(std::span<std::byte> to, GuestAddr from) const;
  ErrnoOr<void> CopyOut(GuestAddr to, std::span<const std::byte> from) const;
  ErrnoOr<void> Zero(GuestAddr to, uint64_t length_bytes) const;

  template <typename T>
    requires(std::is_trivially_copyable_v<T>)
  ErrnoOr<T> Read(GuestAddr from) const {
    T value;
    REMORA_RETURN_IF_ERROR(CopyIn(std::as_writable_bytes(std::span(&value, 1)), from));
    return value;
  }
  template <typename T>
    requires(std::is_trivially_copyable_v<T>)
  ErrnoOr<void> Write(GuestAddr to, const T& value) const {
    return CopyOut(to, std::as_bytes(std::span(&value, 1)));
  }

  // A NUL-terminated string of less than max_bytes including the NUL, else ENAMETOOLONG (for paths: max_bytes = 4096).
  ErrnoOr<std::string> ReadString(GuestAddr from, uint64_t max_bytes) const;

  // Atomic access to an aligned 32-bit word, which is the guest's at that moment (a fork by another thread comes before
  // or behind), for futexes, set_child_tid and robust lists. EINVAL if unaligned.
  ErrnoOr<uint32_t> LoadWord(GuestAddr addr) const;
  ErrnoOr<void> StoreWord(GuestAddr addr, uint32_t value) const;
  // True and stored if the word was `expected`.
  ErrnoOr<bool> CompareExchangeWord(GuestAddr addr, uint32_t expected, uint32_t desired) const;

  // The host address of `addr`, valid up to the end of its page; null if the guest may not access it, or (the TLB's
  // last_fault() tells) if its page is still on its way from a slow file. The TLB has been synchronized by the caller.
  // For UserBuffer.
  std::byte* Resolve(GuestAddr addr, Access access) const;
  // The same, but a page that is on its way is waited for, which holds up the worker.
  std::byte* ResolveWaiting(GuestAddr addr, Access access) const;
  // Whether nothing was taken away since `generation` of the TLB. To be asked behind kernel writes through pointers
  // that were resolved at it.
  bool IsUnchangedBehindWrites(uint64_t generation) const;
  // If it is not: after a write to [to, to + length_bytes), on one page, through `host`. The page may be another one
  // meanwhile (this one was copied because another thread forks, and only the child has it now): it gets the bytes. And
  // it may have been decoded as code from its old bytes: such code goes.
  void FollowWrite(GuestAddr to, const std::byte* host, uint64_t length_bytes) const;
  void FinishWrite(GuestAddr to, const std::byte* host, uint64_t length_bytes, uint64_t generation) const {
    if (!IsUnchangedBehindWrites(generation)) [[unlikely]]
      FollowWrite(to, host, length_bytes);
  }

 private:
  ErrnoOr<void> StoreAtomically(GuestAddr addr, absl::FunctionRef<void(std::byte* host)> store) const;

  Tlb* tlb_;
  ScratchBuffer* scratch_;
};

}  // namespace remora::mm

#endif  // REMORA_MM_USER_MEMORY_H_
