#include "cpu/cpu_level.h"

#include <initializer_list>

#include "base/check.h"
#include "cpu/host_avx512.h"

namespace remora::cpu {
namespace {

// The lowest level that has it.
CpuLevel LevelOf(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_CMPXCHG16B:
    case ZYDIS_ISA_SET_LAHF:
    case ZYDIS_ISA_SET_POPCNT:
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSE3X87:
    case ZYDIS_ISA_SET_SSE4:
    case ZYDIS_ISA_SET_SSE42:
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSSE3MMX:
      return CpuLevel::kV2;
    case ZYDIS_ISA_SET_AVX:
    case ZYDIS_ISA_SET_AVX2:
    case ZYDIS_ISA_SET_AVX2GATHER:
    case ZYDIS_ISA_SET_BMI1:
    case ZYDIS_ISA_SET_BMI2:
    case ZYDIS_ISA_SET_F16C:
    case ZYDIS_ISA_SET_FMA:
    case ZYDIS_ISA_SET_LZCNT:
    case ZYDIS_ISA_SET_MOVBE:
    case ZYDIS_ISA_SET_XSAVE:
      return CpuLevel::kV3;
    case ZYDIS_ISA_SET_ADOX_ADCX:
    case ZYDIS_ISA_SET_AES:
    case ZYDIS_ISA_SET_AVXAES:
    case ZYDIS_ISA_SET_CLFLUSHOPT:
    case ZYDIS_ISA_SET_CLWB:
    case ZYDIS_ISA_SET_PCLMULQDQ:
    case ZYDIS_ISA_SET_RDRAND:
    case ZYDIS_ISA_SET_RDSEED:
    case ZYDIS_ISA_SET_SHA:
    case ZYDIS_ISA_SET_VAES:
    case ZYDIS_ISA_SET_VPCLMULQDQ:
    case ZYDIS_ISA_SET_XSAVEC:
    case ZYDIS_ISA_SET_XSAVEOPT:
      return CpuLevel::kHost;
    default:
      return CpuLevel::kV1;
  }
}

}  // namespace

bool LevelHas(CpuLevel level, ZydisISASet set) {
  if (IsAvx512Set(set))
    return LevelHasAvx512(level) && level >= (IsInV4(set) ? CpuLevel::kV4 : CpuLevel::kHost) && HostHasAvx512Set(set);
  return level >= LevelOf(set);
}

bool LevelHasAvx512(CpuLevel level) {
  return level >= CpuLevel::kV4 && level != CpuLevel::kHostWithoutAvx512 && HostHasAvx512();
}

void InitializeDecoder(CpuLevel level, ZydisDecoder* decoder) {
  CHECK(ZYAN_SUCCESS(ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
  for (const ZydisDecoderMode mode : {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_CLDEMOTE})
    CHECK(ZYAN_SUCCESS(ZydisDecoderEnableMode(decoder, mode, ZYAN_FALSE)));
  const ZyanBool counts_zeros = level >= CpuLevel::kV3 ? ZYAN_TRUE : ZYAN_FALSE;
  for (const ZydisDecoderMode mode : {ZYDIS_DECODER_MODE_LZCNT, ZYDIS_DECODER_MODE_TZCNT})
    CHECK(ZYAN_SUCCESS(ZydisDecoderEnableMode(decoder, mode, counts_zeros)));
}

}  // namespace remora::cpu
