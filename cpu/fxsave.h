#ifndef REMORA_CPU_FXSAVE_H_
#define REMORA_CPU_FXSAVE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/cpu_state.h"

namespace remora::cpu {

// The 512-byte image of FXSAVE64, which signal frames hold too. Source: SDM volume 1, 10.5; bytes 464..511 are the
// program's own. Thread safety: pure functions.

inline constexpr size_t kFxsaveBytes = 512;
inline constexpr size_t kFxsaveUsedBytes = 416;  // what the CPU writes
inline constexpr size_t kFxsaveMxcsrOffset = 24;
inline constexpr uint32_t kMxcsrMask = 0xffff;  // bits that MXCSR has: no misaligned-SSE mode (AMD's bit 17)

// Bytes from kFxsaveUsedBytes on become zero.
void WriteFxsaveImage(const CpuState& state, std::span<std::byte, kFxsaveBytes> image);
// Reserved bits of MXCSR are ignored; FXRSTOR's #GP for them is the caller's to raise.
// The x87 unit alone, without where its last instruction was.
void ReadFxsaveX87(std::span<const std::byte, kFxsaveBytes> image, X87State* x87);
void ReadFxsaveImage(std::span<const std::byte, kFxsaveBytes> image, CpuState* state);

}  // namespace remora::cpu

#endif  // REMORA_CPU_FXSAVE_H_
