#ifndef REMORA_MM_TYPES_H_
#define REMORA_MM_TYPES_H_

#include <compare>
#include <cstdint>

#include "base/guest_addr.h"

namespace remora::mm {

// A 4 KiB frame of the FramePool: an index, 0..2^32-2.
class FrameId {
 public:
  constexpr FrameId() = default;
  constexpr explicit FrameId(uint32_t value) : value_(value) {}
  constexpr uint32_t value() const { return value_; }
  constexpr bool valid() const { return value_ != ~0u; }
  friend constexpr auto operator<=>(FrameId, FrameId) = default;

 private:
  uint32_t value_ = ~0u;
};

enum class Access : uint8_t { kRead, kWrite, kFetch };

// PROT_READ, PROT_WRITE, PROT_EXEC with mmap(2)'s values. On x86 writable implies readable, executable implies
// readable.
class Protection {
 public:
  static constexpr uint8_t kRead = 1, kWrite = 2, kExec = 4;
  constexpr Protection() = default;
  constexpr explicit Protection(uint8_t bits) : bits_(bits) {}
  constexpr uint8_t bits() const { return bits_; }
  constexpr bool readable() const { return bits_ != 0; }
  constexpr bool writable() const { return (bits_ & kWrite) != 0; }
  constexpr bool executable() const { return (bits_ & kExec) != 0; }
  constexpr bool Allows(Access access) const {
    return access == Access::kRead ? readable() : access == Access::kWrite ? writable() : executable();
  }
  friend constexpr bool operator==(Protection, Protection) = default;

 private:
  uint8_t bits_ = 0;
};

// Why an access failed: what becomes SIGSEGV, SIGBUS or EFAULT.
enum class FaultKind : uint8_t {
  kNone,
  kUnmapped,      // SEGV_MAPERR
  kProtection,    // SEGV_ACCERR
  kBeyondEnd,     // BUS_ADRERR: a page behind the end of its file, or one the host could not read
  kNonCanonical,  // general protection: SIGSEGV with SI_KERNEL, address 0
  kOutOfMemory,   // no frame left
  kMustWait,      // not a failure: the access has to be tried again after other workers acknowledged a change
  kNotReady,      // not a failure: the page is on its way from a slow file; try again after a notice of page_arrivals
};

// The access succeeds when it is tried again later.
constexpr bool IsMerelyEarly(FaultKind kind) { return kind == FaultKind::kMustWait || kind == FaultKind::kNotReady; }

struct Fault {
  FaultKind kind = FaultKind::kNone;
  Access access = Access::kRead;
  GuestAddr addr;
};

}  // namespace remora::mm

#endif  // REMORA_MM_TYPES_H_
