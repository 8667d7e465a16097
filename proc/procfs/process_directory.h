#ifndef REMORA_PROC_PROCFS_PROCESS_DIRECTORY_H_
#define REMORA_PROC_PROCFS_PROCESS_DIRECTORY_H_

#include "base/ref_counted.h"
#include "fs/inode.h"
#include "fs/pseudo/pseudo_inode.h"
#include "proc/task.h"

namespace remora::proc {

// /proc/PID, or with `is_thread` /proc/PID/task/TID. Its entries are made one by one when they are looked up. It knows
// the process by number and does not keep it: what the dentry cache remembers of a process that is gone is small.
Ref<fs::Inode> MakeProcessDirectory(fs::PseudoFileSystem* file_system, const Task& task, bool is_thread);
// Is the process or thread of this directory, made by MakeProcessDirectory, still in the pid table?
bool IsDirectoryOfTheLiving(const fs::Inode& directory);

}  // namespace remora::proc

#endif  // REMORA_PROC_PROCFS_PROCESS_DIRECTORY_H_
