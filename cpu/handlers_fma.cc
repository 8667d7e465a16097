// Scalar FMA where all is ordinary, by the host's own instruction where it has it; the rest is done by cpu/fma.cc,
// whose plain handlers ask libm, which looks up each time what the host has.

#include <bit>
#include <cstdint>

#include "cpu/float_checks.h"
#include "cpu/sse_format.h"
#include "cpu/vector_chain.h"

namespace remora::cpu {
namespace {

#if defined(__x86_64__)
#define REMORA_WITH_FMA [[gnu::target("fma")]]
bool HostFuses() { return __builtin_cpu_supports("fma"); }
#else
#define REMORA_WITH_FMA
bool HostFuses() { return true; }
#endif

template <typename T, Fused::Order kOrder, Source kSource>
REMORA_CHAINED REMORA_WITH_FMA void ScalarFused(REMORA_PARAMS) {
  BitsOf<T> third;
  if (!NothingToTell(state->mxcsr) || !ReadSecond<Form::kVex128, BitsOf<T>, kSource>(state, op, tlb, &third))
      [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  auto lanes = ReadVector<Vec<BitsOf<T>, 16>>(state, op->dst);
  const BitsOf<T> first = lanes[0], second = ReadVector<BitsOf<T>>(state, op->src);
  const BitsOf<T> a = kOrder == Fused::k132 ? first : second, b = kOrder == Fused::k213 ? first : third,
                  c = kOrder == Fused::k132   ? second
                      : kOrder == Fused::k213 ? third
                                              : first;
  const unsigned control = op->immediate8;
  constexpr int kSignShift = 8 * sizeof(T) - 1;
  const BitsOf<T> negate_product = BitsOf<T>{control & Fused::kNegateProduct} << kSignShift;
  const BitsOf<T> negate_addend = BitsOf<T>{(control & Fused::kNegateAddend) / Fused::kNegateAddend} << kSignShift;
  const T result = __builtin_elementwise_fma(std::bit_cast<T>(a ^ negate_product), std::bit_cast<T>(b),
                                             std::bit_cast<T>(c ^ negate_addend));
  lanes[0] = std::bit_cast<BitsOf<T>>(result);
  if (!IsOrdinary<T>(a) || !IsOrdinary<T>(b) || !IsOrdinary<T>(c) || !FarFromEnds<T>(lanes[0])) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteVector<Form::kVex128>(state, op->dst, lanes);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename T, Fused::Order kOrder>
Handler ScalarFusedFor(const Op& op) {
  if (!HostFuses()) return nullptr;
  return BySourceOf<Form::kVex128>(op, []<Source kSource>() -> Handler { return &ScalarFused<T, kOrder, kSource>; });
}

}  // namespace

Handler FindChainedFma(const VectorInstruction& in, const Op& op) {
  switch (in.mnemonic) {
#define REMORA_FUSED(order, suffix, ...)      \
  case ZYDIS_MNEMONIC_VFMADD##order##suffix:  \
  case ZYDIS_MNEMONIC_VFMSUB##order##suffix:  \
  case ZYDIS_MNEMONIC_VFNMADD##order##suffix: \
  case ZYDIS_MNEMONIC_VFNMSUB##order##suffix: \
    return ScalarFusedFor<__VA_ARGS__>(op);
    REMORA_FUSED(132, SS, float, Fused::k132)
    REMORA_FUSED(213, SS, float, Fused::k213)
    REMORA_FUSED(231, SS, float, Fused::k231)
    REMORA_FUSED(132, SD, double, Fused::k132)
    REMORA_FUSED(213, SD, double, Fused::k213)
    REMORA_FUSED(231, SD, double, Fused::k231)
#undef REMORA_FUSED
    default:
      return nullptr;
  }
}

}  // namespace remora::cpu
