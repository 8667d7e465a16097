#ifndef REMORA_TESTING_SILICON_NATIVE_MACHINE_H_
#define REMORA_TESTING_SILICON_NATIVE_MACHINE_H_

#include <memory>

#include "testing/silicon/machine.h"

namespace remora::silicon {

// The host's CPU, x86-64 Linux only. The kernel's own signal frames load and store the whole state: a trap of ours is
// answered by a frame that holds the test case, and whatever signal ends the instruction brings the state back in its
// frame. So every fault and every instruction, jumps included, is caught alike, and no trampoline has to be written.
//
// FS stays the host's (its base holds thread-local storage), GS is the test's. Thread safety: one instance in a
// process, used by one thread.
std::unique_ptr<Machine> MakeNativeMachine();

// Whether code can be run there whose RSP is no canonical address: some hypervisors raise #GP where the kernel returns
// to it.
bool RunsWithNonCanonicalStack(Machine* native);

}  // namespace remora::silicon

#endif  // REMORA_TESTING_SILICON_NATIVE_MACHINE_H_
