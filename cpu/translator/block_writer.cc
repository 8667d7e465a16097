#include "cpu/translator/block_writer.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/check.h"
#include "cpu/translator/reencode.h"

namespace remora::cpu::translator {
namespace {

using namespace Xbyak::util;  // the registers' names

constexpr size_t kMaxCodeBytes = 65536;
constexpr auto kAllFlags = static_cast<uint32_t>(kStatusFlags);
constexpr unsigned kEntryAlignment = 8;
constexpr uint64_t kUserTop = uint64_t{1} << 47;

// The extent that all accesses of the stack by PUSH, POP, CALL, RET share.
constexpr uint32_t kStackExtent = 0;

unsigned SizeClass(unsigned size) { return static_cast<unsigned>(std::bit_width(size - 1)); }

// Sites of one block use different extents, and the same one each time the block is translated.
uint32_t ExtentOf(uint64_t pc, unsigned size_class) {
  uint32_t hash = static_cast<uint32_t>((pc * 0x9e3779b97f4a7c15) >> 40) % kExtentsOfClass;
  if (hash == kStackExtent) ++hash;
  return size_class * kExtentsOfClass + hash;
}

Xbyak::Reg64 HostRegister(unsigned guest) {
  DCHECK(!IsInContext(guest));
  return guest == kRsp ? kGuestRspReg : Xbyak::Reg64(static_cast<int>(guest));
}

bool FitsSigned32(uint64_t value) {
  return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value))) == value;
}

}  // namespace

BlockWriter::BlockWriter(const Stubs& stubs, Optimizations optimizations)
    : ContextAssembler(kMaxCodeBytes), stubs_(stubs), optimizations_(optimizations) {}

const GeneratedBlock& BlockWriter::Write(std::span<const GuestInstruction> instructions, bool crosses_page) {
  Reset();
  crosses_page_ = crosses_page;
  pc_ = instructions[0].pc;
  count_ = static_cast<uint32_t>(instructions.size());
  const GuestInstruction& last = instructions.back();
  if (last.action == Action::kInterpret) --count_;
  DCHECK(count_ > 0);
  groups_.Find(optimizations_.coalesce ? instructions : instructions.first(0));
  FindLiveFlags(instructions);
  bool vectors = false, x87 = false;
  for (const GuestInstruction& instruction : instructions) {
    if (instruction.action == Action::kInterpret) break;
    vectors |= instruction.uses_vectors;
    x87 |= instruction.uses_x87;
  }
  WriteEntries();
  // Spoils the flags, which are saved.
  const auto require = [&](uint32_t field, const void* load) {
    auto missing = std::make_shared<Xbyak::Label>(), loaded = std::make_shared<Xbyak::Label>();
    CompareField8(field, 1);
    jne(*missing, T_NEAR);
    L(*loaded);
    Cold([this, missing, loaded, load] {
      L(*missing);
      CallStub(load);
      jmp(*loaded, T_NEAR);
    });
  };
  if (x87) require(REMORA_FIELD(x87_live), stubs_.load_x87);
  if (vectors) require(REMORA_FIELD(vectors_live), stubs_.load_vectors);

  for (index_ = 0; index_ < count_; ++index_) {
    const GuestInstruction& instruction = instructions[index_];
    index_pc_ = instruction.pc;
    flags_dead_ = !optimizations_.exact_flags && live_flags_[index_] == 0;
    out_.marks.push_back({.host_offset = static_cast<uint16_t>(getSize()),
                          .guest_offset = static_cast<int16_t>(instruction.pc - pc_),
                          .flags_in_context = flags_ != Flags::kHost});
    WriteInstruction(instruction);
  }
  if (last.action == Action::kInterpret) {
    SaveFlags();
    LeaveBlock(last.repeats() ? stubs_.leave_repeat : stubs_.leave_interpret, last.pc);
  } else if (!last.ends_block()) {
    GoTo(last.next_pc());
  }
  flags_dead_ = false;
  WriteColdCode();
  ready();
  CHECK_MSG(Xbyak::GetError() == Xbyak::ERR_NONE, Xbyak::ConvertErrorToString(Xbyak::GetError()));
  out_.code = {getCode(), getSize()};
  CHECK(out_.code.size() < kMaxCodeBytes);
  return out_;
}

void BlockWriter::Reset() {
  reset();
  out_.relocations.clear();
  out_.links.clear();
  out_.marks.clear();
  cold_.clear();
}

bool BlockWriter::Probes(uint32_t index) const {
  const int number = GroupOf(index);
  return number == OperandGroups::kNone || groups_.group(number).first == index;
}

// Where the state can be seen all flags count: see docs/engines.md.
void BlockWriter::FindLiveFlags(std::span<const GuestInstruction> instructions) {
  live_flags_.assign(count_ + 1, kAllFlags);
  for (uint32_t i = count_; i-- > 0;) {
    const GuestInstruction& instruction = instructions[i];
    const ZydisMnemonic mnemonic = instruction.decoded.info.mnemonic;
    // An operand whose place is known leads nowhere, unless the host's CPU has something against the instruction.
    const bool refusable = instruction.uses_vectors || instruction.uses_x87 || instruction.ends_block() ||
                           mnemonic == ZYDIS_MNEMONIC_DIV || mnemonic == ZYDIS_MNEMONIC_IDIV;
    bool seen = instruction.may_leave && optimizations_.exact_flags && (Probes(i) || refusable);
    if (instruction.action == Action::kJcc && i + 1 < count_) seen = true;
    live_flags_[i] = seen ? kAllFlags : instruction.flags_read | (live_flags_[i + 1] & ~instruction.flags_written);
  }
}

void BlockWriter::WriteEntries() {
  Xbyak::Label saved;
  out_.indirect_entry = static_cast<uint32_t>(getSize());
  MoveConstant(kScratch, pc_);
  Gs(), cmp(kScratch, Field(REMORA_FIELD(target)));
  db(0x0f), db(0x85);  // JNE
  out_.relocations.push_back({static_cast<uint32_t>(getSize()), stubs_.indirect_miss});
  dd(0);
  jmp(saved, T_SHORT);
  align(kEntryAlignment);
  out_.host_entry = static_cast<uint32_t>(getSize());
  // 5 bytes in one piece, where a jump can be put.
  for (const int byte : {0x0f, 0x1f, 0x44, 0x00, 0x00}) db(byte);
  if (optimizations_.exact_flags || live_flags_[0] != 0) {
    pushfq();
    PopField(REMORA_FIELD(flags));
  }
  align(kEntryAlignment);
  L(saved);
  out_.saved_entry = static_cast<uint32_t>(getSize());
  Gs(), sub(dword[At(REMORA_FIELD(remaining))], static_cast<int>(count_));
  flags_ = Flags::kSaved;
  auto short_of = std::make_shared<Xbyak::Label>();
  js(*short_of, T_NEAR);
  Cold([this, short_of] {
    // What comes here was saved, and the count is taken back.
    L(*short_of);
    Gs(), add(dword[At(REMORA_FIELD(remaining))], static_cast<int>(count_));
    LeaveBlock(stubs_.leave_budget, pc_);
    out_.dropped_host = static_cast<uint32_t>(getSize());
    pushfq();
    PopField(REMORA_FIELD(flags));
    out_.dropped_saved = static_cast<uint32_t>(getSize());
    LeaveBlock(stubs_.leave_lookup, pc_);
  });
}

void BlockWriter::WriteColdCode() {
  // Cold code may have cold code of its own.
  for (size_t i = 0; i < cold_.size(); ++i) {
    const std::function<void()> write = std::move(cold_[i]);
    write();
  }
}

void BlockWriter::WriteInstruction(const GuestInstruction& instruction) {
  switch (instruction.action) {
    case Action::kInterpret:
    case Action::kNothing:
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
      return WriteLeaveFrame(instruction);
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
      SaveFlags();
      return LeaveBlock(stubs_.leave_syscall, instruction.next_pc());
  }
}

// --- flags ---

void BlockWriter::SaveFlags() {
  if (flags_ != Flags::kHost) return;
  if (flags_dead_) {
    flags_ = Flags::kSaved;
    return;
  }
  pushfq();
  PopField(REMORA_FIELD(flags));
  flags_ = Flags::kBoth;
}

// By SAHF and an addition that overflows if OF was set: POPFQ takes twenty times as long.
void BlockWriter::RestoreFlags() {
  if (flags_ != Flags::kSaved) return;
  constexpr uint32_t kField = REMORA_FIELD(flags);
  StoreField(REMORA_FIELD(spill[1]), rax);
  LoadField(al, kField + 1);
  and_(al, static_cast<int>(kFlagOF >> 8));
  add(al, 0x80 - static_cast<int>(kFlagOF >> 8));
  LoadField(ah, kField);
  sahf();
  LoadField(rax, REMORA_FIELD(spill[1]));
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

void BlockWriter::MoveConstant(const Xbyak::Reg64& to, uint64_t value) {
  if (value <= UINT32_MAX)
    mov(to.cvt32(), static_cast<uint32_t>(value));
  else
    mov(to, value);
}

void BlockWriter::ComputeAddress(const GuestInstruction& instruction, bool keep_flags) {
  const ZydisDecodedOperandMem_& memory = instruction.memory_operand().mem;
  const int64_t displacement = memory.disp.has_displacement ? memory.disp.value : 0;
  const bool narrow = instruction.decoded.info.address_width == 32;
  const Xbyak::Reg to =
      narrow ? static_cast<const Xbyak::Reg&>(kScratch.cvt32()) : static_cast<const Xbyak::Reg&>(kScratch);
  const int base = GeneralRegister(memory.base), index = GeneralRegister(memory.index);
  const int32_t offset = static_cast<int32_t>(displacement);
  const auto add_field = [&](uint32_t field) {
    if (!keep_flags) {
      Gs(), add(kScratch, Field(field));
      return;
    }
    StoreField(REMORA_FIELD(spill[1]), rax);
    LoadField(rax, field);
    lea(kScratch, ptr[kScratch + rax]);
    LoadField(rax, REMORA_FIELD(spill[1]));
  };
  const auto expression = [&](unsigned guest) {
    return IsInContext(guest) ? Xbyak::RegExp(kScratch) : Xbyak::RegExp(HostRegister(guest));
  };
  if (memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP || (base < 0 && index < 0)) {
    uint64_t address = static_cast<uint64_t>(displacement);
    if (base < 0 && memory.base != ZYDIS_REGISTER_NONE) address += instruction.next_pc();
    MoveConstant(kScratch, narrow ? static_cast<uint32_t>(address) : address);
  } else if (index < 0) {
    if (IsInContext(static_cast<unsigned>(base))) LoadField(kScratch, FieldOf(static_cast<unsigned>(base)));
    lea(to, ptr[expression(static_cast<unsigned>(base)) + offset]);
  } else {
    const auto scaled = static_cast<unsigned>(index);
    const bool both = base >= 0 && IsInContext(static_cast<unsigned>(base)) && IsInContext(scaled);
    if (IsInContext(scaled)) LoadField(kScratch, FieldOf(scaled));
    if (base >= 0 && !both && IsInContext(static_cast<unsigned>(base)))
      LoadField(kScratch, FieldOf(static_cast<unsigned>(base)));
    const Xbyak::Reg64 index_register = IsInContext(scaled) ? kScratch : HostRegister(scaled);
    const Xbyak::RegExp product(index_register, memory.scale);
    if (base < 0 || both)
      lea(to, ptr[product + offset]);
    else
      lea(to, ptr[expression(static_cast<unsigned>(base)) + product + offset]);
    if (both) {
      add_field(FieldOf(static_cast<unsigned>(base)));
      if (narrow) mov(kScratch.cvt32(), kScratch.cvt32());
    }
  }
  if (instruction.action == Action::kLea) return;
  if (memory.segment == ZYDIS_REGISTER_FS) add_field(REMORA_FIELD(fs_base));
  if (memory.segment == ZYDIS_REGISTER_GS) add_field(REMORA_FIELD(gs_base));
}

void BlockWriter::Probe(Right right, unsigned size_class, uint32_t extent, bool in_write_extents,
                        const std::optional<Xbyak::RegExp>& group) {
  const uint32_t at =
      REMORA_FIELD(extents) + (in_write_extents ? sizeof(Extent) * kNumExtents : 0) + sizeof(Extent) * extent;
  constexpr uint32_t kStart = offsetof(Extent, start), kLimit = offsetof(Extent, limit), kHost = offsetof(Extent, host),
                     kDelta = offsetof(Extent, delta);
  auto missed = std::make_shared<Xbyak::Label>(), found = std::make_shared<Xbyak::Label>();
  Gs(), sub(kScratch, Field(at + kStart));
  Gs(), cmp(kScratch, Field(at + kLimit));
  jae(*missed, T_NEAR);
  if (group)
    LoadField(kScratch, at + kDelta);
  else
    Gs(), add(kScratch, Field(at + kHost));
  L(*found);
  flags_ = Flags::kSaved;
  AccessSite site = {};
  site.extent = extent & 0xfff;
  site.write_extent = in_write_extents;
  site.write = right == Right::kWrite;
  site.size_class = size_class & 15;
  site.instruction = index_ & 0xff;
  Cold([this, missed, found, at, group, word = std::bit_cast<uint32_t>(site)] {
    L(*missed);
    Gs(), add(kScratch, Field(at + kStart));
    SetField32(REMORA_FIELD(site), word);
    CallStub(stubs_.access);
    if (group) {
      push(rax);
      lea(rax, ptr[*group]);
      sub(kScratch, rax);
      pop(rax);
    }
    jmp(*found, T_NEAR);
  });
}

void BlockWriter::ProbeOperand(const GuestInstruction& instruction) {
  const ZydisDecodedOperand& operand = instruction.memory_operand();
  const unsigned size_class = SizeClass(operand.size / 8u);
  const bool write = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  SaveFlags();
  ComputeAddress(instruction, /*keep_flags=*/false);
  const bool stack = GeneralRegister(operand.mem.base) == kRsp;
  const uint32_t extent = stack ? size_class * kExtentsOfClass + kStackExtent : ExtentOf(instruction.pc, size_class);
  Probe(write ? Right::kWrite : Right::kRead, size_class, extent, stack || write, std::nullopt);
}

void BlockWriter::LoadDelta(int number) {
  const OperandGroups::Group& group = groups_.group(number);
  const uint32_t field = REMORA_FIELD(deltas) + 8 * static_cast<uint32_t>(number);
  if (group.first != index_) {
    LoadField(kScratch, field);
    return;
  }
  SaveFlags();
  Xbyak::RegExp place = Xbyak::RegExp(HostRegister(group.base));
  if (group.index >= 0) place = place + Xbyak::RegExp(HostRegister(static_cast<unsigned>(group.index)), group.scale);
  place = place + static_cast<size_t>(group.low);
  lea(kScratch, ptr[place]);
  const unsigned size_class = SizeClass(static_cast<unsigned>(group.high - group.low));
  // All that concerns the stack looks into one place: it is nearly always the same run.
  const bool stack = group.base == kRsp;
  const uint32_t extent = stack ? size_class * kExtentsOfClass + kStackExtent : ExtentOf(index_pc_, size_class);
  Probe(group.write ? Right::kWrite : Right::kRead, size_class, extent, stack || group.write, place);
  StoreField(field, kScratch);
}

BlockWriter::StackPlace BlockWriter::ProbeStack(Right right, const Xbyak::Reg64& base, int32_t displacement) {
  const int number = GroupOf(index_);
  if (number != OperandGroups::kNone) {
    LoadDelta(number);
    return {true, base, displacement};
  }
  SaveFlags();
  lea(kScratch, ptr[base + displacement]);
  constexpr unsigned kWordClass = 3;
  Probe(right, kWordClass, kWordClass * kExtentsOfClass + kStackExtent, /*in_write_extents=*/true, std::nullopt);
  return {};
}

Xbyak::Address BlockWriter::AddressOf(const StackPlace& place) {
  return place.grouped ? Xbyak::util::qword[place.base + kScratch + place.displacement] : Xbyak::util::qword[kScratch];
}

void BlockWriter::RequireAligned(unsigned size) {
  if (size == 1) return;
  auto misaligned = std::make_shared<Xbyak::Label>();
  test(kScratch.cvt32(), size - 1);
  jnz(*misaligned, T_NEAR);
  Cold([this, misaligned, index = index_, pc = index_pc_] {
    L(*misaligned);
    index_ = index, index_pc_ = pc;
    InterpretHere();
  });
}

// --- instructions ---

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
  if (group != OperandGroups::kNone) {
    const OperandGroups::Group& place = groups_.group(group);
    used |= 1u << place.base;
    if (place.index >= 0) used |= 1u << place.index;
    LoadDelta(group);
    if (place.index >= 0) lea(kScratch, ptr[kScratch + HostRegister(place.base)]);
  } else if (memory) {
    ProbeOperand(instruction);
    const bool locked = (in.info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0 || in.info.mnemonic == ZYDIS_MNEMONIC_XCHG;
    if (locked) RequireAligned(instruction.memory_operand().size / 8u);
  }
  PrepareFlags(instruction);

  // Loads that need nothing of what their destination was.
  const bool pure_load = in.info.mnemonic == ZYDIS_MNEMONIC_MOV || in.info.mnemonic == ZYDIS_MNEMONIC_MOVZX ||
                         in.info.mnemonic == ZYDIS_MNEMONIC_MOVSX || in.info.mnemonic == ZYDIS_MNEMONIC_MOVSXD;
  const bool pure = pure_load && in.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && in.operands[0].size >= 32;
  Placement placement;
  placement.general[kRsp] = static_cast<uint8_t>(kGuestRspReg.getIdx());
  placement.memory = static_cast<uint8_t>(kScratch.getIdx());
  if (group != OperandGroups::kNone) {
    const ZydisDecodedOperand& operand = instruction.memory_operand();
    const OperandGroups::Group& place = groups_.group(group);
    if (place.index >= 0) {
      placement.index = static_cast<uint8_t>(HostRegister(static_cast<unsigned>(place.index)).getIdx());
      placement.shift = static_cast<uint8_t>(std::countr_zero(place.scale));
    } else {
      placement.memory = static_cast<uint8_t>(HostRegister(place.base).getIdx());
      placement.index = static_cast<uint8_t>(kScratch.getIdx());
    }
    placement.displacement = operand.mem.disp.has_displacement ? static_cast<int32_t>(operand.mem.disp.value) : 0;
  }

  int spilled = -1;
  const auto spill = [&](bool for_high_byte) {
    CHECK(spilled < 0);
    // RBP as an address takes a displacement; with AH..BH there is no REX to name the upper ones.
    constexpr uint8_t kCandidates[] = {kRsi, kRdi, kRbx, kRdx, kRcx, kRax, kR8, kR9, kR10};
    for (const uint8_t candidate : kCandidates) {
      if (((used >> candidate) & 1) != 0 || (for_high_byte && candidate >= kR8)) continue;
      spilled = candidate;
      StoreField(REMORA_FIELD(spill[0]), Xbyak::Reg64(candidate));
      out_.marks.back().spilled = candidate;
      return candidate;
    }
    CHECK_MSG(false, "no register left");
    return uint8_t{0};
  };
  if (high_byte && memory) {
    placement.memory = spill(true);
    mov(Xbyak::Reg64(placement.memory), kScratch);
  }
  struct Moved {
    unsigned guest;
    Xbyak::Reg64 host;
  };
  std::array<Moved, 2> moved;
  size_t num_moved = 0;
  bool scratch_free = !memory;
  for (unsigned guest = kR14; guest <= kR15; ++guest) {
    if (((named >> guest) & 1) == 0) continue;
    const bool is_destination = pure && GeneralRegister(in.operands[0].reg.value) == static_cast<int>(guest);
    const bool is_source = in.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                           GeneralRegister(in.operands[1].reg.value) == static_cast<int>(guest);
    const bool overwritten = is_destination && !is_source;
    Xbyak::Reg64 host = kScratch;
    if (scratch_free || (memory && overwritten)) {
      scratch_free = false;
    } else {
      host = Xbyak::Reg64(spill(false));
    }
    if (!overwritten) LoadField(host, FieldOf(guest));
    placement.general[guest] = static_cast<uint8_t>(host.getIdx());
    moved[num_moved++] = {guest, host};
  }

  uint8_t bytes[kMaxReencodedBytes];
  const unsigned length = Reencode(instruction, placement, bytes);
  for (unsigned i = 0; i < length; ++i) db(bytes[i]);

  for (size_t i = 0; i < num_moved; ++i) {
    bool written = false;
    for (int k = 0; k < in.info.operand_count_visible; ++k)
      written |= in.operands[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                 GeneralRegister(in.operands[k].reg.value) == static_cast<int>(moved[i].guest) &&
                 (in.operands[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    if (written) StoreField(FieldOf(moved[i].guest), moved[i].host);
  }
  if (spilled >= 0) LoadField(Xbyak::Reg64(spilled), REMORA_FIELD(spill[0]));
  NoteFlags(instruction);
}

void BlockWriter::WriteLea(const GuestInstruction& instruction) {
  const ZydisDecodedOperand& destination = instruction.decoded.operands[0];
  const auto guest = static_cast<unsigned>(GeneralRegister(destination.reg.value));
  const int bits = destination.size;
  const ZydisDecodedOperandMem_& memory = instruction.memory_operand().mem;
  const int base = GeneralRegister(memory.base), index = GeneralRegister(memory.index);
  if (!IsInContext(guest) && bits >= 32 && instruction.decoded.info.address_width == 64 && base >= 0 && base < kR14 &&
      index < kR14) {
    const int32_t offset = memory.disp.has_displacement ? static_cast<int32_t>(memory.disp.value) : 0;
    Xbyak::RegExp address(HostRegister(static_cast<unsigned>(base)));
    if (index >= 0) address = address + Xbyak::RegExp(HostRegister(static_cast<unsigned>(index)), memory.scale);
    const Xbyak::Reg64 to = HostRegister(guest);
    if (bits == 64)
      lea(to, ptr[address + offset]);
    else
      lea(to.cvt32(), ptr[address + offset]);
    return;
  }
  ComputeAddress(instruction, /*keep_flags=*/true);
  if (bits == 32) mov(kScratch.cvt32(), kScratch.cvt32());
  if (IsInContext(guest)) {
    if (bits == 16)
      StoreField(FieldOf(guest), kScratch.cvt16());
    else
      StoreField(FieldOf(guest), kScratch);
  } else if (bits == 16) {
    mov(HostRegister(guest).cvt16(), kScratch.cvt16());
  } else {
    mov(HostRegister(guest), kScratch);
  }
}

// `store` puts the value there.
void BlockWriter::PushGuest(const std::function<void(const Xbyak::Address& to)>& store) {
  store(AddressOf(ProbeStack(Right::kWrite, kGuestRspReg, -8)));
  lea(kGuestRspReg, ptr[kGuestRspReg - 8]);
}

void BlockWriter::WritePush(const GuestInstruction& instruction) {
  const ZydisDecodedOperand& operand = instruction.decoded.operands[0];
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    PushGuest([&](const Xbyak::Address& to) { mov(to, static_cast<uint64_t>(operand.imm.value.s)); });
  } else if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    const auto guest = static_cast<unsigned>(GeneralRegister(operand.reg.value));
    PushGuest([&](const Xbyak::Address& to) {
      if (IsInContext(guest)) {
        PushField(FieldOf(guest));
        pop(to);
      } else {
        mov(to, HostRegister(guest));
      }
    });
  } else {
    ProbeOperand(instruction);
    push(qword[kScratch]);
    PopField(REMORA_FIELD(value));
    PushGuest([&](const Xbyak::Address& to) {
      PushField(REMORA_FIELD(value));
      pop(to);
    });
  }
}

void BlockWriter::WritePop(const GuestInstruction& instruction) {
  const auto guest = static_cast<unsigned>(GeneralRegister(instruction.decoded.operands[0].reg.value));
  const StackPlace place = ProbeStack(Right::kRead, kGuestRspReg, 0);
  if (IsInContext(guest)) {
    mov(kScratch, AddressOf(place));
    StoreField(FieldOf(guest), kScratch);
  } else {
    mov(HostRegister(guest), AddressOf(place));
  }
  if (guest != kRsp) lea(kGuestRspReg, ptr[kGuestRspReg + 8]);
}

void BlockWriter::WriteLeaveFrame(const GuestInstruction&) {
  const StackPlace place = ProbeStack(Right::kRead, rbp, 0);
  lea(kGuestRspReg, ptr[rbp + 8]);
  mov(rbp, AddressOf(place));
}

void BlockWriter::LoadTarget(const GuestInstruction& instruction) {
  const ZydisDecodedOperand& operand = instruction.decoded.operands[0];
  if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    SaveFlags();
    const auto guest = static_cast<unsigned>(GeneralRegister(operand.reg.value));
    if (IsInContext(guest))
      LoadField(kScratch, FieldOf(guest));
    else
      mov(kScratch, HostRegister(guest));
  } else {
    ProbeOperand(instruction);
    mov(kScratch, qword[kScratch]);
  }
  StoreField(REMORA_FIELD(target), kScratch);
  RequireCanonicalTarget();
}

// A target outside the user's half faults at the branch, which the interpreter knows how.
void BlockWriter::RequireCanonicalTarget() {
  auto outside = std::make_shared<Xbyak::Label>();
  CompareField32(REMORA_FIELD(target) + 4, static_cast<uint32_t>(kUserTop >> 32));
  flags_ = Flags::kSaved;
  jae(*outside, T_NEAR);
  Cold([this, outside, index = index_, pc = index_pc_] {
    L(*outside);
    index_ = index, index_pc_ = pc;
    InterpretHere();
  });
}

void BlockWriter::WriteCall(const GuestInstruction& instruction) {
  const bool direct = instruction.decoded.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  if (!direct) LoadTarget(instruction);
  PushGuest([&](const Xbyak::Address& to) {
    const uint64_t value = instruction.next_pc();
    if (FitsSigned32(value)) {
      mov(to, value);
      return;
    }
    // In one store, so that a load of all eight bytes need not wait for two.
    auto literal = std::make_shared<Xbyak::Label>();
    push(qword[rip + *literal]);
    pop(to);
    Cold([this, literal, value] {
      L(*literal);
      dq(value);
    });
  });
  if (direct) return GoTo(instruction.target());
  LoadField(kScratch, REMORA_FIELD(target));
  GoThroughTable();
}

void BlockWriter::WriteRet(const GuestInstruction& instruction) {
  const DecodedInstruction& in = instruction.decoded;
  const StackPlace place = ProbeStack(Right::kRead, kGuestRspReg, 0);
  mov(kScratch, AddressOf(place));
  SaveFlags();
  StoreField(REMORA_FIELD(target), kScratch);
  RequireCanonicalTarget();
  const bool drops = in.info.operand_count_visible > 0 && in.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  const auto dropped = drops ? static_cast<uint16_t>(in.operands[0].imm.value.u) : uint16_t{0};
  lea(kGuestRspReg, ptr[kGuestRspReg + 8 + dropped]);
  GoThroughTable();
}

void BlockWriter::WriteJmp(const GuestInstruction& instruction) {
  if (instruction.decoded.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    // Where the trace goes on there is nothing to do.
    if (index_ + 1 == count_) GoTo(instruction.target());
    return;
  }
  LoadTarget(instruction);
  GoThroughTable();
}

void BlockWriter::WriteJcc(const GuestInstruction& instruction) {
  RestoreFlags();
  // The condition is the low half of the opcode in both forms.
  const int condition = instruction.decoded.info.opcode & 15;
  const uint64_t target = instruction.target();
  if (index_ + 1 < count_) {
    // The trace goes on behind it; who leaves here has not run the rest.
    db(0x0f), db(0x80 | condition);
    const auto displacement = static_cast<uint32_t>(getSize());
    dd(0);
    Cold([this, displacement, target, rest = count_ - index_ - 1, flags = flags_] {
      rewrite(displacement, getSize() - (displacement + 4), 4);
      flags_ = flags;
      SaveFlags();
      Gs(), add(dword[At(REMORA_FIELD(remaining))], static_cast<int>(rest));
      flags_ = Flags::kSaved;
      GoTo(target);
    });
    return;
  }
  if (optimizations_.chain && InPage(target)) {
    LinkedJump(condition, target);
  } else {
    auto taken = std::make_shared<Xbyak::Label>();
    // Xbyak has a name for each; the opcode is what is at hand.
    Xbyak::Label over;
    db(0x70 | (condition ^ 1));
    db(5);
    jmp(*taken, T_NEAR);
    Cold([this, taken, target, flags = flags_] {
      L(*taken);
      flags_ = flags;
      GoTo(target);
    });
  }
  GoTo(instruction.next_pc());
}

void BlockWriter::WriteLoop(const GuestInstruction& instruction) {
  const bool loop = instruction.action == Action::kLoop;
  const uint64_t if_zero = loop ? instruction.next_pc() : instruction.target();
  const uint64_t if_not = loop ? instruction.target() : instruction.next_pc();
  if (loop) lea(rcx, ptr[rcx - 1]);
  const Flags flags = flags_;
  Xbyak::Label zero;
  jrcxz(zero);
  GoTo(if_not);
  L(zero);
  flags_ = flags;
  GoTo(if_zero);
}

// --- ways out ---

void BlockWriter::JumpTo(const void* stub) {
  db(0xe9);
  out_.relocations.push_back({static_cast<uint32_t>(getSize()), stub});
  dd(0);
}

void BlockWriter::CallStub(const void* stub) {
  db(0xe8);
  out_.relocations.push_back({static_cast<uint32_t>(getSize()), stub});
  dd(0);
}

void BlockWriter::LeaveBlock(const void* stub, uint64_t pc) {
  MoveConstant(kScratch, pc);
  JumpTo(stub);
}

void BlockWriter::InterpretHere() {
  Gs(), add(dword[At(REMORA_FIELD(remaining))], static_cast<int>(count_ - index_));
  LeaveBlock(stubs_.leave_interpret, index_pc_);
}

void BlockWriter::LinkedJump(int condition, uint64_t target) {
  const unsigned opcode_bytes = condition < 0 ? 1 : 2;
  while ((getSize() + opcode_bytes) % 4 != 0) nop();
  if (condition < 0)
    db(0xe9);
  else
    db(0x0f), db(0x80 | condition);
  const bool saved = flags_ != Flags::kHost;
  const auto displacement = static_cast<uint32_t>(getSize());
  out_.links.push_back({displacement, saved, target});
  dd(0);
  Cold([this, displacement, saved, target] {
    // Where the link leads at first, and for ever if the target goes on in the next page.
    rewrite(displacement, getSize() - (displacement + 4), 4);
    if (!saved) {
      pushfq();
      PopField(REMORA_FIELD(flags));
    }
    GoByTable(target);
  });
}

void BlockWriter::GoByTable(uint64_t pc) {
  if (!optimizations_.table) return LeaveBlock(stubs_.leave_lookup, pc);
  MoveConstant(kScratch, pc);
  StoreField(REMORA_FIELD(target), kScratch);
  JumpField(REMORA_FIELD(indirect) + static_cast<uint32_t>(pc % GuestContext::kIndirectEntries) * sizeof(void*));
}

void BlockWriter::GoTo(uint64_t pc) {
  if (optimizations_.chain && InPage(pc)) return LinkedJump(-1, pc);
  SaveFlags();
  GoByTable(pc);
}

void BlockWriter::GoThroughTable() {
  if (!optimizations_.table) return JumpTo(stubs_.indirect_miss);
  movzx(kScratch.cvt32(), kScratch.cvt16());
  Gs(), jmp(qword[Xbyak::RegExp(kScratch, 8) + static_cast<size_t>(REMORA_FIELD(indirect))]);
}

}  // namespace remora::cpu::translator
