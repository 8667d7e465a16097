#include "cpu/translator/block_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "base/check.h"
#include "cpu/cpu_state.h"

namespace remora::cpu::translator {
namespace {

constexpr auto kAllFlags = static_cast<uint32_t>(kStatusFlags);
constexpr unsigned kEntryAlignment = 8;
constexpr uint64_t kUserTop = uint64_t{1} << 47;
// Conditions by the encoding's numbers.
constexpr unsigned kAboveOrEqual = 3, kNotEqual = 5, kSign = 8;

// Displacements from the host's RSP.
#define REMORA_FRAME(member) static_cast<int32_t>(offsetof(GuestContext, member) - offsetof(GuestContext, r14))
HostPlace Frame(int32_t displacement) { return {.base = kHostRsp, .displacement = displacement}; }
HostPlace DeltaPlace(int slot) { return Frame(REMORA_FRAME(deltas) + 8 * slot); }
bool IsInContext(unsigned guest) { return guest >= kR14; }
HostPlace InContext(unsigned guest) { return Frame(guest == kR14 ? REMORA_FRAME(r14) : REMORA_FRAME(r15)); }

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

uint8_t HostRegister(unsigned guest) {
  DCHECK(!IsInContext(guest));
  return guest == kRsp ? kGuestRspHost : static_cast<uint8_t>(guest);
}

bool FitsSigned32(uint64_t value) {
  return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value))) == value;
}

int32_t Displacement(const ZydisDecodedOperandMem_& memory) {
  return memory.disp.has_displacement ? static_cast<int32_t>(memory.disp.value) : 0;
}

}  // namespace

BlockWriter::BlockWriter(const Stubs& stubs, Optimizations optimizations)
    : stubs_(stubs), optimizations_(optimizations) {}

const GeneratedBlock& BlockWriter::Write(std::span<const GuestInstruction> instructions, bool crosses_page, bool alone,
                                         LiveAt live_at) {
  code_.Clear();
  out_.relocations.clear();
  out_.links.clear();
  out_.branches.clear();
  out_.marks.clear();
  cold_.clear();
  crosses_page_ = crosses_page;
  pc_ = instructions[0].pc;
  count_ = static_cast<uint32_t>(instructions.size());
  const GuestInstruction& last = instructions.back();
  if (last.action == Action::kInterpret) --count_;
  DCHECK(count_ > 0);
  groups_.Find(instructions, optimizations_.coalesce && !alone);
  FindLiveFlags(instructions, live_at);
  early_.clear();
  if (!optimizations_.exact_flags) FindEarlyProbes(instructions.first(count_));
  bool vectors = false, x87 = false;
  for (const GuestInstruction& instruction : instructions.first(count_)) {
    vectors |= instruction.uses_vectors;
    x87 |= instruction.uses_x87;
  }
  WriteEntries(vectors, x87);
  held_behind_ = OperandGroups::kNone;
  for (index_ = 0; index_ < count_; ++index_) {
    const GuestInstruction& instruction = instructions[index_];
    index_pc_ = instruction.pc;
    held_ = held_behind_;
    held_behind_ = OperandGroups::kNone;
    out_.marks.push_back({.host_offset = static_cast<uint16_t>(code_.size()),
                          .guest_offset = static_cast<int16_t>(instruction.pc - pc_),
                          .flags_in_context = flags_ != Flags::kHost});
    for (const int number : early_) {
      if (groups_.group(number).first != index_) continue;
      LoadDelta(number);
      held_ = number;
    }
    WriteInstruction(instruction);
    code_.CheckRoom();
  }
  if (last.action == Action::kInterpret) {
    SaveFlags(kAllFlags);
    LeaveBlock(last.repeats() ? stubs_.leave_repeat : stubs_.leave_interpret, last.pc);
  } else if (!last.ends_block()) {
    GoTo(last.next_pc(), live_flags_[count_]);
  }
  out_.cold_offset = code_.size();
  WriteColdCode();
  out_.code = code_.bytes();
  return out_;
}

bool BlockWriter::Probes(uint32_t index) const {
  const int number = GroupOf(index);
  return number == OperandGroups::kNone || groups_.group(number).first == index;
}

// Where the state can be seen all flags count, if they are to be exact: see docs/engines.md.
void BlockWriter::FindLiveFlags(std::span<const GuestInstruction> instructions, LiveAt live_at) {
  live_flags_.assign(count_ + 1, kAllFlags);
  live_at_target_.assign(count_, kAllFlags);
  const bool exact = optimizations_.exact_flags;
  const auto ahead = [&](uint64_t pc) { return exact || !InPage(pc) ? kAllFlags : live_at(pc); };
  for (uint32_t i = count_; i-- > 0;) {
    const GuestInstruction& instruction = instructions[i];
    bool branches = false, goes_on = false;
    switch (instruction.action) {
      case Action::kJcc:
      case Action::kLoop:
      case Action::kJrcxz:
        branches = goes_on = true;
        break;
      case Action::kJmp:
      case Action::kCall:
        branches = instruction.decoded.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
        break;
      default:
        goes_on = !instruction.ends_block();
        break;
    }
    if (branches) live_at_target_[i] = ahead(instruction.side_exit());
    if (i + 1 == count_ && instructions.size() == count_)
      live_flags_[count_] = goes_on ? ahead(instruction.next_pc()) : live_at_target_[i];
    const ZydisMnemonic mnemonic = instruction.decoded.info.mnemonic;
    // An operand whose place is known leads nowhere, unless the host's CPU has something against the instruction.
    const bool refusable = instruction.uses_vectors || instruction.uses_x87 || instruction.ends_block() ||
                           mnemonic == ZYDIS_MNEMONIC_DIV || mnemonic == ZYDIS_MNEMONIC_IDIV;
    const bool seen = exact && ((instruction.may_leave && (Probes(i) || refusable)) || (branches && i + 1 < count_));
    uint32_t behind = live_flags_[i + 1];
    if (branches && goes_on) behind |= live_at_target_[i];
    live_flags_[i] = seen ? kAllFlags : instruction.flags_read | (behind & ~instruction.flags_written);
  }
  if (exact) live_flags_[0] = kAllFlags;
}

void BlockWriter::FindEarlyProbes(std::span<const GuestInstruction> instructions) {
  // Further back it is likely that something changes the address.
  constexpr uint32_t kMaxDistance = 5;
  for (uint32_t number = 0; number < groups_.num_groups(); ++number) {
    const uint32_t first = groups_.group(static_cast<int>(number)).first;
    if (first >= instructions.size() || live_flags_[first] == 0) continue;
    if (groups_.group_of(first) != static_cast<int>(number)) continue;
    for (uint32_t at = first; at > 0 && first - at < kMaxDistance;) {
      const GuestInstruction& before = instructions[--at];
      if (before.ends_block() || groups_.ChangesPlace(before, number)) break;
      if (live_flags_[at] != 0) continue;
      if (groups_.ProbeEarlier(number, at)) early_.push_back(static_cast<int>(number));
      break;
    }
  }
}

// --- entries ---

void BlockWriter::WriteEntries(bool vectors, bool x87) {
  const bool live = live_flags_[0] != 0;
  if (live) {
    out_.host_entry = code_.size();
    WriteSaveFlags();
    constexpr unsigned kJmpShort = 0xeb;
    const uint32_t over = code_.ShortJump(kJmpShort);
    WriteTableEntry();
    code_.LandShort(over);
  } else {
    WriteTableEntry();
    out_.host_entry = code_.size();
  }
  out_.saved_entry = code_.size();
  DCHECK(out_.saved_entry % kEntryAlignment == 0);
  flags_ = Flags::kSaved;
  constexpr unsigned kSub = 5, kCmpByte = 0x80, kCmp = 7;
  const auto require = [&](int32_t field, const void* load) {
    code_.Memory(kCmpByte, kCmp, Frame(field), /*wide=*/false);
    code_.Byte(1);
    const uint32_t jump = code_.JumpIf(kNotEqual);
    cold_.push_back(
        {.kind = Cold::Kind::kUnit, .flags = Flags::kSaved, .jump = jump, .back = code_.size(), .stub = load});
  };
  if (x87) require(REMORA_FRAME(x87_live), stubs_.load_x87);
  if (vectors) require(REMORA_FRAME(vectors_live), stubs_.load_vectors);
  loop_entry_ = code_.size();
  code_.Immediate32(kSub, Frame(REMORA_FRAME(remaining)), static_cast<int32_t>(count_));
  cold_.push_back({.kind = Cold::Kind::kShort, .flags = Flags::kSaved, .jump = code_.JumpIf(kSign)});
}

// Followed by the block's own code where it finds that it is meant.
void BlockWriter::WriteTableEntry() {
  constexpr uint32_t kCmpBytes = 5, kJneBytes = 6;
  code_.Align(kEntryAlignment, (pc_ <= UINT32_MAX ? 6 : 10) + kCmpBytes + kJneBytes);
  out_.indirect_entry = code_.size();
  code_.Constant(kScratch, pc_);
  code_.Memory(0x3b, kScratch, Frame(REMORA_FRAME(target)));
  out_.relocations.push_back({code_.JumpIf(kNotEqual), stubs_.indirect_miss});
}

void BlockWriter::WriteColdCode() {
  // Cold code may have cold code of its own.
  for (size_t i = 0; i < cold_.size(); ++i) {
    const Cold cold = cold_[i];
    code_.Land(cold.jump);
    flags_ = cold.flags;
    WriteCold(cold);
    code_.CheckRoom();
  }
}

void BlockWriter::WriteCold(const Cold& cold) {
  constexpr unsigned kAdd = 0;
  switch (cold.kind) {
    case Cold::Kind::kMiss:
      code_.Memory(0x03, kScratch, Frame(static_cast<int32_t>(cold.extent + offsetof(Extent, start))));
      code_.StoreConstant32(Frame(REMORA_FRAME(site)), cold.site);
      CallStub(cold.stub);
      code_.Land(code_.Jump(), cold.back);
      return;
    case Cold::Kind::kInterpret:
      return InterpretHere(cold.index, cold.pc);
    case Cold::Kind::kSideExit:
      SaveFlags(cold.live);
      code_.Immediate32(kAdd, Frame(REMORA_FRAME(remaining)), static_cast<int32_t>(count_ - cold.index - 1));
      flags_ = Flags::kSaved;
      return GoTo(cold.pc, cold.live);
    case Cold::Kind::kLink:
      // Where the link leads at first, and for ever if the target goes on in the next page.
      return GoByTable(cold.pc, kAllFlags);
    case Cold::Kind::kUnit:
      CallStub(cold.stub);
      code_.Land(code_.Jump(), cold.back);
      return;
    case Cold::Kind::kShort:
      code_.Immediate32(kAdd, Frame(REMORA_FRAME(remaining)), static_cast<int32_t>(count_));
      LeaveBlock(stubs_.leave_budget, pc_);
      out_.dropped_host = code_.size();
      if (live_flags_[0] != 0) WriteSaveFlags();
      out_.dropped_saved = code_.size();
      return LeaveBlock(stubs_.leave_lookup, pc_);
  }
}

void BlockWriter::WriteInstruction(const GuestInstruction& instruction) {
  switch (instruction.action) {
    case Action::kInterpret:
    case Action::kNothing:
      held_behind_ = held_;
      return;
    case Action::kReemit:
      return WriteReemitted(instruction);
    case Action::kLea:
      return WriteLea(instruction);
    case Action::kPush:
      return WritePush(instruction);
    case Action::kPop:
      return WritePop(instruction);
    case Action::kLeaveFrame:
      return WriteLeaveFrame();
    case Action::kCall:
      return WriteCall(instruction);
    case Action::kRet:
      return WriteRet(instruction);
    case Action::kJmp:
      return WriteJmp(instruction);
    case Action::kJcc:
      return WriteJcc(instruction);
    case Action::kLoop:
    case Action::kJrcxz:
      return WriteLoop(instruction);
    case Action::kSyscall:
      SaveFlagsBehind();
      return LeaveBlock(stubs_.leave_syscall, instruction.next_pc());
  }
}

// --- flags ---

// By LAHF and SETO: PUSHFQ takes three times as long.
void BlockWriter::WriteSaveFlags() {
  const HostPlace spill = Frame(REMORA_FRAME(spill[1]));
  constexpr unsigned kLahf = 0x9f;
  code_.Store(spill, kHostRax);
  code_.Byte(kLahf);
  for (const unsigned byte : {0x0fu, 0x90u, 0xc0u}) code_.Byte(byte);  // SETO AL
  code_.Byte(0x66);
  code_.Memory(0x89, kHostRax, Frame(REMORA_FRAME(flags)), /*wide=*/false);
  code_.Load(kHostRax, spill);
}

void BlockWriter::SaveFlags(uint32_t live) {
  if (flags_ != Flags::kHost) return;
  if (live == 0) {
    flags_ = Flags::kSaved;
    return;
  }
  WriteSaveFlags();
  flags_ = Flags::kBoth;
}

// By SAHF and an addition that overflows if OF was set: POPFQ takes twenty times as long.
void BlockWriter::RestoreFlags() {
  if (flags_ != Flags::kSaved) return;
  const HostPlace spill = Frame(REMORA_FRAME(spill[1]));
  constexpr unsigned kMovzxWord = 0x0fb7, kAddAl = 0x04, kAlmostOverflow = 0x7f, kSahf = 0x9e;
  code_.Store(spill, kHostRax);
  code_.Memory(kMovzxWord, kHostRax, Frame(REMORA_FRAME(flags)), /*wide=*/false);
  code_.Byte(kAddAl);
  code_.Byte(kAlmostOverflow);
  code_.Byte(kSahf);
  code_.Load(kHostRax, spill);
  flags_ = Flags::kBoth;
}

void BlockWriter::PrepareFlags(const GuestInstruction& instruction) {
  const uint32_t survives = instruction.flags_written == 0 ? 0 : live_flags_[index_ + 1] & ~instruction.flags_written;
  if (instruction.flags_read != 0 || survives != 0) RestoreFlags();
  out_.marks.back().flags_in_context = flags_ != Flags::kHost;
}

void BlockWriter::NoteFlags(const GuestInstruction& instruction) {
  if (instruction.flags_written != 0) flags_ = Flags::kHost;
}

// --- memory operands ---

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

void BlockWriter::Probe(Right right, unsigned bytes, uint32_t extent, bool in_write_extents, bool as_delta) {
  const auto at = static_cast<uint32_t>(REMORA_FRAME(extents)) +
                  (in_write_extents ? static_cast<uint32_t>(sizeof(Extent)) * kNumExtents : 0) +
                  static_cast<uint32_t>(sizeof(Extent)) * extent;
  const auto field = [&](size_t offset) { return Frame(static_cast<int32_t>(at + offset)); };
  code_.Memory(0x2b, kScratch, field(offsetof(Extent, start)));
  code_.Memory(0x3b, kScratch, field(offsetof(Extent, limit)));
  const uint32_t missed = code_.JumpIf(kAboveOrEqual);
  if (as_delta)
    code_.Load(kScratch, field(offsetof(Extent, delta)));
  else
    code_.Memory(0x03, kScratch, field(offsetof(Extent, host)));
  flags_ = Flags::kSaved;
  AccessSite site = {};
  site.extent = extent & 0xfff;
  site.write_extent = in_write_extents;
  site.write = right == Right::kWrite;
  site.size_less_one = (bytes - 1) & 0x1ff;
  site.instruction = index_ & 0xff;
  cold_.push_back({.kind = Cold::Kind::kMiss,
                   .flags = Flags::kSaved,
                   .jump = missed,
                   .back = code_.size(),
                   .extent = at,
                   .site = std::bit_cast<uint32_t>(site),
                   .stub = as_delta ? stubs_.access_delta : stubs_.access});
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
  Probe(write ? Right::kWrite : Right::kRead, bytes, extent, stack || write, /*as_delta=*/false);
}

void BlockWriter::LoadDelta(int number) {
  const OperandGroups::Group& group = groups_.group(number);
  if (group.first != index_) {
    if (held_ != number) code_.Load(kScratch, DeltaPlace(group.slot));
    return;
  }
  SaveFlagsBefore();
  const auto bytes = static_cast<unsigned>(group.high - group.low);
  const unsigned size_class = SizeClass(bytes);
  const bool constant = group.base == OperandGroups::kConstant;
  const bool stack = group.base == kRsp;
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
  // All that concerns the stack looks into one place: it is nearly always the same run.
  const uint32_t extent = stack ? StackExtent(size_class) : ExtentOf(index_pc_, size_class);
  Probe(group.write ? Right::kWrite : Right::kRead, bytes, extent, stack || group.write, /*as_delta=*/!constant);
  if (group.index >= 0) code_.Lea(kScratch, {.base = kScratch, .index = HostRegister(group.base)});
  if (group.slot >= 0) code_.Store(DeltaPlace(group.slot), kScratch);
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
  Probe(right, kWord, StackExtent(kWordClass), /*in_write_extents=*/true, /*as_delta=*/false);
  return {.base = kScratch};
}

void BlockWriter::RequireAligned(unsigned size) {
  if (size == 1) return;
  for (const unsigned byte : {0x41u, 0xf7u, 0xc0u | (kScratch & 7u)}) code_.Byte(byte);  // TEST R14D, size - 1
  code_.Dword(size - 1);
  cold_.push_back({.kind = Cold::Kind::kInterpret,
                   .flags = Flags::kSaved,
                   .jump = code_.JumpIf(kNotEqual),
                   .index = index_,
                   .pc = index_pc_});
}

// --- instructions ---

int BlockWriter::UsableInContext(const GuestInstruction& instruction, Placement* placement) {
  const DecodedInstruction& in = instruction.decoded;
  if (instruction.memory >= 0 || instruction.uses_x87 || (in.info.attributes & ZYDIS_ATTRIB_HAS_MODRM) == 0) return -1;
  switch (in.info.mnemonic) {
    // These mean something else with memory: a LOCK, a string of bits.
    case ZYDIS_MNEMONIC_XCHG:
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
      return -1;
    default:
      break;
  }
  const ZydisDecodedOperand *rm = nullptr, *reg = nullptr;
  uint32_t named = 0, twice = 0;
  for (int i = 0; i < in.info.operand_count; ++i) {
    const ZydisDecodedOperand& operand = in.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const int guest = GeneralRegister(operand.reg.value);
    if (guest < 0) continue;
    if (IsHighByte(operand.reg.value)) return -1;
    twice |= named & 1u << guest;
    named |= 1u << guest;
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) rm = &operand;
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) reg = &operand;
  }
  const auto usable = [&](const ZydisDecodedOperand* operand) {
    if (operand == nullptr) return -1;
    const int guest = GeneralRegister(operand->reg.value);
    return guest >= kR14 && ((twice >> guest) & 1) == 0 ? guest : -1;
  };
  const auto in_context = [&](int guest) {
    const HostPlace place = InContext(static_cast<unsigned>(guest));
    placement->memory = place.base;
    placement->displacement = place.displacement;
    return guest;
  };
  // A 32-bit result clears the upper half of a register, but not of memory.
  constexpr int kClears = 32;
  if (const int guest = usable(rm);
      guest >= 0 && ((rm->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0 || rm->size != kClears)) {
    placement->rm_in_memory = true;
    return in_context(guest);
  }
  const int source = usable(reg);
  if (source < 0 || rm == nullptr || (reg->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) return -1;
  if (GeneralRegister(rm->reg.value) >= kR14 || in.info.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) return -1;
  const unsigned opcode = in.info.opcode;
  const bool arithmetic = opcode < 0x40 && (opcode & 7) < 2;
  if (!arithmetic && in.info.mnemonic != ZYDIS_MNEMONIC_MOV && in.info.mnemonic != ZYDIS_MNEMONIC_TEST) return -1;
  placement->reg_in_memory = true;
  return in_context(source);
}

void BlockWriter::WriteReemitted(const GuestInstruction& instruction) {
  const DecodedInstruction& in = instruction.decoded;
  const bool memory = instruction.memory >= 0;
  uint32_t used = 0, named = 0;
  bool high_byte = false;
  for (int i = 0; i < in.info.operand_count; ++i) {
    if (in.operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegister reg = in.operands[i].reg.value;
    const int guest = GeneralRegister(reg);
    if (guest < 0) continue;
    used |= 1u << guest;
    if (i < in.info.operand_count_visible) named |= 1u << guest;
    high_byte |= IsHighByte(reg);
  }
  const int group = memory ? GroupOf(index_) : OperandGroups::kNone;
  Placement placement;
  placement.general[kRsp] = kGuestRspHost;
  placement.memory = kScratch;
  // What still needs the scratch register when the instruction itself runs.
  bool scratch_free = !memory;
  if (group != OperandGroups::kNone) {
    const OperandGroups::Group& of = groups_.group(group);
    if (of.base != OperandGroups::kConstant && !IsInContext(of.base)) used |= 1u << of.base;
    if (of.index >= 0) used |= 1u << of.index;
    const HostPlace place = PlaceInGroup(instruction, group);
    placement.memory = place.base;
    placement.index = place.index;
    placement.shift = place.shift;
    placement.displacement = place.displacement;
  } else if (memory) {
    ProbeOperand(instruction);
    const bool locked = (in.info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0 || in.info.mnemonic == ZYDIS_MNEMONIC_XCHG;
    if (locked) RequireAligned(instruction.memory_operand().size / 8u);
  } else {
    held_behind_ = held_;
  }
  PrepareFlags(instruction);

  // Loads that need nothing of what their destination was.
  const bool pure_load = in.info.mnemonic == ZYDIS_MNEMONIC_MOV || in.info.mnemonic == ZYDIS_MNEMONIC_MOVZX ||
                         in.info.mnemonic == ZYDIS_MNEMONIC_MOVSX || in.info.mnemonic == ZYDIS_MNEMONIC_MOVSXD;
  const bool pure = pure_load && in.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && in.operands[0].size >= 32;

  int spilled = -1;
  const auto spill = [&](bool for_high_byte) {
    CHECK(spilled < 0);
    // RBP as an address takes a displacement; with AH..BH there is no REX to name the upper ones.
    constexpr uint8_t kCandidates[] = {kRsi, kRdi, kRbx, kRdx, kRcx, kRax, kR8, kR9, kR10};
    for (const uint8_t candidate : kCandidates) {
      if (((used >> candidate) & 1) != 0 || (for_high_byte && candidate >= kR8)) continue;
      spilled = candidate;
      code_.Store(Frame(REMORA_FRAME(spill[0])), candidate);
      out_.marks.back().spilled = candidate;
      return candidate;
    }
    CHECK_MSG(false, "no register left");
    return uint8_t{0};
  };
  if (high_byte && memory) {
    placement.memory = spill(true);
    code_.Move(placement.memory, kScratch);
  }
  const bool clears = (in.info.mnemonic == ZYDIS_MNEMONIC_XOR || in.info.mnemonic == ZYDIS_MNEMONIC_SUB) && !memory &&
                      in.operands[0].size >= 32 && in.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                      in.operands[0].reg.value == in.operands[1].reg.value;
  const int used_in_context = UsableInContext(instruction, &placement);
  struct Moved {
    unsigned guest;
    uint8_t host;
  };
  std::array<Moved, 2> moved;
  size_t num_moved = 0;
  for (unsigned guest = kR14; guest <= kR15; ++guest) {
    if (((named >> guest) & 1) == 0 || static_cast<int>(guest) == used_in_context) continue;
    const bool is_destination = pure && GeneralRegister(in.operands[0].reg.value) == static_cast<int>(guest);
    const bool is_source = in.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                           GeneralRegister(in.operands[1].reg.value) == static_cast<int>(guest);
    const bool overwritten = clears || (is_destination && !is_source);
    uint8_t host = kScratch;
    if (scratch_free || (memory && overwritten)) {
      scratch_free = false;
      held_behind_ = OperandGroups::kNone;
    } else {
      host = spill(false);
    }
    if (!overwritten) code_.Load(host, InContext(guest));
    placement.general[guest] = host;
    moved[num_moved++] = {guest, host};
  }

  uint8_t bytes[kMaxReencodedBytes];
  code_.Append(bytes, Reencode(instruction, placement, bytes));

  for (size_t i = 0; i < num_moved; ++i) {
    bool written = false;
    for (int k = 0; k < in.info.operand_count_visible; ++k)
      written |= in.operands[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                 GeneralRegister(in.operands[k].reg.value) == static_cast<int>(moved[i].guest) &&
                 (in.operands[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    if (written) code_.Store(InContext(moved[i].guest), moved[i].host);
  }
  if (spilled >= 0) code_.Load(static_cast<unsigned>(spilled), Frame(REMORA_FRAME(spill[0])));
  NoteFlags(instruction);
}

void BlockWriter::WriteLea(const GuestInstruction& instruction) {
  const ZydisDecodedOperand& destination = instruction.decoded.operands[0];
  const auto guest = static_cast<unsigned>(GeneralRegister(destination.reg.value));
  const int bits = destination.size;
  const ZydisDecodedOperandMem_& memory = instruction.memory_operand().mem;
  const int base = GeneralRegister(memory.base), index = GeneralRegister(memory.index);
  const bool to_context = IsInContext(guest);
  const uint8_t to = to_context ? kScratch : HostRegister(guest);
  const bool two_in_context = base >= kR14 && index >= kR14 && base != index;
  if (bits >= 32 && instruction.decoded.info.address_width == 64) {
    const auto keep = [&] {
      if (to_context) code_.Store(InContext(guest), kScratch);
    };
    if (base >= 0 && !two_in_context) {
      const auto place_of = [&](int number) {
        const auto which = static_cast<unsigned>(number);
        if (!IsInContext(which)) return HostRegister(which);
        code_.Load(kScratch, InContext(which));
        return kScratch;
      };
      HostPlace place = {.base = place_of(base), .displacement = Displacement(memory)};
      if (index >= 0) {
        place.index = index == base ? place.base : place_of(index);
        place.shift = static_cast<uint8_t>(std::countr_zero(memory.scale));
      }
      code_.Memory(0x8d, to, place, /*wide=*/bits == 64);
      keep();
      if (base < kR14 && index < kR14 && !to_context) held_behind_ = held_;
      return;
    }
    if (memory.base == ZYDIS_REGISTER_RIP) {
      const uint64_t address = instruction.next_pc() + static_cast<uint64_t>(int64_t{Displacement(memory)});
      code_.Constant(to, bits == 64 ? address : static_cast<uint32_t>(address));
      keep();
      if (!to_context) held_behind_ = held_;
      return;
    }
  }
  ComputeAddress(instruction, /*keep_flags=*/true);
  if (bits == 32) code_.Move32(kScratch, kScratch);
  if (bits == 16) code_.Byte(0x66);
  if (IsInContext(guest)) {
    code_.Memory(0x89, kScratch, InContext(guest), /*wide=*/bits != 16);
  } else if (bits == 16) {
    code_.Move32(HostRegister(guest), kScratch);
  } else {
    code_.Move(HostRegister(guest), kScratch);
  }
}

void BlockWriter::PushField(uint32_t field) {
  const HostPlace to = ProbeStack(Right::kWrite, kGuestRspHost, -8);
  const HostPlace spill = Frame(REMORA_FRAME(spill[1]));
  code_.Store(spill, kHostRax);
  code_.Load(kHostRax, Frame(static_cast<int32_t>(field)));
  code_.Store(to, kHostRax);
  code_.Load(kHostRax, spill);
}

void BlockWriter::WritePush(const GuestInstruction& instruction) {
  const ZydisDecodedOperand& operand = instruction.decoded.operands[0];
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    code_.StoreConstant64(ProbeStack(Right::kWrite, kGuestRspHost, -8), static_cast<int32_t>(operand.imm.value.s));
  } else if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    const auto guest = static_cast<unsigned>(GeneralRegister(operand.reg.value));
    if (IsInContext(guest))
      PushField(static_cast<uint32_t>(InContext(guest).displacement));
    else
      code_.Store(ProbeStack(Right::kWrite, kGuestRspHost, -8), HostRegister(guest));
  } else {
    ProbeOperand(instruction);
    code_.Load(kScratch, {.base = kScratch});
    code_.Store(Frame(REMORA_FRAME(value)), kScratch);
    PushField(static_cast<uint32_t>(REMORA_FRAME(value)));
  }
  code_.Lea(kGuestRspHost, {.base = kGuestRspHost, .displacement = -8});
  held_behind_ = GroupOf(index_);
}

void BlockWriter::WritePop(const GuestInstruction& instruction) {
  const auto guest = static_cast<unsigned>(GeneralRegister(instruction.decoded.operands[0].reg.value));
  const HostPlace place = ProbeStack(Right::kRead, kGuestRspHost, 0);
  if (IsInContext(guest)) {
    code_.Load(kScratch, place);
    code_.Store(InContext(guest), kScratch);
  } else {
    code_.Load(HostRegister(guest), place);
    held_behind_ = GroupOf(index_);
  }
  if (guest != kRsp) code_.Lea(kGuestRspHost, {.base = kGuestRspHost, .displacement = 8});
}

void BlockWriter::WriteLeaveFrame() {
  const HostPlace place = ProbeStack(Right::kRead, kHostRbp, 0);
  code_.Lea(kGuestRspHost, {.base = kHostRbp, .displacement = 8});
  code_.Load(kHostRbp, place);
}

void BlockWriter::LoadTarget(const GuestInstruction& instruction) {
  const ZydisDecodedOperand& operand = instruction.decoded.operands[0];
  if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    const auto guest = static_cast<unsigned>(GeneralRegister(operand.reg.value));
    if (IsInContext(guest))
      code_.Load(kScratch, InContext(guest));
    else
      code_.Move(kScratch, HostRegister(guest));
  } else {
    const int group = GroupOf(index_);
    if (group != OperandGroups::kNone) {
      code_.Load(kScratch, PlaceInGroup(instruction, group));
    } else {
      ProbeOperand(instruction);
      code_.Load(kScratch, {.base = kScratch});
    }
  }
  code_.Store(Frame(REMORA_FRAME(target)), kScratch);
  held_ = OperandGroups::kNone;
}

// A target outside the user's half faults at the call, which the interpreter knows how.
void BlockWriter::RequireCanonicalTarget() {
  constexpr unsigned kCmp = 7;
  SaveFlagsBefore();
  code_.Immediate32(kCmp, Frame(REMORA_FRAME(target) + 4), static_cast<int32_t>(kUserTop >> 32));
  flags_ = Flags::kSaved;
  cold_.push_back({.kind = Cold::Kind::kInterpret,
                   .flags = Flags::kSaved,
                   .jump = code_.JumpIf(kAboveOrEqual),
                   .index = index_,
                   .pc = index_pc_});
}

void BlockWriter::WriteCall(const GuestInstruction& instruction) {
  const bool direct = instruction.decoded.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  if (!direct) {
    LoadTarget(instruction);
    RequireCanonicalTarget();
  }
  const uint64_t value = instruction.next_pc();
  const HostPlace to = ProbeStack(Right::kWrite, kGuestRspHost, -8);
  if (FitsSigned32(value)) {
    code_.StoreConstant64(to, static_cast<int32_t>(value));
  } else {
    // In one store, so that a load of all eight bytes need not wait for two.
    const HostPlace spill = Frame(REMORA_FRAME(spill[1]));
    code_.Store(spill, kHostRax);
    code_.Constant(kHostRax, value);
    code_.Store(to, kHostRax);
    code_.Load(kHostRax, spill);
  }
  code_.Lea(kGuestRspHost, {.base = kGuestRspHost, .displacement = -8});
  if (direct) return GoTo(instruction.target(), live_at_target_[index_]);
  code_.Load(kScratch, Frame(REMORA_FRAME(target)));
  GoThroughTable();
}

void BlockWriter::WriteRet(const GuestInstruction& instruction) {
  const DecodedInstruction& in = instruction.decoded;
  const bool drops = in.info.operand_count_visible > 0 && in.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  const auto dropped = drops ? static_cast<uint16_t>(in.operands[0].imm.value.u) : uint16_t{0};
  const HostPlace place = ProbeStack(Right::kRead, kGuestRspHost, 0);
  code_.Load(kScratch, place);
  code_.Store(Frame(REMORA_FRAME(target)), kScratch);
  if (dropped != 0)
    RequireCanonicalTarget();
  else
    NoteBranch(/*popped=*/true);
  code_.Lea(kGuestRspHost, {.base = kGuestRspHost, .displacement = 8 + dropped});
  GoThroughTable();
}

void BlockWriter::WriteJmp(const GuestInstruction& instruction) {
  if (instruction.decoded.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    // Where the trace goes on there is nothing to do.
    held_behind_ = held_;
    if (index_ + 1 == count_) GoTo(instruction.target(), live_at_target_[index_]);
    return;
  }
  LoadTarget(instruction);
  NoteBranch(/*popped=*/false);
  GoThroughTable();
}

void BlockWriter::WriteJcc(const GuestInstruction& instruction) {
  RestoreFlags();
  // The condition is the low half of the opcode in both forms.
  const auto condition = (instruction.decoded.info.opcode & 15u) ^ (instruction.goes_on_at_target ? 1u : 0u);
  const uint64_t target = instruction.side_exit();
  const uint32_t live = live_at_target_[index_];
  held_behind_ = held_;
  if (index_ + 1 < count_) {
    // The trace goes on behind it; who leaves here has not run the rest.
    cold_.push_back({.kind = Cold::Kind::kSideExit,
                     .flags = flags_,
                     .jump = code_.JumpIf(condition),
                     .index = index_,
                     .pc = target,
                     .live = live});
    return;
  }
  if (optimizations_.chain && InPage(target)) {
    LinkedJump(static_cast<int>(condition), target, live);
  } else {
    cold_.push_back({.kind = Cold::Kind::kLink, .flags = flags_, .jump = code_.JumpIf(condition), .pc = target});
  }
  GoTo(instruction.next_pc(), live_flags_[count_]);
}

void BlockWriter::WriteLoop(const GuestInstruction& instruction) {
  const bool loop = instruction.action == Action::kLoop;
  const uint32_t at_target = live_at_target_[index_], behind = live_flags_[index_ + 1];
  if (loop) code_.Lea(kHostRcx, {.base = kHostRcx, .displacement = -1});
  const Flags flags = flags_;
  constexpr unsigned kJrcxz = 0xe3;
  const uint32_t zero = code_.ShortJump(kJrcxz);
  if (loop)
    GoTo(instruction.target(), at_target);
  else
    GoTo(instruction.next_pc(), behind);
  code_.LandShort(zero);
  flags_ = flags;
  if (loop)
    GoTo(instruction.next_pc(), behind);
  else
    GoTo(instruction.target(), at_target);
}

// --- ways out ---

void BlockWriter::JumpTo(const void* stub) { out_.relocations.push_back({code_.Jump(), stub}); }

void BlockWriter::CallStub(const void* stub) { out_.relocations.push_back({code_.Call(), stub}); }

void BlockWriter::LeaveBlock(const void* stub, uint64_t pc) {
  code_.Constant(kScratch, pc);
  JumpTo(stub);
}

void BlockWriter::InterpretHere(uint32_t index, uint64_t pc) {
  constexpr unsigned kAdd = 0;
  code_.Immediate32(kAdd, Frame(REMORA_FRAME(remaining)), static_cast<int32_t>(count_ - index));
  LeaveBlock(stubs_.leave_interpret, pc);
}

void BlockWriter::LinkedJump(int condition, uint64_t target, uint32_t live) {
  const Flags flags = flags_;
  if (live == 0) flags_ = Flags::kSaved;
  const bool saved = flags_ != Flags::kHost;
  const auto jump = [&] {
    return condition == kAlways ? code_.Jump() : code_.JumpIf(static_cast<unsigned>(condition));
  };
  if (target == pc_) {
    code_.Land(jump(), saved ? loop_entry_ : out_.host_entry);
  } else {
    // In one piece, which can be patched while others run through it.
    constexpr unsigned kPiece = 16, kDisplacement = 4;
    const unsigned opcode_bytes = condition == kAlways ? 1 : 2;
    const unsigned at = (code_.size() + opcode_bytes) % kPiece;
    if (at > kPiece - kDisplacement) code_.Nop(kPiece - at);
    const uint32_t displacement = jump();
    out_.links.push_back({displacement, saved, target});
    cold_.push_back({.kind = Cold::Kind::kLink, .flags = flags_, .jump = displacement, .pc = target});
  }
  flags_ = flags;
}

void BlockWriter::GoByTable(uint64_t pc, uint32_t live) {
  SaveFlags(live);
  if (!optimizations_.table) return LeaveBlock(stubs_.leave_lookup, pc);
  code_.Constant(kScratch, pc);
  code_.Store(Frame(REMORA_FRAME(target)), kScratch);
  constexpr unsigned kIndirect = 0xff, kJmp = 4;
  const auto entry = static_cast<int32_t>(pc % GuestContext::kIndirectEntries * sizeof(void*));
  code_.Memory(kIndirect, kJmp, Frame(REMORA_FRAME(indirect) + entry), /*wide=*/false);
}

void BlockWriter::GoTo(uint64_t pc, uint32_t live) {
  if (optimizations_.chain && InPage(pc)) return LinkedJump(kAlways, pc, live);
  GoByTable(pc, live);
}

void BlockWriter::NoteBranch(bool popped) {
  const HostPlace word = Frame(REMORA_FRAME(branch_site));
  code_.StoreConstant32(word, 0);
  out_.branches.push_back({code_.size() - 4, out_.marks.back().host_offset, popped});
}

void BlockWriter::GoThroughTable() {
  SaveFlags(kAllFlags);
  if (!optimizations_.table) return JumpTo(stubs_.indirect_miss);
  for (const unsigned byte : {0x45u, 0x0fu, 0xb7u, 0xf6u}) code_.Byte(byte);  // MOVZX R14D, R14W
  constexpr unsigned kIndirect = 0xff, kJmp = 4;
  code_.Memory(kIndirect, kJmp,
               {.base = kHostRsp, .index = kScratch, .shift = 3, .displacement = REMORA_FRAME(indirect)},
               /*wide=*/false);
}

}  // namespace remora::cpu::translator
