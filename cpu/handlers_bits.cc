// BT BTS BTR BTC BSF BSR.

#include "cpu/chain.h"
#include "cpu/locked.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

enum class BitTest : uint8_t { kTest, kSet, kReset, kComplement };

template <BitTest kTest, typename T>
[[gnu::always_inline]] inline T Changed(T value, T mask) {
  return kTest == BitTest::kSet     ? static_cast<T>(value | mask)
         : kTest == BitTest::kReset ? static_cast<T>(value & ~mask)
                                    : static_cast<T>(value ^ mask);
}

// Only CF changes.
[[gnu::always_inline]] inline void SetCarry(bool carry, uint64_t& flag_a, uint64_t& flag_b, uint64_t& flag_kind) {
  flag_a = (MaterializeFlags(flag_a, flag_b, flag_kind) & ~kFlagCF) | (carry ? kFlagCF : 0);
  flag_b = 0;
  flag_kind = kFlagWord<FlagKind::kExplicit>;
}

template <BitTest kTest, typename T, bool kImmediate>
REMORA_CHAINED void BitReg(REMORA_PARAMS) {
  const T value = ReadRegister<T>(state, op->dst);
  const unsigned bit =
      static_cast<unsigned>(kImmediate ? op->immediate8 : ReadRegister<T>(state, op->src)) & (8 * sizeof(T) - 1);
  const T mask = static_cast<T>(T{1} << bit);
  if constexpr (kTest != BitTest::kTest) WriteRegister<T>(state, op->dst, Changed<kTest, T>(value, mask));
  SetCarry((value & mask) != 0, flag_a, flag_b, flag_kind);
  REMORA_TAIL Next(REMORA_ARGS);
}

// With a register as bit number the operand is a bit string: the number, signed, reaches beyond the operand.
template <BitTest kTest, typename T, bool kImmediate>
REMORA_CHAINED void BitMem(REMORA_PARAMS) {
  uint64_t address = OperandAddress<AddressKind::kAny>(state, op);
  unsigned bit;
  if constexpr (kImmediate) {
    bit = op->immediate8 & (8 * sizeof(T) - 1);
  } else {
    const int64_t number = static_cast<std::make_signed_t<T>>(ReadRegister<T>(state, op->dst));
    bit = static_cast<unsigned>(number) & (8 * sizeof(T) - 1);
    uint64_t offset = OperandOffset<AddressKind::kAny>(state, op);
    const uint64_t segment_base = address - offset;
    offset += static_cast<uint64_t>((number >> (sizeof(T) == 8   ? 6
                                                : sizeof(T) == 4 ? 5
                                                                 : 4)) *
                                    static_cast<int64_t>(sizeof(T)));
    address = segment_base + (op->address32 ? static_cast<uint32_t>(offset) : offset);
  }
  const T mask = static_cast<T>(T{1} << bit);
  T value;
  if constexpr (kTest == BitTest::kTest) {
    if (!context->Load(address, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  } else if (op->lock) {
    if (!LockedUpdate(*context, address, &value, [mask](T old) { return Changed<kTest, T>(old, mask); }))
      REMORA_TAIL LeaveAt(REMORA_ARGS);
  } else {
    if (!context->ProbeWrite(address, sizeof(T)) || !context->Load(address, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
    context->Store(address, Changed<kTest, T>(value, mask));
  }
  SetCarry((value & mask) != 0, flag_a, flag_b, flag_kind);
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

// A source of zero sets ZF and leaves the destination as it was.
template <typename T, bool kForward, bool kMemory>
REMORA_CHAINED void BitScan(REMORA_PARAMS) {
  T value;
  if constexpr (kMemory) {
    if (!context->Load(OperandAddress<AddressKind::kAny>(state, op), &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  } else {
    value = ReadRegister<T>(state, op->src);
  }
  if (value != 0) {
    const int bit = kForward ? __builtin_ctzll(value) : 63 - __builtin_clzll(value);
    WriteRegister<T>(state, op->dst, static_cast<T>(bit));
  }
  flag_a = value == 0 ? kFlagZF | kFlagPF : 0;
  flag_b = 0;
  flag_kind = kFlagWord<FlagKind::kExplicit>;
  REMORA_TAIL Next(REMORA_ARGS);
}

template <BitTest kTest>
bool Set(Lowering* lowering) {
  Op& op = *lowering->op;
  const bool immediate = lowering->shape == Shape::kRegImm || lowering->shape == Shape::kMemImm;
  op.handler = ByWideSize(op.size, [&]<typename T>() -> Handler {
    if (op.has_memory) return immediate ? &BitMem<kTest, T, true> : &BitMem<kTest, T, false>;
    return immediate ? &BitReg<kTest, T, true> : &BitReg<kTest, T, false>;
  });
  lowering->flags = KnownFlags::kExplicit;
  return op.handler != nullptr;
}

template <bool kForward>
bool SetScan(Lowering* lowering) {
  Op& op = *lowering->op;
  op.handler = ByWideSize(op.size, [&]<typename T>() -> Handler {
    return op.has_memory ? &BitScan<T, kForward, true> : &BitScan<T, kForward, false>;
  });
  lowering->flags = KnownFlags::kExplicit;
  return op.handler != nullptr;
}

}  // namespace

bool LowerBits(Lowering* lowering) {
  switch (lowering->in.info.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
      return Set<BitTest::kTest>(lowering);
    case ZYDIS_MNEMONIC_BTS:
      return Set<BitTest::kSet>(lowering);
    case ZYDIS_MNEMONIC_BTR:
      return Set<BitTest::kReset>(lowering);
    case ZYDIS_MNEMONIC_BTC:
      return Set<BitTest::kComplement>(lowering);
    case ZYDIS_MNEMONIC_BSF:
      return SetScan<true>(lowering);
    case ZYDIS_MNEMONIC_BSR:
      return SetScan<false>(lowering);
    default:
      return false;
  }
}

}  // namespace remora::cpu
