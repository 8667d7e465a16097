#ifndef REMORA_PROC_EXEC_H_
#define REMORA_PROC_EXEC_H_

#include <string>
#include <vector>

#include "base/errno_or.h"
#include "fs/file.h"
#include "fs/vfs.h"
#include "proc/task.h"

namespace remora::proc {

// What execve(2) was asked to run. Strings without their NULs, already copied from the guest (at most 128 KiB each, a
// quarter of the stack limit and 2 MiB in all).
struct ExecRequest {
  std::string path;    // as given: becomes AT_EXECFN
  Ref<fs::File> file;  // opened for execution, or null: `path` is resolved by Exec
  std::vector<std::string> argv;
  std::vector<std::string> envp;
};

// Replaces the task's program: #! lines (nested as Linux nests them, at most 5 deep), ELF with or without an
// interpreter, stack, auxv, registers. All that can fail fails before the old program is touched: ENOENT, EACCES,
// ENOEXEC, ELIBBAD, E2BIG, ELOOP, ETXTBSY never, ENOMEM. On success the other threads are dead, close-on-exec
// descriptors closed, handled signals back to default, cpu set to the entry point; the syscall must answer NoReturn.
// Answers EAGAIN while other threads still have to die: the caller waits (Blocked) and calls again. Own worker only.
// `diagnosis` (may be null) receives one sentence for a user: which file, what is wrong with it.
ErrnoOr<void> Exec(Task& task, const ExecRequest& request, std::string* diagnosis);

}  // namespace remora::proc

#endif  // REMORA_PROC_EXEC_H_
