#ifndef REMORA_CPU_OP_H_
#define REMORA_CPU_OP_H_

#include <cstdint>

#include "cpu/cpu_state.h"
#include "mm/tlb.h"

namespace remora::cpu {

struct Op;
class HandlerEnv;
struct RunContext;

// A chained handler executes one op and tail-calls the handler of the next one. What is hottest stays in registers: the
// state, the op, the context of this Run, the TLB and the three words of the lazy flags (cpu/flags.h). While a block
// runs, state->rip holds the address at which the block starts.
#define REMORA_CHAINED [[clang::preserve_none]]
using Handler = void(__attribute__((preserve_none)) *)(CpuState* state, const Op* op, RunContext* context, mm::Tlb* tlb,
                                                       uint64_t flag_a, uint64_t flag_b, uint64_t flag_kind);

// A plain handler executes one op and answers true, or answers false after it told `env` why it could not
// (HandlerEnv::Raise, or a Read or Write that failed). Where it answers false it has changed nothing but what the
// CPU itself changes at such a fault (sticky bits of MXCSR, the x87 status word).
using PlainHandler = bool (*)(HandlerEnv& env, const Op& op);

// Numbers of address registers that are no general register. kBlockStart is where CpuState keeps rip.
inline constexpr uint8_t kBlockStartRegister = 16;
inline constexpr uint8_t kNoRegister = 0xff;

// One decoded instruction, or a helper op between instructions. Position independent: addresses of code are offsets
// from the start of its block.
struct Op {
  Handler handler = nullptr;
  union {
    int64_t immediate = 0;  // sign-extended; of a branch: the target's offset from the block's start
    PlainHandler plain;     // where handler is the trampoline that calls it: the immediate is in immediate8
  };
  int32_t displacement = 0;  // of the memory operand; RIP-relative ones have base kBlockStartRegister
  uint16_t offset = 0;       // of the instruction from the start of the block
  uint8_t length = 0;        // of the instruction, in bytes
  uint8_t uncounted = 0;     // instructions of the block from this one, itself included, to the end
  // Explicit register operands in Intel's order, the memory operand left out: `dst` is the first, `src` the second
  // (general, vector, MMX or ST number; 4..7 with kHighByteX are AH..BH). With only one it is `dst`, whatever it does.
  // A third one is in `base` (ThirdRegister) where no memory operand needs that, a fourth in `immediate8`.
  uint8_t dst = kNoRegister;
  uint8_t src = kNoRegister;
  uint8_t base = kNoRegister;   // memory operand: general register, kBlockStartRegister or kNoRegister
  uint8_t index = kNoRegister;  // memory operand: general register or kNoRegister
  uint8_t scale_shift : 2 = 0;  // index << scale_shift
  uint8_t segment : 2 = 0;      // 0: none, 1: FS, 2: GS
  uint8_t address32 : 1 = 0;    // the effective address is cut to 32 bits
  uint8_t has_memory : 1 = 0;
  uint8_t stack_segment : 1 = 0;
  uint8_t lock : 1 = 0;
  uint8_t size = 0;  // memory operand's size in bytes where there is one, else the first operand's
  uint8_t immediate8 = 0;
  // For plain handlers: whether state->rflags' status bits must be exact before the call, and whether the handler
  // changes them.
  uint8_t reads_flags : 1 = 0;
  uint8_t writes_flags : 1 = 0;
  uint8_t memory_first : 1 = 0;  // the memory operand is the first explicit operand (a store or read-modify-write)
  uint8_t repeat : 2 = 0;        // 0: none, 1: REP/REPE, 2: REPNE
  // Memory operands, the stack's included, each of which probes the TLB once (0 where a handler counts them itself).
  uint8_t accesses : 3 = 0;

  // Of the slots of a block between its first op and its last: whether this one is an EvexDetails.
  bool is_details() const { return length == 0 && size == kDetailsSize; }
  static constexpr uint8_t kDetailsSize = 0xff;
};

static_assert(sizeof(Op) == 32);

// The third register operand of an op without memory operand.
inline uint8_t ThirdRegister(const Op& op) { return op.base; }

}  // namespace remora::cpu

#endif  // REMORA_CPU_OP_H_
