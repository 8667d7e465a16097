#ifndef REMORA_PROC_PROCFS_PROCFS_H_
#define REMORA_PROC_PROCFS_PROCFS_H_

#include "base/ref_counted.h"
#include "fs/inode.h"

namespace remora::proc {

class Kernel;

// What is mounted at /proc: one directory for each live process (looked up by number, listed over live ones only),
// self and thread-self, and the files of the system. Content is made when it is read.
// Linux twin: fs/proc. What is there is the tables of process_directory.cc and system_files.cc; absent by decision:
// files whose numbers Remora does not keep (io, smaps, schedstat, interrupts, ...).
Ref<fs::FileSystem> MakeProcfs(Kernel* kernel);

}  // namespace remora::proc

#endif  // REMORA_PROC_PROCFS_PROCFS_H_
