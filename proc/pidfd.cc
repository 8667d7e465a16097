#include "proc/pidfd.h"

#include <fcntl.h>

#include <utility>

#include "fs/special/anonymous_files.h"
#include "proc/kernel.h"

namespace remora::proc {

PidFd::PidFd(Ref<fs::AnonymousInode> inode, Ref<ThreadGroup> group, uint32_t flags)
    : AnonymousFile(std::move(inode), O_RDWR | (flags & O_NONBLOCK)), group_(std::move(group)) {}

Ref<PidFd> MakePidFd(ThreadGroup& group, uint32_t flags) {
  return MakeRef<PidFd>(group.kernel().vfs().anonymous_files().MakeInode("anon_inode:[pidfd]", 0600),
                        Ref<ThreadGroup>(&group), flags);
}

}  // namespace remora::proc
