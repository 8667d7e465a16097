#include "cpu/translator/path_shape.h"

#include <algorithm>

namespace remora::cpu::translator {

void PathShape::Clear() {
  pcs_.clear();
  back_ = end_ = length_ = 0;
  goes_round_ = false;
}

void PathShape::Add(uint64_t pc, uint64_t next, bool ends) {
  // Loops within it are gone through that often.
  constexpr std::ptrdiff_t kTimes = 3;
  pcs_.push_back(pc);
  const size_t size = pcs_.size();
  const bool is_back = next == pcs_[0];
  if (is_back && back_ == 0) back_ = size;
  if ((ends || is_back) && end_ == 0) end_ = size;
  if (length_ == 0 && (end_ != 0 || size == kMaxOnce || std::ranges::count(pcs_, next) >= kTimes)) length_ = size;
  const std::span<const uint64_t> all(pcs_);
  goes_round_ = is_back && size % 2 == 0 && std::ranges::equal(all.first(size / 2), all.subspan(size / 2));
}

std::span<const uint64_t> PathShape::Round() const { return std::span(pcs_).first(goes_round_ ? pcs_.size() / 2 : 0); }

size_t PathShape::SeenTwice() const {
  if (back_ == 0) return 0;
  const std::span<const uint64_t> all(pcs_);
  const std::span<const uint64_t> once = all.first(std::min(end_, kMaxTwice));
  return static_cast<size_t>(std::ranges::mismatch(once, all.subspan(back_)).in1 - once.begin());
}

std::span<const uint64_t> PathShape::Path() const {
  return std::span(pcs_).first(std::max(length_ != 0 ? length_ : pcs_.size(), SeenTwice()));
}

}  // namespace remora::cpu::translator
