#ifndef REMORA_FS_DEVFS_DEVFS_H_
#define REMORA_FS_DEVFS_DEVFS_H_

#include "base/entropy.h"
#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/device_registry.h"
#include "fs/devpts/devpts.h"
#include "fs/hostfs/host_stream.h"
#include "fs/inode.h"
#include "fs/tty/host_terminal.h"
#include "fs/tty/job_control.h"

namespace remora::fs {

// /dev is, as Linux's devtmpfs, an ordinary in-memory file system with nodes in it; what a node opens is looked up by
// its numbers in the DeviceRegistry.
//
//   DeviceRegistry registry;  RegisterDevices(&registry, {...});
//   Ref<FileSystem> dev = <a tmpfs that opens nodes through registry>;  PopulateDev(*dev->root());  mount it at /dev
//
// Not here: what is below pts (fs/devpts), console, kmsg, mem, block devices.

// The pointers outlive the registry.
struct DeviceContext {
  Entropy* entropy = nullptr;
  HostStreamContext stream;
  Ref<HostTerminal> terminal;            // may be null
  TerminalSessions* sessions = nullptr;  // which session's /dev/tty is which terminal
  Devpts* ptys = nullptr;                // what ptmx opens
};

// null, zero, full, random, urandom (fs/devfs/memory_devices.h), tty (5, 0), ptmx (5, 2), and the terminal by its own
// numbers.
void RegisterDevices(DeviceRegistry* registry, DeviceContext context);

// Makes in `root` (an empty, writable directory): the nodes of the devices above, mode 0666; fd, stdin, stdout, stderr
// as links into /proc/self/fd; shm, a directory for everybody (mode 01777); pts, to mount devpts at; and the host's
// terminal (may be null) under the name and numbers that it has on the host, console for instance, so that ttyname(3)
// finds it (what lies in pts is fs/devpts' to show). Errors are those of Inode::Create.
ErrnoOr<void> PopulateDev(Inode& root, const HostTerminal* terminal = nullptr);

}  // namespace remora::fs

#endif  // REMORA_FS_DEVFS_DEVFS_H_
