#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "cpu/chain.h"
#include "cpu/evex.h"
#include "cpu/evex_unit.h"
#include "cpu/interpreter_core.h"
#include "cpu/lower.h"
#include "cpu/sse_environment.h"

// Instructions of AVX-512: their memory operands, gathers and scatters. See cpu/evex.h.

namespace remora::cpu {
namespace {

constexpr uint64_t LowBits(unsigned count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

// The mask's bits that mean something here.
uint64_t MaskOf(const CpuState& state, const EvexDetails& details) {
  const uint64_t bits = details.mask == 0 ? ~uint64_t{0} : state.opmask[details.mask];
  return bits & LowBits(details.mask_bits);
}

// Which of the memory operand's elements the mask lets through.
uint64_t ElementsOf(uint64_t mask, const EvexDetails& details) {
  uint64_t elements = 0;
  for (unsigned bit = 0; bit < details.mask_bits; bit += details.elements) elements |= mask >> bit;
  return elements & LowBits(details.elements);
}

// Calls f(where the run starts, how long it is), in bytes, for each run of elements side by side; false at once if f
// says so.
template <typename F>
bool ForEachRun(uint64_t elements, unsigned element_bytes, F f) {
  while (elements != 0) {
    const auto first = static_cast<unsigned>(std::countr_zero(elements));
    const auto count = static_cast<unsigned>(std::countr_one(elements >> first));
    if (!f(first * element_bytes, count * element_bytes)) return false;
    elements &= ~(LowBits(count) << first);
  }
  return true;
}

bool LoadOperand(HandlerEnv& env, uint64_t address, const EvexDetails& details, std::byte* to) {
  const CpuState& state = env.state();
  switch (details.access) {
    case EvexAccess::kLoad:
      return env.Read(address, to, details.operand_bytes());
    case EvexAccess::kElements: {
      const uint64_t elements = ElementsOf(MaskOf(state, details), details);
      return ForEachRun(elements, details.element_bytes,
                        [&](unsigned from, unsigned length) { return env.Read(address + from, to + from, length); });
    }
    case EvexAccess::kExpand: {
      const auto count = static_cast<unsigned>(std::popcount(MaskOf(state, details)));
      return count == 0 || env.Read(address, to, count * details.element_bytes);
    }
    default:
      return true;
  }
}

// What a store writes, as runs of elements.
uint64_t StoredElements(const CpuState& state, const EvexDetails& details) {
  switch (details.access) {
    case EvexAccess::kStore:
      return LowBits(details.elements);
    case EvexAccess::kStoreElements:
      return MaskOf(state, details);
    case EvexAccess::kCompress:
      return LowBits(static_cast<unsigned>(std::popcount(MaskOf(state, details))));
    default:
      return 0;
  }
}

// The address of element i of a gather or scatter.
class ElementAddress {
 public:
  ElementAddress(const HandlerEnv& env, const Op& op, const EvexDetails& details)
      : index_(env.state().vector[op.index].bytes.data()),
        index_bytes_(details.index_bytes),
        shift_(op.scale_shift),
        narrow_(op.address32 != 0) {
    Op base = op;
    base.index = kNoRegister;
    base.address32 = 0;
    offset_ = env.Offset(base);
    segment_ = op.segment == 0 ? 0 : op.segment == 1 ? env.state().fs_base : env.state().gs_base;
  }

  uint64_t operator()(unsigned i) const {
    int64_t index;
    if (index_bytes_ == 4) {
      int32_t narrow;
      std::memcpy(&narrow, index_ + 4 * i, 4);
      index = narrow;
    } else {
      std::memcpy(&index, index_ + 8 * i, 8);
    }
    const uint64_t address = offset_ + (static_cast<uint64_t>(index) << shift_);
    return (narrow_ ? static_cast<uint32_t>(address) : address) + segment_;
  }

 private:
  const std::byte* index_;
  const unsigned index_bytes_;
  const unsigned shift_;
  const bool narrow_;
  uint64_t offset_ = 0, segment_ = 0;
};

// Element by element; the mask tells what is left to do, so that one that faulted goes on where it stopped.
bool Gather(HandlerEnv& env, const Op& op, const EvexDetails& details) {
  CpuState& state = env.state();
  uint64_t& mask = state.opmask[details.mask];
  const ElementAddress address_of(env, op, details);
  std::byte* result = state.vector[op.dst].bytes.data();
  const unsigned bytes = details.element_bytes;
  const auto clear_above = [&](unsigned used) { std::memset(result + used, 0, sizeof(VectorRegister) - used); };
  // What lies above the vector's length goes with the first element, what lies between that and the elements when all
  // are done: so it is seen where one faults, on AMD's CPUs.
  const unsigned length_bytes = details.elements * std::max(bytes, unsigned{details.index_bytes});
  for (unsigned i = 0; i < details.elements; ++i) {
    if ((mask >> i & 1) == 0) continue;
    if (!env.Read(address_of(i), result + i * bytes, bytes)) return false;
    mask &= ~(uint64_t{1} << i);
    clear_above(length_bytes);
  }
  clear_above(details.operand_bytes());
  mask = 0;
  return true;
}

bool Scatter(HandlerEnv& env, const Op& op, const EvexDetails& details) {
  CpuState& state = env.state();
  uint64_t& mask = state.opmask[details.mask];
  const ElementAddress address_of(env, op, details);
  // The operands are memory, mask and source.
  const std::byte* source = state.vector[op.src].bytes.data();
  const unsigned bytes = details.element_bytes;
  for (unsigned i = 0; i < details.elements; ++i) {
    if ((mask >> i & 1) == 0) continue;
    if (!env.Write(address_of(i), source + i * bytes, bytes)) return false;
    mask &= ~(uint64_t{1} << i);
  }
  mask = 0;
  return true;
}

REMORA_CHAINED void Skip(REMORA_PARAMS) { REMORA_TAIL Next(REMORA_ARGS); }

}  // namespace

Handler SkipHandler() { return &Skip; }

bool RunEvex(HandlerEnv& env, const Op& op) {
  const EvexDetails& details = DetailsBehind(op);
  CpuState& state = env.state();
  state.avx512_live = true;
  if (details.access == EvexAccess::kGather) return Gather(env, op, details);
  if (details.access == EvexAccess::kScatter) return Scatter(env, op, details);

  EvexUnit& unit = static_cast<RunContext&>(env).core->evex();
  EvexUnit::Frame& frame = unit.frame();
  const uint64_t address = details.access == EvexAccess::kNone ? 0 : env.Address(op);
  if (MaskOf(state, details) != 0 && !env.CheckAligned(address, details.alignment)) return false;
  if (!LoadOperand(env, address, details, frame.memory.data())) return false;
  const uint64_t stored = StoredElements(state, details);
  const auto probe = [&](unsigned from, unsigned length) { return env.ProbeWrite(address + from, length); };
  if (!ForEachRun(details.probes_all != 0 ? LowBits(details.elements) : stored, details.element_bytes, probe))
    return false;
  if (details.general != kNoRegister) frame.general = state.gpr[details.general];

  const uint8_t raised = unit.Run(&state, std::bit_cast<uint64_t>(details.bytes));
  if (!CommitSse(env, raised)) return false;
  if (details.general != kNoRegister) state.gpr[details.general] = frame.general;
  if (op.writes_flags) state.rflags = (state.rflags & ~kStatusFlags) | (frame.flags & kStatusFlags);
  return ForEachRun(stored, details.element_bytes, [&](unsigned from, unsigned length) {
    return env.Write(address + from, frame.memory.data() + from, length);
  });
}

}  // namespace remora::cpu
