#ifndef REMORA_CPU_TRANSLATOR_ACCESS_H_
#define REMORA_CPU_TRANSLATOR_ACCESS_H_

#include <cstddef>
#include <cstdint>

#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {

// What routines call. FastAccess and FillAccess are the miss path of a memory operand, and answer the host address or
// null.

// What the TLB's first way has, and the extent will have. Compiled for general registers only, so that nothing has to
// be saved for it.
std::byte* FastAccess(GuestContext* context, uint64_t address);

// The same for operands on the stack: R10 will be by the run that is found. 1; 0: as null. Fast: like FastAccess.
uint64_t FastStack(GuestContext* context, uint64_t address);
uint64_t FillStack(GuestContext* context, uint64_t address);

// Where the place of context->site, a PlaceSite, is on the host; remembers it. Null: as above. Fast: like FastAccess.
std::byte* FastPlace(GuestContext* context);
std::byte* FillPlace(GuestContext* context);

// The code for context->target, if the larger table knows it. Like FastAccess it needs nothing saved.
const void* FastTarget(GuestContext* context);

// The code that context->way leads to, if the larger table knows it; then the way is set, too. Else exit_pc is where it
// leads to. Like FastAccess it needs nothing saved.
const void* FastWay(GuestContext* context);

// Sets context->way, which it was found is not, to lead to `translation`.
void SetWay(GuestContext* context, const Translation& translation);

// All the rest: fills the TLB. Null: the interpreter has to carry this instruction out, because the access fails,
// crosses pages, or changes code.
std::byte* FillAccess(GuestContext* context, uint64_t address);

// Puts the x87 unit of *context->state into context->x87_image.
void PrepareX87(GuestContext* context);

// Remembers that the stack at `address` is at `host`, which has the right that the site wants. False: that moves what
// others in the block still need. `one_page`: the access does not go on in the next one.
bool RecordStack(GuestContext* context, uint64_t address, const std::byte* host, bool one_page);

// Remembers in the site's extent that `address`, which is in one page and has the right, is at `host`.
void RecordExtent(GuestContext* context, uint64_t address, std::byte* host);

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_ACCESS_H_
