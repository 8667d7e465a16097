#ifndef REMORA_CPU_XSAVE_H_
#define REMORA_CPU_XSAVE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/cpu_state.h"

namespace remora::cpu {

// The image of XSAVE: FXSAVE's 512 bytes, a header of 64, then the upper halves of the YMM registers. In signal frames
// too. Its compacted form is laid out alike, because nothing stands between the header and AVX's part. Source: SDM
// volume 1, chapter 13. Thread safety: pure functions.

inline constexpr uint64_t kXstateX87 = 1, kXstateSse = 2, kXstateAvx = 4;
inline constexpr uint64_t kXcr0 = kXstateX87 | kXstateSse | kXstateAvx;  // what there is, all of it enabled
inline constexpr uint64_t kXstateCompacted = uint64_t{1} << 63;          // in XCOMP_BV

inline constexpr size_t kXsaveHeaderOffset = 512;
inline constexpr size_t kXsaveComponentsOffset = kXsaveHeaderOffset;      // XSTATE_BV: which components the image has
inline constexpr size_t kXsaveCompactionOffset = kXsaveHeaderOffset + 8;  // XCOMP_BV
inline constexpr size_t kXsaveAvxOffset = kXsaveHeaderOffset + 64;
inline constexpr size_t kXsaveBytes = kXsaveAvxOffset + 16 * 16;
using XsaveImage = std::array<std::byte, kXsaveBytes>;

// Which components are not as a reset leaves them (the SDM's XINUSE).
uint64_t XstateInUse(const CpuState& state);

// All components, and XSTATE_BV with those in use.
void WriteXsaveImage(const CpuState& state, XsaveImage* image);

// Loads the `wanted` components, those that the image does not have as a reset leaves them. False: the image is one
// that XRSTOR refuses (#GP), and nothing has changed.
bool ReadXsaveImage(const XsaveImage& image, uint64_t wanted, CpuState* state);

}  // namespace remora::cpu

#endif  // REMORA_CPU_XSAVE_H_
