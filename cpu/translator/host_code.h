#ifndef REMORA_CPU_TRANSLATOR_HOST_CODE_H_
#define REMORA_CPU_TRANSLATOR_HOST_CODE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "base/check.h"

namespace remora::cpu::translator {

// The host's general registers by the encoding's numbers.
inline constexpr uint8_t kHostRax = 0, kHostRcx = 1, kHostRsp = 4, kHostRbp = 5;
// Those with a meaning of their own in translated code: scratch, and where the guest's stack is on the host. The host's
// RSP is the GuestContext's frame.
inline constexpr uint8_t kScratch = 11, kGuestRspHost = 10;

// MOV of 8 bytes.
inline constexpr unsigned kLoadOpcode = 0x8b, kStoreOpcode = 0x89;

// [base + (index << shift) + displacement]
struct HostPlace {
  static constexpr uint8_t kNoIndex = 0xff;
  uint8_t base = 0;
  uint8_t index = kNoIndex;
  uint8_t shift = 0;
  int32_t displacement = 0;
};

// A buffer that host code is put into, with the few instructions that translated code is made of beside the guest's
// own. Jumps are patched by who asked for them. Thread safety: none.
class HostCode {
 public:
  static constexpr uint32_t kMaxBytes = 65536;
  // Nobody puts more than this at once without asking has_room.
  static constexpr uint32_t kReserve = 1024;

  HostCode() : bytes_(std::make_unique_for_overwrite<uint8_t[]>(kMaxBytes + kReserve)) {}

  void Clear() { size_ = 0; }
  void Truncate(uint32_t size) { size_ = size; }
  uint32_t size() const { return size_; }
  std::span<const uint8_t> bytes() const { return {bytes_.get(), size_}; }
  bool has_room() const { return size_ <= kMaxBytes - kReserve; }

  void Byte(unsigned value) { bytes_[size_++] = static_cast<uint8_t>(value); }
  void Dword(uint32_t value) { Put(value); }
  void Qword(uint64_t value) { Put(value); }
  void Append(const uint8_t* bytes, uint32_t length) {
    std::memcpy(&bytes_[size_], bytes, length);
    size_ += length;
  }

  // The first `length` of them.
  template <size_t kNumber>
  void Append(const std::array<uint8_t, kNumber>& bytes, uint32_t length) {
    std::memcpy(&bytes_[size_], bytes.data(), kNumber);
    size_ += length;
  }

  // `op reg, [place]` or `op [place], reg`, as the opcode has it.
  void Memory(unsigned opcode, unsigned reg, const HostPlace& place, bool wide = true) {
    constexpr unsigned kNone = 4;  // as an index; as a base it has to be in a SIB byte
    const unsigned index = place.index == HostPlace::kNoIndex ? kNone : place.index;
    const unsigned low = place.base & 7u;
    const int32_t displacement = place.displacement;
    const bool fits_byte = displacement == static_cast<int8_t>(displacement);
    const unsigned mod = displacement == 0 && low != 5 ? 0 : fits_byte ? 1 : 2;
    const bool has_sib = index != kNone || low == 4;
    const unsigned rex = (wide ? 8u : 0u) | reg >> 3 << 2 | index >> 3 << 1 | unsigned{place.base} >> 3;
    const unsigned modrm = mod << 6 | (reg & 7u) << 3 | (has_sib ? 4u : low);
    const unsigned sib = unsigned{place.shift} << 6 | (index & 7u) << 3 | low;
    // From the last byte to the first.
    Bytes bytes = {.value = modrm | sib << 8, .number = has_sib ? 2u : 1u};
    bytes.Prepend(opcode & 0xff);
    if (opcode > 0xff) bytes.Prepend(opcode >> 8);
    if (rex != 0) bytes.Prepend(0x40 | rex);
    Put(bytes);
    // One or four bytes of it, or none.
    std::memcpy(&bytes_[size_], &displacement, sizeof(displacement));
    size_ += mod == 2 ? 4 : mod;
  }
  void Load(unsigned reg, const HostPlace& place) { Memory(kLoadOpcode, reg, place); }
  void Store(const HostPlace& place, unsigned reg) { Memory(kStoreOpcode, reg, place); }
  void Lea(unsigned reg, const HostPlace& place) { Memory(0x8d, reg, place); }
  void Move(unsigned to, unsigned from) {
    Put(Row(0x48u | (from >= 8 ? 4u : 0u) | (to >= 8 ? 1u : 0u), 0x89u, 0xc0 | (from & 7u) << 3 | (to & 7u)));
  }
  void Move32(unsigned to, unsigned from) {
    if (from >= 8 || to >= 8) Byte(0x40 | (from >= 8 ? 4u : 0u) | (to >= 8 ? 1u : 0u));
    Put(Row(0x89u, 0xc0 | (from & 7u) << 3 | (to & 7u)));
  }
  void Constant(unsigned to, uint64_t value) {
    if (value <= UINT32_MAX) {
      if (to >= 8) Byte(0x41);
      Byte(0xb8 | (to & 7u));
      Dword(static_cast<uint32_t>(value));
    } else {
      Put(Row(0x48u | (to >= 8 ? 1u : 0u), 0xb8 | (to & 7u)));
      Qword(value);
    }
  }
  // `op dword [place], value`: 0 ADD, 5 SUB, 7 CMP.
  void Immediate32(unsigned operation, const HostPlace& place, int32_t value) {
    const bool fits_byte = value == static_cast<int8_t>(value);
    Memory(fits_byte ? 0x83 : 0x81, operation, place, /*wide=*/false);
    if (fits_byte)
      Byte(static_cast<uint8_t>(value));
    else
      Dword(static_cast<uint32_t>(value));
  }
  void StoreConstant32(const HostPlace& place, uint32_t value) {
    Memory(0xc7, 0, place, /*wide=*/false);
    Dword(value);
  }
  // Sign-extended.
  void StoreConstant64(const HostPlace& place, int32_t value) {
    Memory(0xc7, 0, place);
    Dword(static_cast<uint32_t>(value));
  }

  // `cmp qword [place], value`, sign-extended.
  void CompareConstant64(const HostPlace& place, int32_t value) {
    Memory(0x81, 7, place);
    Dword(static_cast<uint32_t>(value));
  }

  // Four bytes for whoever knows where they are, as the operand of an instruction that is not to be come to.
  void NeverRun(uint32_t value) {
    constexpr unsigned kTestEaxWith = 0xa9;
    Byte(kTestEaxWith);
    Dword(value);
  }

  // Jumps with a 4-byte displacement, whose offset they answer.
  uint32_t Jump() { return Byte(0xe9), Gap(); }
  uint32_t Call() { return Byte(0xe8), Gap(); }
  uint32_t JumpIf(unsigned condition) { return Put(Row(0x0fu, 0x80 | condition)), Gap(); }
  // Leads the jump to here, or to `to`.
  void Land(uint32_t displacement_at) { Land(displacement_at, size_); }
  void Land(uint32_t displacement_at, uint32_t to) {
    const uint32_t value = to - (displacement_at + 4);
    std::memcpy(&bytes_[displacement_at], &value, sizeof(value));
  }
  // Short jumps, patched likewise.
  uint32_t ShortJump(unsigned opcode) {
    Put(Row(opcode, 0u));
    return size_ - 1;
  }
  void LandShort(uint32_t displacement_at) {
    const uint32_t distance = size_ - (displacement_at + 1);
    CHECK(distance <= 127);
    bytes_[displacement_at] = static_cast<uint8_t>(distance);
  }
  // One instruction that does nothing, 0 to 8 bytes.
  void Nop(unsigned bytes) {
    static constexpr uint8_t kNops[8][8] = {{0x90},
                                            {0x66, 0x90},
                                            {0x0f, 0x1f, 0x00},
                                            {0x0f, 0x1f, 0x40, 0x00},
                                            {0x0f, 0x1f, 0x44, 0x00, 0x00},
                                            {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
                                            {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
                                            {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00}};
    if (bytes != 0) Append(kNops[bytes - 1], bytes);
  }
  // So that size() + ahead becomes a multiple of `alignment`, a power of 2 up to 8.
  void Align(uint32_t alignment, uint32_t ahead = 0) { Nop((0u - (size_ + ahead)) & (alignment - 1)); }

 private:
  // Up to eight bytes that are put at once: a store of one byte might change anything, size_ too, as far as the
  // compiler knows.
  struct Bytes {
    void Prepend(unsigned byte) {
      DCHECK(byte <= 0xff);
      value = value << 8 | byte;
      ++number;
    }
    uint64_t value = 0;
    uint32_t number = 0;
  };
  template <typename... Values>
  static Bytes Row(Values... values) {
    Bytes bytes;
    DCHECK(((values <= 0xff) && ...));
    ((bytes.value |= uint64_t{values} << 8 * bytes.number++), ...);
    return bytes;
  }
  void Put(const Bytes& bytes) {
    std::memcpy(&bytes_[size_], &bytes.value, sizeof(bytes.value));
    size_ += bytes.number;
  }
  template <typename T>
  void Put(T value) {
    std::memcpy(&bytes_[size_], &value, sizeof(value));
    size_ += sizeof(value);
  }
  uint32_t Gap() {
    Dword(0);
    return size_ - 4;
  }

  const std::unique_ptr<uint8_t[]> bytes_;
  uint32_t size_ = 0;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_HOST_CODE_H_
