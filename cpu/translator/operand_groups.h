#ifndef REMORA_CPU_TRANSLATOR_OPERAND_GROUPS_H_
#define REMORA_CPU_TRANSLATOR_OPERAND_GROUPS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cpu/translator/guest_context.h"
#include "cpu/translator/guest_instruction.h"

namespace remora::cpu::translator {

// Memory operands of one block that lie close together behind one base register (and the same index, if any): one
// probe, at the first of them, finds where all of them are in the host's memory.
//
//     push rbp            rsp - 8                    one group: [-24, 0) from RSP at the block's start, for writing
//     mov rbp, rsp
//     push rbx            rsp - 16
//     mov [rsp - 8], rdi  rsp - 24 (at the start)
//
// What counts is the register's value: what moves it by a constant (PUSH, ADD RSP, 8) or copies it into another
// register (MOV, LEA RBX, [RDI + 16]) does not end a group; it ends when no register has the value any more. Behind a
// conditional branch, or an indirect one of a path, the operand might never be reached, so there a group becomes no
// longer than a line of the host's cache, and asks for no right to write that it did not want before; the stack's
// groups, which always want it, are free of that. Where the bytes of a group have no place in one piece, the block is
// run without groups.
//
// Thread safety: one instance for each engine.
class OperandGroups {
 public:
  struct Group {
    // At the first operand: a guest register; kConstant: `low` is an address; kFs: relative to FS. Others may have the
    // same by other registers.
    unsigned base = 0;
    int index = -1;  // another that is added, by `scale`; -1: none
    uint8_t scale = 0;
    int64_t low = 0;  // of the bytes covered, from the registers' sum at the first operand
    int64_t high = 0;
    bool write = false;
    uint32_t first = 0;  // instruction before which it is probed
    uint32_t members = 0;
    uint32_t last = 0;        // its last member
    int slot = -1;            // of GuestContext::deltas, if what is found is kept there
    uint32_t slot_since = 0;  // from which instruction on nobody else uses it

    // RSP is a place on the host already: nothing has to be kept.
    bool on_stack() const { return base == kRsp; }
    // Where it is is known by a place of its own already, if at all.
    bool needs_slot() const { return base != kRsp && base != kFs; }
    // What is kept has the base in it, whose value is the same for all: there is an index to be added, or the base is
    // not in a register of the host's.
    bool keeps_place() const { return index >= 0 || IsInContext(base); }
  };
  static constexpr int kNone = -1;
  // No register: operands relative to RIP, and absolute ones. What is kept then is where `low` is on the host.
  static constexpr unsigned kConstant = 16;
  // The first few bytes behind FS's base, GuestContext::kFsBytes.
  static constexpr unsigned kFs = 17;
  static constexpr int64_t kMaxBytes = 512;
  static constexpr int64_t kMaxBytesBehindBranch = 64;
  static constexpr uint32_t kMaxGroups = 256;
  static constexpr int64_t kMaxDisplacement = int64_t{1} << 30;

  // `coalesce` false: there are none.
  void Find(std::span<const GuestInstruction> instructions, bool coalesce = true);

  // The group of the instruction's operand; kNone: it is probed alone.
  int group_of(uint32_t instruction) const { return group_of_[instruction]; }
  // The address of an operand without registers.
  static int64_t ConstantAddress(const GuestInstruction& instruction);
  uint32_t num_groups() const { return static_cast<uint32_t>(groups_.size()); }
  // Has the group probed before instruction `first` already, an earlier one; up to where it was, no instruction
  // branches or changes its registers. False: there is no room to keep what is found, from there on.
  bool ProbeEarlier(uint32_t number, uint32_t first);
  // Whether the instruction changes one of the group's registers.
  bool ChangesPlace(const GuestInstruction& instruction, uint32_t number) const;
  const Group& group(int number) const { return groups_[static_cast<uint32_t>(number)]; }

 private:
  struct Operand {
    int base = -1, index = -1;
    uint8_t scale = 0;
    int64_t low = 0, high = 0;
    bool write = false;
  };
  // What a register has: what some register had, and so much more.
  struct Value {
    uint32_t origin = 0;
    int64_t moved = 0;
  };
  struct Open {
    int group = kNone;
    Value base, index;  // when it began
    bool closed = false;
  };
  static Operand OperandOf(const GuestInstruction& instruction);
  // The group that the instruction's operand is in now; kNone: there is room for no more groups.
  int Join(const Operand& operand, uint32_t instruction);
  // Nothing: the operand has other registers, or they have other values. Else by how much these have moved.
  std::optional<int64_t> MovedSince(const Open& open, const Operand& operand) const;
  void FollowValues(const GuestInstruction& instruction);
  // A slot for the group from instruction `first` on, if one is free.
  void TakeSlot(Group* group, uint32_t first);

  std::vector<Group> groups_;
  std::vector<int> group_of_;
  std::vector<Open> open_;
  std::array<Value, kConstant> values_;  // of each register
  std::vector<uint8_t> users_;           // of each origin: how many registers have it
  // From which instruction on nobody uses each slot.
  std::array<uint32_t, GuestContext::kMaxDeltas> slots_{};
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_OPERAND_GROUPS_H_
