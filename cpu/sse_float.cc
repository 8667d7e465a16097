#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__SSE__)
#include <immintrin.h>
#endif

#include "cpu/sse_arithmetic.h"
#include "cpu/sse_environment.h"
#include "cpu/sse_format.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// SSE and SSE2 arithmetic and comparison.
//
// What is not ordinary (sse_arithmetic.h) goes through cpu/soft_float.h. So no host control register is ever touched.
// Most of these instructions have chained handlers as well (handlers_float.cc), which leave to these what is rare.

namespace remora::cpu {
namespace {

template <typename Operation, typename T>
BitsOf<T> SoftLane(BitsOf<T> a, BitsOf<T> b, FloatEnvironment& env) {
  if constexpr (requires { Operation::template Select<T>(a, b, env); })
    return Operation::template Select<T>(a, b, env);
  else
    return Traits<T>::Pack(Operation::Soft(Traits<T>::Unpack(a), Traits<T>::Unpack(b), Traits<T>::kFormat, env));
}

template <typename Operation, typename T>
BitsOf<T> Lane(uint32_t mxcsr, BitsOf<T> a, BitsOf<T> b, uint8_t* flags) {
  BitsOf<T> result;
  if ((mxcsr & kMxcsrRounding) == 0) [[likely]] {
    if (Operation::template Fast<T>(a, b, (mxcsr & kInexact) != 0 && (mxcsr & (kInexact << 7)) != 0, &result, flags))
        [[likely]]
      return result;
  }
  FloatEnvironment env = SseEnvironment(mxcsr);
  result = SoftLane<Operation, T>(a, b, env);
  *flags |= env.flags;
  return result;
}

// --- handlers ---

template <typename Operation, typename T>
bool ScalarArithmetic(HandlerEnv& env, const Op& op) {
  BitsOf<T> source;
  if (!LoadScalar<T>(env, op, &source)) return false;
  CpuState& state = env.state();
  uint8_t flags = 0;
  const BitsOf<T> result = Lane<Operation, T>(state.mxcsr, GetScalar<T>(state, op.dst), source, &flags);
  if (!CommitSse(env, flags)) return false;
  SetScalar<T>(state, op.dst, result);
  return true;
}

template <typename Operation, typename T>
bool PackedArithmetic(HandlerEnv& env, const Op& op) {
  ByteVec<16> source;
  if (!LoadSource<16>(env, op, &source)) return false;
  CpuState& state = env.state();
  auto a = std::bit_cast<Vec<BitsOf<T>, 16>>(GetRegister<16>(state, op.dst));
  const auto b = std::bit_cast<Vec<BitsOf<T>, 16>>(source);
  uint8_t flags = 0;
  for (unsigned i = 0; i < 16 / sizeof(T); ++i) a[i] = Lane<Operation, T>(state.mxcsr, a[i], b[i], &flags);
  if (!CommitSse(env, flags)) return false;
  SetRegister<16>(state, op.dst, std::bit_cast<ByteVec<16>>(a));
  return true;
}

template <typename T>
BitsOf<T> RootLane(uint32_t mxcsr, BitsOf<T> a, uint8_t* flags) {
  constexpr BitsOf<T> kSign = BitsOf<T>{1} << (8 * sizeof(T) - 1);
  if ((mxcsr & kMxcsrRounding) == 0 && IsOrdinary<T>(a) && (a & kSign) == 0) [[likely]] {
    const BitsOf<T> root = std::bit_cast<BitsOf<T>>(std::sqrt(std::bit_cast<T>(a)));
    if (!IsZero<T>(a) && !((mxcsr & kInexact) != 0 && (mxcsr & (kInexact << 7)) != 0)) {
      const bool exact =
          ProductIsExact<T>(root, root) && std::bit_cast<T>(root) * std::bit_cast<T>(root) == std::bit_cast<T>(a);
      if (!exact) *flags |= kInexact;
    }
    return root;
  }
  FloatEnvironment env = SseEnvironment(mxcsr);
  const BitsOf<T> root = Traits<T>::Pack(SquareRoot(Traits<T>::Unpack(a), Traits<T>::kFormat, env));
  *flags |= env.flags;
  return root;
}

template <typename T>
bool ScalarRoot(HandlerEnv& env, const Op& op) {
  BitsOf<T> source;
  if (!LoadScalar<T>(env, op, &source)) return false;
  uint8_t flags = 0;
  const BitsOf<T> result = RootLane<T>(env.state().mxcsr, source, &flags);
  if (!CommitSse(env, flags)) return false;
  SetScalar<T>(env.state(), op.dst, result);
  return true;
}

template <typename T>
bool PackedRoot(HandlerEnv& env, const Op& op) {
  ByteVec<16> source;
  if (!LoadSource<16>(env, op, &source)) return false;
  auto value = std::bit_cast<Vec<BitsOf<T>, 16>>(source);
  uint8_t flags = 0;
  for (unsigned i = 0; i < 16 / sizeof(T); ++i) value[i] = RootLane<T>(env.state().mxcsr, value[i], &flags);
  if (!CommitSse(env, flags)) return false;
  SetRegister<16>(env.state(), op.dst, std::bit_cast<ByteVec<16>>(value));
  return true;
}

// --- comparison ---

template <typename T>
Ordering CompareLane(uint32_t mxcsr, BitsOf<T> a, BitsOf<T> b, bool quiet, uint8_t* flags) {
  if (IsOrdinary<T>(a) && IsOrdinary<T>(b)) [[likely]] {
    const T x = std::bit_cast<T>(a), y = std::bit_cast<T>(b);
    return x < y ? Ordering::kLess : x == y ? Ordering::kEqual : Ordering::kGreater;
  }
  FloatEnvironment env = SseEnvironment(mxcsr);
  const Ordering ordering = Compare(Traits<T>::Unpack(a), Traits<T>::Unpack(b), quiet, env);
  *flags |= env.flags;
  return ordering;
}

// CMPPS and its relatives: EQ, LT, LE, UNORD, NEQ, NLT, NLE, ORD. A set bit stands for an Ordering that makes it true.
template <typename T>
BitsOf<T> PredicateLane(uint32_t mxcsr, unsigned predicate, BitsOf<T> a, BitsOf<T> b, uint8_t* flags) {
  static constexpr uint8_t kTrueFor[8] = {0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111};
  const bool quiet = (predicate & 3) == 0 || (predicate & 3) == 3;
  const Ordering ordering = CompareLane<T>(mxcsr, a, b, quiet, flags);
  return (kTrueFor[predicate] >> static_cast<int>(ordering) & 1) != 0 ? ~BitsOf<T>{0} : BitsOf<T>{0};
}

template <typename T>
bool ScalarPredicate(HandlerEnv& env, const Op& op) {
  BitsOf<T> source;
  if (!LoadScalar<T>(env, op, &source)) return false;
  CpuState& state = env.state();
  uint8_t flags = 0;
  const BitsOf<T> result =
      PredicateLane<T>(state.mxcsr, op.immediate8 & 7, GetScalar<T>(state, op.dst), source, &flags);
  if (!CommitSse(env, flags)) return false;
  SetScalar<T>(state, op.dst, result);
  return true;
}

template <typename T>
bool PackedPredicate(HandlerEnv& env, const Op& op) {
  ByteVec<16> source;
  if (!LoadSource<16>(env, op, &source)) return false;
  CpuState& state = env.state();
  auto a = std::bit_cast<Vec<BitsOf<T>, 16>>(GetRegister<16>(state, op.dst));
  const auto b = std::bit_cast<Vec<BitsOf<T>, 16>>(source);
  uint8_t flags = 0;
  for (unsigned i = 0; i < 16 / sizeof(T); ++i)
    a[i] = PredicateLane<T>(state.mxcsr, op.immediate8 & 7, a[i], b[i], &flags);
  if (!CommitSse(env, flags)) return false;
  SetRegister<16>(state, op.dst, std::bit_cast<ByteVec<16>>(a));
  return true;
}

// COMISS, UCOMISS and the like.
template <typename T, bool kQuiet>
bool CompareIntoFlags(HandlerEnv& env, const Op& op) {
  BitsOf<T> source;
  if (!LoadScalar<T>(env, op, &source)) return false;
  CpuState& state = env.state();
  uint8_t flags = 0;
  const Ordering ordering = CompareLane<T>(state.mxcsr, GetScalar<T>(state, op.dst), source, kQuiet, &flags);
  if (!CommitSse(env, flags)) return false;
  static constexpr uint64_t kCodes[] = {kFlagCF, kFlagZF, 0, kFlagCF | kFlagPF | kFlagZF};
  state.rflags = (state.rflags & ~kStatusFlags) | kCodes[static_cast<int>(ordering)];
  return true;
}

// --- approximations, by the host's own instruction: their tables differ between makers ---

#if defined(__SSE__)
float Approximate(float value, bool root) {
  const __m128 operand = _mm_set_ss(value);
  return _mm_cvtss_f32(root ? _mm_rsqrt_ss(operand) : _mm_rcp_ss(operand));
}
#else
float Approximate(float value, bool root) { return 1.0f / (root ? std::sqrt(value) : value); }
#endif

template <bool kRoot>
bool ScalarApproximation(HandlerEnv& env, const Op& op) {
  uint32_t source;
  if (!LoadScalar<float>(env, op, &source)) return false;
  SetScalar<float>(env.state(), op.dst, std::bit_cast<uint32_t>(Approximate(std::bit_cast<float>(source), kRoot)));
  return true;
}

template <bool kRoot>
bool PackedApproximation(HandlerEnv& env, const Op& op) {
  ByteVec<16> source;
  if (!LoadSource<16>(env, op, &source)) return false;
  auto value = std::bit_cast<Vec<float, 16>>(source);
  for (int i = 0; i < 4; ++i) value[i] = Approximate(value[i], kRoot);
  SetRegister<16>(env.state(), op.dst, std::bit_cast<ByteVec<16>>(value));
  return true;
}

}  // namespace

PlainHandler FindSseFloat(const DecodedInstruction& instruction) {
  switch (instruction.info.mnemonic) {
#define REMORA_FOUR(name, operation)            \
  case ZYDIS_MNEMONIC_##name##PS:               \
    return PackedArithmetic<operation, float>;  \
  case ZYDIS_MNEMONIC_##name##PD:               \
    return PackedArithmetic<operation, double>; \
  case ZYDIS_MNEMONIC_##name##SS:               \
    return ScalarArithmetic<operation, float>;  \
  case ZYDIS_MNEMONIC_##name##SD:               \
    return ScalarArithmetic<operation, double>;
    REMORA_FOUR(ADD, AddOperation)
    REMORA_FOUR(SUB, SubtractOperation)
    REMORA_FOUR(MUL, MultiplyOperation)
    REMORA_FOUR(DIV, DivideOperation)
    REMORA_FOUR(MIN, SelectOperation<false>)
    REMORA_FOUR(MAX, SelectOperation<true>)
#undef REMORA_FOUR
    case ZYDIS_MNEMONIC_SQRTPS:
      return PackedRoot<float>;
    case ZYDIS_MNEMONIC_SQRTPD:
      return PackedRoot<double>;
    case ZYDIS_MNEMONIC_SQRTSS:
      return ScalarRoot<float>;
    case ZYDIS_MNEMONIC_SQRTSD:
      return ScalarRoot<double>;
    case ZYDIS_MNEMONIC_CMPPS:
      return PackedPredicate<float>;
    case ZYDIS_MNEMONIC_CMPPD:
      return PackedPredicate<double>;
    case ZYDIS_MNEMONIC_CMPSS:
      return ScalarPredicate<float>;
    case ZYDIS_MNEMONIC_CMPSD:
      return ScalarPredicate<double>;
    case ZYDIS_MNEMONIC_COMISS:
      return CompareIntoFlags<float, false>;
    case ZYDIS_MNEMONIC_COMISD:
      return CompareIntoFlags<double, false>;
    case ZYDIS_MNEMONIC_UCOMISS:
      return CompareIntoFlags<float, true>;
    case ZYDIS_MNEMONIC_UCOMISD:
      return CompareIntoFlags<double, true>;
    case ZYDIS_MNEMONIC_RCPPS:
      return PackedApproximation<false>;
    case ZYDIS_MNEMONIC_RCPSS:
      return ScalarApproximation<false>;
    case ZYDIS_MNEMONIC_RSQRTPS:
      return PackedApproximation<true>;
    case ZYDIS_MNEMONIC_RSQRTSS:
      return ScalarApproximation<true>;
    default:
      return nullptr;
  }
}

}  // namespace remora::cpu
