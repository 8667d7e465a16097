#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM. Source: SDM volume 2, 4.1.

namespace remora::cpu {
namespace {

// The two operands as numbers, and how many of them count.
struct Strings {
  unsigned lanes;  // 8 or 16
  std::array<int32_t, 16> a, b;
  unsigned a_length, b_length;
};

template <typename T>
void Spread(ByteVec<16> bytes, std::array<int32_t, 16>* out) {
  const auto lanes = std::bit_cast<std::array<T, 16 / sizeof(T)>>(bytes);
  for (size_t i = 0; i < lanes.size(); ++i) (*out)[i] = lanes[i];
}
void Spread(ByteVec<16> bytes, unsigned control, std::array<int32_t, 16>* out) {
  switch (control & 3) {
    case 0:
      return Spread<uint8_t>(bytes, out);
    case 1:
      return Spread<uint16_t>(bytes, out);
    case 2:
      return Spread<int8_t>(bytes, out);
    default:
      return Spread<int16_t>(bytes, out);
  }
}

unsigned LengthToZero(const std::array<int32_t, 16>& lanes, unsigned num_lanes) {
  unsigned length = 0;
  while (length < num_lanes && lanes[length] != 0) ++length;
  return length;
}
template <typename T>
unsigned ExplicitLength(uint64_t reg, unsigned num_lanes) {
  const auto value = static_cast<T>(reg);
  // The most negative number's magnitude does not fit, which is as well: all of it is too much.
  const uint64_t magnitude =
      value < 0 ? uint64_t{0} - static_cast<uint64_t>(int64_t{value}) : static_cast<uint64_t>(value);
  return magnitude > num_lanes ? num_lanes : static_cast<unsigned>(magnitude);
}

// One bit for each lane of `b`.
unsigned Aggregate(const Strings& s, unsigned control) {
  unsigned result = 0;
  for (unsigned j = 0; j < s.lanes; ++j) {
    bool holds = false;
    switch ((control >> 2) & 3) {
      case 0:  // equal to any
        for (unsigned i = 0; i < s.a_length && j < s.b_length; ++i) holds = holds || s.a[i] == s.b[j];
        break;
      case 1:  // within one of the ranges
        for (unsigned i = 0; i + 1 < s.a_length && j < s.b_length; i += 2)
          holds = holds || (s.a[i] <= s.b[j] && s.b[j] <= s.a[i + 1]);
        break;
      case 2:  // equal at the same place
        holds = j < s.a_length && j < s.b_length ? s.a[j] == s.b[j] : j >= s.a_length && j >= s.b_length;
        break;
      default:  // where `a` begins
        holds = true;
        for (unsigned i = 0; i < s.a_length && i + j < s.lanes; ++i)
          holds = holds && i + j < s.b_length && s.a[i] == s.b[i + j];
        break;
    }
    result |= unsigned{holds} << j;
  }
  const unsigned all = (1u << s.lanes) - 1, valid = (1u << s.b_length) - 1;
  switch ((control >> 4) & 3) {
    case 1:
      return result ^ all;
    case 3:
      return result ^ valid;
    default:
      return result;
  }
}

// kWide: REX.W, 64-bit lengths.
template <bool kExplicit, bool kMask, bool kWide>
struct CompareStrings {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    ByteVec<16> source;
    if (!op.has_memory)
      source = GetRegister<16>(state, op.src);
    else if (!env.Load(env.Address(op), &source))  // wherever it is
      return false;
    const unsigned control = op.immediate8;
    Strings s;
    s.lanes = (control & 1) != 0 ? 8 : 16;
    Spread(GetRegister<16>(state, op.dst), control, &s.a);
    Spread(source, control, &s.b);
    if constexpr (kExplicit) {
      using Length = std::conditional_t<kWide, int64_t, int32_t>;
      s.a_length = ExplicitLength<Length>(state.gpr[kRax], s.lanes);
      s.b_length = ExplicitLength<Length>(state.gpr[kRdx], s.lanes);
    } else {
      s.a_length = LengthToZero(s.a, s.lanes);
      s.b_length = LengthToZero(s.b, s.lanes);
    }
    const unsigned bits = Aggregate(s, control);
    const bool high = (control & 0x40) != 0;
    if constexpr (kMask) {
      ByteVec<16> mask = {};
      if (!high) {
        std::memcpy(&mask, &bits, 2);
      } else {
        const unsigned shift = (control & 1);
        for (unsigned i = 0; i < 16; ++i) mask[i] = (bits >> (i >> shift) & 1) != 0 ? 0xff : 0;
      }
      SetLow16<kForm>(state, 0, mask);
    } else {
      state.gpr[kRcx] = bits == 0 ? s.lanes
                        : high    ? static_cast<unsigned>(std::bit_width(bits)) - 1
                                  : static_cast<unsigned>(std::countr_zero(bits));
    }
    state.rflags = (state.rflags & ~kStatusFlags) | (bits != 0 ? kFlagCF : 0) | (s.b_length < s.lanes ? kFlagZF : 0) |
                   (s.a_length < s.lanes ? kFlagSF : 0) | ((bits & 1) != 0 ? kFlagOF : 0);
    return true;
  }
};

template <bool kMask>
PlainHandler FindExplicit(const VectorInstruction& in) {
  return in.in.info.wide ? HandlerOf<CompareStrings<true, kMask, true>>(in.form)
                         : HandlerOf<CompareStrings<true, kMask, false>>(in.form);
}

}  // namespace

PlainHandler FindSseString(const VectorInstruction& in) {
  switch (in.mnemonic) {
    case ZYDIS_MNEMONIC_PCMPESTRI:
      return FindExplicit<false>(in);
    case ZYDIS_MNEMONIC_PCMPESTRM:
      return FindExplicit<true>(in);
    case ZYDIS_MNEMONIC_PCMPISTRI:
      return HandlerOf<CompareStrings<false, false, false>>(in.form);
    case ZYDIS_MNEMONIC_PCMPISTRM:
      return HandlerOf<CompareStrings<false, true, false>>(in.form);
    default:
      return nullptr;
  }
}

}  // namespace remora::cpu
