#include "cpu/xsave.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "cpu/fxsave.h"

namespace remora::cpu {
namespace {

constexpr size_t kXmmBytes = 16, kYmmBytes = 32;
constexpr size_t kNumYmm = 16;  // registers that have a part in the components of SSE and AVX

bool AllZero(const std::byte* bytes, size_t length) {
  return std::all_of(bytes, bytes + length, [](std::byte b) { return b == std::byte{0}; });
}

uint64_t Word(const XsaveImage& image, size_t offset) {
  uint64_t value;
  std::memcpy(&value, image.data() + offset, sizeof(value));
  return value;
}

bool IsInitial(const X87State& x87) {
  const X87State initial{};
  if (x87.control != initial.control || x87.status != 0 || x87.top != 0 || x87.valid != 0 || x87.last_opcode != 0 ||
      x87.last_ip != 0 || x87.last_data != 0)
    return false;
  return std::ranges::all_of(x87.registers,
                             [](const X87Register& reg) { return reg.significand == 0 && reg.sign_exponent == 0; });
}

// Calls f(component's bit, its bytes in the state, how many, their place in the image) for what lies behind the header.
template <typename State, typename F>
void ForEachPart(State& state, F f) {
  const auto offset_of = [](size_t index) { return kXsaveComponents[index].offset; };
  for (size_t i = 0; i < kNumYmm; ++i) {
    auto* bytes = state.vector[i].bytes.data();
    f(kXstateAvx, bytes + kXmmBytes, kXmmBytes, offset_of(0) + kXmmBytes * i);
    f(kXstateZmmHigh, bytes + kYmmBytes, kYmmBytes, offset_of(2) + kYmmBytes * i);
  }
  for (size_t i = kNumYmm; i < state.vector.size(); ++i)
    f(kXstateZmmMore, state.vector[i].bytes.data(), sizeof(VectorRegister),
      offset_of(3) + sizeof(VectorRegister) * (i - kNumYmm));
  auto* opmask =
      reinterpret_cast<std::remove_reference_t<decltype(*state.vector[0].bytes.data())>*>(state.opmask.data());
  f(kXstateOpmask, opmask, sizeof(state.opmask), offset_of(1));
}

}  // namespace

bool IsGoodXsaveHeader(const XsaveImage& image, uint64_t enabled) {
  const uint64_t components = Word(image, kXsaveComponentsOffset), layout = Word(image, kXsaveCompactionOffset);
  if ((components & ~enabled) != 0) return false;
  if ((layout & kXstateCompacted) == 0) return layout == 0 && Word(image, kXsaveHeaderOffset + 16) == 0;
  return (layout & ~(enabled | kXstateCompacted)) == 0 && (components & ~layout) == 0 &&
         AllZero(image.data() + kXsaveHeaderOffset + 16, 48);
}

uint64_t XstateInUse(const CpuState& state) {
  uint64_t in_use = IsInitial(state.x87) ? 0 : kXstateX87;
  for (size_t i = 0; i < kNumYmm; ++i)
    if (!AllZero(state.vector[i].bytes.data(), kXmmBytes)) in_use |= kXstateSse;
  ForEachPart(state, [&](uint64_t component, const std::byte* bytes, size_t length, size_t) {
    if (!AllZero(bytes, length)) in_use |= component;
  });
  return in_use;
}

void WriteXsaveImage(const CpuState& state, XsaveImage* image) {
  image->fill(std::byte{0});
  WriteFxsaveImage(state, std::span(*image).first<kFxsaveBytes>());
  const uint64_t in_use = XstateInUse(state);
  std::memcpy(image->data() + kXsaveComponentsOffset, &in_use, sizeof(in_use));
  ForEachPart(state, [&](uint64_t, const std::byte* bytes, size_t length, size_t offset) {
    std::memcpy(image->data() + offset, bytes, length);
  });
}

bool ReadXsaveImage(const XsaveImage& image, uint64_t wanted, uint64_t enabled, CpuState* state) {
  if (!IsGoodXsaveHeader(image, enabled)) return false;
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
  if ((wanted & kXstateSse) != 0) {
    for (size_t i = 0; i < kNumYmm; ++i) {
      std::byte* bytes = state->vector[i].bytes.data();
      std::memset(bytes, 0, kXmmBytes);
      if ((components & kXstateSse) != 0) std::memcpy(bytes, loaded.vector[i].bytes.data(), kXmmBytes);
    }
  }
  ForEachPart(*state, [&](uint64_t component, std::byte* bytes, size_t length, size_t offset) {
    if ((wanted & component) == 0) return;
    std::memset(bytes, 0, length);
    if ((components & component) != 0) std::memcpy(bytes, image.data() + offset, length);
  });
  if ((wanted & kXstateAvx512) != 0) state->avx512_live = (XstateInUse(*state) & kXstateAvx512) != 0;
  return true;
}

}  // namespace remora::cpu
