#include "cpu/translator/far_links.h"

#include "base/check.h"

namespace remora::cpu::translator {

FarLinks::Mapping* FarLinks::AddPage(const mm::CodeMapping& shape, PageNumber page, mm::FrameId frame) {
  DCHECK(shape.pages.Contains(page) && frame.valid());
  std::unique_ptr<Mapping>& mapping = mappings_[shape];
  if (mapping == nullptr) mapping = std::make_unique<Mapping>(shape);
  mm::FrameId& there = mapping->pages_[page.value()].frame;
  if (there.valid()) return nullptr;
  there = frame;
  return mapping.get();
}

void FarLinks::RemovePage(Mapping* mapping, PageNumber page, absl::FunctionRef<void(const Jump&)> wait) {
  const auto found = mapping->pages_.find(page.value());
  CHECK(found != mapping->pages_.end());
  Page& gone = found->second;
  gone.frame = mm::FrameId();
  for (const Stored& jump : gone.leading) {
    wait(JumpOf(page.value(), jump));
    gone.Wait(jump);
  }
  gone.leading.clear();
  if (!gone.empty()) return;
  mapping->pages_.erase(found);
  if (mapping->pages_.empty()) mappings_.erase(mapping->shape_);
}

void FarLinks::Add(Mapping* mapping, const Jump& jump, absl::FunctionRef<bool(mm::FrameId)> lead) {
  DCHECK(mapping->shape_.Contains(jump.target));
  Page& to = mapping->pages_[jump.target / kPageSize];
  const Stored stored = {.displacement = jump.displacement,
                         .page_offset = static_cast<uint16_t>(jump.target % kPageSize),
                         .flags_saved = jump.flags_saved,
                         .forward = jump.forward,
                         .to_cold = jump.to_cold};
  if (to.frame.valid() && lead(to.frame))
    to.leading.push_back(stored);
  else
    to.Wait(stored);
}

void FarLinks::LeadWaiting(Mapping* mapping, uint64_t target, absl::FunctionRef<void(const Jump&)> lead) {
  const auto found = mapping->pages_.find(target / kPageSize);
  if (found == mapping->pages_.end()) return;
  Page& page = found->second;
  std::erase_if(page.waiting, [&](const Stored& waiting) {
    if (waiting.page_offset != target % kPageSize) return false;
    lead(JumpOf(target / kPageSize, waiting));
    page.leading.push_back(waiting);
    return true;
  });
}

void FarLinks::EraseFrom(uint32_t first, uint32_t end) {
  const auto lies_there = [=](const Stored& jump) { return jump.displacement >= first && jump.displacement < end; };
  absl::erase_if(mappings_, [&](auto& mapping) {
    absl::erase_if(mapping.second->pages_, [&](auto& page) {
      std::erase_if(page.second.leading, lies_there);
      std::erase_if(page.second.waiting, lies_there);
      return page.second.empty();
    });
    return mapping.second->pages_.empty();
  });
}

size_t FarLinks::num_jumps() const {
  size_t number = 0;
  for (const auto& [shape, mapping] : mappings_)
    for (const auto& [page, jumps] : mapping->pages_) number += jumps.leading.size() + jumps.waiting.size();
  return number;
}

}  // namespace remora::cpu::translator
