#ifndef REMORA_CPU_TRANSLATOR_BLOCK_WRITER_H_
#define REMORA_CPU_TRANSLATOR_BLOCK_WRITER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "cpu/translator/context_assembler.h"
#include "cpu/translator/generated_block.h"
#include "cpu/translator/guest_instruction.h"
#include "cpu/translator/operand_groups.h"
#include "cpu/translator/options.h"
#include "cpu/translator/stubs.h"

namespace remora::cpu::translator {

// Writes the host's code of one block.
//
// The guest's registers are in the host's registers of the same name, but for RSP (in R15), R14 and R15 (in the
// GuestContext). R14 is scratch. The host's flags are the guest's until something spoils them: before that they are
// saved, and restored only where an instruction needs them.
//
// Invariants, at the first byte of each instruction's code:
//  1. Guest registers and memory are as the instructions before have left them; GuestContext::remaining counts the
//     block's instructions as retired.
//  2. The guest's status flags are in GuestContext::flags or in the host's register, as Mark says.
//  3. What can refuse the instruction (a probe, the host's CPU) comes before its first effect.
// Thread safety: one instance for each engine.
class BlockWriter : private ContextAssembler {
 public:
  BlockWriter(const Stubs& stubs, Optimizations optimizations);

  // Valid until the next call. `crosses_page`: no jump may lead into the block or out of it but through the table.
  const GeneratedBlock& Write(std::span<const GuestInstruction> instructions, bool crosses_page);

 private:
  enum class Flags : uint8_t { kHost, kBoth, kSaved };
  // Which extent a memory operand looks into.
  enum class Right : uint8_t { kRead, kWrite };

  // --- the frame of a block ---
  void Reset();
  void FindLiveFlags(std::span<const GuestInstruction> instructions);
  void WriteEntries();
  void WriteInstruction(const GuestInstruction& instruction);
  void WriteColdCode();

  // --- flags ---
  void SaveFlags();
  void RestoreFlags();
  // Before the code of the instruction itself, and behind it.
  void PrepareFlags(const GuestInstruction& instruction);
  void NoteFlags(const GuestInstruction& instruction);

  // --- memory operands ---
  // R14 becomes the guest address. The host's flags may be spoilt unless `keep_flags`.
  void ComputeAddress(const GuestInstruction& instruction, bool keep_flags);
  // R14, a guest address, becomes a host address or, for a group that begins there, what is between the
  // two. Flags are saved.
  void Probe(Right right, unsigned size_class, uint32_t extent, bool in_write_extents,
             const std::optional<Xbyak::RegExp>& group);
  void ProbeOperand(const GuestInstruction& instruction);
  // 8 bytes at a register and a displacement, as PUSH and its kin have it: what has to be added to the register for the
  // host's address is the operand that StackOperand answers.
  struct StackPlace {
    bool grouped = false;
    Xbyak::Reg64 base = Xbyak::Reg64(0);
    int32_t displacement = 0;
  };
  StackPlace ProbeStack(Right right, const Xbyak::Reg64& base, int32_t displacement);
  static Xbyak::Address AddressOf(const StackPlace& place);
  // The group's delta comes into R14, by a probe if this is its first operand.
  void LoadDelta(int number);
  // Whether the instruction under way has to look whether its operand is there.
  bool Probes(uint32_t index) const;
  int GroupOf(uint32_t index) const { return optimizations_.coalesce ? groups_.group_of(index) : OperandGroups::kNone; }
  void RequireAligned(unsigned size);

  // --- instructions ---
  void WriteReemitted(const GuestInstruction& instruction);
  void WriteLea(const GuestInstruction& instruction);
  void WritePush(const GuestInstruction& instruction);
  void WritePop(const GuestInstruction& instruction);
  void WriteLeaveFrame(const GuestInstruction& instruction);
  void WriteCall(const GuestInstruction& instruction);
  void WriteRet(const GuestInstruction& instruction);
  void WriteJmp(const GuestInstruction& instruction);
  void WriteJcc(const GuestInstruction& instruction);
  void WriteLoop(const GuestInstruction& instruction);
  void PushGuest(const std::function<void(const Xbyak::Address& to)>& store);
  // R14 and `target` become the operand of an indirect branch.
  void LoadTarget(const GuestInstruction& instruction);
  void RequireCanonicalTarget();

  // --- ways out ---
  void GoTo(uint64_t pc);
  void GoByTable(uint64_t pc);  // flags are saved
  void GoThroughTable();        // to `target`; R14 holds it too
  void LeaveBlock(const void* stub, uint64_t pc);
  void InterpretHere();  // the instruction under way, nothing of which has happened
  bool InPage(uint64_t pc) const { return !crosses_page_ && ((pc ^ pc_) >> 12) == 0; }
  void JumpTo(const void* stub);
  void CallStub(const void* stub);
  void LinkedJump(int condition, uint64_t target);  // condition -1: always
  void MoveConstant(const Xbyak::Reg64& to, uint64_t value);
  // Code that is seldom run, behind the block's own.
  void Cold(std::function<void()> write) { cold_.push_back(std::move(write)); }

  const Stubs stubs_;
  const Optimizations optimizations_;
  GeneratedBlock out_;
  std::vector<std::function<void()>> cold_;
  OperandGroups groups_;
  std::vector<uint32_t> live_flags_;  // before each instruction, and at the end
  uint64_t pc_ = 0;
  uint32_t count_ = 0;  // instructions
  uint32_t index_ = 0;  // of the one being written
  uint64_t index_pc_ = 0;
  bool crosses_page_ = false;
  bool flags_dead_ = false;  // nothing reads them before they are written, and nobody asks for exact ones
  Flags flags_ = Flags::kSaved;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_BLOCK_WRITER_H_
