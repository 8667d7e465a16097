#include "cpu/translator/path_shape.h"

#include <algorithm>

namespace remora::cpu::translator {

void PathShape::Clear() {
  pcs_.clear();
  laps_.assign({0});
  back_ = end_ = length_ = round_ = 0;
  is_steady_ = false;
}

bool PathShape::AreRepeated(size_t count, size_t length) const {
  const std::span<const uint64_t> all(pcs_);
  return count + length <= all.size() && std::ranges::equal(all.last(count), all.last(count + length).first(count));
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
  round_ = 0;
  is_steady_ = false;
  if (!is_back) return;
  // It may come by its beginning in the middle, so it may be several laps.
  const auto steady = std::ranges::find_if(
      laps_.rbegin(), laps_.rend(), [&](size_t lap) { return AreRepeated(std::max(kSteady, size - lap), size - lap); });
  is_steady_ = steady != laps_.rend();
  if (is_steady_)
    round_ = size - *steady;
  else if (size % 2 == 0 && AreRepeated(size / 2, size / 2))
    round_ = size / 2;
  laps_.push_back(size);
}

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
