#include "testing/silicon/values.h"

#include <cstring>

namespace remora::silicon {
namespace {

// The exponent field of a random number: near one, anywhere, or at an end of the range.
uint32_t RandomField(Random& random, uint32_t bias) {
  switch (random.Below(8)) {
    case 0:
      return static_cast<uint32_t>(random.Below(4));
    case 1:
      return 2 * bias - static_cast<uint32_t>(random.Below(4));
    case 2:
      return static_cast<uint32_t>(random.Below(2 * bias + 2));
    case 3:
      return bias / 2 + static_cast<uint32_t>(random.Below(8));
    case 4:
      return bias + static_cast<uint32_t>(random.Below(66));
    default:
      return bias - 2 + static_cast<uint32_t>(random.Below(5));
  }
}

// A fraction of `bits` bits: random, sparse (sums and products that are exact) or all ones.
uint64_t RandomFraction(Random& random, int bits) {
  const uint64_t mask = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  switch (random.Below(6)) {
    case 0:
      return 0;
    case 1:
      return mask & ~random.Below(4);
    case 2:
      return (random.Next() & 7) << (bits - 3);
    case 3:
      return uint64_t{1} << random.Below(static_cast<uint64_t>(bits));
    default:
      return random.Next() & mask;
  }
}

}  // namespace

uint64_t RandomInteger(Random& random) {
  switch (random.Below(10)) {
    case 0:
      return random.Below(5) - 2;
    case 1:
      return uint64_t{1} << random.Below(64);
    case 2:
      return (uint64_t{1} << random.Below(64)) - 1;
    case 3:
      return random.Next() >> random.Below(64);
    case 4:
      return uint64_t{0} - (random.Next() >> random.Below(64));
    case 5: {
      static constexpr uint64_t kEdges[] = {0x7f,
                                            0x80,
                                            0xff,
                                            0x7fff,
                                            0x8000,
                                            0xffff,
                                            0x7fffffff,
                                            0x80000000,
                                            0xffffffff,
                                            0x7fffffffffffffff,
                                            0x8000000000000000};
      return kEdges[random.Below(std::size(kEdges))];
    }
    case 6:
      return random.Below(65);
    default:
      return random.Next();
  }
}

uint32_t RandomFloat(Random& random) {
  const uint32_t sign = static_cast<uint32_t>(random.Next()) & 0x80000000;
  switch (random.Below(24)) {
    case 0:
      return sign;
    case 1:
      return sign | 0x7f800000;
    case 2:
      return sign | 0x7fc00000 | (random.Next() & 0x3fffff);
    case 3:
      return sign | 0x7f800001 | (random.Next() & 0x3fffff);
    case 4:
      return sign | (random.Next() & 0x7fffff);
    case 5:
      return sign | 0x4f000000 | (random.Next() & 0xf);
    default:
      return sign | RandomField(random, 127) << 23 | static_cast<uint32_t>(RandomFraction(random, 23));
  }
}

uint64_t RandomDouble(Random& random) {
  const uint64_t sign = random.Next() & 0x8000000000000000;
  switch (random.Below(24)) {
    case 0:
      return sign;
    case 1:
      return sign | 0x7ff0000000000000;
    case 2:
      return sign | 0x7ff8000000000000 | (random.Next() & 0x7ffffffffffff);
    case 3:
      return sign | 0x7ff0000000000001 | (random.Next() & 0x7ffffffffffff);
    case 4:
      return sign | (random.Next() & 0xfffffffffffff);
    case 5:
      return sign | 0x41dfffffffc00000 | (random.Next() & 0x7fffff);
    case 6:
      return sign | 0x43e0000000000000 | (random.Next() & 3);
    case 7:
      return sign | uint64_t{897 + random.Below(4) - random.Below(25)} << 52 | RandomFraction(random, 52);
    default:
      return sign | uint64_t{RandomField(random, 1023)} << 52 | RandomFraction(random, 52);
  }
}

cpu::X87Register RandomExtended(Random& random) {
  const uint16_t sign = static_cast<uint16_t>(random.Next() & 0x8000);
  constexpr uint64_t kTop = uint64_t{1} << 63;
  switch (random.Below(28)) {
    case 0:
      return {0, sign};
    case 1:
      return {kTop, static_cast<uint16_t>(sign | 0x7fff)};
    case 2:
      return {random.Next() | kTop | kTop >> 1, static_cast<uint16_t>(sign | 0x7fff)};
    case 3:
      return {((random.Next() | kTop) & ~(kTop >> 1)) | 1, static_cast<uint16_t>(sign | 0x7fff)};
    case 4:
      return {random.Next() & ~kTop, sign};  // denormal
    case 5:
      return {random.Next() | kTop, sign};  // pseudo-denormal
    case 6:
      return {random.Next() & ~kTop, static_cast<uint16_t>(sign | random.Below(0x8000))};  // unsupported
    case 7:
    case 8:
      return {random.Next() | kTop, static_cast<uint16_t>(sign | (0x3fff + random.Below(66)))};
    case 9:
      return {RandomFraction(random, 63) | kTop,
              static_cast<uint16_t>(sign | (0x3f81 + random.Below(4) - random.Below(26)))};
    case 10:
      return {RandomFraction(random, 63) | kTop,
              static_cast<uint16_t>(sign | (0x3c01 + random.Below(4) - random.Below(55)))};
    case 11:
      return {RandomFraction(random, 63) | kTop, static_cast<uint16_t>(sign | (0x3fff - random.Below(40)))};
    default:
      return {RandomFraction(random, 63) | kTop, static_cast<uint16_t>(sign | RandomField(random, 16383))};
  }
}

void FillLanes(Random& random, LaneKind kind, uint8_t* bytes, size_t num_bytes) {
  uint8_t image[16];
  for (size_t i = 0; i < num_bytes; i += 16) {
    if (kind == LaneKind::kExtended) {
      const cpu::X87Register value = RandomExtended(random);
      std::memcpy(image, &value.significand, 8);
      std::memcpy(image + 8, &value.sign_exponent, 2);
      std::memset(image + 10, 0, 6);
    } else {
      for (size_t lane = 0; lane < 16; lane += kind == LaneKind::kFloat ? 4 : 8) {
        if (kind == LaneKind::kFloat) {
          const uint32_t value = RandomFloat(random);
          std::memcpy(image + lane, &value, 4);
        } else {
          const uint64_t value = kind == LaneKind::kDouble ? RandomDouble(random) : RandomInteger(random);
          std::memcpy(image + lane, &value, 8);
        }
      }
    }
    std::memcpy(bytes + i, image, num_bytes - i < 16 ? num_bytes - i : 16);
  }
}

void RandomizeX87(Random& random, cpu::X87State* x87) {
  for (cpu::X87Register& reg : x87->registers) reg = RandomExtended(random);
  // Often one value is made to be near another, so that differences cancel and comparisons are equal.
  if (random.OneIn(3)) {
    x87->registers[random.Below(8)] = x87->registers[random.Below(8)];
    x87->registers[random.Below(8)].sign_exponent ^= 0x8000;
  }
  x87->control = static_cast<uint16_t>(0x7f | random.Below(8) << 8 | random.Below(4) << 10 | random.Below(2) << 12);
  if (random.OneIn(2)) x87->control = (x87->control & ~0x300) | 0x300;
  if (random.OneIn(4)) x87->control &= static_cast<uint16_t>(~(random.Next() & 0x3f));
  uint16_t status = static_cast<uint16_t>(random.Next() & 0x4700);
  const uint16_t flags = static_cast<uint16_t>(random.Next() & random.Next() & 0x7f);
  status |= flags;
  // An exception that is pending already ends nearly every instruction at once: seldom.
  if (!random.OneIn(8)) status &= static_cast<uint16_t>(~(~x87->control & 0x3f));
  if (status & ~x87->control & 0x3f) status |= 0x8080;
  x87->status = status;
  x87->top = static_cast<uint8_t>(random.Below(8));
  x87->valid = random.OneIn(4)   ? static_cast<uint8_t>(random.Next())
               : random.OneIn(2) ? 0xff
                                 : static_cast<uint8_t>(~(1 << ((x87->top - 1) & 7)));
}

uint32_t RandomMxcsr(Random& random) {
  uint32_t mxcsr = 0x1f80;
  if (random.OneIn(2)) mxcsr |= static_cast<uint32_t>(random.Below(4)) << 13;
  if (random.OneIn(4)) mxcsr |= 0x8000;
  if (random.OneIn(4)) mxcsr |= 0x40;
  if (random.OneIn(4)) mxcsr &= ~(static_cast<uint32_t>(random.Next()) & 0x1f80);
  if (random.OneIn(2)) mxcsr |= static_cast<uint32_t>(random.Next()) & 0x3f;
  return mxcsr;
}

}  // namespace remora::silicon
