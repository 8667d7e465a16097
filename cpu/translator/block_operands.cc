// Of BlockWriter: memory operands.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/check.h"
#include "cpu/translator/block_frame.h"
#include "cpu/translator/block_writer.h"

namespace remora::cpu::translator {
void BlockWriter::ComputeAddress(const GuestInstruction& instruction, bool keep_flags) {
  const DecodedOperand::Memory& memory = instruction.memory_operand().mem;
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
    } else if (!narrow && displacement == 0) {
      code_.Move(kScratch, HostRegister(guest));
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
  if (base == kRsp) {
    // So far it was where that is on the host.
    add(Frame(REMORA_FRAME(minus_stack_delta)));
    if (narrow) code_.Move32(kScratch, kScratch);
  }
  if (instruction.action == Action::kLea) return;
  if (memory.segment == ZYDIS_REGISTER_FS) add(Frame(REMORA_FRAME(fs_base)));
  if (memory.segment == ZYDIS_REGISTER_GS) add(Frame(REMORA_FRAME(gs_base)));
}

uint32_t BlockWriter::ExtentFor(Right right, unsigned bytes, uint32_t operand) {
  const unsigned size_class = SizeClass(bytes);
  std::optional<uint32_t> shared;
  // What a loop has is worth extents of its own.
  if (operand != kNoOperand && !Loops()) shared = (*shared_extent_)(operand, size_class, right == Right::kWrite);
  return shared ? *shared : numbers_->NewExtent(size_class);
}

void BlockWriter::Probe(Right right, unsigned bytes, Result result, uint32_t operand, uint32_t address_code) {
  const std::span<const uint8_t> address = code_.bytes().subspan(address_code);
  const bool as_delta = result != Result::kHost;
  const bool write = right == Right::kWrite;
  const uint32_t number = ExtentFor(right, bytes, operand);
  // Those for writing come behind those for reading.
  const uint32_t extent = number + (write ? kNumExtents : 0);
  const auto field = [&](size_t offset) { return ExtentField(extent, offset); };
  code_.Memory(0x2b, kScratch, field(offsetof(Extent, start)));
  code_.Memory(0x3b, kScratch, field(offsetof(Extent, limit)));
  const uint32_t missed = code_.JumpIf(kAboveOrEqual);
  if (as_delta)
    code_.Load(kScratch, field(offsetof(Extent, delta)));
  else
    code_.Memory(0x03, kScratch, field(offsetof(Extent, host)));
  SpoilFlags();
  AccessSite site = {};
  site.extent = number & 0xfff;
  site.write = write;
  site.size_less_one = (bytes - 1) & 0x1ff;
  site.instruction = index_ & (AccessSite::kMaxInstructions - 1);
  Cold cold = {.kind = Cold::Kind::kMiss,
               .jump = missed,
               .back = code_.size(),
               .site = std::bit_cast<uint32_t>(site),
               .routine = (as_delta ? routines_.access_delta : routines_.access)[write],
               .start = field(offsetof(Extent, start))};
  if (address.size() <= cold.address.size()) {
    cold.address_bytes = static_cast<uint8_t>(address.size());
    std::ranges::copy(address, cold.address.begin());
  }
  AddCold(cold);
}

uint32_t BlockWriter::StackSite(Right right, unsigned bytes, bool pinned) const {
  AccessSite site = {};
  site.extent = (FirstExtentOf(SizeClass(bytes)) + (pinned ? 1 : 0)) & 0xfff;
  site.write = right == Right::kWrite;
  site.size_less_one = (bytes - 1) & 0x1ff;
  site.instruction = index_ & (AccessSite::kMaxInstructions - 1);
  return std::bit_cast<uint32_t>(site);
}

void BlockWriter::ProbeStackRun(Right right, const HostPlace& place, unsigned bytes, bool pinned) {
  const unsigned size_class = SizeClass(bytes);
  KeepHeld(index_);
  if (place.index == HostPlace::kNoIndex && place.displacement == 0)
    code_.Move(kScratch, place.base);
  else
    code_.Lea(kScratch, place);
  code_.Memory(0x2b, kScratch, Frame(REMORA_FRAME(stack_start)));
  code_.Memory(0x3b, kScratch, Frame(static_cast<int32_t>(REMORA_FRAME(stack_limits) + 8 * size_class)));
  const uint32_t missed = code_.JumpIf(kAboveOrEqual);
  SpoilFlags();
  held_ = OperandGroups::kNone;
  AddCold(
      {.kind = Cold::Kind::kStackMiss, .jump = missed, .back = code_.size(), .site = StackSite(right, bytes, pinned)});
}

bool BlockWriter::ProbeAroundStack(Right right, int64_t low, int64_t high, bool pinned) {
  low += stack_moved_;
  high += stack_moved_;
  const auto bound = [](int64_t distance, size_t member) {
    uint32_t i = 0;
    while (distance > GuestContext::StackReach(i)) ++i;
    return Frame(static_cast<int32_t>(REMORA_FRAME(stack_bounds) + sizeof(GuestContext::StackBounds) * i + member));
  };
  constexpr int64_t kFar = GuestContext::StackReach(GuestContext::kStackReaches - 1);
  if (low < -kFar || high > kFar) return false;
  constexpr unsigned kCmp = 0x3b, kAbove = 7;
  code_.Memory(kCmp, kGuestRspHost, bound(-low, offsetof(GuestContext::StackBounds, first)));
  const uint32_t below = code_.JumpIf(kBelow);
  code_.Memory(kCmp, kGuestRspHost, bound(high, offsetof(GuestContext::StackBounds, last)));
  const uint32_t above = code_.JumpIf(kAbove);
  SpoilFlags();
  const auto bytes = static_cast<unsigned>(high - low);
  AddCold({.kind = Cold::Kind::kAroundStackMiss,
           .jump = below,
           .jump2 = above,
           .back = code_.size(),
           .site = StackSite(right, bytes, pinned),
           .low = static_cast<int32_t>(low)});
  return true;
}

void BlockWriter::ProbeStackGroup(int number) {
  const OperandGroups::Group& group = groups_.group(number);
  KeepFlagsBefore();
  const Right right = group.write ? Right::kWrite : Right::kRead;
  HostPlace place = OnStack(group.low);
  if (group.index >= 0) {
    place.index = HostRegister(static_cast<unsigned>(group.index));
    place.shift = static_cast<uint8_t>(std::countr_zero(group.scale));
  }
  bool pinned = false;
  for (uint32_t other = 0; other < groups_.num_groups(); ++other) {
    const OperandGroups::Group& of = groups_.group(static_cast<int>(other));
    pinned |= static_cast<int>(other) != number && of.on_stack() && of.first <= index_ && of.last >= index_;
  }
  if (group.index < 0 && ProbeAroundStack(right, group.low, group.high, pinned)) return;
  ProbeStackRun(right, place, static_cast<unsigned>(group.high - group.low), pinned);
}

uint32_t BlockWriter::PlaceOfConstant(int64_t low, int64_t high, bool write) const {
  constexpr uint64_t kUserTop = uint64_t{1} << 47;
  const auto first = static_cast<uint64_t>(low), last = static_cast<uint64_t>(high) - 1;
  if (first >= kUserTop || first / kPageSize != last / kPageSize) return GuestContext::kNoPage;
  return numbers_->PageOf(first, write);
}

uint32_t BlockWriter::PlaceOfGroup(const OperandGroups::Group& group) const {
  if (group.base == OperandGroups::kFs) return GuestContext::kFsPlace;
  if (group.base != OperandGroups::kConstant) return GuestContext::kNoPage;
  return PlaceOfConstant(group.low, group.high, group.write);
}

HostPlace BlockWriter::KnownAt(uint32_t place) {
  if (place == GuestContext::kFsPlace) return Frame(REMORA_FRAME(fs_host));
  return PageField(place);
}

void BlockWriter::LoadKnown(uint32_t place) {
  code_.Load(kScratch, KnownAt(place));
  NotePlace(place, GeneratedBlock::Numbered::Kind::kPageField);
}

void BlockWriter::NotePlace(uint32_t place, GeneratedBlock::Numbered::Kind kind) {
  if (place < GuestContext::kPages) out_.numbered.push_back({code_.size() - 4, kind, place});
}

void BlockWriter::ProbePlace(uint32_t place) {
  if (std::ranges::find(places_, place) != places_.end()) return LoadKnown(place);
  places_.push_back(place);
  KeepFlagsBefore();
  LoadKnown(place);
  for (const unsigned byte : {0x4du, 0x85u, 0xdbu}) code_.Byte(byte);  // TEST R11, R11
  constexpr unsigned kEqual = 4;
  const uint32_t missed = code_.JumpIf(kEqual);
  SpoilFlags();
  const PlaceSite site = {.place = place & PlaceSite::kMaxPlace,
                          .instruction = index_ & (AccessSite::kMaxInstructions - 1)};
  AddCold({.kind = Cold::Kind::kPlaceMiss,
           .jump = missed,
           .back = code_.size(),
           .place = place,
           .site = std::bit_cast<uint32_t>(site)});
}

void BlockWriter::ProbeOperand(const GuestInstruction& instruction) {
  const DecodedOperand& operand = instruction.memory_operand();
  const unsigned bytes = operand.size / 8u;
  const bool write = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  const DecodedOperand::Memory& memory = operand.mem;
  const bool constant = (memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_NONE) &&
                        memory.index == ZYDIS_REGISTER_NONE && memory.segment != ZYDIS_REGISTER_FS &&
                        memory.segment != ZYDIS_REGISTER_GS && instruction.decoded.info.address_width == 64;
  if (constant && optimizations_.coalesce) {
    const int64_t address = OperandGroups::ConstantAddress(instruction);
    const uint32_t place = PlaceOfConstant(address, address + bytes, write);
    if (place != GuestContext::kNoPage) {
      ProbePlace(place);
      const auto in_page = static_cast<int32_t>(static_cast<uint64_t>(address) & kPageMask);
      if (in_page != 0) code_.Lea(kScratch, {.base = kScratch, .displacement = in_page});
      return;
    }
  }
  KeepFlagsBefore();
  const uint32_t address_code = code_.size();
  ComputeAddress(instruction, /*keep_flags=*/false);
  Probe(write ? Right::kWrite : Right::kRead, bytes, Result::kHost, index_, address_code);
}

void BlockWriter::MoveKept(unsigned opcode, int number) {
  const OperandGroups::Group& group = groups_.group(number);
  const uint32_t place = PlaceOfGroup(group);
  const bool known = place != GuestContext::kNoPage;
  code_.Memory(opcode, kScratch, known ? KnownAt(place) : Frame(REMORA_FRAME(deltas) + 8 * group.slot));
  NotePlace(place, GeneratedBlock::Numbered::Kind::kPageField);
}

void BlockWriter::LoadDelta(int number) {
  const OperandGroups::Group& group = groups_.group(number);
  if (held_ != number) KeepHeld(index_);
  if (group.first != index_) {
    if (held_ != number) MoveKept(kLoadOpcode, number);
    return;
  }
  if (const uint32_t place = PlaceOfGroup(group); place != GuestContext::kNoPage) {
    kept_.set(static_cast<size_t>(number));
    return ProbePlace(place);
  }
  KeepFlagsBefore();
  const auto bytes = static_cast<unsigned>(group.high - group.low);
  const bool constant = group.base == OperandGroups::kConstant;
  const uint32_t address_code = code_.size();
  if (constant) {
    code_.Constant(kScratch, static_cast<uint64_t>(group.low));
  } else if (IsInContext(group.base)) {
    code_.Load(kScratch, InContext(group.base));
    HostPlace place = {.base = kScratch, .displacement = static_cast<int32_t>(group.low)};
    if (group.index >= 0) {
      place.index = HostRegister(static_cast<unsigned>(group.index));
      place.shift = static_cast<uint8_t>(std::countr_zero(group.scale));
    }
    if (group.index >= 0 || group.low != 0) code_.Lea(kScratch, place);
  } else {
    HostPlace place = {.base = HostRegister(group.base), .displacement = static_cast<int32_t>(group.low)};
    if (group.index >= 0) {
      place.index = HostRegister(static_cast<unsigned>(group.index));
      place.shift = static_cast<uint8_t>(std::countr_zero(group.scale));
    }
    if (group.index < 0 && group.low == 0)
      code_.Move(kScratch, place.base);
    else
      code_.Lea(kScratch, place);
  }
  const Result result = group.index < 0 && (constant || group.keeps_place()) ? Result::kHost : Result::kDelta;
  uint32_t member = index_;
  while (groups_.group_of(member) != number) ++member;
  DCHECK(member < count_);
  Probe(group.write ? Right::kWrite : Right::kRead, bytes, result, member, address_code);
  if (group.index >= 0) {
    if (IsInContext(group.base))
      code_.Memory(0x03, kScratch, InContext(group.base));
    else
      code_.Lea(kScratch, {.base = kScratch, .index = HostRegister(group.base)});
  }
  if (group.slot < 0) {
    kept_.set(static_cast<size_t>(number));  // no other operand needs it
  } else if (keep_at_once_) {
    held_ = number;
    KeepHeld(index_);
  }
}

HostPlace BlockWriter::PlaceInGroup(const GuestInstruction& instruction, int number) {
  const OperandGroups::Group& group = groups_.group(number);
  const DecodedOperand::Memory& memory = instruction.memory_operand().mem;
  const auto with_index = [&](HostPlace place) {
    if (group.index >= 0) {
      place.index = HostRegister(static_cast<unsigned>(GeneralRegister(memory.index)));
      place.shift = static_cast<uint8_t>(std::countr_zero(group.scale));
    }
    return place;
  };
  if (group.on_stack()) {
    if (group.first == index_) ProbeStackGroup(number);
    held_behind_ = held_;
    return with_index(OnStack(Displacement(memory)));
  }
  LoadDelta(number);
  if (group.base == OperandGroups::kFs) {
    held_behind_ = number;
    return {.base = kScratch, .displacement = Displacement(memory)};
  }
  if (group.base == OperandGroups::kConstant) {
    held_behind_ = number;
    const int64_t address = OperandGroups::ConstantAddress(instruction);
    const bool page = PlaceOfGroup(group) != GuestContext::kNoPage;
    return {
        .base = kScratch,
        .displacement = static_cast<int32_t>(page ? address & static_cast<int64_t>(kPageMask) : address - group.low)};
  }
  const int32_t displacement = Displacement(memory);
  const auto base = static_cast<unsigned>(GeneralRegister(memory.base));
  if (!group.keeps_place() && IsInContext(base)) {
    KeepFlagsBefore();
    SpoilFlags();
    code_.Memory(0x03, kScratch, InContext(base));
    return {.base = kScratch, .displacement = displacement};
  }
  held_behind_ = number;
  if (!group.keeps_place()) return {.base = HostRegister(base), .index = kScratch, .displacement = displacement};
  if (group.index >= 0) return with_index({.base = kScratch, .displacement = displacement});
  return {.base = kScratch, .displacement = static_cast<int32_t>(displacement - group.low)};
}

HostPlace BlockWriter::ProbeStack(Right right, int32_t displacement) {
  const int number = GroupOf(index_);
  if (number != OperandGroups::kNone) {
    if (groups_.group(number).first == index_) ProbeStackGroup(number);
    return OnStack(displacement);
  }
  KeepFlagsBefore();
  SpoilFlags();
  held_ = OperandGroups::kNone;
  constexpr unsigned kWord = 8;
  const uint32_t address_code = code_.size();
  code_.Lea(kScratch, OnStack(displacement));
  code_.Memory(0x03, kScratch, Frame(REMORA_FRAME(minus_stack_delta)));
  Probe(right, kWord, Result::kHost, kNoOperand, address_code);
  return {.base = kScratch};
}

void BlockWriter::RequireAligned(unsigned size) {
  if (size == 1) return;
  KeepFlagsBefore();
  for (const unsigned byte : {0x41u, 0xf7u, 0xc0u | (kScratch & 7u)}) code_.Byte(byte);  // TEST R11D, size - 1
  code_.Dword(size - 1);
  SpoilFlags();
  AddCold({.kind = Cold::Kind::kInterpret,
           .jump = code_.JumpIf(kNotEqual),
           .index = index_,
           .moved = stack_moved_,
           .pc = index_pc_});
}

}  // namespace remora::cpu::translator
