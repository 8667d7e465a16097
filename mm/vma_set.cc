#include "mm/vma_set.h"

#include <optional>
#include <utility>

#include "base/check.h"

namespace remora::mm {

bool Vma::ContinuesIn(const Vma& next) const {
  return range.end == next.range.first && protection == next.protection && max_protection == next.max_protection &&
         shared == next.shared && grows_down == next.grows_down && page_by_page == next.page_by_page &&
         deny_write == next.deny_write && object == next.object &&
         (object == nullptr || first_page_index + range.num_pages() == next.first_page_index) && name == next.name;
}

const Vma* VmaSet::FindAtOrAfter(PageNumber page) const {
  auto it = vmas_.upper_bound(page);
  if (it != vmas_.begin()) {
    const auto before = std::prev(it);
    if (before->second.range.end > page) return &before->second;
  }
  return it == vmas_.end() ? nullptr : &it->second;
}

const Vma* VmaSet::Find(PageNumber page) const {
  const Vma* vma = FindAtOrAfter(page);
  return vma != nullptr && vma->range.first <= page ? vma : nullptr;
}

const Vma* VmaSet::FindBefore(PageNumber page) const {
  const auto it = vmas_.lower_bound(page);
  return it == vmas_.begin() ? nullptr : &std::prev(it)->second;
}

bool VmaSet::Overlaps(PageRange range) const {
  if (range.empty()) return false;
  const Vma* vma = FindAtOrAfter(range.first);
  return vma != nullptr && vma->range.first < range.end;
}

bool VmaSet::Covers(PageRange range) const {
  PageNumber covered = range.first;
  while (covered < range.end) {
    const Vma* vma = Find(covered);
    if (vma == nullptr) return false;
    covered = vma->range.end;
  }
  return true;
}

void VmaSet::SplitAt(PageNumber page) {
  auto it = vmas_.upper_bound(page);
  if (it == vmas_.begin()) return;
  --it;
  Vma& lower = it->second;
  if (lower.range.first == page || lower.range.end <= page) return;
  NoteChange(&lower);
  Vma upper = lower;
  upper.first_page_index = lower.PageIndexOf(page);
  upper.range.first = page;
  lower.range.end = page;
  vmas_.insert(std::next(it), {page, std::move(upper)});
}

void VmaSet::MergeAround(PageRange range) {
  auto it = vmas_.lower_bound(range.first);
  if (it != vmas_.begin()) --it;
  while (it != vmas_.end() && it->second.range.end <= range.end) {
    const auto next = std::next(it);
    if (next == vmas_.end()) return;
    if (!it->second.ContinuesIn(next->second)) {
      it = next;
      continue;
    }
    const PageNumber first = it->first;
    NoteChange(&it->second);
    NoteChange(&next->second);
    it->second.may_differ |= next->second.may_differ;
    it->second.range.end = next->second.range.end;
    vmas_.erase(next);
    it = vmas_.find(first);  // an erase invalidates the iterators of a btree
  }
}

void VmaSet::Insert(Vma vma) {
  CHECK(!vma.range.empty() && !Overlaps(vma.range));
  const PageRange range = vma.range;
  num_pages_ += range.num_pages();
  vmas_.emplace(range.first, std::move(vma));
  MergeAround(range);
}

void VmaSet::Remove(PageRange range, absl::FunctionRef<void(const Vma&)> visit) {
  if (range.empty()) return;
  SplitAt(range.first);
  SplitAt(range.end);
  const auto first = vmas_.lower_bound(range.first);
  const auto end = vmas_.lower_bound(range.end);
  for (auto it = first; it != end; ++it) {
    num_pages_ -= it->second.range.num_pages();
    NoteChange(&it->second);
    visit(it->second);
  }
  vmas_.erase(first, end);
}

void VmaSet::Change(PageRange range, absl::FunctionRef<void(Vma&)> change) {
  if (range.empty()) return;
  SplitAt(range.first);
  SplitAt(range.end);
  const auto end = vmas_.lower_bound(range.end);
  for (auto it = vmas_.lower_bound(range.first); it != end; ++it) {
    const PageRange before = it->second.range;
    NoteChange(&it->second);
    change(it->second);
    CHECK(it->second.range == before);
  }
  MergeAround(range);
}

void VmaSet::GrowDown(PageNumber page, PageNumber first) {
  const Vma* found = Find(page);
  CHECK(found != nullptr && first <= found->range.first);
  if (first == found->range.first) return;
  Vma vma = *found;
  NoteChange(&vma);
  const uint64_t added = vma.range.first - first;
  CHECK(!Overlaps({first, vma.range.first}));
  CHECK(vma.object == nullptr || vma.first_page_index >= added);
  vmas_.erase(vma.range.first);
  vma.range.first = first;
  vma.first_page_index -= added;
  const PageRange range = vma.range;
  vmas_.emplace(first, std::move(vma));
  num_pages_ += added;
  MergeAround(range);
}

void VmaSet::MarkAsCode(PageNumber page) {
  const Vma* vma = Find(page);
  CHECK(vma != nullptr);
  vmas_.find(vma->range.first)->second.is_code = true;
}

void VmaSet::ForEach(PageRange range, absl::FunctionRef<void(const Vma&)> visit) const {
  if (range.empty()) return;
  auto it = vmas_.upper_bound(range.first);
  if (it != vmas_.begin() && std::prev(it)->second.range.end > range.first) --it;
  for (; it != vmas_.end() && it->first < range.end; ++it) visit(it->second);
}

void VmaSet::ForEach(absl::FunctionRef<void(const Vma&)> visit) const {
  for (const auto& [first, vma] : vmas_) visit(vma);
}

void VmaSet::CheckInvariants() const {
  const Vma* previous = nullptr;
  uint64_t pages = 0;
  for (const auto& [first, vma] : vmas_) {
    CHECK(first == vma.range.first && vma.range.first < vma.range.end);  // 1
    if (previous != nullptr) {
      CHECK(previous->range.end <= vma.range.first);  // 1
      CHECK(!previous->ContinuesIn(vma));             // 2
    }
    pages += vma.range.num_pages();
    previous = &vma;
  }
  CHECK(pages == num_pages_);
}

}  // namespace remora::mm
