#ifndef REMORA_CPU_SSE4_LANES_H_
#define REMORA_CPU_SSE4_LANES_H_

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cpu/sse_lanes.h"

// What SSSE3, SSE4.1 and SSE4.2 add to sse_lanes.h: the operations of integers and of whole lanes of floating-point
// numbers, that do not look at the numbers. Which instruction is which operation stands in sse_lanes.inc.

namespace remora::cpu::lanes {

// --- SSSE3: Apply(a, b), 8 or 16 bytes ---

// PHADD, PHSUB (kMinus) of neighbours: those of `a` give the lower half of the result, those of `b` the upper one.
template <typename T, bool kMinus, bool kSaturate>
struct Horizontal {
  static T Combine(T x, T y) {
    const int64_t exact = kMinus ? int64_t{x} - y : int64_t{x} + y;
    if constexpr (kSaturate) {
      if (exact > std::numeric_limits<T>::max()) return std::numeric_limits<T>::max();
      if (exact < std::numeric_limits<T>::min()) return std::numeric_limits<T>::min();
    }
    return static_cast<T>(exact);
  }
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    constexpr int kHalf = N / sizeof(T) / 2;
    const auto x = As<Vec<T, N>>(a), y = As<Vec<T, N>>(b);
    Vec<T, N> result;
    for (int i = 0; i < kHalf; ++i) {
      result[i] = Combine(x[2 * i], x[2 * i + 1]);
      result[kHalf + i] = Combine(y[2 * i], y[2 * i + 1]);
    }
    return As<ByteVec<N>>(result);
  }
};
// PMADDUBSW: unsigned bytes of `a` by signed ones of `b`, pairs added with saturation.
struct MultiplyAddBytes {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto x = As<Vec<uint8_t, N>>(a);
    const auto y = As<Vec<int8_t, N>>(b);
    Vec<int16_t, N> sums;
    for (int i = 0; i < N / 2; ++i) {
      const int sum = x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
      sums[i] = static_cast<int16_t>(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
    }
    return As<ByteVec<N>>(sums);
  }
};
struct MultiplyHighRounded {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    auto x = As<Vec<int16_t, N>>(a), y = As<Vec<int16_t, N>>(b);
    for (int i = 0; i < N / 2; ++i) x[i] = static_cast<int16_t>((((x[i] * y[i]) >> 14) + 1) >> 1);
    return As<ByteVec<N>>(x);
  }
};
struct ShuffleBytes {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    // By way of memory: a vector has no lane whose number is known only now.
    const auto from = std::bit_cast<std::array<uint8_t, N>>(a);
    const auto control = std::bit_cast<std::array<uint8_t, N>>(b);
    std::array<uint8_t, N> to;
    for (int i = 0; i < N; ++i)
      to[i] = static_cast<uint8_t>(from[control[i] & (N - 1)] & (static_cast<int8_t>(control[i]) < 0 ? 0 : 0xff));
    return std::bit_cast<ByteVec<N>>(to);
  }
};
template <typename T>
struct Sign {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto x = As<Vec<T, N>>(a), y = As<Vec<T, N>>(b);
    const auto negative = y < 0;
    return As<ByteVec<N>>(((x ^ negative) - negative) & ~(y == 0));
  }
};

// --- SSE4.1 and SSE4.2: Apply(a, b), 16 bytes ---

// PMULLD.
struct MultiplyLowDoublewords {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<uint32_t, N>>(a) * As<Vec<uint32_t, N>>(b));
  }
};
// PMULDQ.
struct MultiplyEvenSigned {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    auto x = As<Vec<int64_t, N>>(a), y = As<Vec<int64_t, N>>(b);
    for (int i = 0; i < N / 8; ++i) x[i] = int64_t{static_cast<int32_t>(x[i])} * static_cast<int32_t>(y[i]);
    return As<ByteVec<N>>(x);
  }
};

// --- one source: Apply(a) ---

template <typename T>
struct Absolute {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a) {
    const auto x = As<Vec<T, N>>(a);
    const auto negative = x < 0;
    return As<ByteVec<N>>((x ^ negative) - negative);
  }
};
// MOVDDUP, MOVSLDUP (kFirst 0), MOVSHDUP (kFirst 1): each second lane, twice.
template <typename T, int kFirst>
struct Duplicate {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a) {
    const auto x = As<Vec<T, N>>(a);
    Vec<T, N> result;
    for (unsigned i = 0; i < N / sizeof(T); ++i) result[i] = x[(i & ~1u) + kFirst];
    return As<ByteVec<N>>(result);
  }
};
// PHMINPOSUW: the smallest word, and where it first is.
struct SmallestWord {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a) {
    const auto x = As<Vec<uint16_t, N>>(a);
    unsigned at = 0;
    for (unsigned i = 1; i < 8; ++i)
      if (x[i] < x[at]) at = i;
    const Vec<uint16_t, N> result = {x[at], static_cast<uint16_t>(at)};
    return As<ByteVec<N>>(result);
  }
};

// --- with an immediate: Apply(a, b, control), kControlBits of it for each 16 bytes of a wider operand (0: all) ---

// PALIGNR: `a` above `b`, shifted right by bytes.
struct AlignRight {
  static constexpr unsigned kControlBits = 0;
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b, unsigned control) {
    uint8_t from[4 * N] = {};
    std::memcpy(from, &b, N);
    std::memcpy(from + N, &a, N);
    ByteVec<N> result;
    std::memcpy(&result, from + (control < 2 * N ? control : 2 * N), N);
    return result;
  }
};
// BLENDPS, BLENDPD, PBLENDW, VPBLENDD: the lanes of `b` whose bit is set.
template <typename T, unsigned kBits = 16 / sizeof(T)>
struct BlendImmediate {
  static constexpr unsigned kControlBits = kBits;
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b, unsigned control) {
    auto x = As<Vec<T, N>>(a);
    const auto y = As<Vec<T, N>>(b);
    for (unsigned i = 0; i < N / sizeof(T); ++i) x[i] = ((control >> i) & 1) != 0 ? y[i] : x[i];
    return As<ByteVec<N>>(x);
  }
};
// MPSADBW: sums of differences between four bytes of `b` and eight runs of four in `a`.
struct SumsOfDifferences {
  static constexpr unsigned kControlBits = 3;
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b, unsigned control) {
    const auto x = std::bit_cast<std::array<uint8_t, N>>(a);
    const auto y = std::bit_cast<std::array<uint8_t, N>>(b);
    const unsigned in_x = control & 4, in_y = 4 * (control & 3);
    Vec<uint16_t, N> result;
    for (unsigned i = 0; i < 8; ++i) {
      unsigned sum = 0;
      for (unsigned j = 0; j < 4; ++j) {
        const int difference = x[in_x + i + j] - y[in_y + j];
        sum += static_cast<unsigned>(difference < 0 ? -difference : difference);
      }
      result[i] = static_cast<uint16_t>(sum);
    }
    return As<ByteVec<N>>(result);
  }
};
// SHUFPS: two lanes of each; SHUFPD: one.
struct ShuffleSingles {
  static constexpr unsigned kControlBits = 0;
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b, unsigned control) {
    const auto x = std::bit_cast<std::array<uint32_t, 4>>(a), y = std::bit_cast<std::array<uint32_t, 4>>(b);
    return As<ByteVec<N>>(
        Vec<uint32_t, N>{x[control & 3], x[(control >> 2) & 3], y[(control >> 4) & 3], y[(control >> 6) & 3]});
  }
};
struct ShuffleDoubles {
  static constexpr unsigned kControlBits = 2;
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b, unsigned control) {
    const auto x = std::bit_cast<std::array<uint64_t, 2>>(a), y = std::bit_cast<std::array<uint64_t, 2>>(b);
    return As<ByteVec<N>>(Vec<uint64_t, N>{x[control & 1], y[(control >> 1) & 1]});
  }
};

// --- one source and an immediate: Apply(a, control) ---

// Four lanes chosen by two bits each: PSHUFD, PSHUFW, VPERMILPS, and the halves of PSHUFLW and PSHUFHW.
template <typename T, unsigned kFirst = 0>
struct ShuffleFour {
  static constexpr unsigned kControlBits = 0;
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, unsigned control) {
    const auto x = std::bit_cast<std::array<T, N / sizeof(T)>>(a);
    auto result = x;
    for (unsigned i = 0; i < 4; ++i) result[kFirst + i] = x[kFirst + ((control >> (2 * i)) & 3)];
    return std::bit_cast<ByteVec<N>>(result);
  }
};
// VPERMILPD.
struct ShuffleTwo {
  static constexpr unsigned kControlBits = 2;
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, unsigned control) {
    return ShuffleDoubles::Apply<N>(a, a, control);
  }
};

// --- with a mask: the lanes of `b` where the mask's sign bit is set ---

template <typename T>
struct Blend {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b, ByteVec<N> mask) {
    const auto chosen = As<ByteVec<N>>(As<Vec<T, N>>(mask) < 0);
    return (a & ~chosen) | (b & chosen);
  }
};

}  // namespace remora::cpu::lanes

#endif  // REMORA_CPU_SSE4_LANES_H_
