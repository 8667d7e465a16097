#include "cpu/fxsave.h"

#include <cstring>

#include "cpu/x87_unit.h"

namespace remora::cpu {
namespace {

template <typename T>
void Put(std::span<std::byte, kFxsaveBytes> image, size_t offset, T value) {
  std::memcpy(image.data() + offset, &value, sizeof(T));
}
template <typename T>
T Get(std::span<const std::byte, kFxsaveBytes> image, size_t offset) {
  T value;
  std::memcpy(&value, image.data() + offset, sizeof(T));
  return value;
}

constexpr size_t kX87Offset = 32, kXmmOffset = 160, kSlot = 16;

}  // namespace

void WriteFxsaveImage(const CpuState& state, std::span<std::byte, kFxsaveBytes> image) {
  std::memset(image.data(), 0, image.size());
  const X87State& x87 = state.x87;
  Put<uint16_t>(image, 0, x87.control);
  Put<uint16_t>(image, 2, static_cast<uint16_t>(x87.status | x87.top << 11));
  Put<uint8_t>(image, 4, x87.valid);
  Put<uint16_t>(image, 6, x87.last_opcode & 0x7ff);
  Put<uint64_t>(image, 8, x87.last_ip);
  Put<uint64_t>(image, 16, x87.last_data);
  Put<uint32_t>(image, kFxsaveMxcsrOffset, state.mxcsr);
  Put<uint32_t>(image, 28, kMxcsrMask);
  for (unsigned i = 0; i < 8; ++i) {
    const X87Register& reg = x87.registers[(x87.top + i) & 7];
    Put<uint64_t>(image, kX87Offset + kSlot * i, reg.significand);
    Put<uint16_t>(image, kX87Offset + kSlot * i + 8, reg.sign_exponent);
  }
  for (unsigned i = 0; i < 16; ++i)
    std::memcpy(image.data() + kXmmOffset + kSlot * i, state.vector[i].bytes.data(), kSlot);
}

void ReadFxsaveX87(std::span<const std::byte, kFxsaveBytes> image, X87State* x87) {
  x87->control = (Get<uint16_t>(image, 0) & 0x1f3f) | 0x40;
  X87Unit(*x87).LoadStatus(Get<uint16_t>(image, 2));
  x87->valid = Get<uint8_t>(image, 4);
  for (unsigned i = 0; i < 8; ++i) {
    X87Register& reg = x87->registers[(x87->top + i) & 7];
    reg.significand = Get<uint64_t>(image, kX87Offset + kSlot * i);
    reg.sign_exponent = Get<uint16_t>(image, kX87Offset + kSlot * i + 8);
  }
}

void ReadFxsaveImage(std::span<const std::byte, kFxsaveBytes> image, CpuState* state) {
  ReadFxsaveX87(image, &state->x87);
  state->x87.last_opcode = Get<uint16_t>(image, 6) & 0x7ff;
  state->x87.last_ip = Get<uint64_t>(image, 8);
  state->x87.last_data = Get<uint64_t>(image, 16);
  state->mxcsr = Get<uint32_t>(image, kFxsaveMxcsrOffset) & kMxcsrMask;
  for (unsigned i = 0; i < 16; ++i)
    std::memcpy(state->vector[i].bytes.data(), image.data() + kXmmOffset + kSlot * i, kSlot);
}

}  // namespace remora::cpu
