// POPCNT LZCNT TZCNT, BMI1, BMI2, ADCX ADOX, MOVBE, CRC32: what later CPUs do to general registers. Those that are VEX
// encoded have three registers: see Op::dst.

#include <bit>
#include <type_traits>

#include "cpu/chain.h"
#include "cpu/crypto_tables.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

// The operand that may be memory; else register `number`. False: the exit is recorded.
template <typename T, bool kMemory>
[[gnu::always_inline]] inline bool ReadOperand(CpuState* state, const Op* op, RunContext* context, uint8_t number,
                                               T* value) {
  if constexpr (kMemory) return context->Load(OperandAddress<AddressKind::kAny>(state, op), value);
  *value = ReadRegister<T>(state, number);
  return true;
}

[[gnu::always_inline]] inline void SetFlags(uint64_t flags, uint64_t& flag_a, uint64_t& flag_b, uint64_t& flag_kind) {
  flag_a = flags;
  flag_b = 0;
  flag_kind = kFlagWord<FlagKind::kExplicit>;
}

// --- counting: dst, src ---

enum class Count : uint8_t { kOnes, kLeadingZeros, kTrailingZeros };

template <Count kCount, typename T, bool kMemory>
REMORA_CHAINED void CountBits(REMORA_PARAMS) {
  T value;
  if (!ReadOperand<T, kMemory>(state, op, context, op->src, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  const int count = kCount == Count::kOnes           ? std::popcount(value)
                    : kCount == Count::kLeadingZeros ? std::countl_zero(value)
                                                     : std::countr_zero(value);
  WriteRegister<T>(state, op->dst, static_cast<T>(count));
  const bool carry = kCount != Count::kOnes && value == 0;
  SetFlags((count == 0 ? kFlagZF : 0) | (carry ? kFlagCF : 0), flag_a, flag_b, flag_kind);
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- BLSI BLSR BLSMSK: dst, src ---

enum class Lowest : uint8_t { kIsolate, kReset, kMask };

template <Lowest kLowest, typename T, bool kMemory>
REMORA_CHAINED void LowestBit(REMORA_PARAMS) {
  T value;
  if (!ReadOperand<T, kMemory>(state, op, context, op->src, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  const T result = kLowest == Lowest::kIsolate ? static_cast<T>(value & (T{0} - value))
                   : kLowest == Lowest::kReset ? static_cast<T>(value & (value - 1))
                                               : static_cast<T>(value ^ (value - 1));
  WriteRegister<T>(state, op->dst, result);
  flag_a = FlagOperand(result);
  flag_b = (value != 0) == (kLowest == Lowest::kIsolate) ? kFlagCF : 0;
  flag_kind = kFlagWord<FlagKind::kResult, T>;
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- dst, first (a register), second (register or memory) ---

// Puts the bits of `value` where `mask` has ones, or collects them from there.
template <bool kDeposit, typename T>
T MoveBits(T value, T mask) {
  T result = 0;
  for (T at = 1; mask != 0; at = static_cast<T>(at << 1)) {
    const T lowest = mask & (T{0} - mask);
    if ((value & (kDeposit ? at : lowest)) != 0) result |= kDeposit ? lowest : at;
    mask &= mask - 1;
  }
  return result;
}

enum class Pair : uint8_t { kAndNot, kDeposit, kExtract };

template <Pair kPair, typename T, bool kMemory>
REMORA_CHAINED void OnPair(REMORA_PARAMS) {
  T second;
  if (!ReadOperand<T, kMemory>(state, op, context, ThirdRegister(*op), &second)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  const T first = ReadRegister<T>(state, op->src);
  const T result = kPair == Pair::kAndNot    ? static_cast<T>(~first & second)
                   : kPair == Pair::kDeposit ? MoveBits<true, T>(first, second)
                                             : MoveBits<false, T>(first, second);
  WriteRegister<T>(state, op->dst, result);
  if constexpr (kPair == Pair::kAndNot) {
    flag_a = FlagOperand(result);
    flag_b = 0;
    flag_kind = kFlagWord<FlagKind::kResult, T>;
  }
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename T, bool kMemory>
REMORA_CHAINED void MultiplyNoFlags(REMORA_PARAMS) {
  T second;
  if (!ReadOperand<T, kMemory>(state, op, context, ThirdRegister(*op), &second)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  using Product = std::conditional_t<sizeof(T) == 8, unsigned __int128, uint64_t>;
  const Product product = static_cast<Product>(ReadRegister<T>(state, kRdx)) * second;
  WriteRegister<T>(state, op->src, static_cast<T>(product));
  WriteRegister<T>(state, op->dst, static_cast<T>(product >> (8 * sizeof(T))));
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- dst, source (register or memory), control (a register) ---

// The control is the second register of all, where the source is memory.
template <bool kMemory>
[[gnu::always_inline]] inline uint8_t ControlNumber(const Op* op) {
  return kMemory ? op->src : ThirdRegister(*op);
}

enum class Shift3 : uint8_t { kLeft, kRight, kArithmetic };

template <Shift3 kShift, typename T, bool kMemory>
REMORA_CHAINED void ShiftNoFlags(REMORA_PARAMS) {
  T value;
  if (!ReadOperand<T, kMemory>(state, op, context, op->src, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  const T count = ReadRegister<T>(state, ControlNumber<kMemory>(op)) & (8 * sizeof(T) - 1);
  const T result = kShift == Shift3::kLeft    ? static_cast<T>(value << count)
                   : kShift == Shift3::kRight ? static_cast<T>(value >> count)
                                              : static_cast<T>(static_cast<std::make_signed_t<T>>(value) >> count);
  WriteRegister<T>(state, op->dst, result);
  REMORA_TAIL Next(REMORA_ARGS);
}

// BEXTR (kExtract): `length` bits from `start`; BZHI: the bits below an index.
template <bool kExtract, typename T, bool kMemory>
REMORA_CHAINED void BitField(REMORA_PARAMS) {
  constexpr unsigned kBits = 8 * sizeof(T);
  T value;
  if (!ReadOperand<T, kMemory>(state, op, context, op->src, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  const auto control = static_cast<uint32_t>(ReadRegister<T>(state, ControlNumber<kMemory>(op)));
  const unsigned start = kExtract ? control & 0xff : 0;
  const unsigned length = kExtract ? (control >> 8) & 0xff : control & 0xff;
  const T shifted = start < kBits ? static_cast<T>(value >> start) : T{0};
  const T result = length < kBits ? static_cast<T>(shifted & ((T{1} << length) - 1)) : shifted;
  WriteRegister<T>(state, op->dst, result);
  flag_a = FlagOperand(result);
  flag_b = !kExtract && length >= kBits ? kFlagCF : 0;
  flag_kind = kFlagWord<FlagKind::kResult, T>;
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename T, bool kMemory>
REMORA_CHAINED void RotateNoFlags(REMORA_PARAMS) {
  T value;
  if (!ReadOperand<T, kMemory>(state, op, context, op->src, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  WriteRegister<T>(state, op->dst, std::rotr(value, op->immediate8 & (8 * sizeof(T) - 1)));
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- ADCX ADOX: each has a carry of its own ---

template <uint64_t kCarry, typename T, bool kMemory>
REMORA_CHAINED void AddWithCarry(REMORA_PARAMS) {
  T value;
  if (!ReadOperand<T, kMemory>(state, op, context, op->src, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  const uint64_t flags = MaterializeFlags(flag_a, flag_b, flag_kind);
  const T old = ReadRegister<T>(state, op->dst);
  T sum;
  const bool first = __builtin_add_overflow(old, value, &sum);
  const bool second = __builtin_add_overflow(sum, static_cast<T>((flags & kCarry) != 0 ? 1 : 0), &sum);
  WriteRegister<T>(state, op->dst, sum);
  SetFlags((flags & ~kCarry) | (first || second ? kCarry : 0), flag_a, flag_b, flag_kind);
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- MOVBE ---

template <typename T>
[[gnu::always_inline]] inline T Swapped(T value) {
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  return static_cast<T>(__builtin_bswap64(value));
}
template <typename T>
REMORA_CHAINED void LoadSwapped(REMORA_PARAMS) {
  T value;
  if (!ReadOperand<T, true>(state, op, context, 0, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  WriteRegister<T>(state, op->dst, Swapped(value));
  REMORA_TAIL Next(REMORA_ARGS);
}
template <typename T>
REMORA_CHAINED void StoreSwapped(REMORA_PARAMS) {
  if (!context->Store(OperandAddress<AddressKind::kAny>(state, op), Swapped(ReadRegister<T>(state, op->dst))))
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

// --- CRC32 ---

template <typename T, bool kMemory>
REMORA_CHAINED void Crc32(REMORA_PARAMS) {
  T value;
  if (!ReadOperand<T, kMemory>(state, op, context, op->src, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  auto crc = static_cast<uint32_t>(state->gpr[op->dst]);
  for (unsigned i = 0; i < sizeof(T); ++i)
    crc = (crc >> 8) ^ kCrc32c[(crc ^ static_cast<uint32_t>(value >> (8 * i))) & 0xff];
  state->gpr[op->dst] = crc;
  REMORA_TAIL Next(REMORA_ARGS);
}

}  // namespace

bool LowerManipulation(Lowering* lowering) {
  Op& op = *lowering->op;
  const bool memory = op.has_memory != 0;
  const auto& operands = lowering->in.operands;
  switch (lowering->in.info.mnemonic) {
#define REMORA_CASE(name, by_size, known_flags, ...)                                                \
  case ZYDIS_MNEMONIC_##name:                                                                       \
    op.handler = by_size(op.size, [&]<typename T>() -> Handler {                                    \
      constexpr auto kIn = [](auto in_memory) -> Handler {                                          \
        constexpr bool kMemory = decltype(in_memory)::value;                                        \
        return &__VA_ARGS__;                                                                        \
      };                                                                                            \
      return memory ? kIn(std::true_type{}) : kIn(std::false_type{});                               \
    });                                                                                             \
    if (KnownFlags::known_flags != KnownFlags::kUnknown) lowering->flags = KnownFlags::known_flags; \
    return op.handler != nullptr;
    REMORA_CASE(POPCNT, ByWideSize, kExplicit, CountBits<Count::kOnes, T, kMemory>)
    REMORA_CASE(LZCNT, ByWideSize, kExplicit, CountBits<Count::kLeadingZeros, T, kMemory>)
    REMORA_CASE(TZCNT, ByWideSize, kExplicit, CountBits<Count::kTrailingZeros, T, kMemory>)
    REMORA_CASE(BLSI, ByNativeSize, kResult, LowestBit<Lowest::kIsolate, T, kMemory>)
    REMORA_CASE(BLSR, ByNativeSize, kResult, LowestBit<Lowest::kReset, T, kMemory>)
    REMORA_CASE(BLSMSK, ByNativeSize, kResult, LowestBit<Lowest::kMask, T, kMemory>)
    REMORA_CASE(ANDN, ByNativeSize, kResult, OnPair<Pair::kAndNot, T, kMemory>)
    REMORA_CASE(BEXTR, ByNativeSize, kResult, BitField<true, T, kMemory>)
    REMORA_CASE(BZHI, ByNativeSize, kResult, BitField<false, T, kMemory>)
    REMORA_CASE(ADCX, ByNativeSize, kExplicit, AddWithCarry<kFlagCF, T, kMemory>)
    REMORA_CASE(ADOX, ByNativeSize, kExplicit, AddWithCarry<kFlagOF, T, kMemory>)
    // No flags change.
    REMORA_CASE(PDEP, ByNativeSize, kUnknown, OnPair<Pair::kDeposit, T, kMemory>)
    REMORA_CASE(PEXT, ByNativeSize, kUnknown, OnPair<Pair::kExtract, T, kMemory>)
    REMORA_CASE(MULX, ByNativeSize, kUnknown, MultiplyNoFlags<T, kMemory>)
    REMORA_CASE(RORX, ByNativeSize, kUnknown, RotateNoFlags<T, kMemory>)
    REMORA_CASE(SHLX, ByNativeSize, kUnknown, ShiftNoFlags<Shift3::kLeft, T, kMemory>)
    REMORA_CASE(SHRX, ByNativeSize, kUnknown, ShiftNoFlags<Shift3::kRight, T, kMemory>)
    REMORA_CASE(SARX, ByNativeSize, kUnknown, ShiftNoFlags<Shift3::kArithmetic, T, kMemory>)
#undef REMORA_CASE
    case ZYDIS_MNEMONIC_MOVBE:
      op.handler = ByWideSize(
          op.size, [&]<typename T>() -> Handler { return op.memory_first ? &StoreSwapped<T> : &LoadSwapped<T>; });
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_CRC32:
      op.handler = BySize(operands[1].size / 8,
                          [&]<typename T>() -> Handler { return memory ? &Crc32<T, true> : &Crc32<T, false>; });
      return op.handler != nullptr;
    default:
      return false;
  }
}

}  // namespace remora::cpu
