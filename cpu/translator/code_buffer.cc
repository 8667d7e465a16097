#include "cpu/translator/code_buffer.h"

#include <algorithm>

#include "base/check.h"
#include "base/large_page.h"

namespace remora::cpu::translator {
namespace {

constexpr uint64_t kPage = 4096;

uint64_t RegionBytes(uint64_t max_bytes) {
  const uint64_t bytes = std::max<uint64_t>(max_bytes, uint64_t{1} << 20) / CodeBuffer::kNumRegions;
  return (bytes + kPage - 1) & ~(kPage - 1);
}

}  // namespace

CodeBuffer::CodeBuffer(uint64_t max_bytes)
    : region_bytes_(RegionBytes(max_bytes)),
      total_bytes_(kPermanentBytes + kNumRegions * region_bytes_),
      memory_(total_bytes_) {
  states_[0].store(State::kFilling, std::memory_order_relaxed);
}

CodeBuffer::Piece CodeBuffer::Allocate(uint32_t bytes) {
  bytes = static_cast<uint32_t>(Padded(bytes));
  CHECK(bytes <= region_bytes_);
  if (used_[filling_] + bytes > region_bytes_) {
    const uint32_t next = (filling_ + 1) % kNumRegions;
    if (states_[next].load(std::memory_order_acquire) != State::kFree) return {};
    states_[filling_].store(State::kFull, std::memory_order_relaxed);
    states_[next].store(State::kFilling, std::memory_order_relaxed);
    used_[next] = 0;
    filling_ = next;
  }
  const std::byte* code = permanent() + kPermanentBytes + filling_ * region_bytes_ + used_[filling_];
  used_[filling_] += bytes;
  MakeLargePageFor(code, code + bytes);
  const std::byte* regions = permanent() + kPermanentBytes;
  ahead_.Reach(Writable(regions), static_cast<size_t>(code + bytes - regions), total_bytes_ - kPermanentBytes);
  return {code, filling_};
}

void CodeBuffer::MakeLargePageFor(const std::byte* first, const std::byte* end) {
  // Before much is there, since that has to be copied. Most programs do not get through the first large page, which
  // becomes one when half of it is used.
  const uint64_t from = static_cast<uint64_t>(first - permanent()), to = static_cast<uint64_t>(end - permanent());
  constexpr uint64_t kHalf = kLargePageBytes / 2;
  const bool reached = from / kLargePageBytes != to / kLargePageBytes || (from < kHalf && to >= kHalf);
  if (reached && memory_.MakeLargePage(to))
    ahead_.NoteThere((to / kLargePageBytes + 1) * kLargePageBytes - kPermanentBytes);
}

bool CodeBuffer::BeginEviction(uint32_t* region) {
  // The next one to be filled is the oldest.
  const uint32_t next = (filling_ + 1) % kNumRegions;
  if (states_[next].load(std::memory_order_acquire) != State::kFull) return false;
  states_[next].store(State::kDraining, std::memory_order_relaxed);
  *region = next;
  return true;
}

uint64_t CodeBuffer::used_bytes() const {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kNumRegions; ++i)
    if (states_[i].load(std::memory_order_relaxed) != State::kFree) sum += used_[i];
  return sum;
}

}  // namespace remora::cpu::translator
