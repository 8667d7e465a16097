#ifndef REMORA_CPU_SSE_ENVIRONMENT_H_
#define REMORA_CPU_SSE_ENVIRONMENT_H_

#include <cstdint>

#include "cpu/handler_env.h"
#include "cpu/soft_float.h"

namespace remora::cpu {

inline constexpr uint32_t kMxcsrDaz = 1 << 6, kMxcsrMasks = 0x3f << 7, kMxcsrRounding = 3 << 13, kMxcsrFtz = 1 << 15;
// The bits that LDMXCSR and FXRSTOR accept; others raise #GP.
inline constexpr uint32_t kMxcsrValid = 0xffff;

inline FloatEnvironment SseEnvironment(uint32_t mxcsr) {
  FloatEnvironment env;
  env.rounding = static_cast<Rounding>((mxcsr >> 13) & 3);
  env.masks = (mxcsr >> 7) & kAllFloatFlags;
  env.flush_to_zero = (mxcsr & kMxcsrFtz) != 0;
  env.denormals_are_zero = (mxcsr & kMxcsrDaz) != 0;
  return env;
}

// Adds what an instruction raised to MXCSR. False: one of it is unmasked, #XM was raised and there is no result.
inline bool CommitSse(HandlerEnv& env, uint8_t flags) {
  uint32_t& mxcsr = env.state().mxcsr;
  if (flags == 0) [[likely]]
    return true;
  const uint32_t unmasked = flags & ~(mxcsr >> 7) & kAllFloatFlags;
  if (unmasked == 0) [[likely]] {
    mxcsr |= flags;
    return true;
  }
  // One found before the computation keeps what only the computation would have shown from being seen.
  mxcsr |= (unmasked & kPreComputationFlags) != 0 ? flags & kPreComputationFlags : flags;
  return env.Raise(ExitReason::kSimdError);
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_SSE_ENVIRONMENT_H_
