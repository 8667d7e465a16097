#ifndef REMORA_CPU_CRYPTO_TABLES_H_
#define REMORA_CPU_CRYPTO_TABLES_H_

#include <array>
#include <bit>
#include <cstdint>

// Tables of AES and CRC-32C, computed by the compiler from their definitions.

namespace remora::cpu {

namespace crypto_internal {

// Multiplication modulo x^8 + x^4 + x^3 + x + 1.
constexpr uint8_t MultiplyInField(unsigned a, unsigned b) {
  unsigned product = 0;
  for (; b != 0; b >>= 1) {
    if ((b & 1) != 0) product ^= a;
    a = (a << 1) ^ ((a & 0x80) != 0 ? 0x11b : 0);
  }
  return static_cast<uint8_t>(product);
}

constexpr std::array<uint8_t, 256> MakeSbox() {
  std::array<uint8_t, 256> sbox{};
  // p runs through all powers of 3, q through their inverses.
  uint8_t p = 1, q = 1;
  do {
    p = MultiplyInField(p, 3);
    q = MultiplyInField(q, 0xf6);
    sbox[p] = static_cast<uint8_t>(q ^ std::rotl(q, 1) ^ std::rotl(q, 2) ^ std::rotl(q, 3) ^ std::rotl(q, 4) ^ 0x63);
  } while (p != 1);
  sbox[0] = 0x63;
  return sbox;
}

constexpr std::array<uint8_t, 256> Invert(const std::array<uint8_t, 256>& sbox) {
  std::array<uint8_t, 256> inverse{};
  for (unsigned i = 0; i < 256; ++i) inverse[sbox[i]] = static_cast<uint8_t>(i);
  return inverse;
}

// What a byte in the first row adds to its column after the S-box and (Inv)MixColumns.
constexpr std::array<uint32_t, 256> MakeColumns(const std::array<uint8_t, 256>& sbox,
                                                const std::array<uint8_t, 4>& factors) {
  std::array<uint32_t, 256> columns{};
  for (unsigned i = 0; i < 256; ++i)
    for (unsigned row = 0; row < 4; ++row) columns[i] |= uint32_t{MultiplyInField(sbox[i], factors[row])} << (8 * row);
  return columns;
}

constexpr std::array<uint32_t, 256> MakeCrc32c() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78 : 0);
    table[i] = value;
  }
  return table;
}

}  // namespace crypto_internal

inline constexpr std::array<uint8_t, 256> kAesSbox = crypto_internal::MakeSbox();
inline constexpr std::array<uint8_t, 256> kAesInverseSbox = crypto_internal::Invert(kAesSbox);
inline constexpr std::array<uint32_t, 256> kAesColumn = crypto_internal::MakeColumns(kAesSbox, {2, 1, 1, 3});
inline constexpr std::array<uint32_t, 256> kAesInverseColumn =
    crypto_internal::MakeColumns(kAesInverseSbox, {14, 9, 13, 11});
inline constexpr std::array<uint32_t, 256> kCrc32c = crypto_internal::MakeCrc32c();

}  // namespace remora::cpu

#endif  // REMORA_CPU_CRYPTO_TABLES_H_
