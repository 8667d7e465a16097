#ifndef REMORA_CPU_TRANSLATOR_BLOCK_WRITER_H_
#define REMORA_CPU_TRANSLATOR_BLOCK_WRITER_H_

#include <Zydis/Zydis.h>

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/guest_addr.h"
#include "cpu/translator/block_frame.h"
#include "cpu/translator/block_numbers.h"
#include "cpu/translator/generated_block.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/guest_instruction.h"
#include "cpu/translator/host_code.h"
#include "cpu/translator/operand_groups.h"
#include "cpu/translator/options.h"
#include "cpu/translator/reencode.h"
#include "cpu/translator/routines.h"
#include "cpu/translator/stand_ins.h"

namespace remora::cpu::translator {

// Writes the host's code of one block.
//
// The guest's registers are in the host's registers of the same name, but for R10 and R11 (in the GuestContext) and
// RSP: R10 is where that is on the host. R11 is scratch. The host's flags are the guest's until something spoils them:
// before that they are saved if anything can read them and the registers that made them will not tell (FlagsReplay),
// and brought back only where an instruction needs them.
//
// Invariants, at the first byte of each instruction's code:
//  1. Guest registers and memory are as the instructions before have left them; GuestContext::remaining counts the
//     block's instructions as retired, or those that a path is charged (GeneratedBlock::charge).
//  2. Those of the guest's status flags that can still be read are in GuestContext::flags or in the host's register, as
//     Mark says, or can be replayed; they are not just replayable where the host's CPU may refuse the instruction. With
//     exact flags, all of them are.
//     RSP may be some bytes off what R10 says, as Mark tells.
//  3. What can refuse the instruction (a probe, the host's CPU) comes before its first effect.
// Thread safety: one instance for each engine.
class BlockWriter {
 public:
  // Which flags may be read by code from `pc` on, on the block's own page.
  using LiveAt = absl::FunctionRef<uint32_t(uint64_t pc)>;
  // An extent that the memory operand of the block's instruction shares with others, if its run is known.
  using SharedExtent =
      absl::FunctionRef<std::optional<uint32_t>(uint32_t instruction, uint32_t size_class, bool write)>;
  static std::optional<uint32_t> NoneShared(uint32_t, uint32_t, bool) { return std::nullopt; }
  // `numbers` and `decoder` outlive the writer.
  BlockWriter(const Routines& routines, BlockNumbers* numbers, InstructionDecoder* decoder,
              Optimizations optimizations);

  // The pages of the mapping that the code belongs to: far links lead to these, until the next call. Empty: there are
  // none.
  void set_neighbours(PageRange pages) { neighbours_ = pages; }
  // Valid until the next call. `crosses_page`: no jump may lead into the block or out of it but through the table.
  // `alone`: each memory operand is probed by itself.
  const GeneratedBlock& Write(std::span<const GuestInstruction> instructions, bool crosses_page, bool alone,
                              LiveAt live_at, SharedExtent shared_extent);
  // A path: what has been run one after the other, along any branches and through any pages. Where it goes another way
  // now it is left. It begins only where its gate is open, if it has one (GeneratedBlock::gate). Its links lead to
  // blocks of all its pages. `goes_round`: behind the last instruction comes the first one again. Null: it is too long
  // for HostCode.
  const GeneratedBlock* WritePath(std::span<const GuestInstruction> instructions, uint32_t gate, bool goes_round,
                                  LiveAt live_at);

 private:
  // Where the guest's flags are: in the host's register only, there and in the context, in the context only. What
  // cannot be read any more need not be there. kReplayable: what maker_ has left in registers tells.
  enum class Flags : uint8_t { kHost, kBoth, kSaved, kReplayable };
  // Which extent a memory operand looks into.
  enum class Right : uint8_t { kRead, kWrite };
  // What a probe leaves in R11: the host address, or host - guest.
  enum class Result : uint8_t { kHost, kDelta };
  // Not an instruction's memory operand, but another piece of memory.
  static constexpr uint32_t kNoOperand = UINT32_MAX;

  // Whether an indirect branch is undone where its target turns out to be no address (BranchSite); kPopped: 8 bytes of
  // the stack, too.
  enum class Refusable : uint8_t { kNo, kYes, kPopped };

  // The instruction that wrote the flags last, and which of them are to be replayed if any are.
  struct Maker {
    static constexpr uint32_t kNone = UINT32_MAX;
    uint32_t instruction = kNone;
    uint32_t flags = 0;
  };

  // Where in the calls that a path has inlined it is.
  struct Nesting {
    static constexpr uint32_t kNone = UINT32_MAX;
    uint32_t call = kNone;  // the innermost one, of inlined_calls_
    // By how much R10 has been moved since the beginning, and how often, within these calls, RSP became something else
    // altogether.
    int32_t settled = 0;
    uint32_t stack_writes = 0;
  };

  // Code that is seldom run, written behind the block's own.
  struct Cold {
    enum class Kind : uint8_t {
      kMiss,
      kStackMiss,
      kAroundStackMiss,
      kPlaceMiss,
      kInterpret,
      kSideExit,
      kLink,
      kUnit,
      kShort,
      kBranch,
      kOtherTarget,
      kClosed,
      kRoundShort
    };
    Kind kind;
    // Where it is come to from.
    Flags flags = Flags::kSaved;
    Maker maker = {};
    uint32_t jump = 0;   // the displacement that leads here
    uint32_t jump2 = 0;  // another one, if not 0
    uint32_t back = 0;   // where it goes on
    uint32_t place = 0, site = 0;
    const void* routine = nullptr;
    HostPlace start = {};  // what has been subtracted from R11
    // What gives R11 the address again, where that is shorter than adding `start`.
    std::array<uint8_t, 7> address = {};
    uint8_t address_bytes = 0;
    uint32_t index = 0;
    int32_t moved = 0;  // Mark::stack_moved
    int32_t low = 0;    // the first byte, from R10
    uint64_t from = 0;  // the branch
    uint64_t pc = 0;    // of the instruction, or where to
    uint32_t live = 0;
    Refusable refusable = Refusable::kNo;
    uint32_t constant = 0;  // of what follows on the path, its address: what the displacement there has to lead to
    bool loaded = false;    // R11 has the target
    Nesting nesting = {};
  };

  // --- the frame of a block ---
  void WriteCode(std::span<const GuestInstruction> instructions);
  void FindLiveFlags(std::span<const GuestInstruction> instructions, LiveAt live_at);
  // Where a probe would have to save flags, it goes before what writes them, if it can.
  void FindEarlyProbes(std::span<const GuestInstruction> instructions);
  // Which units have to be in the host's registers. `avx512` implies `vectors`.
  void WriteEntries(bool vectors, bool avx512, bool x87);
  // Only a path can find that there is none; then nothing more is written.
  bool HasRoom() const;
  // The code of the instruction at index_, with its mark and the probes that come before it.
  void WriteNext();
  // Keeps what R11 holds, if operands from `index` on need it and it is not kept yet: before R11 becomes something
  // else.
  void KeepHeld(uint32_t index);
  bool IsKept(int number) const { return kept_.test(static_cast<size_t>(number)); }
  // So that the forward entry, which is where the code ends so far, can be patched: the first instruction of the host's
  // there has as many bytes as a jump. False: that instruction is yet to come.
  bool WriteAtForwardEntry();
  // All that writing an instruction changes.
  struct Position {
    uint32_t code;
    size_t relocations, numbered, links, far_links, branches, marks, cold;
    Flags flags;
    Maker maker = {};
    int32_t stack_moved;
    Nesting nesting;
    size_t inlined_calls;
    int held_behind;
    std::bitset<OperandGroups::kMaxGroups> kept;
    size_t places;
  };
  Position position() const;
  void ReturnTo(const Position& position);
  void WriteInstruction(const GuestInstruction& instruction);
  // Has cold code written later, with the flags where they are now.
  void AddCold(Cold cold);
  void WriteColdCode();
  void WriteCold(const Cold& cold);
  // The routine finds cold.site behind the call, and returns to where the block goes on.
  void CallWithSite(const void* routine, const Cold& cold);

  // --- flags ---
  // Into the context. `live`: those that may be read from here on.
  void SaveFlags(uint32_t live);
  void SaveFlagsBehind() { SaveFlags(live_flags_[index_ + 1]); }
  // Before the host's flags are spoilt: those that instruction `index` finds are saved, or can be made again.
  void KeepFlags(uint32_t index);
  void KeepFlagsBefore() { KeepFlags(index_); }
  // Notes that the host's are spoilt.
  void SpoilFlags() {
    if (flags_ != Flags::kReplayable) flags_ = Flags::kSaved;
  }
  // Whether, from before instruction `index` on, the flags can be replayed wherever they are wanted, and that is less
  // work than to save them.
  bool CanReplayFlags(uint32_t index) const;
  bool CanReplayStackFlags(uint32_t index) const;  // RSP's
  // Whether what may come of the instruction there wants the flags in the context: the host's CPU may refuse it, or it
  // goes where they have to be there.
  bool NeedsSavedFlags(uint32_t index) const;
  // Into the host's register. R11 stays.
  void ReplayFlags();
  // They are somewhere now, if any of `live` are.
  void SettleFlags(uint32_t live);
  // RAX ends up in spill[1], too; there only, unless it is kept.
  void WriteSaveFlags(bool keep_rax = true);
  void RestoreFlags();
  // Before the code of the instruction itself, and behind it.
  void PrepareFlags(const GuestInstruction& instruction);
  void NoteFlags(const GuestInstruction& instruction);

  // --- memory operands ---
  // R11 becomes the guest address. The host's flags may be spoilt unless `keep_flags`.
  void ComputeAddress(const GuestInstruction& instruction, bool keep_flags);
  // From R11, a guest address, which the code from `address_code` on has made. Flags are saved, or can be replayed.
  // `operand`: the instruction whose memory operand it is, or kNoOperand.
  void Probe(Right right, unsigned bytes, Result result, uint32_t operand, uint32_t address_code);
  // Which extent a site looks into.
  uint32_t ExtentFor(Right right, unsigned bytes, uint32_t operand);
  // An AccessSite for operands on the stack.
  uint32_t StackSite(Right right, unsigned bytes, bool pinned) const;
  // None of the bytes from `low` to `high`, behind R10, lies elsewhere than that has it. False: they are too far from
  // it.
  bool ProbeAroundStack(Right right, int64_t low, int64_t high, bool pinned);
  // For operands behind RSP: none of the bytes from [place] on lies elsewhere than R10 has it. R11 is spoilt.
  void ProbeStackRun(Right right, const HostPlace& place, unsigned bytes, bool pinned);
  void ProbeStackGroup(int number);
  // The place that knows where the group is, on the host; kNoPage: none does.
  uint32_t PlaceOfGroup(const OperandGroups::Group& group) const;
  uint32_t PlaceOfConstant(int64_t low, int64_t high, bool write) const;
  // R11 becomes where the place is on the host.
  void ProbePlace(uint32_t place);
  static HostPlace KnownAt(uint32_t place);
  void LoadKnown(uint32_t place);
  // The last four bytes that were written follow from the number of `place`, if it is a page.
  void NotePlace(uint32_t place, GeneratedBlock::Numbered::Kind kind);
  void ProbeOperand(const GuestInstruction& instruction);
  // 8 bytes on the stack, as PUSH and its kin have it: where they are on the host, by way of R11 if need be.
  HostPlace ProbeStack(Right right, int32_t displacement);
  // What the group keeps comes into R11, by a probe if this is its first operand.
  void LoadDelta(int number);
  // R11 to where that is kept, or from there.
  void MoveKept(unsigned opcode, int number);
  // Where the operand of a group is on the host, by way of R11.
  HostPlace PlaceInGroup(const GuestInstruction& instruction, int number);
  static bool MayBeRefused(const GuestInstruction& instruction);
  // Whether the instruction under way has to look whether its operand is there.
  bool Probes(uint32_t index) const;
  int GroupOf(uint32_t index) const { return groups_.group_of(index); }
  void RequireAligned(unsigned size);

  // --- instructions ---
  void WriteReemitted(const GuestInstruction& instruction);
  void WriteAsItIs(const GuestInstruction& instruction);
  // Whether an operand that is one of the registers in the context can be used where it is, by an instruction without a
  // memory operand of its own; which one.
  static int UsableInContext(const GuestInstruction& instruction, Placement* placement);
  // What RSP is; R10 for what RSP becomes. Neither touches the flags. `to` and `from` are not R10.
  void LoadRsp(unsigned to);
  void StoreRsp(unsigned from);
  // PUSH, POP and ADD RSP, 8 do not change R10 one by one, but what RSP is off it; whoever needs it right makes it so.
  void SettleStack();
  bool NeedsSettledStack(const GuestInstruction& instruction) const;
  // By how much ADD or SUB moves RSP, if that is all that counts; else 0.
  int32_t StackMoveOf(const GuestInstruction& instruction) const;
  HostPlace OnStack(int64_t displacement) const {
    return {.base = kGuestRspHost, .displacement = static_cast<int32_t>(displacement + stack_moved_)};
  }
  // Whether RSP becomes something that does not follow from what it was.
  bool WritesStackPointer(const GuestInstruction& instruction) const;
  // MOV, ADD, SUB and AND with RSP where R10 can be used as it is.
  bool WriteStackPointer(const GuestInstruction& instruction);
  void WriteLea(const GuestInstruction& instruction);
  void WritePush(const GuestInstruction& instruction);
  void WritePop(const GuestInstruction& instruction);
  void WriteLeaveFrame();
  void WriteCall(const GuestInstruction& instruction);
  void WriteRet(const GuestInstruction& instruction);
  void WriteJmp(const GuestInstruction& instruction);
  void WriteJcc(const GuestInstruction& instruction);
  void WriteLoop(const GuestInstruction& instruction);
  void WriteString(const GuestInstruction& instruction);
  void WriteSyscall(const GuestInstruction& instruction);
  // Pushes a field of the context, by way of RAX.
  void PushField(uint32_t field);
  // R11 and `target` become the operand of an indirect branch.
  void LoadTarget(const GuestInstruction& instruction);
  void RequireCanonicalTarget();
  void PushReturnAddress(const GuestInstruction& instruction);
  // What RET does with R11 as its target, but for going there.
  Refusable DropFrame(const GuestInstruction& instruction);

  // --- calls and returns that the host predicts (block_returns.cc) ---
  // Which calls of a path return on it, and so are nothing to the host.
  void FindInlinedCalls();
  struct InlinedCall {
    Nesting outside;  // where it is, settled and stack_moved_ being that behind it
    uint64_t returns_to = 0;
  };
  void EnterInlinedCall(uint64_t returns_to);
  void LeaveInlinedCall();
  // Whoever leaves the path in the middle of them, or all that return later would be predicted wrongly. R11 is spoilt.
  void TellHostOfInlinedCalls();
  // Of a call whose return address is pushed; R10 + `rsp` is what RSP will be when it has returned. R11 is spoilt.
  void TellHostOfCall(uint64_t returns_to, int32_t rsp);
  // The host's call, and where it returns to. Where that is goes to `place`, if it is not null.
  void WriteHostCall(uint64_t returns_to, const HostPlace* place);
  void GoToReturn(uint64_t pc);
  // Which of GuestContext::returns is that of RSP at R10 + `rsp`, by R11.
  HostPlace ReturnPlace(int32_t rsp);
  // What RET does, the return address being at R10.
  void WriteHostReturn();

  // --- loops ---
  // Whether it goes on at its own beginning.
  bool Loops() const;
  // The registers that stand in for R10 and R11 become these, behind the entries, and the guest's own again.
  bool has_stand_ins() const { return out_.stand_ins != kNoStandIns; }
  void TakeStandIns();
  void ReturnStandIns();
  // To its own beginning. `live`: of the flags, there.
  void GoRound(uint32_t live);

  // --- paths ---
  // Whether the path goes on behind the instruction under way.
  bool GoesOn() const { return is_path_ && index_ + 1 < count_; }
  // Whether it goes on at its beginning behind the instruction under way.
  bool GoesRound() const { return goes_round_ && index_ + 1 == count_; }
  // Whether it is a path that tells where the branch under way goes.
  bool KnowsTarget() const { return GoesOn() || GoesRound(); }
  // Where the path goes on behind instruction `index`.
  uint64_t NextOnPath(uint32_t index) const { return index + 1 == count_ ? pc_ : instructions_[index + 1].pc; }
  // Whether it comes through the page of `pc`.
  bool IsOnPath(uint64_t pc) const;
  // The target of an indirect branch is where the path goes on, else it is left. R11 may be spoilt, the host's flags
  // are.
  void RequireTarget(const GuestInstruction& instruction);
  void WriteOtherTarget(const Cold& cold);
  // If all are counted: those behind the instruction under way. Spoils the host's flags.
  void GiveBack();

  // --- ways out ---
  // `live`: of the flags, there.
  void GoTo(uint64_t pc, uint32_t live);
  void GoByTable(uint64_t pc, uint32_t live);
  // To another page.
  void GoAcross(uint64_t pc, uint32_t live);
  // To the address in R11, by the branch's inline cache if it has one. Tables lead to code that finds the address there
  // and RAX in spill[1].
  void GoIndirect(Refusable refusable);
  // Where the inline cache does not know, or there is none (yet).
  void WriteUnknownTarget(Refusable refusable);
  void GoThroughTable(Refusable refusable);
  // Goes on if the entry of the table is that of the address in R11. RAX is in spill[1].
  void RequireScratchIs(const HostPlace& target);
  void NoteBranch(bool popped);
  void LeaveBlock(const void* routine, uint64_t pc);  // flags are saved
  void LeaveByTable(uint64_t pc);                     // likewise: in fewer bytes than GoByTable
  // Where a link leads whose target is not translated: another block of the page, or of the path's pages.
  void WriteUnlinked(uint64_t pc);
  // GeneratedBlock::by_table_host.
  void WriteByTable();
  void InterpretHere(uint32_t index, uint64_t pc);
  // Whether blocks there may be linked to: on the block's own page, or one that its path is known to be on.
  bool InPage(uint64_t pc) const { return !crosses_page_ && ((pc ^ pc_) / kPageSize == 0 || IsOnPath(pc)); }
  // Whether a link may lead there, or a far one.
  bool CanBeLinked(uint64_t pc) const {
    if (InPage(pc)) return optimizations_.chain;
    return optimizations_.across_pages && !crosses_page_ && neighbours_.Contains(GuestAddr(pc).page());
  }
  // Whether the branch under way leads to where its block need not be counted. Who leaves a path is counted: slices end
  // where something is, and so find what is hot there.
  bool NeedNotCount(uint64_t pc) const { return !is_path_ && IsForward(index_pc_, pc); }
  void JumpTo(const void* routine);
  void CallRoutine(const void* routine);
  // Where the branch under way leads if `condition` holds.
  void BranchTo(unsigned condition, uint64_t target, uint32_t live);
  static constexpr int kAlways = -1;
  // So that the displacement of the jump that comes next, behind its opcode, can be patched while others run through
  // it.
  void AlignDisplacement(unsigned opcode_bytes);
  void LinkedJump(int condition, uint64_t target, uint32_t live);

  const Routines routines_;
  BlockNumbers* const numbers_;
  InstructionDecoder* const decoder_;  // tells how long the host's instructions are
  const Optimizations optimizations_;
  const bool host_returns_ = optimizations_.uses_host_returns();
  HostCode code_;
  GeneratedBlock out_;
  // While a block is written.
  std::span<const GuestInstruction> instructions_;
  const SharedExtent* shared_extent_ = nullptr;  // while a block is written
  std::vector<Cold> cold_;
  OperandGroups groups_;
  // Groups that are probed before the instruction of their first operand.
  std::vector<int> early_;
  // Before each instruction, and at the end; and where each one's branch leads.
  std::vector<uint32_t> live_flags_, live_at_target_;
  uint64_t pc_ = 0;
  uint32_t count_ = 0;   // instructions
  uint32_t charge_ = 0;  // those that are taken off `remaining`
  uint32_t index_ = 0;   // of the one being written
  uint64_t index_pc_ = 0;
  PageRange neighbours_{};
  bool crosses_page_ = false;
  bool is_path_ = false;
  bool goes_round_ = false;
  uint32_t gate_ = GuestContext::kNoGate;
  bool runs_forward_ = false;  // no instruction is followed by one at a lower address
  uint32_t loop_entry_ = 0;    // behind what is known when the block jumps to itself
  uint32_t body_ = 0;          // behind all entries
  std::vector<GuestInstruction> renamed_;
  Flags flags_ = Flags::kSaved;
  Maker maker_;
  int32_t stack_moved_ = 0;
  Nesting nesting_;
  std::vector<bool> is_inlined_;  // of each instruction: a call that is
  std::vector<InlinedCall> inlined_calls_;
  // What R11 holds the delta of, before the instruction under way and behind it.
  int held_ = OperandGroups::kNone, held_behind_ = OperandGroups::kNone;
  // The groups whose deltas are in the context, too; a bit each.
  std::bitset<OperandGroups::kMaxGroups> kept_;
  // Places that have been found to be known: they are to the block's end, as what groups keep is.
  std::vector<uint32_t> places_;
  bool keep_at_once_ = false;  // what is found is put there, whether R11 is used for something else or not
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_BLOCK_WRITER_H_
