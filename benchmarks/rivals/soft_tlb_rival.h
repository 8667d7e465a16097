#ifndef REMORA_BENCHMARKS_RIVALS_SOFT_TLB_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_SOFT_TLB_RIVAL_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/guest_addr.h"
#include "mm/tlb.h"
#include "mm/types.h"

namespace remora::benchmarks {

// The plain software TLB: 1,024 direct-mapped entries, all of them forgotten at every change of the address space.
class DirectMappedTlb {
 public:
  static constexpr uint32_t kEntries = 1024;

  explicit DirectMappedTlb(mm::TlbSource* source) : source_(source) { Flush(); }

  void Synchronize() {
    if (source_->generation() != seen_generation_) [[unlikely]]
      Flush();
  }

  template <mm::Access kAccess>
  std::byte* Lookup(GuestAddr addr) {
    const Entry& entry = entries_[addr.page().value() & (kEntries - 1)];
    const uint64_t tag = kAccess == mm::Access::kRead    ? entry.read_tag
                         : kAccess == mm::Access::kWrite ? entry.write_tag
                                                         : entry.fetch_tag;
    if (tag == (addr.value() & ~kPageMask)) [[likely]]
      return reinterpret_cast<std::byte*>(addr.value() + entry.delta);
    return Fill(addr, kAccess);
  }
  const mm::Fault& last_fault() const { return last_fault_; }

  void Flush() {
    seen_generation_ = source_->generation();
    entries_.fill(Entry());
  }

  uint64_t misses() const { return misses_; }
  uint64_t CountEntries() const {
    uint64_t count = 0;
    for (const Entry& entry : entries_) count += entry.read_tag != kNoTag;
    return count;
  }

 private:
  static constexpr uint64_t kNoTag = ~uint64_t{0};
  struct alignas(32) Entry {
    uint64_t read_tag = kNoTag, write_tag = kNoTag, fetch_tag = kNoTag;
    uint64_t delta = 0;
  };

  std::byte* Fill(GuestAddr addr, mm::Access access) {
    ++misses_;
    const mm::TlbSource::Translation translation = source_->Translate(addr.page(), access);
    if (translation.host_page == nullptr) {
      last_fault_ = {translation.fault, access, addr};
      return nullptr;
    }
    const uint64_t tag = addr.value() & ~kPageMask;
    Entry& entry = entries_[addr.page().value() & (kEntries - 1)];
    const uint64_t delta = reinterpret_cast<uint64_t>(translation.host_page) - tag;
    if (entry.read_tag != tag || entry.delta != delta) entry = Entry();
    entry.delta = delta;
    entry.read_tag = tag;
    if (access == mm::Access::kWrite || translation.writable) entry.write_tag = tag;
    if (access == mm::Access::kFetch) entry.fetch_tag = tag;
    return reinterpret_cast<std::byte*>(addr.value() + delta);
  }

  alignas(64) std::array<Entry, kEntries> entries_;
  mm::TlbSource* const source_;
  uint64_t seen_generation_ = 0;
  uint64_t misses_ = 0;
  mm::Fault last_fault_;
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_SOFT_TLB_RIVAL_H_
