#ifndef REMORA_CPU_XSAVE_H_
#define REMORA_CPU_XSAVE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/cpu_state.h"

namespace remora::cpu {

// The image of XSAVE: FXSAVE's 512 bytes, a header of 64, then the components that FXSAVE has not, at places that
// CPUID tells. In signal frames too. The places are those of AMD's CPUs: nothing stands between two components, so that
// the compacted form of all of them is laid out alike. Source: SDM volume 1, chapter 13. Thread safety: pure functions.

inline constexpr uint64_t kXstateX87 = 1, kXstateSse = 2, kXstateAvx = 4;
inline constexpr uint64_t kXstateOpmask = 1 << 5, kXstateZmmHigh = 1 << 6, kXstateZmmMore = 1 << 7;
inline constexpr uint64_t kXstateAvx512 = kXstateOpmask | kXstateZmmHigh | kXstateZmmMore;
inline constexpr uint64_t kXstateAll = kXstateX87 | kXstateSse | kXstateAvx | kXstateAvx512;
inline constexpr uint64_t kXstateCompacted = uint64_t{1} << 63;  // in XCOMP_BV

inline constexpr size_t kXsaveHeaderOffset = 512;
inline constexpr size_t kXsaveComponentsOffset = kXsaveHeaderOffset;      // XSTATE_BV: which components the image has
inline constexpr size_t kXsaveCompactionOffset = kXsaveHeaderOffset + 8;  // XCOMP_BV
inline constexpr size_t kXsaveExtendedOffset = kXsaveHeaderOffset + 64;   // of the first component behind the header

// A component behind the header, in the standard form; `number` is its bit.
struct XsaveComponent {
  unsigned number;
  size_t offset, bytes;
};
inline constexpr XsaveComponent kXsaveComponents[] = {
    {2, kXsaveExtendedOffset, 16 * 16},        // the upper halves of YMM0-15
    {5, kXsaveExtendedOffset + 256, 8 * 8},    // k0-7
    {6, kXsaveExtendedOffset + 320, 16 * 32},  // the upper halves of ZMM0-15
    {7, kXsaveExtendedOffset + 832, 16 * 64},  // ZMM16-31
};
inline constexpr size_t kXsaveAvxOffset = kXsaveComponents[0].offset;
inline constexpr size_t kMaxXsaveBytes = kXsaveComponents[3].offset + kXsaveComponents[3].bytes;
using XsaveImage = std::array<std::byte, kMaxXsaveBytes>;

// How long an image in the standard form is that has room for `components`.
constexpr size_t XsaveBytes(uint64_t components) {
  size_t bytes = kXsaveExtendedOffset;
  for (const XsaveComponent& component : kXsaveComponents)
    if ((components >> component.number & 1) != 0) bytes = component.offset + component.bytes;
  return bytes;
}

// Which components are not as a reset leaves them (the SDM's XINUSE).
uint64_t XstateInUse(const CpuState& state);

// All components in the standard form, and XSTATE_BV with those in use.
void WriteXsaveImage(const CpuState& state, XsaveImage* image);

// Whether XRSTOR takes the image's header where `enabled` is XCR0.
bool IsGoodXsaveHeader(const XsaveImage& image, uint64_t enabled);

// Loads the `wanted` components, those that the image does not have as a reset leaves them. False: the image is one
// that XRSTOR refuses (#GP) where `enabled` is XCR0, and nothing has changed. The components are where the standard
// form has them, whatever the header says.
bool ReadXsaveImage(const XsaveImage& image, uint64_t wanted, uint64_t enabled, CpuState* state);

}  // namespace remora::cpu

#endif  // REMORA_CPU_XSAVE_H_
