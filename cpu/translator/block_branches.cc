// Of BlockWriter: entries, branches, and ways out.

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/check.h"
#include "cpu/string_form.h"
#include "cpu/translator/block_frame.h"
#include "cpu/translator/block_writer.h"

namespace remora::cpu::translator {
namespace {

constexpr unsigned kEntryAlignment = 8;
constexpr unsigned kUserBits = 47;

}  // namespace

// --- entries ---

void BlockWriter::WriteEntries(bool vectors, bool avx512, bool x87) {
  const bool live = live_flags_[0] != 0;
  if (live) {
    out_.host_entry = code_.size();
    WriteSaveFlags();
    code_.Align(kEntryAlignment);
  } else {
    out_.host_entry = code_.size();
  }
  out_.saved_entry = code_.size();
  DCHECK(out_.saved_entry % kEntryAlignment == 0);
  flags_ = Flags::kSaved;
  constexpr unsigned kSub = 5, kCmpByte = 0x80, kCmp = 7;
  const auto require = [&](int32_t field, uint8_t value, unsigned refused, const void* load) {
    code_.Memory(kCmpByte, kCmp, Frame(field), /*wide=*/false);
    code_.Byte(value);
    const uint32_t jump = code_.JumpIf(refused);
    AddCold({.kind = Cold::Kind::kUnit, .jump = jump, .back = code_.size(), .routine = load});
  };
  const auto require_units = [&] {
    if (x87) require(REMORA_FRAME(x87_live), 1, kNotEqual, routines_.load_x87);
    if (avx512)
      require(REMORA_FRAME(vectors_live), 2, kBelow, routines_.load_avx512);
    else if (vectors)
      require(REMORA_FRAME(vectors_live), 1, kBelow, routines_.load_vectors);
  };
  if (gate_ != GuestContext::kNoGate) {
    code_.Memory(kCmpByte, kCmp, GateField(gate_), /*wide=*/false);
    code_.Byte(1);
    AddCold({.kind = Cold::Kind::kClosed, .jump = code_.JumpIf(kNotEqual)});
  }
  // A loop that leads to its own beginning looks only once.
  const bool units_first = optimizations_.exact_count || (Loops() && (x87 || vectors || avx512));
  if (units_first) require_units();
  // Behind a call what was in the host's registers may have been put away.
  loop_entry_ = instructions_[count_ - 1].action == Action::kSyscall ? out_.saved_entry : code_.size();
  code_.Immediate32(kSub, Frame(REMORA_FRAME(remaining)), static_cast<int32_t>(charge_));
  AddCold({.kind = Cold::Kind::kShort, .jump = code_.JumpIf(kSign)});
  out_.forward_entry = out_.saved_entry;
  if (!units_first) {
    if (runs_forward_) {
      out_.forward_entry = code_.size();
      DCHECK(out_.forward_entry % kEntryAlignment + kJumpBytes <= kEntryAlignment);
    }
    require_units();
  }
  TakeStandIns();
  body_ = code_.size();
}

// --- loops ---

bool BlockWriter::Loops() const {
  const GuestInstruction& last = instructions_[count_ - 1];
  return goes_round_ || (last.action == Action::kJcc && last.target() == pc_);
}

void BlockWriter::TakeStandIns() {
  for (unsigned i = 0; i < out_.stand_ins.size(); ++i) {
    const uint8_t reg = out_.stand_ins[i];
    if (reg == kNoStandIn) continue;
    code_.Store(Frame(static_cast<int32_t>(REMORA_FRAME(lent) + 8 * i)), reg);
    code_.Load(reg, InContext(kR10 + i));
  }
}

void BlockWriter::ReturnStandIns() {
  for (unsigned i = 0; i < out_.stand_ins.size(); ++i) {
    const uint8_t reg = out_.stand_ins[i];
    if (reg == kNoStandIn) continue;
    code_.Store(InContext(kR10 + i), reg);
    code_.Load(reg, Frame(static_cast<int32_t>(REMORA_FRAME(lent) + 8 * i)));
  }
}

void BlockWriter::GoRound(uint32_t live) {
  if (!has_stand_ins()) return GoTo(pc_, live);
  // What is at the entries, but for what is there already.
  constexpr unsigned kSub = 5;
  SaveFlags(live);
  code_.Immediate32(kSub, Frame(REMORA_FRAME(remaining)), static_cast<int32_t>(charge_));
  AddCold({.kind = Cold::Kind::kRoundShort, .jump = code_.JumpIf(kSign)});
  code_.Land(code_.Jump(), body_);
}

// --- branches ---

void BlockWriter::LoadTarget(const GuestInstruction& instruction) {
  const DecodedOperand& operand = instruction.decoded.operands[0];
  if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    const auto guest = static_cast<unsigned>(GeneralRegister(operand.reg.value));
    if (IsInContext(guest))
      code_.Load(kScratch, InContext(guest));
    else if (guest == kRsp)
      LoadRsp(kScratch);
    else
      code_.Move(kScratch, HostRegister(guest));
  } else {
    const int group = GroupOf(index_);
    if (instruction.action == Action::kJmp && group != OperandGroups::kNone) {
      code_.Load(kScratch, PlaceInGroup(instruction, group));
    } else {
      ProbeOperand(instruction);
      code_.Load(kScratch, {.base = kScratch});
    }
  }
  held_ = OperandGroups::kNone;
}

// A target outside the user's half faults at the call, which the interpreter knows how.
void BlockWriter::RequireCanonicalTarget() {
  KeepFlagsBefore();
  for (const unsigned byte : {0x49u, 0xc1u, 0xebu, kUserBits}) code_.Byte(byte);  // SHR R11, 47
  SpoilFlags();
  AddCold({.kind = Cold::Kind::kInterpret,
           .jump = code_.JumpIf(kNotEqual),
           .index = index_,
           .moved = stack_moved_,
           .pc = index_pc_});
}

void BlockWriter::WriteCall(const GuestInstruction& instruction) {
  if (!instruction.is_direct_branch()) {
    if (KnowsTarget()) {
      RequireTarget(instruction);
    } else {
      LoadTarget(instruction);
      code_.Store(Frame(REMORA_FRAME(target)), kScratch);
      RequireCanonicalTarget();
    }
  }
  PushReturnAddress(instruction);
  if (host_returns_ && instruction.is_returned_to()) {
    if (is_inlined_[index_])
      EnterInlinedCall(instruction.next_pc());
    else
      TellHostOfCall(instruction.next_pc(), stack_moved_ + 8);
  }
  if (GoesOn()) {
    held_behind_ = held_;
    return;
  }
  SettleStack();
  if (GoesRound()) return GoRound(live_flags_[count_]);
  if (instruction.is_direct_branch()) return GoTo(instruction.target(), live_at_target_[index_]);
  code_.Load(kScratch, Frame(REMORA_FRAME(target)));
  GoIndirect(Refusable::kNo);
}

void BlockWriter::PushReturnAddress(const GuestInstruction& instruction) {
  const uint64_t value = instruction.next_pc();
  const HostPlace to = ProbeStack(Right::kWrite, -8);
  if (FitsSigned32(value)) {
    code_.StoreConstant64(to, static_cast<int32_t>(value));
  } else if (to.base != kScratch) {
    // In one store, here and below, so that a load of all eight bytes need not wait for two.
    KeepHeld(index_);
    code_.Constant(kScratch, value);
    code_.Store(to, kScratch);
    held_ = OperandGroups::kNone;
  } else {
    const HostPlace spill = Frame(REMORA_FRAME(spill[1]));
    code_.Store(spill, kHostRax);
    code_.Constant(kHostRax, value);
    code_.Store(to, kHostRax);
    code_.Load(kHostRax, spill);
  }
  stack_moved_ -= 8;
}

void BlockWriter::WriteRet(const GuestInstruction& instruction) {
  if (KnowsTarget()) {
    RequireTarget(instruction);
    stack_moved_ += 8 + instruction.drops();
    LeaveInlinedCall();
    if (GoesRound()) {
      SettleStack();
      GoRound(live_flags_[count_]);
    }
    return;
  }
  const HostPlace place = ProbeStack(Right::kRead, 0);
  if (host_returns_ && place.base != kScratch && instruction.drops() == 0) return WriteHostReturn();
  code_.Load(kScratch, place);
  GoIndirect(DropFrame(instruction));
}

BlockWriter::Refusable BlockWriter::DropFrame(const GuestInstruction& instruction) {
  const uint16_t dropped = instruction.drops();
  if (dropped != 0) {
    code_.Store(Frame(REMORA_FRAME(target)), kScratch);
    RequireCanonicalTarget();
    code_.Load(kScratch, Frame(REMORA_FRAME(target)));
  }
  stack_moved_ += 8 + dropped;
  SettleStack();
  return dropped != 0 ? Refusable::kNo : Refusable::kPopped;
}

void BlockWriter::WriteJmp(const GuestInstruction& instruction) {
  if (instruction.is_direct_branch()) {
    // Where the trace goes on there is nothing to do.
    held_behind_ = held_;
    if (GoesRound()) return GoRound(live_at_target_[index_]);
    if (index_ + 1 == count_) GoTo(instruction.target(), live_at_target_[index_]);
    return;
  }
  if (GoesOn()) return RequireTarget(instruction);
  if (GoesRound()) {
    RequireTarget(instruction);
    return GoRound(live_flags_[count_]);
  }
  LoadTarget(instruction);
  const bool of_address = instruction.memory >= 0 && instruction.memory_operand().mem.base == ZYDIS_REGISTER_RIP;
  if (of_address) return GoIndirect(Refusable::kYes);
  ReturnStandIns();
  // A switch has many targets.
  GoThroughTable(Refusable::kYes);
}

void BlockWriter::WriteJcc(const GuestInstruction& instruction) {
  RestoreFlags();
  // The condition is the low half of the opcode in both forms.
  const auto condition = (instruction.decoded.info.opcode & 15u) ^ (instruction.goes_on_at_target ? 1u : 0u);
  const uint64_t target = instruction.side_exit();
  const uint32_t live = live_at_target_[index_];
  held_behind_ = held_;
  const bool last = index_ + 1 == count_;
  const auto leave_if = [&](unsigned leaves, uint64_t to, uint32_t live_there) {
    AddCold({.kind = Cold::Kind::kSideExit,
             .jump = code_.JumpIf(leaves),
             .index = index_,
             .moved = stack_moved_,
             .from = index_pc_,
             .pc = to,
             .live = live_there});
  };
  if (last && has_stand_ins() && Loops()) {
    const bool loops_where_taken = target == pc_;
    if (loops_where_taken)
      leave_if(condition ^ 1u, instruction.next_pc(), live_flags_[count_]);
    else
      leave_if(condition, target, live);
    return GoRound(loops_where_taken ? live : live_flags_[count_]);
  }
  // Who leaves in the middle has not run the rest, may have to settle RSP, and to return what stands in.
  if (!has_stand_ins() && nesting_.call == Nesting::kNone &&
      (last || (!optimizations_.exact_count && stack_moved_ == 0)))
    BranchTo(condition, target, live);
  else
    leave_if(condition, target, live);
  if (last) GoTo(instruction.next_pc(), live_flags_[count_]);
}

void BlockWriter::BranchTo(unsigned condition, uint64_t target, uint32_t live) {
  if (CanBeLinked(target)) return LinkedJump(static_cast<int>(condition), target, live);
  AddCold(
      {.kind = Cold::Kind::kLink, .jump = code_.JumpIf(condition), .index = index_, .from = index_pc_, .pc = target});
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

// It ends its block: what was found of memory may no longer hold behind it.
void BlockWriter::WriteString(const GuestInstruction& instruction) {
  SaveFlags(live_flags_[index_]);
  constexpr unsigned kAdd = 0;
  code_.Immediate32(kAdd, Frame(REMORA_FRAME(remaining)), 1);
  const std::optional<StringForm> form = FormOfString(instruction.decoded.info);
  code_.StoreConstant32(Frame(REMORA_FRAME(site)), __builtin_bit_cast(uint32_t, form.value()));
  code_.Constant(kScratch, instruction.pc);
  CallRoutine(routines_.string);
  flags_ = Flags::kSaved;
  GoTo(instruction.next_pc(), live_flags_[count_]);
}

// R11 becomes the flags.
void BlockWriter::WriteSyscall(const GuestInstruction& instruction) {
  SaveFlagsBehind();
  code_.Constant(kScratch, instruction.next_pc());
  CallRoutine(routines_.syscall);
  flags_ = Flags::kSaved;
  GoTo(instruction.next_pc(), live_flags_[count_]);
}

// --- ways out ---

void BlockWriter::JumpTo(const void* routine) { out_.relocations.push_back({code_.Jump(), routine}); }

void BlockWriter::CallRoutine(const void* routine) { out_.relocations.push_back({code_.Call(), routine}); }

void BlockWriter::LeaveBlock(const void* routine, uint64_t pc) {
  code_.Constant(kScratch, pc);
  JumpTo(routine);
}

void BlockWriter::LeaveByTable(uint64_t pc) {
  LeaveBlock(optimizations_.table ? routines_.go_by_table : routines_.leave_lookup, pc);
}

void BlockWriter::WriteUnlinked(uint64_t pc) {
  // What a path leads to may be on any page, and others than its own know nothing of its links.
  if (is_path_ || !optimizations_.chain) {
    SaveFlags(kAllFlags);
    return LeaveByTable(pc);
  }
  DCHECK(flags_ != Flags::kReplayable);
  CallRoutine(flags_ == Flags::kHost ? routines_.unlinked_host_flags : routines_.unlinked_saved_flags);
  constexpr unsigned kRetImm16 = 0xc2;
  const auto behind = static_cast<unsigned>(pc - pc_) & 0xffffu;
  for (const unsigned byte : {kRetImm16, behind & 0xffu, behind >> 8}) code_.Byte(byte);
}

void BlockWriter::WriteByTable() {
  out_.by_table_host = code_.size();
  if (live_flags_[0] != 0) WriteSaveFlags();
  out_.by_table_saved = code_.size();
  LeaveByTable(pc_);
}

void BlockWriter::InterpretHere(uint32_t index, uint64_t pc) {
  constexpr unsigned kAdd = 0;
  ReturnStandIns();
  code_.Immediate32(kAdd, Frame(REMORA_FRAME(remaining)), static_cast<int32_t>(charge_ - std::min(charge_, index)));
  LeaveBlock(routines_.leave_interpret, pc);
}

void BlockWriter::AlignDisplacement(unsigned opcode_bytes) {
  constexpr unsigned kPiece = 16, kDisplacement = 4;
  const unsigned at = (code_.size() + opcode_bytes) % kPiece;
  if (at <= kPiece - kDisplacement) return;
  // Prefixes that mean nothing, rather than an instruction.
  for (unsigned i = at; i < kPiece; ++i) code_.Byte(kCsPrefix);
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
    AlignDisplacement(condition == kAlways ? 1 : 2);
    const uint32_t displacement = jump();
    const Link link = {displacement, saved, NeedNotCount(target), target};
    if (InPage(target))
      out_.links.push_back(link);
    else
      out_.far_links.push_back({link});
    AddCold({.kind = Cold::Kind::kLink, .jump = displacement, .index = index_, .from = index_pc_, .pc = target});
  }
  flags_ = flags;
}

void BlockWriter::GoByTable(uint64_t pc, uint32_t live) {
  SaveFlags(live);
  if (!optimizations_.table) return LeaveBlock(routines_.leave_lookup, pc);
  code_.Constant(kScratch, pc);
  code_.Store(Frame(REMORA_FRAME(spill[1])), kHostRax);
  const HostPlace target = TargetField(pc);
  RequireScratchIs(target);
  constexpr unsigned kIndirect = 0xff, kJmp = 4;
  code_.Memory(kIndirect, kJmp, CodeOfTarget(target), /*wide=*/false);
}

void BlockWriter::GoAcross(uint64_t pc, uint32_t live) {
  const uint32_t way = optimizations_.ways ? numbers_->WayTo(pc) : GuestContext::kNoWay;
  if (way == GuestContext::kNoWay) return GoByTable(pc, live);
  if (live == 0) flags_ = Flags::kSaved;
  const HostPlace field = WayField(way, /*flags_saved=*/flags_ != Flags::kHost, NeedNotCount(pc));
  constexpr unsigned kIndirect = 0xff, kJmp = 4;
  code_.Memory(kIndirect, kJmp, field, /*wide=*/false);
  out_.numbered.push_back({code_.size() - 4, GeneratedBlock::Numbered::Kind::kWayField, way});
}

void BlockWriter::GoTo(uint64_t pc, uint32_t live) {
  SettleFlags(live);
  ReturnStandIns();
  if (CanBeLinked(pc)) return LinkedJump(kAlways, pc, live);
  InPage(pc) ? GoByTable(pc, live) : GoAcross(pc, live);
}

void BlockWriter::NoteBranch(bool popped) {
  const HostPlace word = Frame(REMORA_FRAME(branch_site));
  code_.StoreConstant32(word, 0);
  out_.branches.push_back({code_.size() - 4, out_.marks[index_].host_offset, popped});
}

void BlockWriter::GoIndirect(Refusable refusable) {
  SaveFlagsBehind();
  ReturnStandIns();
  if (!optimizations_.inline_caches || !optimizations_.table) return GoThroughTable(refusable);
  flags_ = Flags::kSaved;
  AlignDisplacement(/*opcode_bytes=*/1);
  out_.branch_displacement = code_.Jump();
  AddCold({.kind = Cold::Kind::kBranch, .jump = out_.branch_displacement, .index = index_, .refusable = refusable});
}

void BlockWriter::WriteUnknownTarget(Refusable refusable) {
  out_.branch_unknown = code_.size();
  constexpr unsigned kSub = 5, kJnsShort = 0x79;
  code_.Immediate32(kSub, ArrivalField(GuestContext::ArrivalIndex(pc_)), 1);
  const uint32_t go_on = code_.ShortJump(kJnsShort);
  CallRoutine(routines_.learn_branch);
  code_.LandShort(go_on);
  out_.branch_by_table = code_.size();
  GoThroughTable(refusable);
}

void BlockWriter::RequireScratchIs(const HostPlace& target) {
  constexpr unsigned kCompareWith = 0x3b;
  code_.Memory(kCompareWith, kScratch, target);
  out_.relocations.push_back({code_.JumpIf(kNotEqual), routines_.indirect_miss});
}

void BlockWriter::GoThroughTable(Refusable refusable) {
  if (refusable != Refusable::kNo) NoteBranch(refusable == Refusable::kPopped);
  SettleFlags(live_flags_[index_ + 1]);
  if (flags_ == Flags::kHost && live_flags_[index_ + 1] != 0)
    WriteSaveFlags(/*keep_rax=*/false);
  else
    code_.Store(Frame(REMORA_FRAME(spill[1])), kHostRax);
  flags_ = Flags::kSaved;
  if (!optimizations_.table) return JumpTo(routines_.indirect_miss);
  // MOVZX EAX, R11W; AND EAX, -2
  static_assert(GuestContext::TargetEntry(~uint64_t{0}) == 0xffff / 2 && sizeof(GuestContext::IndirectTarget) == 16);
  for (const unsigned byte : {0x41u, 0x0fu, 0xb7u, 0xc3u, 0x83u, 0xe0u, 0xfeu}) code_.Byte(byte);
  const HostPlace target = {.base = kHostRsp, .index = kHostRax, .shift = 3, .displacement = REMORA_FRAME(indirect)};
  RequireScratchIs(target);
  code_.Load(kScratch, CodeOfTarget(target));
  code_.Load(kHostRax, Frame(REMORA_FRAME(spill[1])));
  for (const unsigned byte : {0x41u, 0xffu, 0xe3u}) code_.Byte(byte);  // JMP R11
}

}  // namespace remora::cpu::translator
