#include "cpu/translator/path_shape.h"

#include <algorithm>
#include <utility>

namespace remora::cpu::translator {

void PathShape::Clear() {
  pcs_.clear();
  back_ = end_ = length_ = 0;
  last_back_ = round_ = repeated_ = 0;
}

bool PathShape::IsRepeated(size_t length) const {
  const std::span<const uint64_t> all(pcs_);
  return 2 * length <= all.size() && std::ranges::equal(all.last(length), all.last(2 * length).first(length));
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
  if (!is_back) return;
  const size_t since = size - std::exchange(last_back_, size);
  repeated_ = IsRepeated(since) ? repeated_ + since : 0;
  if (repeated_ >= kSteady) {
    round_ = since;
  } else if (size % 2 == 0 && IsRepeated(size / 2)) {
    // It may come by its beginning in the middle.
    round_ = size / 2;
    repeated_ = std::max(repeated_, round_);
  }
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
