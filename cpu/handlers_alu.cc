// ADD OR ADC SBB AND SUB XOR CMP TEST, and compares fused with the conditional branch behind them.

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/alu.h"
#include "cpu/chain.h"
#include "cpu/locked.h"
#include "cpu/lower.h"
#include "cpu/simple_ops.h"

namespace remora::cpu {
namespace {

using mm::Access;

template <Alu kAlu, typename T, AddressKind kKind, bool kSlow>
REMORA_CHAINED void AluRegMem(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<kKind>(state, op);
  T value;
  if constexpr (!kSlow) {
    const std::byte* host = ProbeGuest<Access::kRead, sizeof(T)>(tlb, address);
    if (host == nullptr) [[unlikely]]
      REMORA_TAIL AluRegMem<kAlu, T, AddressKind::kAny, true>(REMORA_ARGS);
    value = LoadGuest<T>(host);
  } else {
    if (!context->Load(address, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  }
  const T result = Compute<kAlu, T>(ReadRegister<T>(state, op->dst), value, flag_a, flag_b, flag_kind);
  if constexpr (WritesResult(kAlu)) WriteRegister<T>(state, op->dst, result);
  REMORA_TAIL Next(REMORA_ARGS);
}

// CMP and TEST only read the memory operand.
template <Alu kAlu, typename T, AddressKind kKind, bool kImmediate, bool kSlow>
REMORA_CHAINED void CompareMem(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<kKind>(state, op);
  T value;
  if constexpr (!kSlow) {
    const std::byte* host = ProbeGuest<Access::kRead, sizeof(T)>(tlb, address);
    if (host == nullptr) [[unlikely]]
      REMORA_TAIL CompareMem<kAlu, T, AddressKind::kAny, kImmediate, true>(REMORA_ARGS);
    value = LoadGuest<T>(host);
  } else {
    if (!context->Load(address, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  }
  const T right = kImmediate ? static_cast<T>(op->immediate) : ReadRegister<T>(state, op->dst);
  Compute<kAlu, T>(value, right, flag_a, flag_b, flag_kind);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <Alu kAlu, typename T, AddressKind kKind, bool kImmediate, bool kSlow>
REMORA_CHAINED void AluMem(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<kKind>(state, op);
  const T right = kImmediate ? static_cast<T>(op->immediate) : ReadRegister<T>(state, op->dst);
  if constexpr (!kSlow) {
    std::byte* host = ProbeGuest<Access::kWrite, sizeof(T)>(tlb, address);
    if (host == nullptr) [[unlikely]]
      REMORA_TAIL AluMem<kAlu, T, AddressKind::kAny, kImmediate, true>(REMORA_ARGS);
    StoreGuest<T>(host, Compute<kAlu, T>(LoadGuest<T>(host), right, flag_a, flag_b, flag_kind));
    REMORA_TAIL Next(REMORA_ARGS);
  } else {
    T value;
    if (!context->ProbeWrite(address, sizeof(T)) || !context->Load(address, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
    context->Store(address, Compute<kAlu, T>(value, right, flag_a, flag_b, flag_kind));
    REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
  }
}

template <Alu kAlu, typename T, bool kImmediate>
REMORA_CHAINED void AluMemLocked(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<AddressKind::kAny>(state, op);
  const T right = kImmediate ? static_cast<T>(op->immediate) : ReadRegister<T>(state, op->dst);
  T old;
  const auto update = [&](T value) {
    uint64_t a = flag_a, b = flag_b, kind = flag_kind;
    return Compute<kAlu, T>(value, right, a, b, kind);
  };
  if (!LockedUpdate(*context, address, &old, update)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  Compute<kAlu, T>(old, right, flag_a, flag_b, flag_kind);
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

// The branch is the next op. kBefore: simple instructions that stand before both.
template <Alu kAlu, typename T, bool kImmediate, Condition kCondition, typename... kBefore>
REMORA_CHAINED void AluBranch(REMORA_PARAMS) {
  ((kBefore::Do(state, op, flag_a, flag_b, flag_kind), ++op), ...);
  const T right = kImmediate ? static_cast<T>(op->immediate) : ReadRegister<T>(state, op->src);
  const T result = Compute<kAlu, T>(ReadRegister<T>(state, op->dst), right, flag_a, flag_b, flag_kind);
  if constexpr (WritesResult(kAlu)) WriteRegister<T>(state, op->dst, result);
  ++op;
  if (HoldsFor<kCondition, FlagKindOf(kAlu)>(flag_a, flag_b, flag_kind)) {
    REMORA_TAIL Branch<true>(REMORA_ARGS);
  } else {
    REMORA_TAIL Branch<false>(REMORA_ARGS);
  }
}

template <Alu kAlu>
Handler FusedHandler(const Lowering& first, int condition) {
  const bool immediate = first.shape == Shape::kRegImm;
  const auto by_condition = [&]<typename T>() -> Handler {
    return ByCondition(condition, [&]<Condition kCondition>() -> Handler {
      return immediate ? &AluBranch<kAlu, T, true, kCondition> : &AluBranch<kAlu, T, false, kCondition>;
    });
  };
  if constexpr (kAlu == Alu::kCmp || kAlu == Alu::kTest) {
    return BySize(first.op->size, by_condition);
  } else {
    return first.op->size == 4   ? by_condition.template operator()<uint32_t>()
           : first.op->size == 8 ? by_condition.template operator()<uint64_t>()
                                 : nullptr;
  }
}

// What loops end in, and tests of what was just moved.
template <typename Before>
struct BranchesBehind {
  struct Entry {
    Handler alone, both;
  };
  static constexpr size_t kConditions = 16;
  template <Alu kAlu, typename T, bool kImmediate, size_t... i>
  static constexpr auto Make(std::index_sequence<i...>) {
    return std::array<Entry, kConditions>{Entry{&AluBranch<kAlu, T, kImmediate, static_cast<Condition>(i)>,
                                                &AluBranch<kAlu, T, kImmediate, static_cast<Condition>(i), Before>}...};
  }
  template <Alu kAlu, typename T, bool kImmediate>
  static constexpr auto kEntries = Make<kAlu, T, kImmediate>(std::make_index_sequence<kConditions>());

  static Handler Find(Handler alone) {
    for (const auto* entries : {&kEntries<Alu::kCmp, uint64_t, false>, &kEntries<Alu::kCmp, uint64_t, true>,
                                &kEntries<Alu::kCmp, uint32_t, false>, &kEntries<Alu::kCmp, uint32_t, true>,
                                &kEntries<Alu::kTest, uint64_t, false>, &kEntries<Alu::kTest, uint32_t, false>})
      for (const Entry& entry : *entries)
        if (entry.alone == alone) return entry.both;
    return nullptr;
  }
};

template <Alu kAlu>
Handler AluHandler(const Lowering& lowering) {
  const Op& op = *lowering.op;
  switch (lowering.shape) {
    case Shape::kRegReg:
      if constexpr (kAlu == Alu::kXor || kAlu == Alu::kSub)
        if (op.dst == op.src)
          return BySize(op.size, []<typename T>() -> Handler { return &Simple<ClearRegister<kAlu, T>>; });
      return BySize(op.size, []<typename T>() -> Handler { return &Simple<RegisterWithRegister<kAlu, T>>; });
    case Shape::kRegImm:
      return BySize(op.size, []<typename T>() -> Handler { return &Simple<RegisterWithImmediate<kAlu, T>>; });
    case Shape::kRegMem:
      return BySize(op.size, [&]<typename T>() -> Handler {
        return ByAddressKind(op, []<AddressKind kKind>() -> Handler { return &AluRegMem<kAlu, T, kKind, false>; });
      });
    case Shape::kMemReg:
    case Shape::kMemImm: {
      const bool immediate = lowering.shape == Shape::kMemImm;
      if constexpr (!WritesResult(kAlu)) {
        return BySize(op.size, [&]<typename T>() -> Handler {
          return ByAddressKind(op, [&]<AddressKind kKind>() -> Handler {
            return immediate ? &CompareMem<kAlu, T, kKind, true, false> : &CompareMem<kAlu, T, kKind, false, false>;
          });
        });
      } else {
        return BySize(op.size, [&]<typename T>() -> Handler {
          if (op.lock) return immediate ? &AluMemLocked<kAlu, T, true> : &AluMemLocked<kAlu, T, false>;
          if (AddressKindOf(op) == AddressKind::kBase)
            return immediate ? &AluMem<kAlu, T, AddressKind::kBase, true, false>
                             : &AluMem<kAlu, T, AddressKind::kBase, false, false>;
          return immediate ? &AluMem<kAlu, T, AddressKind::kAny, true, false>
                           : &AluMem<kAlu, T, AddressKind::kAny, false, false>;
        });
      }
    }
    default:
      return nullptr;
  }
}

template <Alu kAlu>
bool Set(Lowering* lowering) {
  lowering->op->handler = AluHandler<kAlu>(*lowering);
  lowering->flags = static_cast<KnownFlags>(FlagKindOf(kAlu));
  return lowering->op->handler != nullptr;
}

}  // namespace

Handler FuseWithBranch(const Lowering& first, ZydisMnemonic branch) {
  if (first.shape != Shape::kRegReg && first.shape != Shape::kRegImm) return nullptr;
  const int condition = ConditionOf(branch);
  switch (first.in.info.mnemonic) {
    case ZYDIS_MNEMONIC_CMP:
      return FusedHandler<Alu::kCmp>(first, condition);
    case ZYDIS_MNEMONIC_TEST:
      return FusedHandler<Alu::kTest>(first, condition);
    case ZYDIS_MNEMONIC_SUB:
      return FusedHandler<Alu::kSub>(first, condition);
    case ZYDIS_MNEMONIC_ADD:
      return FusedHandler<Alu::kAdd>(first, condition);
    case ZYDIS_MNEMONIC_AND:
      return FusedHandler<Alu::kAnd>(first, condition);
    default:
      return nullptr;
  }
}

Handler FuseBeforeBranch(const Op& first, const Op& second) {
  using AddImmediate = RegisterWithImmediate<Alu::kAdd, uint64_t>;
  if (first.handler == &Simple<AddImmediate>) return BranchesBehind<AddImmediate>::Find(second.handler);
  using Move = MoveRegister<uint64_t>;
  if (first.handler == &Simple<Move>) return BranchesBehind<Move>::Find(second.handler);
  return nullptr;
}

bool LowerAlu(Lowering* lowering) {
  switch (lowering->in.info.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
      return Set<Alu::kAdd>(lowering);
    case ZYDIS_MNEMONIC_OR:
      return Set<Alu::kOr>(lowering);
    case ZYDIS_MNEMONIC_ADC:
      return Set<Alu::kAdc>(lowering);
    case ZYDIS_MNEMONIC_SBB:
      return Set<Alu::kSbb>(lowering);
    case ZYDIS_MNEMONIC_AND:
      return Set<Alu::kAnd>(lowering);
    case ZYDIS_MNEMONIC_SUB:
      return Set<Alu::kSub>(lowering);
    case ZYDIS_MNEMONIC_XOR:
      return Set<Alu::kXor>(lowering);
    case ZYDIS_MNEMONIC_CMP:
      return Set<Alu::kCmp>(lowering);
    case ZYDIS_MNEMONIC_TEST:
      return Set<Alu::kTest>(lowering);
    default:
      return false;
  }
}

}  // namespace remora::cpu
