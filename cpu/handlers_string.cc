// MOVS STOS LODS SCAS CMPS with and without REP. A REP ends its block: it counts each iteration against the budget and
// can be left, and entered again, between any two.

#include <algorithm>
#include <cstring>

#include "cpu/alu.h"
#include "cpu/chain.h"
#include "cpu/lower.h"
#include "cpu/string_form.h"
#include "cpu/string_run.h"

namespace remora::cpu {
namespace {

using mm::Access;

constexpr uint64_t Accesses(String string) { return ReadsSource(string) && UsesDestination(string) ? 2 : 1; }

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
  bool down() const { return (state->rflags & kFlagDF) != 0; }
  template <String kString>
  void Advance(uint64_t bytes) {
    const uint64_t step = down() ? -bytes : bytes;
    if constexpr (ReadsSource(kString)) state->gpr[kRsi] = Cut(state->gpr[kRsi] + step);
    if constexpr (UsesDestination(kString)) state->gpr[kRdi] = Cut(state->gpr[kRdi] + step);
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
  cursor.Advance<kString>(sizeof(T));
  return true;
}

template <typename T>
void CopyByElements(std::byte* to, const std::byte* from, uint64_t count, bool down) {
  for (uint64_t i = 0; i < count; ++i) {
    const auto offset = static_cast<ptrdiff_t>(i * sizeof(T));
    StoreGuest<T>(down ? to - offset : to + offset, LoadGuest<T>(down ? from - offset : from + offset));
  }
}

#ifdef REMORA_GUEST_ACCESS_TSAN
template <typename T>
void CopyRun(std::byte* to, const std::byte* from, uint64_t count, bool down) {
  CopyByElements<T>(to, from, count, down);
}
template <typename T>
void FillRun(std::byte* to, T value, uint64_t count, bool down) {
  for (uint64_t i = 0; i < count; ++i) StoreGuest<T>(down ? to - i * sizeof(T) : to + i * sizeof(T), value);
}
#else
// `to` lies `distance` bytes behind `from`, and what is written is read again: so the bytes between repeat themselves.
void RepeatPattern(std::byte* to, const std::byte* from, uint64_t length_bytes) {
  for (auto distance = static_cast<uint64_t>(to - from); length_bytes != 0; distance *= 2) {
    const uint64_t part = std::min(distance, length_bytes);
    std::memcpy(to, from, part);
    to += part;
    length_bytes -= part;
  }
}

// As one element after the other would be copied, from the first one at `to` and `from`.
template <typename T>
void CopyRun(std::byte* to, const std::byte* from, uint64_t count, bool down) {
  const uint64_t length_bytes = count * sizeof(T);
  const uint64_t before = down ? length_bytes - sizeof(T) : 0;
  std::byte* const to_start = to - before;
  const std::byte* const from_start = from - before;
  if (to_start + length_bytes <= from_start || from_start + length_bytes <= to_start) {
    std::memcpy(to_start, from_start, length_bytes);
  } else if (down ? to >= from : to <= from) {
    std::memmove(to_start, from_start, length_bytes);  // nothing is read again
  } else if (!down && static_cast<uint64_t>(to - from) >= sizeof(T)) {
    RepeatPattern(to, from, length_bytes);
  } else {
    CopyByElements<T>(to, from, count, down);
  }
}

template <typename T>
void FillRun(std::byte* to, T value, uint64_t count, bool down) {
  const uint64_t length_bytes = count * sizeof(T);
  if (down) to -= length_bytes - sizeof(T);
  if constexpr (sizeof(T) == 1) {
    std::memset(to, value, length_bytes);
  } else {
    StoreGuest<T>(to, value);
    RepeatPattern(to + sizeof(T), to, length_bytes - sizeof(T));
  }
}
#endif

// Finds the run of pages from `address` on, for at most *count elements, which becomes as many as lie in it. Null: the
// general way has to do the next one.
template <Access kAccess, typename T>
std::byte* FindRun(RunContext& context, uint64_t address, bool down, uint64_t* count) {
  if ((address & kPageMask) > kPageSize - sizeof(T)) return nullptr;
  std::byte* host = context.Find<kAccess>(address);
  if (host != nullptr) *count = ElementsInRun<kAccess>(&context.tlb(), address, host, sizeof(T), down, *count);
  return host;
}

// At most `limit` iterations, those within one run of pages; 0 where the general way has to do the next. LODS has none:
// only its last iteration shows. *ended: the comparison is over.
template <String kString, typename T>
uint64_t Bulk(RunContext& context, const Op* op, uint64_t limit, Flags flags, bool* ended) {
  CpuState& state = context.state();
  Cursor cursor{&state, op};
  const bool down = cursor.down();
  uint64_t count = limit;
  if (op->address32) {
    if constexpr (ReadsSource(kString))
      count = std::min(count, ElementsBeforeWrap(cursor.Cut(state.gpr[kRsi]), sizeof(T), down));
    count = std::min(count, ElementsBeforeWrap(cursor.destination(), sizeof(T), down));
    if (count == 0) return 0;
  }
  const std::byte* from = nullptr;
  if constexpr (ReadsSource(kString)) {
    from = FindRun<Access::kRead, T>(context, cursor.source(), down, &count);
    if (from == nullptr) return 0;
  }
  const uint64_t losses = context.tlb().losses();
  constexpr Access kAccess = WritesDestination(kString) ? Access::kWrite : Access::kRead;
  std::byte* to = FindRun<kAccess, T>(context, cursor.destination(), down, &count);
  // What was found first must still hold.
  if (to == nullptr || context.tlb().losses() != losses) return 0;
  const T value = ReadRegister<T>(&state, kRax);
  if constexpr (kString == String::kMovs) {
    CopyRun<T>(to, from, count, down);
  } else if constexpr (kString == String::kStos) {
    FillRun<T>(to, value, count, down);
  } else {
    const ElementsAt<T> elements{to, down};
    const bool while_equal = op->repeat == static_cast<unsigned>(Repeat::kWhileEqual);
    Compared<T> compared;
    if constexpr (kString == String::kScas)
      compared = CompareRun<T>(count, while_equal, down, SameElement<T>{value}, elements);
    else
      compared = CompareRun<T>(count, while_equal, down, ElementsAt<T>{from, down}, elements);
    count = compared.count;
    Compute<Alu::kCmp, T>(compared.left, compared.right, flags.a, flags.b, flags.kind);
    *ended = (compared.left == compared.right) != while_equal;
  }
  cursor.Advance<kString>(count * sizeof(T));
  return count;
}

enum class RepeatEnd : uint8_t { kDone, kLeave };

// kLeave: the exit is recorded, the registers stand between two iterations.
template <String kString, typename T>
RepeatEnd RunRepeat(RunContext& context, const Op* op, Flags flags) {
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
    bool ended = false;
    if constexpr (kString != String::kLods)
      done = Bulk<kString, T>(context, op, std::min({count, static_cast<uint64_t>(context.remaining), until_look}),
                              flags, &ended);
    if (done == 0) {
      if (!Once<kString, T>(context, op, flags)) return RepeatEnd::kLeave;
      done = 1;
      if constexpr (Compares(kString))
        ended = HoldsFor<kE, FlagKind::kSub>(flags.a, flags.b, flags.kind) !=
                (op->repeat == static_cast<unsigned>(Repeat::kWhileEqual));
    }
    context.accesses += Accesses(kString);
    count -= done;
    until_look -= done;
    state.gpr[kRcx] = count;
    context.remaining -= static_cast<int64_t>(done);
    if (count == 0 || ended) return RepeatEnd::kDone;
  }
}

template <String kString, typename T, bool kRepeat>
REMORA_CHAINED void StringOp(REMORA_PARAMS) {
  if constexpr (kRepeat) {
    const RepeatEnd end = RunRepeat<kString, T>(*context, op, Flags{flag_a, flag_b, flag_kind});
    const bool changed = WritesDestination(kString) && context->CodeChanged();
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
Handler HandlerOf(const StringForm& form) {
  return BySize(static_cast<unsigned>(form.size()), [&]<typename T>() -> Handler {
    return form.repeat != Repeat::kNone ? &StringOp<kString, T, true> : &StringOp<kString, T, false>;
  });
}

Handler HandlerOf(const StringForm& form) {
  switch (form.string) {
    case String::kMovs:
      return HandlerOf<String::kMovs>(form);
    case String::kStos:
      return HandlerOf<String::kStos>(form);
    case String::kLods:
      return HandlerOf<String::kLods>(form);
    case String::kScas:
      return HandlerOf<String::kScas>(form);
    case String::kCmps:
      return HandlerOf<String::kCmps>(form);
  }
  return nullptr;
}

}  // namespace

bool LowerString(Lowering* lowering) {
  const std::optional<StringForm> form = FormOfString(lowering->in.info);
  if (!form) return false;
  Op& op = *lowering->op;
  op.repeat = static_cast<uint8_t>(form->repeat) & 3;
  op.address32 = form->address32;
  op.segment = form->segment;
  op.handler = HandlerOf(*form);
  const bool repeats = form->repeat != Repeat::kNone;
  if (repeats) lowering->end = BlockEnd::kLinked;
  if (Compares(form->string)) lowering->flags = repeats ? KnownFlags::kUnknown : KnownFlags::kSub;
  return true;
}

}  // namespace remora::cpu
