#include "cpu/translator/block_writer.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "cpu/translator/block_frame.h"
#include "cpu/translator/flags_replay.h"

namespace remora::cpu::translator {

BlockWriter::BlockWriter(const Routines& routines, BlockNumbers* numbers, InstructionDecoder* decoder,
                         Optimizations optimizations)
    : routines_(routines), numbers_(numbers), decoder_(decoder), optimizations_(optimizations) {}

const GeneratedBlock& BlockWriter::Write(std::span<const GuestInstruction> instructions, bool crosses_page, bool alone,
                                         LiveAt live_at, SharedExtent shared_extent) {
  shared_extent_ = &shared_extent;
  instructions_ = instructions;
  crosses_page_ = crosses_page;
  index_ = 0;
  pc_ = instructions[0].pc;
  count_ = static_cast<uint32_t>(instructions.size());
  if (instructions.back().action == Action::kInterpret) --count_;
  DCHECK(count_ > 0);
  out_.stand_ins = kNoStandIns;
  if (optimizations_.stand_ins && (Loops() || is_path_) && !crosses_page && !alone) {
    // To come and to go costs as much as two uses or three.
    constexpr size_t kMinUsesInLoop = 2, kMinUses = 6;
    out_.stand_ins = ChooseStandIns(instructions, Loops() ? kMinUsesInLoop : kMinUses, decoder_, &renamed_);
    if (has_stand_ins()) instructions = instructions_ = renamed_;
  }
  // Many who come do not go to the end of a path. (Of a round most do, but they leave sooner or later, too.)
  charge_ = is_path_ && !optimizations_.exact_count ? (count_ + 1) / 2 : count_;
  runs_forward_ =
      !is_path_ && std::ranges::adjacent_find(instructions, [](const GuestInstruction& a, const GuestInstruction& b) {
                     return b.pc <= a.pc;
                   }) == instructions.end();
  groups_.Find(instructions, optimizations_.coalesce && !alone);
  FindLiveFlags(instructions, live_at);
  FindInlinedCalls();
  early_.clear();
  if (!optimizations_.exact_flags) FindEarlyProbes(instructions.first(count_));
  WriteCode(instructions);
  out_.code = code_.bytes();
  out_.path.clear();
  if (is_path_)
    for (const GuestInstruction& instruction : instructions.first(count_)) out_.path.push_back(instruction.pc);
  CHECK(code_.size() <= UINT16_MAX);
  out_.code_bytes = static_cast<uint16_t>(code_.size());
  out_.charge = static_cast<uint16_t>(charge_);
  out_.gate = gate_ & (GuestContext::kGates - 1);
  out_.loops = Loops();
  instructions_ = {};
  shared_extent_ = nullptr;
  return out_;
}

void BlockWriter::WriteCode(std::span<const GuestInstruction> instructions) {
  code_.Clear();
  out_.relocations.clear();
  out_.numbered.clear();
  out_.links.clear();
  out_.far_links.clear();
  out_.branches.clear();
  out_.branch_displacement = out_.branch_unknown = out_.branch_by_table = 0;
  out_.by_table_host = out_.by_table_saved = 0;
  out_.marks.clear();
  cold_.clear();
  const GuestInstruction& last = instructions.back();
  bool vectors = false, avx512 = false, x87 = false;
  for (const GuestInstruction& instruction : instructions.first(count_)) {
    vectors |= instruction.uses_vectors;
    avx512 |= instruction.uses_avx512;
    x87 |= instruction.uses_x87;
  }
  WriteEntries(vectors, avx512, x87);
  held_behind_ = OperandGroups::kNone;
  kept_.reset();
  places_.clear();
  stack_moved_ = 0;
  nesting_ = {};
  inlined_calls_.clear();
  maker_ = {};
  bool at_entry = out_.forward_entry == code_.size();
  for (index_ = 0; index_ < count_; ++index_) {
    if (at_entry)
      at_entry = !WriteAtForwardEntry();
    else
      WriteNext();
    if (!HasRoom()) return;
  }
  if (at_entry) code_.Nop(kJumpBytes);
  SettleStack();
  out_.comes_back_at = last.action == Action::kCall || last.action == Action::kInterpret ? last.next_pc() : 0;
  if (last.action == Action::kInterpret) {
    SaveFlags(kAllFlags);
    ReturnStandIns();
    LeaveBlock(last.repeats() ? routines_.leave_repeat : routines_.leave_interpret, last.pc);
  } else if (!last.ends_block()) {
    goes_round_ ? GoRound(live_flags_[count_]) : GoTo(last.next_pc(), live_flags_[count_]);
  }
  out_.cold_offset = code_.size();
  WriteColdCode();
  if (crosses_page_ && HasRoom()) WriteByTable();
}

void BlockWriter::WriteNext() {
  const GuestInstruction& instruction = instructions_[index_];
  index_pc_ = instruction.pc;
  held_ = held_behind_;
  held_behind_ = OperandGroups::kNone;
  if (NeedsSettledStack(instruction)) SettleStack();
  out_.marks.push_back({.host_offset = static_cast<uint16_t>(code_.size()),
                        .guest_offset = is_path_ ? int16_t{0} : static_cast<int16_t>(instruction.pc - pc_),
                        .stack_moved = static_cast<int16_t>(stack_moved_),
                        .flags_in_context = flags_ != Flags::kHost});
  for (const int number : early_) {
    if (groups_.group(number).first != index_) continue;
    if (groups_.group(number).on_stack()) {
      ProbeStackGroup(number);
    } else {
      LoadDelta(number);
      held_ = number;
    }
  }
  const Position before = position();
  const int held = held_;
  WriteInstruction(instruction);
  // What is lost in the middle of an instruction though it is needed is kept from the beginning.
  const auto is_lost = [&](int number) {
    return number != OperandGroups::kNone && held_behind_ != number && !IsKept(number) &&
           groups_.group(number).slot >= 0 && groups_.group(number).last > index_;
  };
  if (nesting_.call != Nesting::kNone && WritesStackPointer(instruction)) ++nesting_.stack_writes;
  const bool held_is_lost = is_lost(held), own_is_lost = is_lost(GroupOf(index_));
  if (!held_is_lost && !own_is_lost) return;
  ReturnTo(before);
  held_ = held;
  if (held_is_lost) KeepHeld(index_);
  keep_at_once_ = own_is_lost;
  WriteInstruction(instruction);
  keep_at_once_ = false;
}

void BlockWriter::KeepHeld(uint32_t index) {
  if (held_ == OperandGroups::kNone || IsKept(held_) || groups_.group(held_).slot < 0 ||
      groups_.group(held_).last < index)
    return;
  MoveKept(kStoreOpcode, held_);
  kept_.set(static_cast<size_t>(held_));
}

BlockWriter::Position BlockWriter::position() const {
  return {.code = code_.size(),
          .relocations = out_.relocations.size(),
          .numbered = out_.numbered.size(),
          .links = out_.links.size(),
          .far_links = out_.far_links.size(),
          .branches = out_.branches.size(),
          .marks = out_.marks.size(),
          .cold = cold_.size(),
          .flags = flags_,
          .maker = maker_,
          .stack_moved = stack_moved_,
          .nesting = nesting_,
          .inlined_calls = inlined_calls_.size(),
          .held_behind = held_behind_,
          .kept = kept_,
          .places = places_.size()};
}

void BlockWriter::ReturnTo(const Position& position) {
  code_.Truncate(position.code);
  out_.relocations.resize(position.relocations);
  out_.numbered.resize(position.numbered);
  out_.links.resize(position.links);
  out_.far_links.resize(position.far_links);
  out_.branches.resize(position.branches);
  out_.marks.resize(position.marks);
  cold_.resize(position.cold);
  flags_ = position.flags;
  maker_ = position.maker;
  stack_moved_ = position.stack_moved;
  nesting_ = position.nesting;
  inlined_calls_.resize(position.inlined_calls);
  held_behind_ = position.held_behind;
  kept_ = position.kept;
  places_.resize(position.places);
}

bool BlockWriter::WriteAtForwardEntry() {
  const Position before = position();
  WriteNext();
  const std::span<const uint8_t> written = code_.bytes().subspan(before.code);
  if (written.empty()) return false;
  const InstructionInfo* first = decoder_->DecodeWithoutOperands(written.data(), written.size());
  CHECK(first != nullptr);
  const unsigned length = first->length;
  if (length >= kJumpBytes) return true;
  // Once more, behind prefixes that mean nothing.
  ReturnTo(before);
  for (unsigned i = length; i < kJumpBytes; ++i) code_.Byte(kCsPrefix);
  WriteNext();
  out_.marks.back().host_offset = static_cast<uint16_t>(before.code);
  return true;
}

bool BlockWriter::Probes(uint32_t index) const {
  const int number = GroupOf(index);
  if (number == OperandGroups::kNone || groups_.group(number).first == index) return true;
  // Of PUSH and CALL the group is that of the stack.
  const GuestInstruction& instruction = instructions_[index];
  return instruction.memory >= 0 && (instruction.action == Action::kPush || instruction.action == Action::kCall);
}

// An operand whose place is known leads nowhere, unless the host's CPU has something against the instruction.
bool BlockWriter::MayBeRefused(const GuestInstruction& instruction) {
  const ZydisMnemonic mnemonic = instruction.decoded.info.mnemonic;
  return instruction.uses_vectors || instruction.uses_x87 || mnemonic == ZYDIS_MNEMONIC_DIV ||
         mnemonic == ZYDIS_MNEMONIC_IDIV || mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B;
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
    index_ = i;
    switch (instruction.action) {
      case Action::kJcc:
      case Action::kLoop:
      case Action::kJrcxz:
        branches = goes_on = true;
        break;
      case Action::kString:
        goes_on = true;
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
      live_flags_[count_] = goes_on ? ahead(instruction.next_pc()) : GoesRound() ? ahead(pc_) : live_at_target_[i];
    const bool refusable = MayBeRefused(instruction) || instruction.ends_block();
    const bool seen = exact && ((instruction.may_leave && (Probes(i) || refusable)) || (branches && i + 1 < count_));
    uint32_t behind = live_flags_[i + 1];
    if (KnowsTarget() && instruction.ends_block() && instruction.action != Action::kJcc) {
      // Elsewhere than where the path goes on there may be anything.
      if (!instruction.is_direct_branch()) behind = kAllFlags;
      branches = false;
    }
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

void BlockWriter::AddCold(Cold cold) {
  cold.flags = flags_;
  cold.maker = maker_;
  cold.nesting = nesting_;
  cold_.push_back(cold);
}

void BlockWriter::WriteColdCode() {
  // Cold code may have cold code of its own.
  for (size_t i = 0; i < cold_.size(); ++i) {
    const Cold cold = cold_[i];
    code_.Land(cold.jump);
    if (cold.jump2 != 0) code_.Land(cold.jump2);
    places_.clear();
    flags_ = cold.flags;
    maker_ = cold.maker;
    stack_moved_ = cold.moved;
    nesting_ = cold.nesting;
    index_ = cold.index;
    if (flags_ == Flags::kReplayable) SaveFlags(kAllFlags);
    WriteCold(cold);
    if (!HasRoom()) return;
  }
  if (std::ranges::none_of(cold_, [](const Cold& cold) { return cold.constant != 0; })) return;
  code_.Align(sizeof(uint64_t));
  for (const Cold& cold : cold_) {
    if (cold.constant == 0) continue;
    code_.Land(cold.constant);
    code_.Qword(NextOnPath(cold.index));
    if (!HasRoom()) return;
  }
}

void BlockWriter::CallWithSite(const void* routine, const Cold& cold) {
  CallRoutine(routine);
  const uint32_t returns_to = code_.size();
  code_.Land(code_.Jump(), cold.back);
  code_.NeverRun(cold.site);
  DCHECK(code_.size() == returns_to + Routines::kSiteBehindReturn + sizeof(cold.site));
}

void BlockWriter::WriteCold(const Cold& cold) {
  constexpr unsigned kAdd = 0;
  switch (cold.kind) {
    case Cold::Kind::kMiss: {
      constexpr unsigned kAddTo = 0x03;
      if (cold.address_bytes != 0)
        code_.Append(cold.address, cold.address_bytes);
      else
        code_.Memory(kAddTo, kScratch, cold.start);
      CallWithSite(cold.routine, cold);
      return;
    }
    case Cold::Kind::kStackMiss:
      code_.Memory(0x03, kScratch, Frame(REMORA_FRAME(stack_start)));
      code_.Memory(0x03, kScratch, Frame(REMORA_FRAME(minus_stack_delta)));
      code_.StoreConstant32(Frame(REMORA_FRAME(site)), cold.site);
      CallRoutine(routines_.access_stack);
      code_.Land(code_.Jump(), cold.back);
      return;
    case Cold::Kind::kAroundStackMiss:
      CallWithSite(routines_.access_around_stack, cold);
      code_.NeverRun(static_cast<uint32_t>(cold.low));
      return;
    case Cold::Kind::kPlaceMiss:
      CallWithSite(routines_.access_place, cold);
      NotePlace(cold.place, GeneratedBlock::Numbered::Kind::kPage);
      return;
    case Cold::Kind::kInterpret:
      SettleStack();
      return InterpretHere(cold.index, cold.pc);
    case Cold::Kind::kSideExit:
      SettleStack();
      TellHostOfInlinedCalls();
      if (optimizations_.exact_count) {
        SaveFlags(cold.live);
        flags_ = Flags::kSaved;
        GiveBack();
      }
      index_pc_ = cold.from;
      return GoTo(cold.pc, cold.live);
    case Cold::Kind::kLink:
      index_pc_ = cold.from;
      if (!InPage(cold.pc)) {
        const auto far = std::ranges::find(out_.far_links, cold.jump, &FarLink::displacement_offset);
        DCHECK(far == out_.far_links.end() || cold.flags != Flags::kReplayable);  // which would be saved before
        if (far != out_.far_links.end()) far->cold_offset = code_.size();
        return GoAcross(cold.pc, kAllFlags);
      }
      return WriteUnlinked(cold.pc);
    case Cold::Kind::kOtherTarget:
      return WriteOtherTarget(cold);
    case Cold::Kind::kRoundShort:
      ReturnStandIns();
      code_.Immediate32(kAdd, Frame(REMORA_FRAME(remaining)), static_cast<int32_t>(charge_));
      code_.Land(code_.Jump(), loop_entry_);
      return;
    case Cold::Kind::kClosed:
      return CallRoutine(routines_.dropped_saved_flags);
    case Cold::Kind::kBranch:
      return WriteUnknownTarget(cold.refusable);
    case Cold::Kind::kUnit:
      CallRoutine(cold.routine);
      code_.Land(code_.Jump(), cold.back);
      return;
    case Cold::Kind::kShort:
      CallRoutine(routines_.go_on);
      // By an entry, so that a loop that is dropped, or replaced by a path, is left once in each portion.
      code_.Immediate32(kAdd, Frame(REMORA_FRAME(remaining)), static_cast<int32_t>(charge_));
      code_.Land(code_.Jump(), out_.saved_entry);
      return;
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
      return WriteSyscall(instruction);
    case Action::kString:
      return WriteString(instruction);
  }
}

// --- flags ---

// By LAHF and SETO: PUSHFQ takes three times as long.
void BlockWriter::WriteSaveFlags(bool keep_rax) {
  const HostPlace spill = Frame(REMORA_FRAME(spill[1]));
  constexpr unsigned kLahf = 0x9f;
  code_.Store(spill, kHostRax);
  code_.Byte(kLahf);
  for (const unsigned byte : {0x0fu, 0x90u, 0xc0u}) code_.Byte(byte);  // SETO AL
  code_.Byte(0x66);
  code_.Memory(0x89, kHostRax, Frame(REMORA_FRAME(flags)), /*wide=*/false);
  if (keep_rax) code_.Load(kHostRax, spill);
}

void BlockWriter::SaveFlags(uint32_t live) {
  SettleFlags(live);
  if (flags_ != Flags::kHost) return;
  if (live == 0) {
    flags_ = Flags::kSaved;
    return;
  }
  WriteSaveFlags();
  flags_ = Flags::kBoth;
}

void BlockWriter::KeepFlags(uint32_t index) {
  if (flags_ != Flags::kHost) return;
  if (!CanReplayFlags(index)) return SaveFlags(live_flags_[index]);
  flags_ = Flags::kReplayable;
  maker_.flags = live_flags_[index];
}

bool BlockWriter::CanReplayFlags(uint32_t index) const {
  if (!optimizations_.replay || maker_.instruction == Maker::kNone || live_flags_[index] == 0) return false;
  const FlagsReplay replay = ReplayOf(instructions_[maker_.instruction], live_flags_[index]);
  if (replay.length == 0) return false;
  if ((replay.registers >> kRsp & 1) != 0) return CanReplayStackFlags(index);
  const auto changes = [&](const GuestInstruction& instruction) {
    return (instruction.registers_written & replay.registers) != 0;
  };
  for (uint32_t i = maker_.instruction + 1; i < count_; ++i) {
    const GuestInstruction& instruction = instructions_[i];
    if (i >= index) {
      if (live_flags_[i] == 0) return true;
      if (NeedsSavedFlags(i)) return false;
      if (instruction.flags_written != 0) return true;
    }
    if (changes(instruction)) return i >= index && !instruction.ends_block() && live_flags_[i + 1] == 0;
  }
  return true;
}

// R10 stays where it is while POP and RET only move RSP off it; others may want that settled first, and so does the end
// of the block. Exact flags: as in WriteStackPointer, where RSP is no stack's R10 has others, which only a fault shows.
bool BlockWriter::CanReplayStackFlags(uint32_t index) const {
  if (optimizations_.exact_flags) return false;
  for (uint32_t i = maker_.instruction + 1; i < count_; ++i) {
    if (i >= index && live_flags_[i] == 0) return true;
    const GuestInstruction& instruction = instructions_[i];
    const bool pops = instruction.action == Action::kPop && instruction.memory < 0 &&
                      GeneralRegister(instruction.decoded.operands[0].reg.value) != kRsp;
    if ((!pops && instruction.action != Action::kRet) || NeedsSavedFlags(i)) return false;
  }
  return false;
}

bool BlockWriter::NeedsSavedFlags(uint32_t index) const {
  const GuestInstruction& instruction = instructions_[index];
  switch (instruction.action) {
    case Action::kReemit:
      return MayBeRefused(instruction);
    case Action::kCall:
    case Action::kRet:
    case Action::kJmp:
      return index + 1 == count_ && !instruction.is_direct_branch();
    case Action::kInterpret:
    case Action::kSyscall:
    case Action::kString:
      return true;
    default:
      return false;
  }
}

void BlockWriter::ReplayFlags() {
  const FlagsReplay replay = ReplayOf(instructions_[maker_.instruction], maker_.flags);
  if (replay.spoils_scratch) code_.Store(Frame(REMORA_FRAME(held)), kScratch);
  code_.Append(replay.bytes, replay.length);
  if (replay.spoils_scratch) code_.Load(kScratch, Frame(REMORA_FRAME(held)));
  flags_ = Flags::kHost;
}

void BlockWriter::SettleFlags(uint32_t live) {
  if (flags_ != Flags::kReplayable) return;
  if (live == 0)
    flags_ = Flags::kSaved;
  else
    ReplayFlags();
}

// By SAHF and an addition that overflows if OF was set: POPFQ takes twenty times as long.
void BlockWriter::RestoreFlags() {
  if (flags_ == Flags::kReplayable) return ReplayFlags();
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
  if (instruction.flags_written == 0) return;
  flags_ = Flags::kHost;
  maker_ = {.instruction = index_};
}

}  // namespace remora::cpu::translator
