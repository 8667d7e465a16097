// Hostile iovec arrays: what UserBuffer makes of them, beside a model that goes byte by byte.

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/guest_addr.h"
#include "mm/user_buffer.h"
#include "mm/user_buffer_model.h"

namespace remora::mm {
namespace {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return at_ == size_; }
  uint64_t Take(uint32_t num_bytes) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < num_bytes && at_ < size_; ++i) value |= uint64_t{data_[at_++]} << (8 * i);
    return value;
  }

 private:
  const uint8_t* const data_;
  const size_t size_;
  size_t at_ = 0;
};

constexpr GuestAddr kBase = ModelMemory::kBase;

// Addresses and lengths of which most are nearly right.
uint64_t TakeAddress(Input& in) {
  switch (in.Take(1) % 8) {
    case 0:
      return in.Take(8);
    case 1:
      return kUserAddressEnd - in.Take(1);
    case 2:
      return 0xffff800000000000 + in.Take(2);
    case 3:
      return kBase.value() + 4 * kPageSize - in.Take(1);
    default:
      return kBase.value() + in.Take(2) % (ModelMemory::kPages * kPageSize);
  }
}
uint64_t TakeLength(Input& in) {
  switch (in.Take(1) % 8) {
    case 0:
      return in.Take(8);
    case 1:
      return 0 - in.Take(1);
    case 2:
      return 0x7ffff000 - in.Take(1);
    case 3:
      return 0;
    case 4:
      return in.Take(2) % (3 * kPageSize);
    default:
      return in.Take(1);
  }
}

// Puts an array where the input says, reads it as the kernel would, and moves bytes by it.
void RunInput(ModelMemory& memory, Input in) {
  constexpr uint64_t kMost = 24;
  uint64_t count = in.Take(1) % kMost;
  const uint64_t num_written = count;
  std::vector<UserRange> array(count);
  for (UserRange& range : array) range = {GuestAddr(TakeAddress(in)), TakeLength(in)};
  const uint64_t where = in.Take(1);
  GuestAddr at = kBase + 6 * kPageSize;
  if (where % 4 == 0) at = kBase + 4 * kPageSize - where / 4 % kMost * sizeof(UserRange);  // runs into the hole
  if (where % 16 == 1) at = GuestAddr(TakeAddress(in));
  if (where % 16 == 2) count = in.Take(8);
  // What lies within pages that may be written is written; the rest faults, or is what it was.
  for (uint64_t i = 0; i < num_written; ++i) {
    const std::byte* bytes = reinterpret_cast<const std::byte*>(&array[i]);
    for (uint64_t b = 0; b < sizeof(UserRange); ++b) {
      const GuestAddr to = at + i * sizeof(UserRange) + b;
      if (!ModelMemory::Allows(to, Access::kWrite)) continue;
      CHECK(memory.user().Write(to, bytes[b]).ok());
      memory.At(to) = bytes[b];
    }
  }
  const auto read = [&](uint64_t i, UserRange* range) {
    for (uint64_t b = 0; b < sizeof(UserRange); ++b) {
      const GuestAddr from = at + i * sizeof(UserRange) + b;
      if (!ModelMemory::Allows(from, Access::kRead)) return false;
      std::memcpy(reinterpret_cast<std::byte*>(range) + b, &memory.At(from), 1);
    }
    return true;
  };
  std::vector<UserRange> expected;
  const int error = UserBufferModel::ReadIovecs(read, count, &expected);
  const auto ranges = UserBuffer::ReadIovecs(memory.user(), at, count);
  CHECK(ranges.error_number() == -error);
  if (!ranges.ok()) return;
  CHECK(ranges->size() == expected.size());
  for (uint64_t i = 0; i < count; ++i)
    CHECK((*ranges)[i].start == expected[i].start && (*ranges)[i].length_bytes == expected[i].length_bytes);

  const auto direction = where % 2 == 0 ? IoBuffer::Direction::kFill : IoBuffer::Direction::kDrain;
  UserBuffer buffer(memory.user(), direction, *ranges);
  UserBufferModel model(direction, expected);
  while (!in.empty()) {
    const uint32_t choice = static_cast<uint32_t>(in.Take(1));
    if (!StepBoth(memory, buffer, model, choice, in.Take(2))) break;
  }
}

}  // namespace
}  // namespace remora::mm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const memory = new remora::mm::ModelMemory;
  static uint64_t inputs = 0;
  remora::mm::RunInput(*memory, remora::mm::Input(data, size));
  if (++inputs % 256 == 0) memory->Check();
  return 0;
}
