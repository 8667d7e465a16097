#ifndef REMORA_MM_MAPPABLE_H_
#define REMORA_MM_MAPPABLE_H_

#include <cstdint>
#include <span>
#include <string>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "mm/types.h"

namespace remora::mm {

class AddressSpace;

// Something whose pages can be mapped: a file's page cache, shared anonymous memory. Implemented by mm::FilePages
// (mm/page_cache.h), which fs/ hands out; mm knows no files.
class Mappable : public RefCounted {
 public:
  // The frame that holds page `page_index`, with a reference for the caller. ENXIO beyond the last page (a SIGBUS), EIO
  // when the host cannot read it, ENOMEM, EAGAIN while it is on its way (see MemoryContext::page_arrivals). With
  // `for_write` the frame may be written through a shared mapping (a hole is filled first).
  virtual ErrnoOr<FrameId> GetFrame(uint64_t page_index, bool for_write) = 0;

  // What is there of the pages [first_page_index, first_page_index + found.size()), at most kMaxFound, that are
  // `wanted` (bit i: page first_page_index + i): the frame with a reference for the caller, invalid for all others.
  // Reads nothing.
  static constexpr uint32_t kMaxFound = 64;
  virtual void FindFrames(uint64_t first_page_index, uint64_t wanted, std::span<FrameId> found) = 0;

  // Makes pages present that nobody has asked for yet: those up to the first one that would need waiting, or whose
  // place beside the others is taken. May do nothing.
  virtual void ReadAround(uint64_t /*first_page_index*/, uint64_t /*num_pages*/) {}

  // Who maps it, so that truncation and write-back find the page-table entries. Called by AddressSpace with its lock
  // held.
  virtual void OnMapped(AddressSpace* space, PageRange range, uint64_t first_page_index) = 0;
  virtual void OnUnmapped(AddressSpace* space, PageRange range, uint64_t first_page_index) = 0;

  // Unique in this Kernel, never reused: the FutexKey's object id for shared futexes.
  virtual uint64_t object_id() const = 0;

  // Whether its pages come from the host's files, where the next run may find them, too.
  virtual bool outlives_kernel() const { return false; }
  // What its usual place in address spaces follows from: for a file the same number in each Kernel.
  virtual uint64_t place_key() const { return object_id(); }

  // What /proc/PID/maps prints.
  struct Description {
    uint32_t device_major = 0, device_minor = 0;
    uint64_t inode = 0;
    std::string path;
  };
  virtual Description Describe() const = 0;
};

}  // namespace remora::mm

#endif  // REMORA_MM_MAPPABLE_H_
