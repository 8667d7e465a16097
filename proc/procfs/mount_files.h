#ifndef REMORA_PROC_PROCFS_MOUNT_FILES_H_
#define REMORA_PROC_PROCFS_MOUNT_FILES_H_

#include <string>

#include "fs/path.h"

namespace remora::proc {

class Kernel;

// /proc/PID/mounts and mountinfo: what is mounted below `root`, in the formats of fstab(5) and proc(5).
std::string MountsTable(Kernel& kernel, const fs::Path& root);
std::string MountInfoTable(Kernel& kernel, const fs::Path& root);

}  // namespace remora::proc

#endif  // REMORA_PROC_PROCFS_MOUNT_FILES_H_
