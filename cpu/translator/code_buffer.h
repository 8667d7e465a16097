#ifndef REMORA_CPU_TRANSLATOR_CODE_BUFFER_H_
#define REMORA_CPU_TRANSLATOR_CODE_BUFFER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/populate.h"
#include "cpu/code_memory.h"

namespace remora::cpu::translator {

// Memory for translated code, parted into regions that are filled one after the other; the oldest is emptied when all
// are full.
//
// Life of a region: free -> filling -> full -> (BeginEviction) draining -> (FinishEviction, a grace period later) free.
//
// Thread safety: Contains from any thread and from signal handlers; the rest under the owner's lock, but for
// FinishEviction, which may come from any thread.
class CodeBuffer {
 public:
  static constexpr uint32_t kNumRegions = 16;

  // At least 1 MiB; rounded up to whole pages for each region. What is before the regions is for code that stays.
  explicit CodeBuffer(uint64_t max_bytes);

  // Whether an address lies in one of the regions.
  bool Contains(const void* code) const {
    const uintptr_t offset = reinterpret_cast<uintptr_t>(code) - reinterpret_cast<uintptr_t>(permanent());
    return offset >= kPermanentBytes && offset < total_bytes_;
  }
  // The place where `code` can be written.
  std::byte* Writable(const void* code) const {
    return memory_.writable() + (static_cast<const std::byte*>(code) - permanent());
  }

  const std::byte* permanent() const { return memory_.code(); }
  static constexpr uint64_t kPermanentBytes = 288 << 10;

  struct Piece {
    const std::byte* code = nullptr;  // null: no room in the region being filled, and no free one
    uint32_t region = 0;
  };
  // Aligned to 16 bytes, as all that is put into one piece is.
  Piece Allocate(uint32_t bytes);
  static constexpr uint64_t Padded(uint64_t bytes) { return (bytes + 15) & ~uint64_t{15}; }
  // The region that was filled first, now draining: nothing new may lead into it. False: none is full.
  bool BeginEviction(uint32_t* region);
  // When no thread can be in it any more.
  void FinishEviction(uint32_t region) { states_[region].store(State::kFree, std::memory_order_release); }

  uint64_t region_bytes() const { return region_bytes_; }
  uint64_t used_bytes() const;

 private:
  // Asks for a large page where `first` to `end`, which was allocated last, comes to one.
  void MakeLargePageFor(const std::byte* first, const std::byte* end);

  enum class State : uint8_t { kFree, kFilling, kFull, kDraining };

  const uint64_t region_bytes_;
  const uint64_t total_bytes_;
  const CodeMemory memory_;
  std::atomic<State> states_[kNumRegions] = {};
  uint64_t used_[kNumRegions] = {};
  uint32_t filling_ = 0;
  PopulatedAhead ahead_;  // of the regions
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_CODE_BUFFER_H_
