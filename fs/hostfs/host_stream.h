#ifndef REMORA_FS_HOSTFS_HOST_STREAM_H_
#define REMORA_FS_HOSTFS_HOST_STREAM_H_

#include <cstdint>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/hostfs/host_fd.h"
#include "fs/hostfs/host_reactor.h"
#include "fs/hostfs/host_read_pool.h"
#include "fs/special/anonymous_files.h"
#include "fs/tty/host_terminal.h"
#include "mm/memory_context.h"

namespace remora::fs {

// What every file over a host descriptor needs. The pointers outlive the files.
struct HostStreamContext {
  HostReactor* reactor = nullptr;
  AnonymousFiles* anonymous_files = nullptr;  // whose file system the inodes belong to
  mm::MemoryContext* memory = nullptr;        // null: regular files cannot be mapped
  HostReadPool* read_pool = nullptr;          // null: whoever reads a regular file waits for the host's disk
};

// An open file over a descriptor that Remora inherited (stdin, stdout, stderr: pipe, terminal, socket, regular file) or
// opened for the guest (a FIFO or a device of the host). Attributes and path are those that the host shows.
//
// No transfer ever blocks the calling thread, although the descriptor may be in blocking mode and shared with other
// host processes, so that O_NONBLOCK must not be set on it:
//  - pipes, FIFOs and terminals are opened a second time through /proc/self/fd with O_NONBLOCK: another open file
//    description of the same object;
//  - where the host refuses that: RWF_NOWAIT; where it knows no such flag, poll(2) first and then no more than is there
//    (or, writing, PIPE_BUF bytes, for which POLLOUT guarantees room in a pipe);
//  - sockets: MSG_DONTWAIT;
//  - regular files are read and written at the host's offset, which other host processes share; what the host has to
//    fetch from its disk first, a thread of the read pool waits for.
// What would block answers EAGAIN and has the file's wait queue notified.
//
// `flags`: the access mode, O_APPEND, O_NONBLOCK as the guest shall see them; HostStreamFlags(fd) are the host's own.
// `terminal`: where the descriptor is a terminal: answers its ioctls; null: ENOTTY. SIGPIPE must be ignored or blocked
// in the host process. EBADF for a descriptor that is not open.
ErrnoOr<Ref<File>> MakeHostStream(const HostStreamContext& context, Ref<HostFd> fd, uint32_t flags,
                                  Ref<HostTerminal> terminal = nullptr);

// The same under a name and an inode of the guest's: a host FIFO or device found by path. `fd` may be in non-blocking
// mode. A FIFO opened for reading (and not O_NONBLOCK in `flags`) has open_pending() until it has a writer; the host
// tells nobody when one comes, so it is asked every 20 ms.
ErrnoOr<Ref<File>> MakeNamedHostStream(const HostStreamContext& context, Ref<HostFd> fd, uint32_t flags,
                                       Ref<HostTerminal> terminal, Ref<Inode> inode, const Path& path,
                                       bool wait_for_writer = false);

// Access mode, O_APPEND and O_NONBLOCK that the host has for `fd`. EBADF.
ErrnoOr<uint32_t> HostStreamFlags(int fd);

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_STREAM_H_
