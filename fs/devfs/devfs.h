#ifndef REMORA_FS_DEVFS_DEVFS_H_
#define REMORA_FS_DEVFS_DEVFS_H_

#include "base/entropy.h"
#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/device_registry.h"
#include "fs/hostfs/host_stream.h"
#include "fs/inode.h"
#include "fs/tty/host_terminal.h"

namespace remora::fs {

// /dev is, as Linux's devtmpfs, an ordinary in-memory file system with nodes in it; what a node opens is looked up by
// its numbers in the DeviceRegistry.
//
//   DeviceRegistry registry;  RegisterDevices(&registry, {...});
//   Ref<FileSystem> dev = <a tmpfs that opens nodes through registry>;  PopulateDev(*dev->root());  mount it at /dev
//
// Not here: ptmx and terminals of the guest's own in pts (no pseudo-terminals yet), console, kmsg, mem, block devices.

// The pointers outlive the registry.
struct DeviceContext {
  Entropy* entropy = nullptr;
  HostStreamContext stream;
  Ref<HostTerminal> terminal;  // what /dev/tty opens; null: ENXIO, as for a process without a controlling terminal
};

// null, zero, full, random, urandom (fs/devfs/memory_devices.h), tty (5, 0), and the terminal by its own numbers.
void RegisterDevices(DeviceRegistry* registry, DeviceContext context);

// Makes in `root` (an empty, writable directory): the nodes of the devices above, mode 0666; fd, stdin, stdout, stderr
// as links into /proc/self/fd; shm, a directory for everybody (mode 01777); and the host's terminal (may be null) under
// the name and numbers that it has on the host, pts/3 for instance, so that ttyname(3) finds it. Errors are those of
// Inode::Create.
ErrnoOr<void> PopulateDev(Inode& root, const HostTerminal* terminal = nullptr);

}  // namespace remora::fs

#endif  // REMORA_FS_DEVFS_DEVFS_H_
