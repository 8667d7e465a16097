#include "cpu/xsave.h"

#include <algorithm>
#include <cstring>

#include "cpu/fxsave.h"

namespace remora::cpu {
namespace {

constexpr size_t kUpper = 16;  // where the upper half of a YMM register starts
constexpr int kNumRegisters = 16;

bool AllZero(const std::byte* bytes, size_t length) {
  return std::all_of(bytes, bytes + length, [](std::byte b) { return b == std::byte{0}; });
}

uint64_t Word(const XsaveImage& image, size_t offset) {
  uint64_t value;
  std::memcpy(&value, image.data() + offset, sizeof(value));
  return value;
}

// Whether XRSTOR takes the header.
bool IsGoodHeader(const XsaveImage& image) {
  const uint64_t components = Word(image, kXsaveComponentsOffset), layout = Word(image, kXsaveCompactionOffset);
  if ((components & ~kXcr0) != 0) return false;
  if ((layout & kXstateCompacted) == 0) return layout == 0 && Word(image, kXsaveHeaderOffset + 16) == 0;
  return (layout & ~(kXcr0 | kXstateCompacted)) == 0 && (components & ~layout) == 0 &&
         AllZero(image.data() + kXsaveHeaderOffset + 16, 48);
}

bool IsInitial(const X87State& x87) {
  const X87State initial{};
  if (x87.control != initial.control || x87.status != 0 || x87.top != 0 || x87.valid != 0 || x87.last_opcode != 0 ||
      x87.last_ip != 0 || x87.last_data != 0)
    return false;
  return std::ranges::all_of(x87.registers,
                             [](const X87Register& reg) { return reg.significand == 0 && reg.sign_exponent == 0; });
}

}  // namespace

uint64_t XstateInUse(const CpuState& state) {
  uint64_t in_use = IsInitial(state.x87) ? 0 : kXstateX87;
  for (int i = 0; i < kNumRegisters; ++i) {
    const std::byte* bytes = state.vector[i].bytes.data();
    if (!AllZero(bytes, kUpper)) in_use |= kXstateSse;
    if (!AllZero(bytes + kUpper, kUpper)) in_use |= kXstateAvx;
  }
  return in_use;
}

void WriteXsaveImage(const CpuState& state, XsaveImage* image) {
  image->fill(std::byte{0});
  WriteFxsaveImage(state, std::span(*image).first<kFxsaveBytes>());
  const uint64_t in_use = XstateInUse(state);
  std::memcpy(image->data() + kXsaveComponentsOffset, &in_use, sizeof(in_use));
  for (int i = 0; i < kNumRegisters; ++i)
    std::memcpy(image->data() + kXsaveAvxOffset + kUpper * i, state.vector[i].bytes.data() + kUpper, kUpper);
}

bool ReadXsaveImage(const XsaveImage& image, uint64_t wanted, CpuState* state) {
  if (!IsGoodHeader(image)) return false;
  const uint64_t components = Word(image, kXsaveComponentsOffset);
  const bool compacted = (Word(image, kXsaveCompactionOffset) & kXstateCompacted) != 0;
  uint32_t mxcsr;
  std::memcpy(&mxcsr, image.data() + kFxsaveMxcsrOffset, sizeof(mxcsr));
  // In the standard form MXCSR belongs to SSE and AVX, and is there whether they are or not.
  const bool load_mxcsr =
      compacted ? (wanted & components & kXstateSse) != 0 : (wanted & (kXstateSse | kXstateAvx)) != 0;
  if (load_mxcsr && (mxcsr & ~kMxcsrMask) != 0) return false;

  CpuState loaded = CpuState();
  ReadFxsaveImage(std::span(image).first<kFxsaveBytes>(), &loaded);
  if ((wanted & kXstateX87) != 0) state->x87 = (components & kXstateX87) != 0 ? loaded.x87 : X87State{};
  if (load_mxcsr)
    state->mxcsr = mxcsr;
  else if (compacted && (wanted & kXstateSse) != 0)
    state->mxcsr = CpuState().mxcsr;
  for (int i = 0; i < kNumRegisters; ++i) {
    std::byte* bytes = state->vector[i].bytes.data();
    if ((wanted & kXstateSse) != 0) {
      std::memset(bytes, 0, kUpper);
      if ((components & kXstateSse) != 0) std::memcpy(bytes, loaded.vector[i].bytes.data(), kUpper);
    }
    if ((wanted & kXstateAvx) != 0) {
      std::memset(bytes + kUpper, 0, kUpper);
      if ((components & kXstateAvx) != 0)
        std::memcpy(bytes + kUpper, image.data() + kXsaveAvxOffset + kUpper * i, kUpper);
    }
  }
  return true;
}

}  // namespace remora::cpu
