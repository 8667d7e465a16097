// MOVS STOS LODS SCAS CMPS with and without REP. A REP ends its block: it counts each iteration against the budget and
// can be left, and entered again, between any two.

#include <algorithm>

#include "cpu/alu.h"
#include "cpu/chain.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

using mm::Access;

enum class String : uint8_t { kMovs, kStos, kLods, kScas, kCmps };

constexpr bool ReadsSource(String string) {
  return string == String::kMovs || string == String::kLods || string == String::kCmps;
}
constexpr bool UsesDestination(String string) { return string != String::kLods; }
constexpr uint64_t Accesses(String string) { return ReadsSource(string) && UsesDestination(string) ? 2 : 1; }
constexpr bool Compares(String string) { return string == String::kScas || string == String::kCmps; }

// Iterations between two looks at the interrupt flag.
constexpr uint64_t kIterationsPerLook = 1 << 16;

// RSI and RDI as the op sees them.
struct Cursor {
  CpuState* state;
  const Op* op;

  uint64_t Cut(uint64_t value) const { return op->address32 ? static_cast<uint32_t>(value) : value; }
  uint64_t source() const {
    const uint64_t base = op->segment == 0 ? 0 : op->segment == 1 ? state->fs_base : state->gs_base;
    return base + Cut(state->gpr[kRsi]);
  }
  uint64_t destination() const { return Cut(state->gpr[kRdi]); }
  uint64_t count() const { return Cut(state->gpr[kRcx]); }
  template <String kString>
  void Advance(int64_t bytes) {
    if constexpr (ReadsSource(kString)) state->gpr[kRsi] = Cut(state->gpr[kRsi] + static_cast<uint64_t>(bytes));
    if constexpr (UsesDestination(kString)) state->gpr[kRdi] = Cut(state->gpr[kRdi] + static_cast<uint64_t>(bytes));
  }
};

struct Flags {
  uint64_t& a;
  uint64_t& b;
  uint64_t& kind;
};

// One iteration. False: the exit is recorded, and nothing happened.
template <String kString, typename T>
bool Once(RunContext& context, const Op* op, Flags flags) {
  CpuState& state = context.state();
  Cursor cursor{&state, op};
  T value{};
  if constexpr (kString == String::kMovs) {
    if (!context.Load(cursor.source(), &value) || !context.Store(cursor.destination(), value)) return false;
  } else if constexpr (kString == String::kStos) {
    if (!context.Store(cursor.destination(), ReadRegister<T>(&state, kRax))) return false;
  } else if constexpr (kString == String::kLods) {
    if (!context.Load(cursor.source(), &value)) return false;
    WriteRegister<T>(&state, kRax, value);
  } else if constexpr (kString == String::kScas) {
    if (!context.Load(cursor.destination(), &value)) return false;
    Compute<Alu::kCmp, T>(ReadRegister<T>(&state, kRax), value, flags.a, flags.b, flags.kind);
  } else {
    T other{};
    if (!context.Load(cursor.source(), &value) || !context.Load(cursor.destination(), &other)) return false;
    Compute<Alu::kCmp, T>(value, other, flags.a, flags.b, flags.kind);
  }
  const int64_t step = static_cast<int64_t>(sizeof(T));
  cursor.Advance<kString>((state.rflags & kFlagDF) != 0 ? -step : step);
  return true;
}

// Elements of size T that lie wholly in the page of `address`, upwards from there.
template <typename T>
uint64_t RunLength(uint64_t address) {
  return (kPageSize - (address & kPageMask)) / sizeof(T);
}

template <typename T>
void CopyRun(std::byte* to, const std::byte* from, uint64_t count) {
#ifndef REMORA_GUEST_ACCESS_TSAN
  const uint64_t length_bytes = count * sizeof(T);
  if (to + length_bytes <= from || from + length_bytes <= to) {
    std::memcpy(to, from, length_bytes);
    return;
  }
#endif
  for (uint64_t i = 0; i < count; ++i) StoreGuest<T>(to + i * sizeof(T), LoadGuest<T>(from + i * sizeof(T)));
}

// At most `limit` iterations of MOVS or STOS upwards within one page each; 0 where the general way has to do the next.
template <String kString, typename T>
uint64_t Bulk(RunContext& context, const Op* op, uint64_t limit) {
  CpuState& state = context.state();
  if ((state.rflags & kFlagDF) != 0 || op->address32) return 0;
  Cursor cursor{&state, op};
  const uint64_t destination = cursor.destination();
  uint64_t count = std::min(limit, RunLength<T>(destination));
  if constexpr (kString == String::kMovs) count = std::min(count, RunLength<T>(cursor.source()));
  if (count < 2) return 0;
  std::byte* to = context.tlb().Probe<Access::kWrite>(GuestAddr(destination));
  if (to == nullptr) return 0;
  if constexpr (kString == String::kMovs) {
    const std::byte* from = context.tlb().Probe<Access::kRead>(GuestAddr(cursor.source()));
    if (from == nullptr) return 0;
    CopyRun<T>(to, from, count);
  } else {
    const T value = ReadRegister<T>(&state, kRax);
#ifndef REMORA_GUEST_ACCESS_TSAN
    if constexpr (sizeof(T) == 1) {
      std::memset(to, value, count);
    } else
#endif
      for (uint64_t i = 0; i < count; ++i) StoreGuest<T>(to + i * sizeof(T), value);
  }
  cursor.Advance<kString>(static_cast<int64_t>(count * sizeof(T)));
  return count;
}

enum class RepeatEnd : uint8_t { kDone, kLeave };

// kLeave: the exit is recorded, the registers stand between two iterations.
template <String kString, typename T>
RepeatEnd Repeat(RunContext& context, const Op* op, Flags flags) {
  CpuState& state = context.state();
  Cursor cursor{&state, op};
  uint64_t count = cursor.count();
  if (count == 0) return RepeatEnd::kDone;
  context.remaining += 1;  // the instruction was counted once; from here on its iterations are
  uint64_t until_look = kIterationsPerLook;
  while (true) {
    if (context.remaining == 0) {
      context.Raise(ExitReason::kBudget);
      return RepeatEnd::kLeave;
    }
    if (until_look == 0) {
      if (context.interrupt->load(std::memory_order_relaxed) != 0) {
        context.Raise(ExitReason::kInterrupt);
        return RepeatEnd::kLeave;
      }
      until_look = kIterationsPerLook;
    }
    uint64_t done = 0;
    if constexpr (kString == String::kMovs || kString == String::kStos)
      done = Bulk<kString, T>(context, op, std::min({count, static_cast<uint64_t>(context.remaining), until_look}));
    if (done == 0) {
      if (!Once<kString, T>(context, op, flags)) return RepeatEnd::kLeave;
      done = 1;
    }
    context.accesses += Accesses(kString);
    count -= done;
    until_look -= done;
    state.gpr[kRcx] = count;
    context.remaining -= static_cast<int64_t>(done);
    if (count == 0) return RepeatEnd::kDone;
    if constexpr (Compares(kString))
      if (HoldsFor<kE, FlagKind::kSub>(flags.a, flags.b, flags.kind) != (op->repeat == 1)) return RepeatEnd::kDone;
  }
}

template <String kString, typename T, bool kRepeat>
REMORA_CHAINED void StringOp(REMORA_PARAMS) {
  if constexpr (kRepeat) {
    const RepeatEnd end = Repeat<kString, T>(*context, op, Flags{flag_a, flag_b, flag_kind});
    const bool changed = !ReadsSource(kString) || kString == String::kMovs ? context->CodeChanged() : false;
    if (end == RepeatEnd::kLeave) {
      context->remaining -= op->uncounted;  // LeaveAt gives it back
      REMORA_TAIL LeaveAt(REMORA_ARGS);
    }
    if (changed) REMORA_TAIL ContinueElsewhere(REMORA_ARGS);
    REMORA_TAIL Branch<false>(REMORA_ARGS);
  } else {
    if (!Once<kString, T>(*context, op, Flags{flag_a, flag_b, flag_kind})) REMORA_TAIL LeaveAt(REMORA_ARGS);
    REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
  }
}

template <String kString>
bool Set(Lowering* lowering, unsigned size) {
  Op& op = *lowering->op;
  // The prefix counts even where the instruction is not in the manual's list for it: MOVS with REPNE repeats as REP.
  uint8_t repeat = 0;
  const ZydisDecodedInstruction& info = lowering->in.info;
  for (int i = 0; i < info.raw.prefix_count; ++i) {
    if (info.raw.prefixes[i].value == 0xf3) repeat = 1;
    if (info.raw.prefixes[i].value == 0xf2) repeat = 2;
  }
  op.repeat = repeat & 3;
  op.address32 = info.address_width == 32;
  op.segment = (info.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS) != 0   ? 1
               : (info.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS) != 0 ? 2
                                                                      : 0;
  op.handler = BySize(size, [&]<typename T>() -> Handler {
    return repeat != 0 ? &StringOp<kString, T, true> : &StringOp<kString, T, false>;
  });
  if (repeat != 0) lowering->end = BlockEnd::kLinked;
  if (Compares(kString)) lowering->flags = repeat != 0 ? KnownFlags::kUnknown : KnownFlags::kSub;
  return true;
}

}  // namespace

bool LowerString(Lowering* lowering) {
  if (lowering->in.info.meta.category != ZYDIS_CATEGORY_STRINGOP) return false;
  switch (lowering->in.info.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
      return Set<String::kMovs>(lowering, 1);
    case ZYDIS_MNEMONIC_MOVSW:
      return Set<String::kMovs>(lowering, 2);
    case ZYDIS_MNEMONIC_MOVSD:
      return Set<String::kMovs>(lowering, 4);
    case ZYDIS_MNEMONIC_MOVSQ:
      return Set<String::kMovs>(lowering, 8);
    case ZYDIS_MNEMONIC_STOSB:
      return Set<String::kStos>(lowering, 1);
    case ZYDIS_MNEMONIC_STOSW:
      return Set<String::kStos>(lowering, 2);
    case ZYDIS_MNEMONIC_STOSD:
      return Set<String::kStos>(lowering, 4);
    case ZYDIS_MNEMONIC_STOSQ:
      return Set<String::kStos>(lowering, 8);
    case ZYDIS_MNEMONIC_LODSB:
      return Set<String::kLods>(lowering, 1);
    case ZYDIS_MNEMONIC_LODSW:
      return Set<String::kLods>(lowering, 2);
    case ZYDIS_MNEMONIC_LODSD:
      return Set<String::kLods>(lowering, 4);
    case ZYDIS_MNEMONIC_LODSQ:
      return Set<String::kLods>(lowering, 8);
    case ZYDIS_MNEMONIC_SCASB:
      return Set<String::kScas>(lowering, 1);
    case ZYDIS_MNEMONIC_SCASW:
      return Set<String::kScas>(lowering, 2);
    case ZYDIS_MNEMONIC_SCASD:
      return Set<String::kScas>(lowering, 4);
    case ZYDIS_MNEMONIC_SCASQ:
      return Set<String::kScas>(lowering, 8);
    case ZYDIS_MNEMONIC_CMPSB:
      return Set<String::kCmps>(lowering, 1);
    case ZYDIS_MNEMONIC_CMPSW:
      return Set<String::kCmps>(lowering, 2);
    case ZYDIS_MNEMONIC_CMPSD:
      return Set<String::kCmps>(lowering, 4);
    case ZYDIS_MNEMONIC_CMPSQ:
      return Set<String::kCmps>(lowering, 8);
    default:
      return false;
  }
}

}  // namespace remora::cpu
