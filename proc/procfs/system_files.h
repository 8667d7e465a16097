#ifndef REMORA_PROC_PROCFS_SYSTEM_FILES_H_
#define REMORA_PROC_PROCFS_SYSTEM_FILES_H_

#include "fs/pseudo/pseudo_directory.h"
#include "fs/pseudo/pseudo_inode.h"

namespace remora::proc {

class Kernel;

// Adds what tells of the system rather than of a process: meminfo, cpuinfo, sys/kernel/..., from one table.
void AddSystemFiles(Kernel* kernel, fs::PseudoFileSystem* file_system, fs::PseudoDirectory* root);

}  // namespace remora::proc

#endif  // REMORA_PROC_PROCFS_SYSTEM_FILES_H_
