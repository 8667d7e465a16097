#ifndef REMORA_CPU_SSE_LANES_H_
#define REMORA_CPU_SSE_LANES_H_

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cpu/sse_operands.h"

// Integer arithmetic on lanes, for MMX (8 bytes) and SSE2 (16 bytes) from one source: compiler vectors, no intrinsics.
// Which instruction is which operation stands in sse_lanes.inc.

namespace remora::cpu::lanes {

template <typename To, typename From>
[[gnu::always_inline]] inline To As(From from) {
  return std::bit_cast<To>(from);
}

// --- operations: Apply(a, b) on all lanes of the bytes a and b ---

template <typename T>
struct Plus {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<T, N>>(a) + As<Vec<T, N>>(b));
  }
};
template <typename T>
struct Minus {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<T, N>>(a) - As<Vec<T, N>>(b));
  }
};
template <typename T>
struct SaturatingPlus {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(__builtin_elementwise_add_sat(As<Vec<T, N>>(a), As<Vec<T, N>>(b)));
  }
};
template <typename T>
struct SaturatingMinus {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(__builtin_elementwise_sub_sat(As<Vec<T, N>>(a), As<Vec<T, N>>(b)));
  }
};
template <typename T>
struct Maximum {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(__builtin_elementwise_max(As<Vec<T, N>>(a), As<Vec<T, N>>(b)));
  }
};
template <typename T>
struct Minimum {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(__builtin_elementwise_min(As<Vec<T, N>>(a), As<Vec<T, N>>(b)));
  }
};
template <typename T>
struct Equal {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<T, N>>(a) == As<Vec<T, N>>(b));
  }
};
template <typename T>
struct Greater {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<T, N>>(a) > As<Vec<T, N>>(b));
  }
};
struct And {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return a & b;
  }
};
struct AndNot {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return ~a & b;
  }
};
struct Or {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return a | b;
  }
};
struct Xor {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return a ^ b;
  }
};

struct MultiplyLow {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<uint16_t, N>>(a) * As<Vec<uint16_t, N>>(b));
  }
};
// PMULHW, PMULHUW: T is int16_t or uint16_t.
template <typename T>
struct MultiplyHigh {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    auto x = As<Vec<T, N>>(a), y = As<Vec<T, N>>(b);
    for (int i = 0; i < N / 2; ++i) x[i] = static_cast<T>((int64_t{x[i]} * y[i]) >> 16);
    return As<ByteVec<N>>(x);
  }
};
struct MultiplyEven {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>((As<Vec<uint64_t, N>>(a) & 0xffffffff) * (As<Vec<uint64_t, N>>(b) & 0xffffffff));
  }
};
struct MultiplyAddPairs {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto x = As<Vec<int16_t, N>>(a), y = As<Vec<int16_t, N>>(b);
    Vec<uint32_t, N> sums;
    for (int i = 0; i < N / 4; ++i)
      sums[i] = static_cast<uint32_t>(x[2 * i] * y[2 * i]) + static_cast<uint32_t>(x[2 * i + 1] * y[2 * i + 1]);
    return As<ByteVec<N>>(sums);
  }
};
struct SumOfDifferences {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const ByteVec<N> differences = __builtin_elementwise_max(a, b) - __builtin_elementwise_min(a, b);
    // Pairs of bytes, then the four pairs of each quadword at once, by a multiplication that sums them at the top.
    auto x = As<Vec<uint64_t, N>>(differences);
    x = (x & 0x00ff00ff00ff00ff) + ((x >> 8) & 0x00ff00ff00ff00ff);
    return As<ByteVec<N>>((x * 0x0001000100010001) >> 48);
  }
};
template <typename T>
struct Average {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto x = As<Vec<T, N>>(a), y = As<Vec<T, N>>(b);
    // Rounded up without a wider type: half the difference is taken off the union.
    return As<ByteVec<N>>((x | y) - ((x ^ y) >> 1));
  }
};

// PUNPCKL (kHigh false) and PUNPCKH.
template <typename T, bool kHigh>
struct Interleave {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    constexpr int kLanes = N / sizeof(T);
    constexpr int kFrom = kHigh ? kLanes / 2 : 0;
    const auto x = As<Vec<T, N>>(a), y = As<Vec<T, N>>(b);
    Vec<T, N> result;
    for (int i = 0; i < kLanes / 2; ++i) {
      result[2 * i] = x[kFrom + i];
      result[2 * i + 1] = y[kFrom + i];
    }
    return As<ByteVec<N>>(result);
  }
};

template <typename From, typename To>
struct Pack {
  // Lanes cut to To's range and narrowed: half as many bytes.
  template <int N>
  [[gnu::always_inline]] static Vec<To, N / 2> Saturated(ByteVec<N> from) {
    constexpr From kLow = std::numeric_limits<To>::min(), kHigh = std::numeric_limits<To>::max();
    const auto low = Vec<From, N>{} + kLow, high = Vec<From, N>{} + kHigh;
    const auto clamped = __builtin_elementwise_min(__builtin_elementwise_max(As<Vec<From, N>>(from), low), high);
    return __builtin_convertvector(clamped, Vec<To, N / 2>);
  }
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    struct Halves {
      Vec<To, N / 2> first, second;
    };
    return As<ByteVec<N>>(Halves{Saturated<N>(a), Saturated<N>(b)});
  }
};

// Shifts of all lanes by one count. T unsigned: left or logical right; signed: arithmetic right.
template <typename T, bool kLeft>
struct Shift {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> By(ByteVec<N> a, uint64_t count) {
    constexpr uint64_t kBits = 8 * sizeof(T);
    auto x = As<Vec<T, N>>(a);
    if (count >= kBits) {
      if constexpr (!std::is_signed_v<T>) return ByteVec<N>{};
      count = kBits - 1;
    }
    if constexpr (kLeft)
      x <<= static_cast<T>(count);
    else
      x >>= static_cast<T>(count);
    return As<ByteVec<N>>(x);
  }
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return By<N>(a, As<Vec<uint64_t, N>>(b)[0]);
  }
};

}  // namespace remora::cpu::lanes

#endif  // REMORA_CPU_SSE_LANES_H_
