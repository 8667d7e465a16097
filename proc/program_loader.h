#ifndef REMORA_PROC_PROGRAM_LOADER_H_
#define REMORA_PROC_PROGRAM_LOADER_H_

#include <string>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "fs/path.h"
#include "mm/address_space.h"
#include "proc/exec.h"
#include "proc/task.h"

namespace remora::proc {

// A program that is ready to run in a memory of its own, before any task has become it.
struct LoadedProgram {
  Ref<mm::AddressSpace> space;
  GuestAddr entry, stack_pointer;
  fs::Path executable;  // /proc/PID/exe: of a script, the interpreter
  std::string name;     // comm: of a script, its own
};

// Everything of exec that can fail, with the task's credentials, root, cwd and limits; the task is not changed. EAGAIN
// where a file's host is slow: the task's park deadline is set, ask again then.
ErrnoOr<LoadedProgram> LoadProgram(Task& task, const ExecRequest& request, std::string* diagnosis);

// The task's memory, registers and name become the program's. Own worker, or before the task first runs.
void BecomeProgram(Task& task, LoadedProgram program);

}  // namespace remora::proc

#endif  // REMORA_PROC_PROGRAM_LOADER_H_
