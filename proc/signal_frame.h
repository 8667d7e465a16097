#ifndef REMORA_PROC_SIGNAL_FRAME_H_
#define REMORA_PROC_SIGNAL_FRAME_H_

#include "base/errno_or.h"
#include "mm/user_memory.h"
#include "proc/signal_types.h"
#include "proc/task.h"

namespace remora::proc {

// Pushes struct rt_sigframe (and the XSAVE image above it) onto the task's stack or its alternate stack and points the
// registers at the handler. `restored_mask` is what rt_sigreturn will put back. EFAULT: no room, nothing has changed.
//
//   interrupted rsp (or the top of the alternate stack)
//     - 128                  red zone, only on the same stack
//     XSAVE image            832 bytes (2,432 with AVX-512), aligned to 64, its software bytes say what it holds;
//     behind it FP_XSTATE_MAGIC2 struct rt_sigframe     440 bytes; rsp + 8 is a multiple of 16, as after a CALL
ErrnoOr<void> PushSignalFrame(Task& task, mm::UserMemory memory, const SignalInfo& info, const SignalAction& action,
                              SignalSet restored_mask);

// The inverse: registers, alternate stack and the mask to be set, from the frame that rsp - 8 points at. EFAULT: the
// registers may be half restored, the task must die.
ErrnoOr<SignalSet> PopSignalFrame(Task& task, mm::UserMemory memory);

// AT_MINSIGSTKSZ: what the largest frame needs, with these components (cpu::EnabledXstate).
uint64_t MinSignalStackBytes(uint64_t enabled_xstate);

}  // namespace remora::proc

#endif  // REMORA_PROC_SIGNAL_FRAME_H_
