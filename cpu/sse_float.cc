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

// SSE and AVX arithmetic and comparison.
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
struct ScalarArithmetic {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    BitsOf<T> source;
    if (!LoadScalar<T>(env, op, SecondNumber<kForm>(op), &source)) return false;
    CpuState& state = env.state();
    uint8_t flags = 0;
    const BitsOf<T> result =
        Lane<Operation, T>(state.mxcsr, GetScalar<T>(state, FirstNumber<kForm>(op)), source, &flags);
    if (!CommitSse(env, flags)) return false;
    SetScalar<kForm, T>(state, op, result);
    return true;
  }
};

// A packed instruction with two sources: `compute(mxcsr, a, b, &flags)` answers the result.
template <Form kForm, typename T, typename Compute>
bool RunPacked(HandlerEnv& env, const Op& op, Compute compute) {
  Numbers<kForm, T> b;
  if (!LoadNumbers<kForm, T>(env, op, SecondNumber<kForm>(op), &b)) return false;
  CpuState& state = env.state();
  uint8_t flags = 0;
  const Numbers<kForm, T> result = compute(state.mxcsr, GetNumbers<kForm, T>(state, FirstNumber<kForm>(op)), b, &flags);
  if (!CommitSse(env, flags)) return false;
  SetNumbers<kForm, T>(state, op.dst, result);
  return true;
}

// One with one source: `compute(mxcsr, number, &flags)` answers a lane of the result.
template <Form kForm, typename T, typename Compute>
bool RunPackedUnary(HandlerEnv& env, const Op& op, Compute compute) {
  Numbers<kForm, T> numbers;
  if (!LoadNumbers<kForm, T>(env, op, op.src, &numbers)) return false;
  CpuState& state = env.state();
  uint8_t flags = 0;
  for (auto& number : numbers) number = compute(state.mxcsr, number, &flags);
  if (!CommitSse(env, flags)) return false;
  SetNumbers<kForm, T>(state, op.dst, numbers);
  return true;
}

template <typename Operation, typename T>
struct PackedArithmetic {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    return RunPacked<kForm, T>(env, op, [](uint32_t mxcsr, auto a, const auto& b, uint8_t* flags) {
      for (size_t i = 0; i < a.size(); ++i) a[i] = Lane<Operation, T>(mxcsr, a[i], b[i], flags);
      return a;
    });
  }
};

// ADDSUBPS, ADDSUBPD: the odd lanes are added.
template <typename T>
struct AddSubtract {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    return RunPacked<kForm, T>(env, op, [](uint32_t mxcsr, auto a, const auto& b, uint8_t* flags) {
      for (size_t i = 0; i < a.size(); i += 2) {
        a[i] = Lane<SubtractOperation, T>(mxcsr, a[i], b[i], flags);
        a[i + 1] = Lane<AddOperation, T>(mxcsr, a[i + 1], b[i + 1], flags);
      }
      return a;
    });
  }
};

// HADDPS and its kin: neighbours, in each 16 bytes those of the first source below those of the second.
template <typename Operation, typename T>
struct HorizontalArithmetic {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    return RunPacked<kForm, T>(env, op, [](uint32_t mxcsr, const auto& a, const auto& b, uint8_t* flags) {
      constexpr size_t kLanes = 16 / sizeof(T);
      Numbers<kForm, T> result;
      for (size_t part = 0; part < a.size(); part += kLanes) {
        for (size_t i = 0; i < kLanes; i += 2) {
          result[part + i / 2] = Lane<Operation, T>(mxcsr, a[part + i], a[part + i + 1], flags);
          result[part + kLanes / 2 + i / 2] = Lane<Operation, T>(mxcsr, b[part + i], b[part + i + 1], flags);
        }
      }
      return result;
    });
  }
};

// DPPS, DPPD: products of chosen lanes, added pair by pair, into chosen lanes. Exceptions are looked for behind each of
// the steps.
template <typename T>
struct DotProduct {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    Numbers<kForm, T> b;
    if (!LoadNumbers<kForm, T>(env, op, SecondNumber<kForm>(op), &b)) return false;
    CpuState& state = env.state();
    auto a = GetNumbers<kForm, T>(state, FirstNumber<kForm>(op));
    constexpr size_t kLanes = 16 / sizeof(T);
    const unsigned control = op.immediate8;
    const uint32_t mxcsr = state.mxcsr;
    uint8_t flags = 0;
    for (size_t i = 0; i < a.size(); ++i)
      a[i] = (control >> (4 + i % kLanes) & 1) != 0 ? Lane<MultiplyOperation, T>(mxcsr, a[i], b[i], &flags) : 0;
    if (!CommitSse(env, flags)) return false;
    // Of two NaNs the lower lane's stays.
    for (size_t distance = 1; distance < kLanes; distance *= 2) {
      flags = 0;
      const auto terms = a;
      for (size_t i = 0; i < a.size(); ++i)
        a[i] = Lane<AddOperation, T>(mxcsr, terms[i & ~distance], terms[i | distance], &flags);
      if (!CommitSse(env, flags)) return false;
    }
    for (size_t i = 0; i < a.size(); ++i)
      if ((control >> (i % kLanes) & 1) == 0) a[i] = 0;
    SetNumbers<kForm, T>(state, op.dst, a);
    return true;
  }
};

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
struct ScalarRoot {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    BitsOf<T> source;
    if (!LoadScalar<T>(env, op, SecondNumber<kForm>(op), &source)) return false;
    uint8_t flags = 0;
    const BitsOf<T> result = RootLane<T>(env.state().mxcsr, source, &flags);
    if (!CommitSse(env, flags)) return false;
    SetScalar<kForm, T>(env.state(), op, result);
    return true;
  }
};

template <typename T>
struct PackedRoot {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    return RunPackedUnary<kForm, T>(env, op, &RootLane<T>);
  }
};

// ROUNDPS and its kin. Bit 2 of the immediate: as MXCSR rounds; bit 3: inexact results are not told. A denormal operand
// never is.
template <typename T>
BitsOf<T> IntegralLane(uint32_t mxcsr, unsigned control, BitsOf<T> value, uint8_t* flags) {
  FloatEnvironment env = SseEnvironment(mxcsr);
  if ((control & 4) == 0) env.rounding = static_cast<Rounding>(control & 3);
  const BitsOf<T> result = Traits<T>::Pack(RoundToIntegral(Traits<T>::Unpack(value), env));
  *flags |= env.flags & ~(kDenormal | ((control & 8) != 0 ? kInexact : 0));
  return result;
}

template <typename T>
struct ScalarIntegral {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    BitsOf<T> source;
    if (!LoadScalar<T>(env, op, SecondNumber<kForm>(op), &source)) return false;
    uint8_t flags = 0;
    const BitsOf<T> result = IntegralLane<T>(env.state().mxcsr, op.immediate8, source, &flags);
    if (!CommitSse(env, flags)) return false;
    SetScalar<kForm, T>(env.state(), op, result);
    return true;
  }
};

template <typename T>
struct PackedIntegral {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    return RunPackedUnary<kForm, T>(env, op, [&](uint32_t mxcsr, BitsOf<T> number, uint8_t* flags) {
      return IntegralLane<T>(mxcsr, op.immediate8, number, flags);
    });
  }
};

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

// CMPPS and its relatives. A set bit stands for an Ordering that makes the predicate true: of SSE's eight (EQ, LT, LE,
// UNORD, NEQ, NLT, NLE, ORD), and of the eight that AVX adds (EQ_UQ, NGE, NGT, FALSE, NEQ_OQ, GE, GT, TRUE). The other
// sixteen are the same, but quiet where these signal and the other way round.
template <typename T>
BitsOf<T> PredicateLane(uint32_t mxcsr, unsigned predicate, BitsOf<T> a, BitsOf<T> b, uint8_t* flags) {
  static constexpr uint8_t kTrueFor[16] = {0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111,
                                           0b1010, 0b1001, 0b1011, 0b0000, 0b0101, 0b0110, 0b0100, 0b1111};
  const bool quiet = ((predicate & 3) == 0 || (predicate & 3) == 3) != ((predicate & 16) != 0);
  const Ordering ordering = CompareLane<T>(mxcsr, a, b, quiet, flags);
  return (kTrueFor[predicate & 15] >> static_cast<int>(ordering) & 1) != 0 ? ~BitsOf<T>{0} : BitsOf<T>{0};
}
template <Form kForm>
unsigned PredicateOf(const Op& op) {
  return op.immediate8 & (kForm == Form::kSse ? 7 : 31);
}

template <typename T>
struct ScalarPredicate {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    BitsOf<T> source;
    if (!LoadScalar<T>(env, op, SecondNumber<kForm>(op), &source)) return false;
    CpuState& state = env.state();
    uint8_t flags = 0;
    const BitsOf<T> result = PredicateLane<T>(state.mxcsr, PredicateOf<kForm>(op),
                                              GetScalar<T>(state, FirstNumber<kForm>(op)), source, &flags);
    if (!CommitSse(env, flags)) return false;
    SetScalar<kForm, T>(state, op, result);
    return true;
  }
};

template <typename T>
struct PackedPredicate {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    return RunPacked<kForm, T>(env, op, [&](uint32_t mxcsr, auto a, const auto& b, uint8_t* flags) {
      for (size_t i = 0; i < a.size(); ++i) a[i] = PredicateLane<T>(mxcsr, PredicateOf<kForm>(op), a[i], b[i], flags);
      return a;
    });
  }
};

// COMISS, UCOMISS and the like.
template <typename T, bool kQuiet>
bool CompareIntoFlags(HandlerEnv& env, const Op& op) {
  BitsOf<T> source;
  if (!LoadScalar<T>(env, op, op.src, &source)) return false;
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
struct ScalarApproximation {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    uint32_t source;
    if (!LoadScalar<float>(env, op, SecondNumber<kForm>(op), &source)) return false;
    SetScalar<kForm, float>(env.state(), op, std::bit_cast<uint32_t>(Approximate(std::bit_cast<float>(source), kRoot)));
    return true;
  }
};

template <bool kRoot>
struct PackedApproximation {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    Numbers<kForm, float> numbers;
    if (!LoadNumbers<kForm, float>(env, op, op.src, &numbers)) return false;
    for (uint32_t& number : numbers) number = std::bit_cast<uint32_t>(Approximate(std::bit_cast<float>(number), kRoot));
    SetNumbers<kForm, float>(env.state(), op.dst, numbers);
    return true;
  }
};

}  // namespace

PlainHandler FindSseFloat(const VectorInstruction& in) {
  const Form form = in.form;
  switch (in.mnemonic) {
#define REMORA_CASE(name, ...) \
  case ZYDIS_MNEMONIC_##name:  \
    return HandlerOf<__VA_ARGS__>(form);
#define REMORA_BY_TYPE(name, family) REMORA_CASE(name##PS, family<float>) REMORA_CASE(name##PD, family<double>)
#define REMORA_FOUR(name, operation)                         \
  REMORA_CASE(name##PS, PackedArithmetic<operation, float>)  \
  REMORA_CASE(name##PD, PackedArithmetic<operation, double>) \
  REMORA_CASE(name##SS, ScalarArithmetic<operation, float>)  \
  REMORA_CASE(name##SD, ScalarArithmetic<operation, double>)
    REMORA_FOUR(ADD, AddOperation)
    REMORA_FOUR(SUB, SubtractOperation)
    REMORA_FOUR(MUL, MultiplyOperation)
    REMORA_FOUR(DIV, DivideOperation)
    REMORA_FOUR(MIN, SelectOperation<false>)
    REMORA_FOUR(MAX, SelectOperation<true>)
    REMORA_BY_TYPE(ADDSUB, AddSubtract)
    REMORA_BY_TYPE(DP, DotProduct)
    REMORA_CASE(HADDPS, HorizontalArithmetic<AddOperation, float>)
    REMORA_CASE(HADDPD, HorizontalArithmetic<AddOperation, double>)
    REMORA_CASE(HSUBPS, HorizontalArithmetic<SubtractOperation, float>)
    REMORA_CASE(HSUBPD, HorizontalArithmetic<SubtractOperation, double>)
    REMORA_BY_TYPE(SQRT, PackedRoot)
    REMORA_CASE(SQRTSS, ScalarRoot<float>)
    REMORA_CASE(SQRTSD, ScalarRoot<double>)
    REMORA_BY_TYPE(ROUND, PackedIntegral)
    REMORA_CASE(ROUNDSS, ScalarIntegral<float>)
    REMORA_CASE(ROUNDSD, ScalarIntegral<double>)
    REMORA_BY_TYPE(CMP, PackedPredicate)
    REMORA_CASE(CMPSS, ScalarPredicate<float>)
    REMORA_CASE(CMPSD, ScalarPredicate<double>)
    REMORA_CASE(RCPPS, PackedApproximation<false>)
    REMORA_CASE(RCPSS, ScalarApproximation<false>)
    REMORA_CASE(RSQRTPS, PackedApproximation<true>)
    REMORA_CASE(RSQRTSS, ScalarApproximation<true>)
#undef REMORA_CASE
#undef REMORA_BY_TYPE
#undef REMORA_FOUR
    case ZYDIS_MNEMONIC_COMISS:
      return CompareIntoFlags<float, false>;
    case ZYDIS_MNEMONIC_COMISD:
      return CompareIntoFlags<double, false>;
    case ZYDIS_MNEMONIC_UCOMISS:
      return CompareIntoFlags<float, true>;
    case ZYDIS_MNEMONIC_UCOMISD:
      return CompareIntoFlags<double, true>;
    default:
      return nullptr;
  }
}

}  // namespace remora::cpu
