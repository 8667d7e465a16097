// SSE and AVX arithmetic, comparison and conversion where all is ordinary: see sse_arithmetic.h for what that means,
// vector_chain.h for where the rest goes.

#include <bit>
#include <cstdint>
#include <type_traits>

#include "cpu/float_checks.h"
#include "cpu/sse_arithmetic.h"
#include "cpu/sse_format.h"
#include "cpu/vector_chain.h"

namespace remora::cpu {
namespace {

// --- arithmetic ---

// Zeros, and inexact results that have to be told from exact ones.
template <Form kForm, typename Operation, typename T, Source kSource>
REMORA_CHAINED void ScalarCarefully(REMORA_PARAMS) {
  BitsOf<T> source, result = 0;
  uint8_t flags = 0;
  const uint32_t mxcsr = state->mxcsr;
  if (!ReadSecond<kForm, BitsOf<T>, kSource>(state, op, tlb, &source) || !RoundsToNearest(mxcsr) ||
      !Operation::template Fast<T>(ReadVector<BitsOf<T>>(state, FirstNumber<kForm>(*op)), source, InexactKnown(mxcsr),
                                   &result, &flags) ||
      flags != 0) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteLowLane<kForm>(state, op, result);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <Form kForm, typename Operation, typename T, Source kSource>
REMORA_CHAINED void Scalar(REMORA_PARAMS) {
  BitsOf<T> source;
  if (!ReadSecond<kForm, BitsOf<T>, kSource>(state, op, tlb, &source)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  auto lanes = ReadVector<Vec<T, 16>>(state, FirstNumber<kForm>(*op));
  const auto first = ReadVector<BitsOf<T>>(state, FirstNumber<kForm>(*op));
  lanes[0] = Operation::Host(static_cast<T>(lanes[0]), std::bit_cast<T>(source));
  if (!NothingToTell(state->mxcsr) || ExponentOf<T>(first) == 0 || ExponentOf<T>(source) == 0 ||
      !FarFromEnds<T>(std::bit_cast<BitsOf<T>>(static_cast<T>(lanes[0])))) [[unlikely]]
    REMORA_TAIL ScalarCarefully<kForm, Operation, T, kSource == Source::kRegister ? kSource : Source::kAny>(
        REMORA_ARGS);
  WriteVector<kForm>(state, op->dst, lanes);
  REMORA_TAIL Next(REMORA_ARGS);
}

// The parts of an operand as vectors of lanes.
template <Form kForm, typename T>
struct Parts {
  Vec<BitsOf<T>, 16> part[kNumParts<kForm>];
};

template <Form kForm, typename Operation, typename T, Source kSource>
REMORA_CHAINED void PackedCarefully(REMORA_PARAMS) {
  Parts<kForm, T> a, b;
  if (!ReadSecond<kForm, Parts<kForm, T>, kSource>(state, op, tlb, &b)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  a = ReadVector<Parts<kForm, T>>(state, FirstNumber<kForm>(*op));
  const uint32_t mxcsr = state->mxcsr;
  bool done = RoundsToNearest(mxcsr);
  uint8_t flags = 0;
#pragma clang loop unroll(full)
  for (int part = 0; part < kNumParts<kForm>; ++part) {
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < 16 / sizeof(T); ++i) {
      BitsOf<T> result = 0;
      done =
          done && Operation::template Fast<T>(a.part[part][i], b.part[part][i], InexactKnown(mxcsr), &result, &flags);
      a.part[part][i] = result;
    }
  }
  if (!done || flags != 0) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteWide<kForm>(state, op->dst, a);
  REMORA_TAIL Next(REMORA_ARGS);
}

// kZeros: a lane of an operand may be zero, and so may one of the result, where an operand is, or where two numbers
// cancelled each other. What is infinite or NaN still shows in the result, or makes a zero out of no zero. And inexact
// results may have something to tell, so that all of them have to be exact (what computes with integers never raises
// the flag, and so comes here each time).
template <Form kForm, typename Operation, typename T, Source kSource, bool kZeros>
REMORA_CHAINED void Packed(REMORA_PARAMS) {
  constexpr Source kNextSource = kSource == Source::kRegister ? kSource : Source::kAny;
  const bool nothing_to_tell = NothingToTell(state->mxcsr);
  Parts<kForm, T> b;
  if ((!kZeros && !nothing_to_tell) || !ReadSecond<kForm, Parts<kForm, T>, kSource>(state, op, tlb, &b)) [[unlikely]] {
    if constexpr (!kZeros) REMORA_TAIL Packed<kForm, Operation, T, kNextSource, true>(REMORA_ARGS);
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  }
  const auto a = ReadVector<Parts<kForm, T>>(state, FirstNumber<kForm>(*op));
  Parts<kForm, T> result;
  Quads refused = {};
#pragma clang loop unroll(full)
  for (int i = 0; i < kNumParts<kForm>; ++i) {
    const auto x = std::bit_cast<Lanes<T>>(a.part[i]), y = std::bit_cast<Lanes<T>>(b.part[i]);
    const Lanes<T> z = Operation::Host(x, y);
    result.part[i] = std::bit_cast<Vec<BitsOf<T>, 16>>(z);
    auto refused_here = NearLowEnd<T>(z);
    if constexpr (kZeros) {
      auto zero = z == 0;
      if constexpr (!Operation::kCancels) zero &= (x == 0) | (y == 0);
      refused_here = (refused_here & ~zero) | Refused<T, false>(x) | Refused<T, false>(y);
      if (!nothing_to_tell) refused_here |= Operation::template Lost<T>(x, y, z);
    } else {
      refused_here |= HasNoExponent<T>(x) | HasNoExponent<T>(y);
    }
    refused |= std::bit_cast<Quads>(refused_here | NearHighEnd<T>(z));
  }
  if ((kZeros && !RoundsToNearest(state->mxcsr)) || AnyLane(refused)) [[unlikely]] {
    if constexpr (kZeros) REMORA_TAIL PackedCarefully<kForm, Operation, T, kNextSource>(REMORA_ARGS);
    REMORA_TAIL Packed<kForm, Operation, T, kNextSource, true>(REMORA_ARGS);
  }
  WriteWide<kForm>(state, op->dst, result);
  REMORA_TAIL Next(REMORA_ARGS);
}

// A root of an ordinary number that is not negative is ordinary, and inexact but for squares.
template <typename T>
struct Root {
  using Bits = BitsOf<T>;
  [[gnu::always_inline]] static bool Fast(Bits a, bool inexact_known, Bits* result) {
    *result = std::bit_cast<Bits>(__builtin_elementwise_sqrt(std::bit_cast<T>(a)));
    if (!IsOrdinary<T>(a) || static_cast<std::make_signed_t<Bits>>(a) < 0) return false;
    if (inexact_known || a == 0) return true;
    return ProductIsExact<T>(*result, *result) &&
           std::bit_cast<T>(*result) * std::bit_cast<T>(*result) == std::bit_cast<T>(a);
  }
};

template <Form kForm, typename T, Source kSource>
REMORA_CHAINED void ScalarRoot(REMORA_PARAMS) {
  BitsOf<T> source, result;
  if (!ReadSecond<kForm, BitsOf<T>, kSource>(state, op, tlb, &source) || !RoundsToNearest(state->mxcsr) ||
      !Root<T>::Fast(source, InexactKnown(state->mxcsr), &result)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteLowLane<kForm>(state, op, result);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <Form kForm, typename T, Source kSource>
REMORA_CHAINED void PackedRoot(REMORA_PARAMS) {
  Parts<kForm, T> value;
  if (!ReadSource<kForm, Parts<kForm, T>, kSource>(state, op, tlb, op->src, &value)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  bool done = RoundsToNearest(state->mxcsr);
#pragma clang loop unroll(full)
  for (auto& lanes : value.part) {
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < 16 / sizeof(T); ++i) {
      BitsOf<T> root = 0;
      done = done && Root<T>::Fast(lanes[i], InexactKnown(state->mxcsr), &root);
      lanes[i] = root;
    }
  }
  if (!done) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteWide<kForm>(state, op->dst, value);
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- comparison ---

// COMISS, UCOMISS and the like: of ordinary numbers they are the same.
template <typename T, Source kSource>
REMORA_CHAINED void CompareIntoFlags(REMORA_PARAMS) {
  BitsOf<T> b;
  const auto a = ReadVector<BitsOf<T>>(state, op->dst);
  if (!ReadSource<Form::kVex128, BitsOf<T>, kSource>(state, op, tlb, op->src, &b) || !IsOrdinary<T>(a) ||
      !IsOrdinary<T>(b)) [[unlikely]]
    REMORA_TAIL CallPlain<true>(REMORA_ARGS);
  const T x = std::bit_cast<T>(a), y = std::bit_cast<T>(b);
  flag_a = (x < y ? kFlagCF : 0) | (x == y ? kFlagZF : 0);
  flag_b = 0;
  flag_kind = kFlagWord<FlagKind::kExplicit>;
  REMORA_TAIL Next(REMORA_ARGS);
}

// CMPPS and its relatives, by one predicate: EQ, LT, LE, (UNORD never here), NEQ, NLT, NLE, (ORD always).
template <typename T>
[[gnu::always_inline]] inline BitsOf<T> Predicate(unsigned predicate, BitsOf<T> a, BitsOf<T> b) {
  const T x = std::bit_cast<T>(a), y = std::bit_cast<T>(b);
  const bool less = x < y, equal = x == y;
  // Bits of `predicate`: 0 counts less than, 1 too but not where it stands alone, 2 turns the answer round.
  const unsigned kind = predicate & 3;
  const bool holds = kind == 0 ? equal : kind == 1 ? less : kind == 2 ? less || equal : false;
  return holds != ((predicate & 4) != 0) ? ~BitsOf<T>{0} : BitsOf<T>{0};
}
template <Form kForm, typename T, Source kSource>
REMORA_CHAINED void ScalarPredicate(REMORA_PARAMS) {
  BitsOf<T> b;
  auto lanes = ReadVector<Vec<BitsOf<T>, 16>>(state, FirstNumber<kForm>(*op));
  if (!ReadSecond<kForm, BitsOf<T>, kSource>(state, op, tlb, &b) || !IsOrdinary<T>(lanes[0]) || !IsOrdinary<T>(b))
      [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  lanes[0] = Predicate<T>(op->immediate8 & 7, lanes[0], b);
  WriteVector<kForm>(state, op->dst, lanes);
  REMORA_TAIL Next(REMORA_ARGS);
}

// The same for all lanes: which of the two orderings count, and whether the answer is turned round.
template <Form kForm, typename T, Source kSource>
REMORA_CHAINED void PackedPredicate(REMORA_PARAMS) {
  using Bits = Vec<BitsOf<T>, 16>;
  Parts<kForm, T> b;
  if (!ReadSecond<kForm, Parts<kForm, T>, kSource>(state, op, tlb, &b)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  auto a = ReadVector<Parts<kForm, T>>(state, FirstNumber<kForm>(*op));
  const unsigned predicate = op->immediate8, kind = predicate & 3;
  const auto all_if = [](bool condition) { return Bits{} - BitsOf<T>{condition}; };
  Quads refused = {};
#pragma clang loop unroll(full)
  for (int i = 0; i < kNumParts<kForm>; ++i) {
    const auto x = std::bit_cast<Lanes<T>>(a.part[i]), y = std::bit_cast<Lanes<T>>(b.part[i]);
    refused |= std::bit_cast<Quads>(Refused<T, true>(x) | Refused<T, true>(y));
    const auto less = std::bit_cast<Bits>(x < y), equal = std::bit_cast<Bits>(x == y);
    const Bits holds = (less & all_if(kind == 1 || kind == 2)) | (equal & all_if(kind == 0 || kind == 2));
    a.part[i] = holds ^ all_if((predicate & 4) != 0);
  }
  if (AnyLane(refused)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteWide<kForm>(state, op->dst, a);
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- conversion ---

// Whether no bit of `value` can be lost in T's significand.
template <typename T, typename Integer>
[[gnu::always_inline]] inline bool Fits(Integer value) {
  if constexpr (sizeof(Integer) * 8 <= Traits<T>::kFractionBits + 1) return true;
  constexpr int64_t kLimit = int64_t{1} << (Traits<T>::kFractionBits + 1);
  return value >= -kLimit && value <= kLimit;
}

template <Form kForm, typename Integer, typename T, Source kSource>
REMORA_CHAINED void IntegerToScalar(REMORA_PARAMS) {
  Integer value;
  if constexpr (kSource == Source::kRegister) {
    value = static_cast<Integer>(state->gpr[SecondNumber<kForm>(*op)]);
  } else {
    if (!ReadSecond<kForm, Integer, kSource>(state, op, tlb, &value)) [[unlikely]]
      REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  }
  if (!Fits<T>(value) && !(RoundsToNearest(state->mxcsr) && InexactKnown(state->mxcsr))) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteLowLane<kForm>(state, op, std::bit_cast<BitsOf<T>>(static_cast<T>(value)));
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename T, typename Integer, Source kSource>
REMORA_CHAINED void ScalarToInteger(REMORA_PARAMS) {
  BitsOf<T> source;
  if (!ReadSource<Form::kVex128, BitsOf<T>, kSource>(state, op, tlb, op->src, &source) || !IsOrdinary<T>(source))
      [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  const T value = std::bit_cast<T>(source);
  constexpr T kLimit = static_cast<T>(uint64_t{1} << (8 * sizeof(Integer) - 2)) * 2;
  if (!(value < kLimit && value > -kLimit)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  const auto integer = static_cast<Integer>(value);
  if (!InexactKnown(state->mxcsr) && static_cast<T>(integer) != value) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  state->gpr[op->dst] = static_cast<std::make_unsigned_t<Integer>>(integer);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename From, typename To>
[[gnu::always_inline]] inline bool ConvertFast(uint32_t mxcsr, BitsOf<From> from, BitsOf<To>* to) {
  const auto value = static_cast<To>(std::bit_cast<From>(from));
  *to = std::bit_cast<BitsOf<To>>(value);
  if (!IsOrdinary<From>(from)) return false;
  if constexpr (sizeof(To) > sizeof(From)) return true;
  if (!RoundsToNearest(mxcsr) || !(IsInside<To>(*to) || IsZero<From>(from))) return false;
  return InexactKnown(mxcsr) || static_cast<From>(value) == std::bit_cast<From>(from);
}

template <Form kForm, typename From, typename To, Source kSource>
REMORA_CHAINED void ScalarToScalar(REMORA_PARAMS) {
  BitsOf<From> from;
  BitsOf<To> to;
  if (!ReadSecond<kForm, BitsOf<From>, kSource>(state, op, tlb, &from) ||
      !ConvertFast<From, To>(state->mxcsr, from, &to)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteLowLane<kForm>(state, op, to);
  REMORA_TAIL Next(REMORA_ARGS);
}

// CVTPS2PD, CVTPD2PS; the latter clears the upper half.
template <Form kForm, typename From, typename To, Source kSource>
REMORA_CHAINED void PackedToPacked(REMORA_PARAMS) {
  Vec<BitsOf<From>, 2 * sizeof(From)> from;
  Vec<BitsOf<To>, 16> to = {};
  if (!ReadSource<kForm, decltype(from), kSource>(state, op, tlb, op->src, &from)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  BitsOf<To> low = 0, high = 0;
  if (!ConvertFast<From, To>(state->mxcsr, from[0], &low) || !ConvertFast<From, To>(state->mxcsr, from[1], &high))
      [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  to[0] = low;
  to[1] = high;
  WriteVector<kForm>(state, op->dst, to);
  REMORA_TAIL Next(REMORA_ARGS);
}

// CVTDQ2PD (exact), CVTDQ2PS (where inexact results are known to change nothing).
template <Form kForm, typename T, Source kSource>
REMORA_CHAINED void PackedFromInteger(REMORA_PARAMS) {
  constexpr int kLanes = 16 / sizeof(T);
  Vec<int32_t, 4 * kLanes> from;
  if (!ReadSource<kForm, decltype(from), kSource>(state, op, tlb, op->src, &from)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  if (sizeof(T) == 4 && !(RoundsToNearest(state->mxcsr) && InexactKnown(state->mxcsr))) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteVector<kForm>(state, op->dst, __builtin_convertvector(from, Vec<T, 16>));
  REMORA_TAIL Next(REMORA_ARGS);
}

// CVTTPS2DQ, CVTTPD2DQ; the latter clears the upper half.
template <Form kForm, typename T, Source kSource>
REMORA_CHAINED void PackedTruncated(REMORA_PARAMS) {
  constexpr int kLanes = 16 / sizeof(T);
  using Integers = Vec<int32_t, 4 * kLanes>;
  Lanes<T> values;
  if (!ReadSource<kForm, decltype(values), kSource>(state, op, tlb, op->src, &values)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  constexpr T kLimit = static_cast<T>(uint64_t{1} << 31);
  const auto inside = (values < kLimit) & (values > -kLimit);
  if (AnyLane(Refused<T, false>(values) | ~inside)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  const auto integers = __builtin_convertvector(values, Integers);
  if (!InexactKnown(state->mxcsr) && AnyLane(__builtin_convertvector(integers, Vec<T, 16>) != values)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  Vec<int32_t, 16> to = {};
#pragma clang loop unroll(full)
  for (int i = 0; i < kLanes; ++i) to[i] = integers[i];
  WriteVector<kForm>(state, op->dst, to);
  REMORA_TAIL Next(REMORA_ARGS);
}

}  // namespace

Handler FindChainedFloat(const VectorInstruction& in, const Op& op) {
  const bool further = op.immediate8 > 7 && in.form != Form::kSse;
  const int last = in.in.info.operand_count_visible - 1;
  const bool wide_source = last >= 0 && in.in.operands[last].size == 64;
  const bool wide_result = in.in.operands[0].size == 64;
  switch (in.mnemonic) {
#define REMORA_CASE(name, ...)                                                                \
  case ZYDIS_MNEMONIC_##name:                                                                 \
    return ByForm(in.form, [&]<Form kForm>() -> Handler {                                     \
      return BySourceOf<kForm>(op, []<Source kSource>() -> Handler { return &__VA_ARGS__; }); \
    });
#define REMORA_FOUR(name, operation)                                     \
  REMORA_CASE(name##SS, Scalar<kForm, operation, float, kSource>)        \
  REMORA_CASE(name##SD, Scalar<kForm, operation, double, kSource>)       \
  REMORA_CASE(name##PS, Packed<kForm, operation, float, kSource, false>) \
  REMORA_CASE(name##PD, Packed<kForm, operation, double, kSource, false>)
    REMORA_FOUR(ADD, AddOperation)
    REMORA_FOUR(SUB, SubtractOperation)
    REMORA_FOUR(MUL, MultiplyOperation)
    REMORA_FOUR(DIV, DivideOperation)
#undef REMORA_FOUR
// Nothing is rounded: the careful form is as fast.
#define REMORA_FOUR(name, operation)                                        \
  REMORA_CASE(name##SS, ScalarCarefully<kForm, operation, float, kSource>)  \
  REMORA_CASE(name##SD, ScalarCarefully<kForm, operation, double, kSource>) \
  REMORA_CASE(name##PS, PackedCarefully<kForm, operation, float, kSource>)  \
  REMORA_CASE(name##PD, PackedCarefully<kForm, operation, double, kSource>)
    REMORA_FOUR(MIN, SelectOperation<false>)
    REMORA_FOUR(MAX, SelectOperation<true>)
#undef REMORA_FOUR
    REMORA_CASE(SQRTSS, ScalarRoot<kForm, float, kSource>)
    REMORA_CASE(SQRTSD, ScalarRoot<kForm, double, kSource>)
    REMORA_CASE(SQRTPS, PackedRoot<kForm, float, kSource>)
    REMORA_CASE(SQRTPD, PackedRoot<kForm, double, kSource>)
    REMORA_CASE(COMISS, CompareIntoFlags<float, kSource>)
    REMORA_CASE(UCOMISS, CompareIntoFlags<float, kSource>)
    REMORA_CASE(COMISD, CompareIntoFlags<double, kSource>)
    REMORA_CASE(UCOMISD, CompareIntoFlags<double, kSource>)
    REMORA_CASE(CVTSS2SD, ScalarToScalar<kForm, float, double, kSource>)
    REMORA_CASE(CVTSD2SS, ScalarToScalar<kForm, double, float, kSource>)
#undef REMORA_CASE
#define REMORA_CASE(name, unless, ...)                                                        \
  case ZYDIS_MNEMONIC_##name:                                                                 \
    if (unless) return nullptr;                                                               \
    return ByForm(in.form, [&]<Form kForm>() -> Handler {                                     \
      return BySourceOf<kForm>(op, []<Source kSource>() -> Handler { return &__VA_ARGS__; }); \
    });
    REMORA_CASE(CMPSS, further, ScalarPredicate<kForm, float, kSource>)
    REMORA_CASE(CMPSD, further, ScalarPredicate<kForm, double, kSource>)
    REMORA_CASE(CMPPS, further, PackedPredicate<kForm, float, kSource>)
    REMORA_CASE(CMPPD, further, PackedPredicate<kForm, double, kSource>)
#undef REMORA_CASE
// Their width is 16 bytes, whatever the form says.
#define REMORA_CASE(name, ...)                                                                     \
  case ZYDIS_MNEMONIC_##name:                                                                      \
    if (in.form == Form::kVex256) return nullptr;                                                  \
    return in.form == Form::kSse ? BySource(op,                                                    \
                                            []<Source kSource>() -> Handler {                      \
                                              constexpr Form kForm = Form::kSse;                   \
                                              return &__VA_ARGS__;                                 \
                                            })                                                     \
                                 : BySourceOf<Form::kVex128>(op, []<Source kSource>() -> Handler { \
                                     constexpr Form kForm = Form::kVex128;                         \
                                     return &__VA_ARGS__;                                          \
                                   });
    REMORA_CASE(CVTTPS2DQ, PackedTruncated<kForm, float, kSource>)
    REMORA_CASE(CVTTPD2DQ, PackedTruncated<kForm, double, kSource>)
    REMORA_CASE(CVTPS2PD, PackedToPacked<kForm, float, double, kSource>)
    REMORA_CASE(CVTPD2PS, PackedToPacked<kForm, double, float, kSource>)
    REMORA_CASE(CVTDQ2PS, PackedFromInteger<kForm, float, kSource>)
    REMORA_CASE(CVTDQ2PD, PackedFromInteger<kForm, double, kSource>)
#undef REMORA_CASE
#define REMORA_BY_WIDTH(name, wide, shape, from_to)                        \
  case ZYDIS_MNEMONIC_##name:                                              \
    return ByForm(in.form, [&]<Form kForm>() -> Handler {                  \
      return BySourceOf<kForm>(op, [&]<Source kSource>() -> Handler {      \
        return wide ? &shape(int64_t, from_to) : &shape(int32_t, from_to); \
      });                                                                  \
    });
#define REMORA_FROM(integer, number) IntegerToScalar<kForm, integer, number, kSource>
#define REMORA_TO(integer, number) ScalarToInteger<number, integer, kSource>
    REMORA_BY_WIDTH(CVTSI2SS, wide_source, REMORA_FROM, float)
    REMORA_BY_WIDTH(CVTSI2SD, wide_source, REMORA_FROM, double)
    REMORA_BY_WIDTH(CVTTSS2SI, wide_result, REMORA_TO, float)
    REMORA_BY_WIDTH(CVTTSD2SI, wide_result, REMORA_TO, double)
#undef REMORA_BY_WIDTH
#undef REMORA_FROM
#undef REMORA_TO
    default:
      return nullptr;
  }
}

}  // namespace remora::cpu
