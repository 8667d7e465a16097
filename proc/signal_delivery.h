#ifndef REMORA_PROC_SIGNAL_DELIVERY_H_
#define REMORA_PROC_SIGNAL_DELIVERY_H_

#include <cstdint>

#include "mm/user_memory.h"
#include "proc/syscall_outcome.h"
#include "proc/task.h"

namespace remora::proc {

// What a worker does between the kernel and guest code when task.signal_pending() is true or a call answered one of
// kRestart*. Own worker only. Linux twin: exit_to_user_mode_loop, get_signal, arch_do_signal_or_restart.
enum class Delivery : uint8_t {
  kRunGuest,    // the registers are what they must be: a handler's frame, or the interrupted place
  kResumeCall,  // kRestartBlock and no handler ran: dispatch the call again with its saved SyscallState
  kStopped,     // the process is stopped: park, and deliver again when woken
  kDead,        // the task has ended
};
Delivery DeliverSignals(Task& task, mm::UserMemory memory);

// rt_sigreturn(2): everything as the frame at the stack pointer says. A frame that cannot be read, or that holds what
// no CPU can, kills with SIGSEGV.
SyscallOutcome ReturnFromSignal(Task& task, mm::UserMemory memory);

}  // namespace remora::proc

#endif  // REMORA_PROC_SIGNAL_DELIVERY_H_
