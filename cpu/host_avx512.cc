#include "cpu/host_avx512.h"

namespace remora::cpu {

bool IsAvx512Set(ZydisISASet set) {
  return (set >= ZYDIS_ISA_SET_AVX512BW_128 && set <= ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_512);
}

bool HostHasAvx512() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512vl");
  return has;
#else
  return false;
#endif
}

bool HostHasAvx512Set(ZydisISASet set) {
#if defined(__x86_64__)
  if (!HostHasAvx512()) return false;
  switch (set) {
#define AVX512(set, feature, in_v4)                          \
  case ZYDIS_ISA_SET_##set: {                                \
    static const bool has = __builtin_cpu_supports(feature); \
    return has;                                              \
  }
#include "cpu/host_avx512.inc"
    default:
      return false;
  }
#else
  static_cast<void>(set);
  return false;
#endif
}

bool IsInV4(ZydisISASet set) {
  switch (set) {
#define AVX512(set, feature, in_v4) \
  case ZYDIS_ISA_SET_##set:         \
    return in_v4;
#include "cpu/host_avx512.inc"
    default:
      return false;
  }
}

}  // namespace remora::cpu
