// Of BlockWriter: memory operands.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "cpu/translator/block_frame.h"
#include "cpu/translator/block_writer.h"

namespace remora::cpu::translator {
namespace {

// The extent that all accesses of the stack share, in each class another place: at one distance from each other they
// would all be in one set of the host's cache.
uint32_t StackExtent(unsigned size_class) { return size_class * kExtentsOfClass + 5 * size_class; }

unsigned SizeClass(unsigned size) { return static_cast<unsigned>(std::bit_width(size - 1)); }

// Sites of one block use different extents, and the same one each time the block is translated.
uint32_t ExtentOf(uint64_t pc, unsigned size_class) {
  const uint32_t hash = static_cast<uint32_t>((pc * 0x9e3779b97f4a7c15) >> 40) % kExtentsOfClass;
  const uint32_t extent = size_class * kExtentsOfClass + hash;
  return extent == StackExtent(size_class) ? extent + 1 : extent;
}

}  // namespace

void BlockWriter::ComputeAddress(const GuestInstruction& instruction, bool keep_flags) {
  const ZydisDecodedOperandMem_& memory = instruction.memory_operand().mem;
  const int32_t displacement = Displacement(memory);
  const bool narrow = instruction.decoded.info.address_width == 32;
  const int base = GeneralRegister(memory.base), index = GeneralRegister(memory.index);
  const auto lea = [&](HostPlace place) { code_.Memory(0x8d, kScratch, place, /*wide=*/!narrow); };
  const auto add = [&](const HostPlace& field) {
    if (!keep_flags) return code_.Memory(0x03, kScratch, field);
    const HostPlace spill = Frame(REMORA_FRAME(spill[1]));
    code_.Store(spill, kHostRax);
    code_.Load(kHostRax, field);
    code_.Lea(kScratch, {.base = kScratch, .index = kHostRax});
    code_.Load(kHostRax, spill);
  };
  if (memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP || (base < 0 && index < 0)) {
    uint64_t address = static_cast<uint64_t>(int64_t{displacement});
    if (base < 0 && memory.base != ZYDIS_REGISTER_NONE) address += instruction.next_pc();
    code_.Constant(kScratch, narrow ? static_cast<uint32_t>(address) : address);
  } else if (index < 0) {
    const auto guest = static_cast<unsigned>(base);
    if (IsInContext(guest)) {
      code_.Load(kScratch, InContext(guest));
      if (narrow || displacement != 0) lea({.base = kScratch, .displacement = displacement});
    } else {
      lea({.base = HostRegister(guest), .displacement = displacement});
    }
  } else {
    const auto scaled = static_cast<unsigned>(index);
    const bool both = base >= 0 && IsInContext(static_cast<unsigned>(base)) && IsInContext(scaled);
    if (IsInContext(scaled)) code_.Load(kScratch, InContext(scaled));
    if (base >= 0 && !both && IsInContext(static_cast<unsigned>(base)))
      code_.Load(kScratch, InContext(static_cast<unsigned>(base)));
    const uint8_t index_register = IsInContext(scaled) ? kScratch : HostRegister(scaled);
    const auto shift = static_cast<uint8_t>(std::countr_zero(memory.scale));
    if (base < 0 || both) {
      // [index * scale + displacement] has no base.
      const unsigned rex = (narrow ? 0u : 8u) | 4u | (index_register >= 8 ? 2u : 0u);
      code_.Byte(0x40 | rex);
      code_.Byte(0x8d);
      code_.Byte((kScratch & 7u) << 3 | 4);
      code_.Byte(unsigned{shift} << 6 | (index_register & 7u) << 3 | 5);
      code_.Dword(static_cast<uint32_t>(displacement));
    } else {
      const auto guest = static_cast<unsigned>(base);
      lea({.base = IsInContext(guest) ? kScratch : HostRegister(guest),
           .index = index_register,
           .shift = shift,
           .displacement = displacement});
    }
    if (both) {
      add(InContext(static_cast<unsigned>(base)));
      if (narrow) code_.Move32(kScratch, kScratch);
    }
  }
  if (instruction.action == Action::kLea) return;
  if (memory.segment == ZYDIS_REGISTER_FS) add(Frame(REMORA_FRAME(fs_base)));
  if (memory.segment == ZYDIS_REGISTER_GS) add(Frame(REMORA_FRAME(gs_base)));
}

uint32_t BlockWriter::ExtentOfGroup(const OperandGroups::Group& group, uint64_t pc) {
  const unsigned size_class = SizeClass(static_cast<unsigned>(group.high - group.low));
  // All that concerns the stack looks into one place: it is nearly always the same run.
  const bool stack = group.base == kRsp;
  const uint32_t extent = stack ? StackExtent(size_class) : ExtentOf(pc, size_class);
  return extent + (stack || group.write ? kNumExtents : 0);
}

void BlockWriter::FindSharedExtents(std::span<const GuestInstruction> instructions) {
  extents_of_groups_.clear();
  shared_extents_.clear();
  for (uint32_t number = 0; number < groups_.num_groups(); ++number) {
    const OperandGroups::Group& group = groups_.group(static_cast<int>(number));
    if (group.first >= instructions.size()) break;
    const uint32_t extent = ExtentOfGroup(group, instructions[group.first].pc);
    if (std::ranges::find(extents_of_groups_, extent) != extents_of_groups_.end()) shared_extents_.push_back(extent);
    extents_of_groups_.push_back(extent);
  }
}

bool BlockWriter::IsShared(uint32_t extent) const {
  return std::ranges::find(shared_extents_, extent) != shared_extents_.end();
}

HostPlace BlockWriter::KeptAt(const OperandGroups::Group& group, uint32_t extent) const {
  if (IsKeptInExtent(group, extent)) return ExtentField(extent, offsetof(Extent, delta));
  return Frame(REMORA_FRAME(deltas) + 8 * group.slot);
}

bool BlockWriter::IsKeptInExtent(const OperandGroups::Group& group, uint32_t extent) const {
  // Other groups than the stack's may come upon two runs by turns, and each miss would have to throw one out.
  return group.base == kRsp && group.index < 0 && group.write && group.slot >= 0 && !IsShared(extent);
}

void BlockWriter::Probe(Right right, unsigned bytes, uint32_t extent, Result result) {
  const bool as_delta = result != Result::kHost;
  const auto field = [&](size_t offset) { return ExtentField(extent, offset); };
  code_.Memory(0x2b, kScratch, field(offsetof(Extent, start)));
  code_.Memory(0x3b, kScratch, field(offsetof(Extent, limit)));
  const uint32_t missed = code_.JumpIf(kAboveOrEqual);
  if (as_delta)
    code_.Load(kScratch, field(offsetof(Extent, delta)));
  else
    code_.Memory(0x03, kScratch, field(offsetof(Extent, host)));
  flags_ = Flags::kSaved;
  AccessSite site = {};
  site.extent = extent % kNumExtents & 0xfff;
  site.write_extent = extent >= kNumExtents;
  site.write = right == Right::kWrite;
  site.kept = result == Result::kKeptDelta;
  site.size_less_one = (bytes - 1) & 0x1ff;
  site.instruction = index_ & 0xff;
  cold_.push_back({.kind = Cold::Kind::kMiss,
                   .flags = Flags::kSaved,
                   .jump = missed,
                   .back = code_.size(),
                   .extent = extent,
                   .site = std::bit_cast<uint32_t>(site),
                   .routine = as_delta ? routines_.access_delta : routines_.access});
}

void BlockWriter::ProbeByItself(Right right, unsigned bytes, uint32_t extent) {
  extents_of_others_.push_back(extent);
  Probe(right, bytes, extent, Result::kHost);
}

void BlockWriter::ProbeOperand(const GuestInstruction& instruction) {
  const ZydisDecodedOperand& operand = instruction.memory_operand();
  const unsigned bytes = operand.size / 8u;
  const unsigned size_class = SizeClass(bytes);
  const bool write = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  SaveFlagsBefore();
  ComputeAddress(instruction, /*keep_flags=*/false);
  const bool stack = GeneralRegister(operand.mem.base) == kRsp;
  const uint32_t extent = stack ? StackExtent(size_class) : ExtentOf(instruction.pc, size_class);
  ProbeByItself(write ? Right::kWrite : Right::kRead, bytes, extent + (stack || write ? kNumExtents : 0));
}

void BlockWriter::LoadDelta(int number) {
  const OperandGroups::Group& group = groups_.group(number);
  const uint32_t extent = extents_of_groups_[static_cast<uint32_t>(number)];
  if (group.first != index_) {
    if (held_ != number) code_.Load(kScratch, KeptAt(group, extent));
    return;
  }
  SaveFlagsBefore();
  const auto bytes = static_cast<unsigned>(group.high - group.low);
  const bool constant = group.base == OperandGroups::kConstant;
  if (constant) {
    code_.Constant(kScratch, static_cast<uint64_t>(group.low));
  } else if (IsInContext(group.base)) {
    code_.Load(kScratch, InContext(group.base));
    if (group.low != 0) code_.Lea(kScratch, {.base = kScratch, .displacement = static_cast<int32_t>(group.low)});
  } else {
    HostPlace place = {.base = HostRegister(group.base), .displacement = static_cast<int32_t>(group.low)};
    if (group.index >= 0) {
      place.index = HostRegister(static_cast<unsigned>(group.index));
      place.shift = static_cast<uint8_t>(std::countr_zero(group.scale));
    }
    code_.Lea(kScratch, place);
  }
  const bool in_extent = IsKeptInExtent(group, extent);
  const Result result = constant ? Result::kHost : in_extent ? Result::kKeptDelta : Result::kDelta;
  Probe(group.write ? Right::kWrite : Right::kRead, bytes, extent, result);
  if (group.index >= 0) code_.Lea(kScratch, {.base = kScratch, .index = HostRegister(group.base)});
  if (group.slot >= 0 && !in_extent) code_.Store(KeptAt(group, extent), kScratch);
}

HostPlace BlockWriter::PlaceInGroup(const GuestInstruction& instruction, int number) {
  const OperandGroups::Group& group = groups_.group(number);
  const ZydisDecodedOperandMem_& memory = instruction.memory_operand().mem;
  LoadDelta(number);
  if (group.base == OperandGroups::kConstant) {
    held_behind_ = number;
    return {.base = kScratch,
            .displacement = static_cast<int32_t>(OperandGroups::ConstantAddress(instruction) - group.low)};
  }
  if (IsInContext(group.base)) {
    SaveFlagsBefore();
    flags_ = Flags::kSaved;
    code_.Memory(0x03, kScratch, InContext(group.base));
    return {.base = kScratch, .displacement = Displacement(memory)};
  }
  held_behind_ = number;
  if (group.index < 0)
    return {.base = HostRegister(group.base), .index = kScratch, .displacement = Displacement(memory)};
  return {.base = kScratch,
          .index = HostRegister(static_cast<unsigned>(group.index)),
          .shift = static_cast<uint8_t>(std::countr_zero(group.scale)),
          .displacement = Displacement(memory)};
}

HostPlace BlockWriter::ProbeStack(Right right, uint8_t base, int32_t displacement) {
  const int number = GroupOf(index_);
  if (number != OperandGroups::kNone) {
    LoadDelta(number);
    return {.base = base, .index = kScratch, .displacement = displacement};
  }
  SaveFlagsBefore();
  code_.Lea(kScratch, {.base = base, .displacement = displacement});
  constexpr unsigned kWord = 8, kWordClass = 3;
  ProbeByItself(right, kWord, StackExtent(kWordClass) + kNumExtents);
  return {.base = kScratch};
}

void BlockWriter::RequireAligned(unsigned size) {
  if (size == 1) return;
  for (const unsigned byte : {0x41u, 0xf7u, 0xc0u | (kScratch & 7u)}) code_.Byte(byte);  // TEST R11D, size - 1
  code_.Dword(size - 1);
  cold_.push_back({.kind = Cold::Kind::kInterpret,
                   .flags = Flags::kSaved,
                   .jump = code_.JumpIf(kNotEqual),
                   .index = index_,
                   .pc = index_pc_});
}

}  // namespace remora::cpu::translator
