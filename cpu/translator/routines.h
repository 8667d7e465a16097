#ifndef REMORA_CPU_TRANSLATOR_ROUTINES_H_
#define REMORA_CPU_TRANSLATOR_ROUTINES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "cpu/translator/code_buffer.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/string_access.h"

namespace remora::cpu::translator {

// The code between C++ and translated code, generated once for each CodeBuffer.
//
// In translated code the host's RSP is GuestContext::frame. "Flags saved" means that GuestContext::flags has the
// guest's status flags, or that nothing can read them any more; the host's are then free.
struct Routines {
  // Loads the guest's registers from *context->state and jumps to context->entry, flags saved. Returns when translated
  // code leaves, with the guest's registers in *context->state again; context->leave tells why. The host's GS base is
  // `context`.
  void (*enter)(GuestContext* context) = nullptr;

  // Jumped to with flags saved and the guest's address in R11: becomes exit_pc.
  const void* leave_lookup = nullptr;
  const void* leave_interpret = nullptr;
  const void* leave_repeat = nullptr;
  // Likewise, but goes on where the table of indirect branches says.
  const void* go_by_table = nullptr;
  // Jumped to with flags saved, where the guest has returned to what it popped last: there, by that table.
  const void* return_by_table = nullptr;
  // Called with flags saved from a block's entry where `remaining` was less than it has taken off: returns with a
  // portion more, or leaves (Leave::kShort).
  const void* go_on = nullptr;
  // Called where a block begins that is dropped (Leave::kDropped); with the flags in the host's register, or saved.
  const void* dropped_host_flags = nullptr;
  const void* dropped_saved_flags = nullptr;
  // Called by the cold code of a link whose target is not known (Leave::kUnlinked); likewise. Behind the call is a
  // `ret` that is never run, whose 2-byte operand is how far the target is behind the block's address.
  const void* unlinked_host_flags = nullptr;
  const void* unlinked_saved_flags = nullptr;
  static constexpr int kTargetBehindReturn = 1;
  // Called by the thunks that ways lead to which are not set; with the flags in the host's register, or saved.
  const void* way_unset_host_flags = nullptr;
  const void* way_unset_saved_flags = nullptr;
  // The thunks, GuestContext::kWayThunkBytes each, two for each way; see WriteWayThunks.
  const std::byte* way_thunks = nullptr;
  // Jumped to with flags saved, RAX in spill[1] and the target in R11, if it is not where the table of indirect
  // branches said.
  const void* indirect_miss = nullptr;
  // Called with flags saved and the target of an indirect branch in R11, by the block's own code, which goes there
  // afterwards: TranslationCache::LearnBranch.
  const void* learn_branch = nullptr;
  // Where the trap handler sends a thread, with the refused instruction in R11.
  const void* trap = nullptr;

  // Called with flags saved and a guest address in R11, to be read and to be written there. Behind the call come a jump
  // of 5 bytes and an instruction that is never run, whose last 4 are the AccessSite (kSiteBehindReturn). The host
  // address in R11; does not return where there is none (Leave::kNoAccess).
  const void* access[2] = {};
  // Likewise, but what comes back in R11 is host - guest.
  const void* access_delta[2] = {};
  // From where `access` returns to.
  static constexpr int kSiteBehindReturn = 6;
  // Called with flags saved, an address on the stack in R11, and GuestContext::site set. What comes back is where R10
  // is on the host; R11 is spoilt.
  const void* access_stack = nullptr;
  // Likewise, but called as `access` is, and R11 stays as it is: the address is so far behind RSP, less
  // Mark::stack_moved, as the last 4 bytes of another instruction behind the first one say (kDistanceBehindReturn).
  const void* access_around_stack = nullptr;
  static constexpr int kDistanceBehindReturn = kSiteBehindReturn + 5;
  // Called as `access` is, but the word is a PlaceSite. Where the place is on the host in R11; does not return where it
  // is nowhere (Leave::kNoAccess).
  const void* access_place = nullptr;
  // Called with flags saved, its address in R11, its StringForm in GuestContext::site, and not counted: runs a string
  // instruction. R11 is spoilt; where flags change they are in the context. Does not return if that is left
  // (Leave::kString).
  const void* string = nullptr;
  // Called with flags saved and the address behind SYSCALL in R11. Where guest code may go on there it returns, with
  // the call's result; else it leaves (Leave::kSyscall, kGoOn).
  const void* syscall = nullptr;
  // Called with flags saved: bring the guest's vector registers and MXCSR, or x87 unit, into the host's. R11 is spoilt.
  const void* load_vectors = nullptr;
  const void* load_avx512 = nullptr;  // vectors, and what only AVX-512 has; also where vectors are there already
  const void* load_x87 = nullptr;
};

// The C++ that routines call (access.h, string_access.h, translator_core.h).
struct HostCalls {
  const void* (*fast_target)(GuestContext* context);
  const void* (*fast_way)(GuestContext* context);
  std::byte* (*fast_access)(GuestContext* context, uint64_t address);
  std::byte* (*fill_access)(GuestContext* context, uint64_t address);
  uint64_t (*fast_stack)(GuestContext* context, uint64_t address);
  uint64_t (*fill_stack)(GuestContext* context, uint64_t address);
  std::byte* (*fast_place)(GuestContext* context);
  std::byte* (*fill_place)(GuestContext* context);
  void (*prepare_x87)(GuestContext* context);
  StringEnd (*run_string)(GuestContext* context, PushedRegisters* registers);
  bool (*fill_string)(GuestContext* context, const PushedRegisters* registers);
  CpuState* (*carry_out_syscall)(GuestContext* context);
  void (*learn_branch)(GuestContext* context, const std::byte* site, uint64_t target);
};

// `has_avx512`: whether the host's CPU has it. Putting the routines together does not need it, running them does.
Routines MakeRoutines(CodeBuffer* buffer, const HostCalls& calls, bool has_avx512);

// All routines, one after the other, and where the ways' thunks begin.
void ForEachRoutine(const Routines& routines, absl::FunctionRef<void(std::string_view name, const void* code)> routine);

// For debuggers and profilers. `code` goes up to the next routine, the last one's to the end of what stays in the
// buffer.
struct NamedCode {
  std::string_view name;
  std::span<const std::byte> code;
};
std::vector<NamedCode> NamesOf(const Routines& routines, const CodeBuffer& buffer);

// A sum over where they are, from the CodeBuffer's beginning: translations that an earlier run has left lead there.
uint64_t LayoutOf(const Routines& routines, const std::byte* buffer);

// Before anything leads by the way.
void WriteWayThunks(const Routines& routines, const CodeBuffer& buffer, uint32_t way);

// Whether the host's CPU can do what the routines need: AVX and XSAVE.
bool HostCanTranslate();

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_ROUTINES_H_
