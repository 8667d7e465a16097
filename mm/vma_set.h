#ifndef REMORA_MM_VMA_SET_H_
#define REMORA_MM_VMA_SET_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/function_ref.h"
#include "base/guest_addr.h"
#include "base/ref_counted.h"
#include "mm/mappable.h"
#include "mm/types.h"

namespace remora::mm {

// One mapping: what mmap made, or what later calls left of it.
struct Vma {
  PageRange range{};
  Protection protection{};
  Protection max_protection{7};  // what mprotect may grant
  bool shared = false;
  bool grows_down = false;
  bool page_by_page = false;  // MADV_NOHUGEPAGE: a fault maps one page
  // MAP_DENYWRITE: of a program, whose file nobody changes meanwhile. (Linux ignores it: there, what has been read of a
  // private mapping, but not written, follows the file.)
  bool deny_write = false;
  bool may_differ = false;        // pages of it may be, have been or become others than the object's
  bool is_code = false;           // somebody counts on it as it is: see VmaSet::MarkAsCode
  Ref<Mappable> object{};         // null: private anonymous memory
  uint64_t first_page_index = 0;  // of `object`, at range.first; unused where object is null
  std::string name{};             // "[heap]", "[stack]"; else empty

  // The object's page behind `page`, which lies in range.
  uint64_t PageIndexOf(PageNumber page) const { return first_page_index + (page - range.first); }
  // Whether `next`, which starts where this ends, is a continuation of it.
  bool ContinuesIn(const Vma& next) const;
};

// The VMAs of one address space, by address. Knows nothing of pages, page tables or of who must be told: AddressSpace
// calls Mappable::OnMapped and OnUnmapped itself.
//
// Invariants:
//  1. VMAs are not empty and do not overlap.
//  2. No VMA continues in its neighbour (ContinuesIn): those have been merged.
//  3. A VMA that was marked as code is as it was then, or its range of then is among TakeChangedCode's next answers.
//
// Linux twin: mm_struct's tree of vm_area_structs. Difference: anonymous memory has no page offset that could keep
// neighbours from merging. Thread safety: none; guarded by the address space's lock. Copyable, as fork needs it.
// Pointers to a Vma are valid until the next change.
class VmaSet {
 public:
  // The VMA that `page` lies in; null if none.
  const Vma* Find(PageNumber page) const;
  // The first VMA that ends behind `page`: the one that contains it, or the next one.
  const Vma* FindAtOrAfter(PageNumber page) const;
  // The last VMA that starts before `page`.
  const Vma* FindBefore(PageNumber page) const;
  bool Overlaps(PageRange range) const;
  // Whether every page of `range` lies in a VMA.
  bool Covers(PageRange range) const;

  // Adds a VMA where there is none, and merges it with its neighbours where it continues them.
  void Insert(Vma vma);
  // Takes `range` away; VMAs that reach over its edges are cut. `visit` gets each removed piece, in address order.
  void Remove(PageRange range, absl::FunctionRef<void(const Vma&)> visit);
  void Remove(PageRange range) {
    Remove(range, [](const Vma&) {});
  }
  // Applies `change` to the part of each VMA that lies in `range`, in address order, then merges what became equal.
  // `change` may alter anything but `range` and `first_page_index`.
  void Change(PageRange range, absl::FunctionRef<void(Vma&)> change);
  // Moves the start of the VMA that contains `page` down to `first` (a stack that grows). The pages between are free.
  void GrowDown(PageNumber page, PageNumber first);

  // The VMA that `page` lies in: whatever becomes of it will be told.
  void MarkAsCode(PageNumber page);
  // Ranges, as they were, of VMAs that were marked and have been split, merged, changed or removed since the last call.
  std::vector<PageRange> TakeChangedCode() { return std::exchange(changed_code_, {}); }
  bool has_changed_code() const { return !changed_code_.empty(); }

  // Visits the VMAs that meet `range`, whole, in address order.
  void ForEach(PageRange range, absl::FunctionRef<void(const Vma&)> visit) const;
  void ForEach(absl::FunctionRef<void(const Vma&)> visit) const;

  size_t size() const { return vmas_.size(); }
  bool empty() const { return vmas_.empty(); }
  uint64_t num_pages() const { return num_pages_; }
  void clear() {
    vmas_.clear();
    num_pages_ = 0;
  }
  void CheckInvariants() const;

 private:
  using Map = absl::btree_map<PageNumber, Vma>;  // by range.first

  // Cuts the VMA that has `page` inside (not at its start) in two.
  void SplitAt(PageNumber page);
  void NoteChange(Vma* vma) {
    if (std::exchange(vma->is_code, false)) changed_code_.push_back(vma->range);
  }
  // Merges all neighbours that touch at a point of [range.first, range.end].
  void MergeAround(PageRange range);

  Map vmas_;
  std::vector<PageRange> changed_code_;
  uint64_t num_pages_ = 0;
};

}  // namespace remora::mm

#endif  // REMORA_MM_VMA_SET_H_
