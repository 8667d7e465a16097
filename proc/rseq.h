#ifndef REMORA_PROC_RSEQ_H_
#define REMORA_PROC_RSEQ_H_

#include <cstdint>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "mm/user_memory.h"

namespace remora::proc {

class Task;

// A thread's restartable sequence, as rseq(2) registers it: an area of guest memory where the kernel keeps the number
// of the CPU, and which names a critical section that must be left through its abort handler when the thread was
// preempted, moved or interrupted by a signal inside it.
//
// The worker notes `due` when a slice begins and settles before guest code; signal delivery settles before it pushes a
// frame. Thread safety: the task's own worker. Linux twin: kernel/rseq.c.
struct RseqState {
  GuestAddr area;  // null: none
  uint32_t length_bytes = 0;
  uint32_t signature = 0;
  bool due = false;
  uint32_t told_cpu = ~uint32_t{0};  // what stands in the area
};

// rseq(2). EINVAL, EFAULT, EPERM, EBUSY as Linux answers.
ErrnoOr<void> RegisterRseq(Task& task, mm::UserMemory memory, GuestAddr area, uint32_t length_bytes, uint32_t flags,
                           uint32_t signature);

// Writes the CPU's number if it is another, and leaves a critical section that was interrupted. An error means that the
// area or what it names is broken: SIGSEGV. A page of a slow file that is still on its way is no error: due stays.
ErrnoOr<void> SettleRseq(Task& task, mm::UserMemory memory);

}  // namespace remora::proc

#endif  // REMORA_PROC_RSEQ_H_
