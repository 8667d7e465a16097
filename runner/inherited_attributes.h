#ifndef REMORA_RUNNER_INHERITED_ATTRIBUTES_H_
#define REMORA_RUNNER_INHERITED_ATTRIBUTES_H_

#include "proc/kernel.h"

namespace remora::runner {

// What else execve(2) would leave to PROGRAM of the caller's: ignored signals (nohup), blocked signals, niceness and
// resource limits. Call it before Remora arranges its own signals. Left out is RLIMIT_NPROC: the guest's processes are
// not the host's. Limits that Remora's own structures set (descriptors, queued signals) are not exceeded.
proc::Kernel::InheritedAttributes CallersAttributes();

// Remora itself may have as many descriptors as the caller is allowed to have: all guests' files are its own.
// To be called behind CallersAttributes.
void RaiseDescriptorLimit();

// Likewise its own threads, the first one and those that come, have stacks as they need them, whatever the guest's
// limit is.
void RaiseStackLimit();

}  // namespace remora::runner

#endif  // REMORA_RUNNER_INHERITED_ATTRIBUTES_H_
