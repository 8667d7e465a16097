#ifndef REMORA_FS_SPECIAL_EVENTFD_H_
#define REMORA_FS_SPECIAL_EVENTFD_H_

#include <cstdint>

#include "fs/file.h"
#include "fs/special/anonymous_files.h"

namespace remora::fs {

// eventfd2(2): flags EFD_SEMAPHORE (1) and EFD_NONBLOCK; EFD_CLOEXEC is the descriptor's. Linux's fs/eventfd.c.
// Difference: lseek fails with ESPIPE (Linux answers 0).
Ref<File> MakeEventFd(AnonymousFiles& files, uint64_t initial, uint32_t flags);

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_EVENTFD_H_
