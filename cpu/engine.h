#ifndef REMORA_CPU_ENGINE_H_
#define REMORA_CPU_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <string_view>

#include "cpu/cpu_state.h"
#include "mm/tlb.h"
#include "mm/types.h"

namespace remora::cpu {

enum class ExitReason : uint8_t {
  kBudget,      // all instructions of the budget were retired
  kInterrupt,   // the interrupt flag was seen at a block boundary
  kSyscall,     // SYSCALL was executed: rip is behind it, rcx and r11 are set as the CPU does. See SyscallGate
  kFault,       // a memory access or fetch failed: exit.fault; the state is that before the instruction
  kMustWait,    // too early: exit.fault.kind tells whether for acknowledgements or a slow file's page; then run again
  kIllegal,     // #UD; rip at the instruction
  kDivide,      // #DE; rip at the instruction
  kBreakpoint,  // INT3; rip behind it
  kDebugTrap,   // #DB of INT1; rip behind it
  kSingleStep,  // #DB after an instruction run with TF
  kX87Error,    // #MF; rip at the waiting x87 instruction
  kSimdError,   // #XM; rip at the instruction
  kProtection,  // #GP: privileged instruction, misaligned SSE operand, non-canonical address, INT n; rip at the
                // instruction
  kOverflow,    // #OF of INTO: never in 64-bit code
  kAlignment,   // #AC
};
std::string_view ExitReasonName(ExitReason reason);

struct Exit {
  ExitReason reason = ExitReason::kBudget;
  mm::Fault fault;                    // for kFault
  uint64_t instructions_retired = 0;  // a REP counts its iterations
};

// Who carries out system calls for an engine that need not be left for each of them. Thread safety: used by the
// engine's thread, within Run.
class SyscallGate {
 public:
  // SYSCALL was executed: the state is what ExitReason::kSyscall promises, and TLB and engine may be used as between
  // two Runs. `instructions_retired`: since Run began, or since the last call. Answers how many instructions (at most
  // INT64_MAX) may follow behind the call; the state is as before then, but for rax, fs_base, gs_base and tsc_aux, and
  // the TLB is synchronized. 0: none, whatever has become of the call; the engine looks at neither any more.
  virtual uint64_t Call(uint64_t instructions_retired) = 0;

 protected:
  ~SyscallGate() = default;
};

// Executes guest code. One instance for each worker; what instances share (decoded or translated code) is a BlockCache
// of the Kernel's.
class Engine {
 public:
  struct Counters {
    uint64_t instructions = 0;
    uint64_t blocks_decoded = 0;
    uint64_t blocks_entered_slowly = 0;  // through the shared cache rather than a chain or the jump cache
    // Probes of the TLB by guest instructions, and those of them that did not find the page in way 0 or crossed into a
    // second page: these went on to Tlb::Lookup, which counts them. 0 in an engine that was not asked to count.
    uint64_t memory_accesses = 0, slow_memory_accesses = 0;
    uint64_t blocks_adopted = 0;    // that an earlier run had translated
    uint64_t paths_made_again = 0;  // likewise, by where they go
    // Of blocks_decoded, in an engine that translates: the guest's instructions, and the host's code for them with all
    // that is known about it.
    uint64_t guest_bytes_translated = 0, host_bytes_translated = 0;
  };

  virtual ~Engine() = default;
  // Runs until something needs the kernel. At most `budget` instructions (> 0) are retired, exactly `budget` when the
  // answer is kBudget. `interrupt` non-zero makes it leave at the next block boundary. The TLB is bound and
  // synchronized.
  virtual Exit Run(CpuState& state, mm::Tlb& tlb, uint64_t budget, const std::atomic<uint32_t>& interrupt) = 0;
  // The engine may have `gate`, which outlives it, carry out calls. Run then tells of those only for which the gate
  // answered 0 or was not asked, and what has been retired since the last one that it was asked for.
  virtual void set_syscall_gate(SyscallGate* /*gate*/) {}
  virtual std::string_view name() const = 0;
  // Since the engine was made, up to the last end of a Run. From any thread.
  virtual Counters counters() const = 0;
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_ENGINE_H_
