#ifndef REMORA_PROC_VDSO_VDSO_H_
#define REMORA_PROC_VDSO_VDSO_H_

#include "base/clock.h"
#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "base/ref_counted.h"
#include "base/tsc_timebase.h"
#include "mm/address_space.h"
#include "mm/memory_context.h"
#include "mm/page_cache.h"

namespace remora::proc {

// What a Kernel shows each program as [vvar] and [vdso]: the timebase of its clock, and code that tells the time by it
// (vdso(7), guest_vdso.c). All programs share the frames, and what is decoded or translated of them.
//
// Where the clock cannot be followed by the time-stamp counter, or guest code does not see the host's, the timebase
// stays zero and the code makes system calls.
// Thread safety: all methods from any thread.
class Vdso {
 public:
  static constexpr uint64_t kVvarPages = 1, kCodePages = 1;
  static constexpr uint64_t kBytes = (kVvarPages + kCodePages) * kPageSize;

  // `clock`, which outlives this, keeps its timebase in [vvar]; null: none.
  Vdso(mm::MemoryContext* context, Clock* clock);
  ~Vdso();  // after the last guest code has run
  Vdso(const Vdso&) = delete;
  Vdso& operator=(const Vdso&) = delete;

  // Maps both at `start`; the address of the code's ELF header, for AT_SYSINFO_EHDR. ENOMEM.
  ErrnoOr<GuestAddr> Map(mm::AddressSpace& space, GuestAddr start) const;
  // The code's file, by which it can be recognized among mappings.
  const Ref<mm::FilePages>& code() const { return code_; }
  bool tells_time() const { return kept_; }

 private:
  Clock* const clock_;
  Ref<mm::FilePages> vvar_, code_;
  bool kept_ = false;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_VDSO_VDSO_H_
