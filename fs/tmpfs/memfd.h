#ifndef REMORA_FS_TMPFS_MEMFD_H_
#define REMORA_FS_TMPFS_MEMFD_H_

#include <cstdint>
#include <string_view>

#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/special/anonymous_files.h"
#include "mm/memory_context.h"

namespace remora::fs {

// memfd_create(2): a file in memory that has no name but "/memfd:NAME (deleted)". `flags`: MFD_ALLOW_SEALING,
// MFD_NOEXEC_SEAL; opened for reading and writing. `memory` outlives it.
//
// Linux's mm/memfd.c and mm/shmem.c. Differences: a write that passes the end of a file sealed against growing moves
// nothing (Linux moves whole pages); a write under way when a seal is set may land behind it.
Ref<File> MakeMemfd(AnonymousFiles& files, mm::MemoryContext* memory, std::string_view name, uint32_t flags,
                    uint32_t uid, uint32_t gid);

}  // namespace remora::fs

#endif  // REMORA_FS_TMPFS_MEMFD_H_
