// MOV MOVZX MOVSX MOVSXD LEA CMOVcc SETcc XCHG (registers) BSWAP MOVNTI and the widenings of RAX.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/guest_addr.h"
#include "cpu/chain.h"
#include "cpu/lower.h"
#include "cpu/simple_ops.h"

namespace remora::cpu {
namespace {

using mm::Access;

// Loads From, extends it to Wide (as From is signed or not), writes To.
template <typename To, typename From, AddressKind kKind, bool kSlow>
REMORA_CHAINED void LoadExtended(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<kKind>(state, op);
  From value;
  if constexpr (!kSlow) {
    const std::byte* host = ProbeGuest<Access::kRead, sizeof(From)>(tlb, address);
    if (host == nullptr) [[unlikely]]
      REMORA_TAIL LoadExtended<To, From, AddressKind::kAny, true>(REMORA_ARGS);
    value = LoadGuest<From>(host);
  } else {
    if (!context->Load(address, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  }
  WriteRegister<To>(state, op->dst, static_cast<To>(value));
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename To, typename From>
REMORA_CHAINED void MovExtended(REMORA_PARAMS) {
  WriteRegister<To>(state, op->dst, static_cast<To>(ReadRegister<From>(state, op->src)));
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename T, AddressKind kKind, bool kImmediate, bool kSlow>
REMORA_CHAINED void MovMem(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<kKind>(state, op);
  const T value = kImmediate ? static_cast<T>(op->immediate) : ReadRegister<T>(state, op->dst);
  if constexpr (!kSlow) {
    std::byte* host = ProbeGuest<Access::kWrite, sizeof(T)>(tlb, address);
    if (host == nullptr) [[unlikely]]
      REMORA_TAIL MovMem<T, AddressKind::kAny, kImmediate, true>(REMORA_ARGS);
    StoreGuest<T>(host, value);
    REMORA_TAIL Next(REMORA_ARGS);
  } else {
    if (!context->Store(address, value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
    REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
  }
}

// Two loads or stores of registers, side by side behind the same base register: one probe for both. `immediate` of the
// first: the displacement of the first byte, and in the upper half that of the last one.
enum class Piece : uint8_t { kLoad8, kLoad4, kStore8, kStore4 };
constexpr bool IsStore(Piece piece) { return piece == Piece::kStore8 || piece == Piece::kStore4; }

// `base_host`: where the base register points, on the host.
template <Piece kPiece>
[[gnu::always_inline]] inline void DoPiece(CpuState* state, const Op* op, uint64_t base_host) {
  using T = std::conditional_t<kPiece == Piece::kLoad8 || kPiece == Piece::kStore8, uint64_t, uint32_t>;
  auto* const host = reinterpret_cast<std::byte*>(base_host + static_cast<uint64_t>(int64_t{op->displacement}));
  if constexpr (IsStore(kPiece)) {
    StoreGuest<T>(host, ReadRegister<T>(state, op->dst));
  } else {
    WriteRegister<T>(state, op->dst, LoadGuest<T>(host));
  }
}
template <Piece kPiece, bool kSlow>
constexpr Handler PieceHandler() {
  using T = std::conditional_t<kPiece == Piece::kLoad8 || kPiece == Piece::kStore8, uint64_t, uint32_t>;
  constexpr AddressKind kKind = kSlow ? AddressKind::kAny : AddressKind::kBase;
  if constexpr (IsStore(kPiece)) {
    return &MovMem<T, kKind, false, kSlow>;
  } else {
    return &LoadExtended<T, T, kKind, kSlow>;
  }
}

template <Piece kFirst, Piece kSecond>
REMORA_CHAINED void MovePair(REMORA_PARAMS) {
  constexpr Access kAccess = IsStore(kFirst) || IsStore(kSecond) ? Access::kWrite : Access::kRead;
  const uint64_t base = reinterpret_cast<const uint64_t*>(state)[op->base];  // or rip
  const uint64_t lowest = base + static_cast<uint64_t>(int64_t{static_cast<int32_t>(op->immediate)});
  const uint64_t last = base + static_cast<uint64_t>(op->immediate >> 32);
  std::byte* host = ProbeGuest<kAccess, 1>(tlb, lowest);
  if (host == nullptr || (lowest ^ last) >= kPageSize) [[unlikely]]
    REMORA_TAIL PieceHandler<kFirst, true>()(REMORA_ARGS);
  const uint64_t base_host = reinterpret_cast<uint64_t>(host) - lowest + base;
  DoPiece<kFirst>(state, op, base_host);
  ++op;
  DoPiece<kSecond>(state, op, base_host);
  REMORA_TAIL Next(REMORA_ARGS);
}

constexpr std::array<Handler, 4> kPieces = {PieceHandler<Piece::kLoad8, false>(), PieceHandler<Piece::kLoad4, false>(),
                                            PieceHandler<Piece::kStore8, false>(),
                                            PieceHandler<Piece::kStore4, false>()};
template <Piece kFirst>
constexpr std::array<Handler, 4> kPairs = {&MovePair<kFirst, Piece::kLoad8>, &MovePair<kFirst, Piece::kLoad4>,
                                           &MovePair<kFirst, Piece::kStore8>, &MovePair<kFirst, Piece::kStore4>};
constexpr std::array<std::array<Handler, 4>, 4> kAllPairs = {kPairs<Piece::kLoad8>, kPairs<Piece::kLoad4>,
                                                             kPairs<Piece::kStore8>, kPairs<Piece::kStore4>};

// RAX from or to a 64-bit address in the instruction.
template <typename T, bool kStore>
REMORA_CHAINED void MovOffset(REMORA_PARAMS) {
  uint64_t address = static_cast<uint64_t>(op->immediate);
  if (op->segment != 0) address += op->segment == 1 ? state->fs_base : state->gs_base;
  T value;
  if constexpr (kStore) {
    if (!context->Store(address, ReadRegister<T>(state, kRax))) REMORA_TAIL LeaveAt(REMORA_ARGS);
    REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
  } else {
    if (!context->Load(address, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
    WriteRegister<T>(state, kRax, value);
    REMORA_TAIL Next(REMORA_ARGS);
  }
}

template <typename T, Condition kCondition>
REMORA_CHAINED void CmovReg(REMORA_PARAMS) {
  const T value = ReadRegister<T>(state, Holds<kCondition>(flag_a, flag_b, flag_kind) ? op->src : op->dst);
  WriteRegister<T>(state, op->dst, value);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <typename T, Condition kCondition, FlagKind kKind>
REMORA_CHAINED void CmovRegKnown(REMORA_PARAMS) {
  const T value = ReadRegister<T>(state, HoldsFor<kCondition, kKind>(flag_a, flag_b, flag_kind) ? op->src : op->dst);
  WriteRegister<T>(state, op->dst, value);
  REMORA_TAIL Next(REMORA_ARGS);
}

// The operand is read even where the condition fails, as the CPU does.
template <typename T, Condition kCondition>
REMORA_CHAINED void CmovMem(REMORA_PARAMS) {
  T value;
  if (!context->Load(OperandAddress<AddressKind::kAny>(state, op), &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  if (!Holds<kCondition>(flag_a, flag_b, flag_kind)) value = ReadRegister<T>(state, op->dst);
  WriteRegister<T>(state, op->dst, value);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <Condition kCondition>
REMORA_CHAINED void SetReg(REMORA_PARAMS) {
  WriteRegister<uint8_t>(state, op->dst, Holds<kCondition>(flag_a, flag_b, flag_kind) ? 1 : 0);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <Condition kCondition, FlagKind kKind>
REMORA_CHAINED void SetRegKnown(REMORA_PARAMS) {
  WriteRegister<uint8_t>(state, op->dst, HoldsFor<kCondition, kKind>(flag_a, flag_b, flag_kind) ? 1 : 0);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <Condition kCondition>
REMORA_CHAINED void SetMem(REMORA_PARAMS) {
  const uint8_t value = Holds<kCondition>(flag_a, flag_b, flag_kind) ? 1 : 0;
  if (!context->Store(OperandAddress<AddressKind::kAny>(state, op), value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

template <typename T>
REMORA_CHAINED void Bswap(REMORA_PARAMS) {
  const T value = ReadRegister<T>(state, op->dst);
  if constexpr (sizeof(T) == 8) {
    WriteRegister<T>(state, op->dst, __builtin_bswap64(value));
  } else if constexpr (sizeof(T) == 4) {
    WriteRegister<T>(state, op->dst, __builtin_bswap32(value));
  } else {
    WriteRegister<T>(state, op->dst, 0);  // undefined by the manuals; what CPUs do
  }
  REMORA_TAIL Next(REMORA_ARGS);
}

// CBW CWDE CDQE: RAX's lower half, sign-extended.
template <typename To, typename From>
REMORA_CHAINED void WidenRax(REMORA_PARAMS) {
  WriteRegister<To>(state, kRax, static_cast<To>(static_cast<From>(state->gpr[kRax])));
  REMORA_TAIL Next(REMORA_ARGS);
}
// CWD CDQ CQO: RDX becomes RAX's sign.
template <typename T>
REMORA_CHAINED void SignIntoRdx(REMORA_PARAMS) {
  const T value = static_cast<T>(state->gpr[kRax]);
  WriteRegister<T>(state, kRdx, static_cast<T>(value >> (8 * sizeof(T) - 1)));
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename From>
Handler Extend(const Lowering& lowering) {
  const Op& op = *lowering.op;
  const auto by_target = [&]<typename Unsigned>() -> Handler {
    using To = std::conditional_t<std::is_signed_v<From>, std::make_signed_t<Unsigned>, Unsigned>;
    if constexpr (sizeof(To) < sizeof(From)) {
      return nullptr;
    } else {
      if (lowering.shape == Shape::kRegReg) return &MovExtended<To, From>;
      return ByAddressKind(op, []<AddressKind kKind>() -> Handler { return &LoadExtended<To, From, kKind, false>; });
    }
  };
  return ByWideSize(lowering.in.operands[0].size / 8, by_target);
}

Handler MovHandler(const Lowering& lowering) {
  Op& op = *lowering.op;
  switch (lowering.shape) {
    case Shape::kRegReg:
      return BySize(op.size, []<typename T>() -> Handler { return &Simple<MoveRegister<T>>; });
    case Shape::kRegImm:
      return BySize(op.size, []<typename T>() -> Handler { return &Simple<MoveImmediate<T>>; });
    case Shape::kRegMem:
      return BySize(op.size, [&]<typename T>() -> Handler {
        return ByAddressKind(op, []<AddressKind kKind>() -> Handler { return &LoadExtended<T, T, kKind, false>; });
      });
    case Shape::kMemReg:
      return BySize(op.size, [&]<typename T>() -> Handler {
        return ByAddressKind(op, []<AddressKind kKind>() -> Handler { return &MovMem<T, kKind, false, false>; });
      });
    case Shape::kMemImm:
      return BySize(op.size, [&]<typename T>() -> Handler {
        return ByAddressKind(op, []<AddressKind kKind>() -> Handler { return &MovMem<T, kKind, true, false>; });
      });
    default:
      return nullptr;
  }
}

bool IsFarOffset(const Lowering& lowering) {
  for (int i = 0; i < lowering.in.info.operand_count_visible; ++i) {
    const DecodedOperand& operand = lowering.in.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.base == ZYDIS_REGISTER_NONE &&
        operand.mem.displacement != static_cast<int32_t>(operand.mem.displacement)) {
      lowering.op->immediate = operand.mem.displacement;
      return true;
    }
  }
  return false;
}

bool LowerConditional(Lowering* lowering) {
  const ZydisMnemonic mnemonic = lowering->in.info.mnemonic;
  const ZydisInstructionCategory category = lowering->in.info.category;
  Op& op = *lowering->op;
  const int condition = ConditionOf(mnemonic);
  const KnownFlags known = lowering->flags;
  if (category == ZYDIS_CATEGORY_CMOV) {
    op.handler = ByWideSize(op.size, [&]<typename T>() -> Handler {
      return ByCondition(condition, [&]<Condition kCondition>() -> Handler {
        if (lowering->shape == Shape::kRegMem) return &CmovMem<T, kCondition>;
        if constexpr (sizeof(T) != 2) {
          if (known == KnownFlags::kSub) return &CmovRegKnown<T, kCondition, FlagKind::kSub>;
          if (known == KnownFlags::kResult) return &CmovRegKnown<T, kCondition, FlagKind::kResult>;
        }
        return &CmovReg<T, kCondition>;
      });
    });
    return op.handler != nullptr;
  }
  if (category != ZYDIS_CATEGORY_SETCC) return false;
  op.handler = ByCondition(condition, [&]<Condition kCondition>() -> Handler {
    if (lowering->shape == Shape::kMem) return &SetMem<kCondition>;
    if (known == KnownFlags::kSub) return &SetRegKnown<kCondition, FlagKind::kSub>;
    if (known == KnownFlags::kResult) return &SetRegKnown<kCondition, FlagKind::kResult>;
    return &SetReg<kCondition>;
  });
  return op.handler != nullptr;
}

}  // namespace

Handler FuseMoves(Op* first, const Op& second) {
  if (!first->has_memory || !second.has_memory || first->base != second.base) return nullptr;
  const auto one = std::find(kPieces.begin(), kPieces.end(), first->handler);
  const auto other = std::find(kPieces.begin(), kPieces.end(), second.handler);
  if (one == kPieces.end() || other == kPieces.end()) return nullptr;
  if (!first->memory_first && first->dst == first->base) return nullptr;  // another base for the second
  const int64_t lowest = std::min(first->displacement, second.displacement);
  const int64_t last =
      std::max(int64_t{first->displacement} + first->size, int64_t{second.displacement} + second.size) - 1;
  // Far apart they may as well be on two pages.
  if (last - lowest >= 256 || last != static_cast<int32_t>(last)) return nullptr;
  first->immediate =
      static_cast<int64_t>(static_cast<uint64_t>(last) << 32 | (static_cast<uint64_t>(lowest) & 0xffffffff));
  return kAllPairs[static_cast<size_t>(one - kPieces.begin())][static_cast<size_t>(other - kPieces.begin())];
}

bool LowerMove(Lowering* lowering) {
  Op& op = *lowering->op;
  switch (lowering->in.info.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
      if (op.has_memory && IsFarOffset(*lowering)) {
        const bool store = lowering->shape == Shape::kMemReg;
        op.handler = BySize(
            op.size, [&]<typename T>() -> Handler { return store ? &MovOffset<T, true> : &MovOffset<T, false>; });
      } else {
        op.handler = MovHandler(*lowering);
      }
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_MOVNTI:
      op.handler = MovHandler(*lowering);
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_MOVZX:
      op.handler = lowering->in.operands[1].size == 8 ? Extend<uint8_t>(*lowering) : Extend<uint16_t>(*lowering);
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_MOVSXD:
      // With a 16-bit operand size it is a plain move, which still reads 4 bytes of memory.
      if (lowering->in.operands[0].size == 16) {
        op.handler =
            op.has_memory ? &LoadExtended<int16_t, int32_t, AddressKind::kAny, false> : &Simple<MoveRegister<uint16_t>>;
        return true;
      }
      [[fallthrough]];
    case ZYDIS_MNEMONIC_MOVSX:
      op.handler = lowering->in.operands[1].size == 8    ? Extend<int8_t>(*lowering)
                   : lowering->in.operands[1].size == 16 ? Extend<int16_t>(*lowering)
                                                         : Extend<int32_t>(*lowering);
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_LEA:
      op.segment = 0;
      op.handler = ByWideSize(lowering->in.operands[0].size / 8, [&]<typename T>() -> Handler {
        return ByAddressKind(op, []<AddressKind kKind>() -> Handler { return &Simple<MoveAddress<T, kKind>>; });
      });
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_BSWAP:
      op.handler = ByWideSize(op.size, []<typename T>() -> Handler { return &Bswap<T>; });
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_CBW:
      op.handler = &WidenRax<int16_t, int8_t>;
      return true;
    case ZYDIS_MNEMONIC_CWDE:
      op.handler = &WidenRax<int32_t, int16_t>;
      return true;
    case ZYDIS_MNEMONIC_CDQE:
      op.handler = &WidenRax<int64_t, int32_t>;
      return true;
    case ZYDIS_MNEMONIC_CWD:
      op.handler = &SignIntoRdx<int16_t>;
      return true;
    case ZYDIS_MNEMONIC_CDQ:
      op.handler = &SignIntoRdx<int32_t>;
      return true;
    case ZYDIS_MNEMONIC_CQO:
      op.handler = &SignIntoRdx<int64_t>;
      return true;
    default:
      return LowerConditional(lowering);
  }
}

}  // namespace remora::cpu
