#ifndef REMORA_BENCHMARKS_RIVALS_HOLE_TRACKER_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_HOLE_TRACKER_RIVAL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/guest_addr.h"

namespace remora {

// The plain way of usermode kernels: whether a page is used stands in the page table, and a hole is found by asking
// page by page from the top. The table is as good as such a one can be: a bit for each page, in leaves of 2 MiB of
// address space, and the leaf is looked up only where the probe enters it.
class HoleTrackerRival {
 public:
  explicit HoleTrackerRival(PageRange space)
      : first_(space.first.value()), end_(space.end.value()), leaves_((end_ - first_) / kLeafPages + 1) {}

  void Reserve(PageRange range) {
    for (uint64_t page = range.first.value(); page < range.end.value(); ++page) {
      std::unique_ptr<Leaf>& leaf = leaves_[(page - first_) / kLeafPages];
      if (leaf == nullptr) leaf = std::make_unique<Leaf>();
      const uint64_t bit = (page - first_) % kLeafPages;
      leaf->words[bit / 64] |= uint64_t{1} << (bit % 64);
    }
  }
  void Release(PageRange range) {
    for (uint64_t page = range.first.value(); page < range.end.value(); ++page) {
      Leaf* leaf = leaves_[(page - first_) / kLeafPages].get();
      const uint64_t bit = (page - first_) % kLeafPages;
      if (leaf != nullptr) leaf->words[bit / 64] &= ~(uint64_t{1} << (bit % 64));
    }
  }
  // The upper end of the top-most hole of `num_pages` (> 0) within `within`.
  std::optional<PageRange> FindTopmost(uint64_t num_pages, PageRange within) const {
    uint64_t found = 0;
    const Leaf* leaf = nullptr;
    uint64_t leaf_number = ~uint64_t{0};
    for (uint64_t page = within.end.value(); page-- > within.first.value();) {
      const uint64_t number = (page - first_) / kLeafPages, bit = (page - first_) % kLeafPages;
      if (number != leaf_number) {
        leaf_number = number;
        leaf = leaves_[number].get();
      }
      const bool used = leaf != nullptr && (leaf->words[bit / 64] >> (bit % 64) & 1) != 0;
      found = used ? 0 : found + 1;
      if (found == num_pages) return PageRange{PageNumber(page), PageNumber(page + num_pages)};
    }
    return std::nullopt;
  }

 private:
  static constexpr uint64_t kLeafPages = 512;
  struct Leaf {
    uint64_t words[kLeafPages / 64] = {};
  };
  const uint64_t first_, end_;
  std::vector<std::unique_ptr<Leaf>> leaves_;
};

}  // namespace remora

#endif  // REMORA_BENCHMARKS_RIVALS_HOLE_TRACKER_RIVAL_H_
