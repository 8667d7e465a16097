#include <array>
#include <bit>
#include <cstdint>

#include "cpu/crypto_tables.h"
#include "cpu/lane_handlers.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// AES, SHA and carry-less multiplication. Sources: FIPS 197, FIPS 180-4, SDM volume 2.

namespace remora::cpu {
namespace {

using Words = std::array<uint32_t, 4>;
using Bytes = std::array<uint8_t, 16>;

template <typename To>
To As(ByteVec<16> value) {
  return std::bit_cast<To>(value);
}
template <typename From>
ByteVec<16> Pack(const From& value) {
  return std::bit_cast<ByteVec<16>>(value);
}

// --- AES. A column of the state is a word, its first row the lowest byte ---

// The byte of row `row` that ShiftRows (or its inverse) brings to column `column`.
template <bool kInverse>
uint8_t Shifted(const Words& state, unsigned row, unsigned column) {
  const unsigned from = (column + (kInverse ? 4 - row : row)) & 3;
  return static_cast<uint8_t>(state[from] >> (8 * row));
}

// AESENC, AESDEC (kInverse); the Last ones leave MixColumns out.
template <bool kInverse, bool kLast>
struct AesRound {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> key) {
    const auto state = As<Words>(a);
    auto result = As<Words>(key);
    for (unsigned column = 0; column < 4; ++column) {
      for (unsigned row = 0; row < 4; ++row) {
        const uint8_t byte = Shifted<kInverse>(state, row, column);
        if constexpr (kLast)
          result[column] ^= uint32_t{(kInverse ? kAesInverseSbox : kAesSbox)[byte]} << (8 * row);
        else
          result[column] ^= std::rotl((kInverse ? kAesInverseColumn : kAesColumn)[byte], 8 * static_cast<int>(row));
      }
    }
    return Pack(result);
  }
};

struct AesInverseMixColumns {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a) {
    const auto bytes = As<Bytes>(a);
    Words result = {};
    // The table has InvMixColumns of the inverse S-box: the S-box undoes that part.
    for (unsigned i = 0; i < 16; ++i)
      result[i / 4] ^= std::rotl(kAesInverseColumn[kAesSbox[bytes[i]]], 8 * static_cast<int>(i & 3));
    return Pack(result);
  }
};

struct AesKeyAssist {
  static constexpr unsigned kControlBits = 0;
  static uint32_t Substitute(uint32_t word) {
    return uint32_t{kAesSbox[word & 0xff]} | uint32_t{kAesSbox[(word >> 8) & 0xff]} << 8 |
           uint32_t{kAesSbox[(word >> 16) & 0xff]} << 16 | uint32_t{kAesSbox[word >> 24]} << 24;
  }
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, unsigned control) {
    const auto words = As<Words>(a);
    const uint32_t first = Substitute(words[1]), second = Substitute(words[3]);
    return Pack(Words{first, std::rotr(first, 8) ^ control, second, std::rotr(second, 8) ^ control});
  }
};

// --- PCLMULQDQ ---

struct CarrylessMultiply {
  static constexpr unsigned kControlBits = 0;
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b, unsigned control) {
    using Quads = std::array<uint64_t, 2>;
    const uint64_t x = As<Quads>(a)[control & 1], y = As<Quads>(b)[(control >> 4) & 1];
    // Four bits at a time: multiples of x by 0..15.
    std::array<unsigned __int128, 16> multiples;
    multiples[0] = 0;
    for (unsigned i = 1; i < 16; ++i) multiples[i] = (i & 1) != 0 ? multiples[i - 1] ^ x : multiples[i / 2] << 1;
    unsigned __int128 product = 0;
    for (int shift = 60; shift >= 0; shift -= 4) product = product << 4 ^ multiples[(y >> shift) & 15];
    return Pack(product);
  }
};

// --- SHA-1. Words stand in the registers highest first ---

struct Sha1Rounds {
  static constexpr unsigned kControlBits = 0;
  static uint32_t Mix(unsigned function, uint32_t b, uint32_t c, uint32_t d) {
    return function == 0 ? (b & c) ^ (~b & d) : function == 2 ? (b & c) ^ (b & d) ^ (c & d) : b ^ c ^ d;
  }
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> first, ByteVec<N> second, unsigned control) {
    static constexpr uint32_t kConstants[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    const auto state = As<Words>(first), input = As<Words>(second);
    uint32_t a = state[3], b = state[2], c = state[1], d = state[0], e = 0;
    for (int i = 3; i >= 0; --i) {
      const uint32_t next =
          Mix(control & 3, b, c, d) + std::rotl(a, 5) + input[static_cast<size_t>(i)] + e + kConstants[control & 3];
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next;
    }
    return Pack(Words{d, c, b, a});
  }
};
struct Sha1NextE {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    auto result = As<Words>(b);
    result[3] += std::rotl(As<Words>(a)[3], 30);
    return Pack(result);
  }
};
struct Sha1Message1 {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto x = As<Words>(a), y = As<Words>(b);
    return Pack(Words{x[0] ^ y[2], x[1] ^ y[3], x[2] ^ x[0], x[3] ^ x[1]});
  }
};
struct Sha1Message2 {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto x = As<Words>(a), y = As<Words>(b);
    const uint32_t w16 = std::rotl(x[3] ^ y[2], 1), w17 = std::rotl(x[2] ^ y[1], 1), w18 = std::rotl(x[1] ^ y[0], 1);
    return Pack(Words{std::rotl(x[0] ^ w16, 1), w18, w17, w16});
  }
};

// --- SHA-256 ---

struct Sha256Message1 {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto x = As<Words>(a), y = As<Words>(b);
    const auto sigma = [](uint32_t w) { return std::rotr(w, 7) ^ std::rotr(w, 18) ^ (w >> 3); };
    return Pack(Words{x[0] + sigma(x[1]), x[1] + sigma(x[2]), x[2] + sigma(x[3]), x[3] + sigma(y[0])});
  }
};
struct Sha256Message2 {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto x = As<Words>(a), y = As<Words>(b);
    const auto sigma = [](uint32_t w) { return std::rotr(w, 17) ^ std::rotr(w, 19) ^ (w >> 10); };
    const uint32_t w16 = x[0] + sigma(y[2]), w17 = x[1] + sigma(y[3]);
    return Pack(Words{w16, w17, x[2] + sigma(w16), x[3] + sigma(w17)});
  }
};
// Two rounds; the words and constants come from XMM0, which Blended takes for a mask.
struct Sha256Rounds {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> first, ByteVec<N> second, ByteVec<N> input) {
    const auto x = As<Words>(first), y = As<Words>(second), w = As<Words>(input);
    uint32_t a = y[3], b = y[2], c = x[3], d = x[2], e = y[1], f = y[0], g = x[1], h = x[0];
    for (size_t i = 0; i < 2; ++i) {
      const uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
      const uint32_t t1 = choice + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + w[i] + h;
      const uint32_t next = t1 + majority + (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22));
      h = g;
      g = f;
      f = e;
      e = t1 + d;
      d = c;
      c = b;
      b = a;
      a = next;
    }
    return Pack(Words{f, e, b, a});
  }
};

}  // namespace

PlainHandler FindCrypto(const VectorInstruction& in) {
  switch (in.mnemonic) {
#define REMORA_CASE(name, ...) \
  case ZYDIS_MNEMONIC_##name:  \
    return HandlerOf<__VA_ARGS__>(in.form);
    REMORA_CASE(AESENC, Binary<AesRound<false, false>>)
    REMORA_CASE(AESENCLAST, Binary<AesRound<false, true>>)
    REMORA_CASE(AESDEC, Binary<AesRound<true, false>>)
    REMORA_CASE(AESDECLAST, Binary<AesRound<true, true>>)
    REMORA_CASE(AESIMC, Single<AesInverseMixColumns>)
    REMORA_CASE(AESKEYGENASSIST, SingleImmediate<AesKeyAssist>)
    REMORA_CASE(PCLMULQDQ, BinaryImmediate<CarrylessMultiply>)
    REMORA_CASE(SHA1RNDS4, BinaryImmediate<Sha1Rounds>)
    REMORA_CASE(SHA1NEXTE, Binary<Sha1NextE>)
    REMORA_CASE(SHA1MSG1, Binary<Sha1Message1>)
    REMORA_CASE(SHA1MSG2, Binary<Sha1Message2>)
    REMORA_CASE(SHA256RNDS2, Blended<Sha256Rounds>)
    REMORA_CASE(SHA256MSG1, Binary<Sha256Message1>)
    REMORA_CASE(SHA256MSG2, Binary<Sha256Message2>)
#undef REMORA_CASE
    default:
      return nullptr;
  }
}

}  // namespace remora::cpu
