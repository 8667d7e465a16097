#ifndef REMORA_BASE_ABI_MMAN_H_
#define REMORA_BASE_ABI_MMAN_H_

#include <cstdint>

// mmap(2), mprotect(2), mremap(2), madvise(2), msync(2), mlockall(2).
namespace remora::abi {

inline constexpr uint32_t kPROT_NONE = 0;
inline constexpr uint32_t kPROT_READ = 1;
inline constexpr uint32_t kPROT_WRITE = 2;
inline constexpr uint32_t kPROT_EXEC = 4;
inline constexpr uint32_t kPROT_SEM = 8;
inline constexpr uint32_t kPROT_GROWSDOWN = 0x01000000;
inline constexpr uint32_t kPROT_GROWSUP = 0x02000000;

inline constexpr uint32_t kMAP_SHARED = 0x01;
inline constexpr uint32_t kMAP_PRIVATE = 0x02;
inline constexpr uint32_t kMAP_SHARED_VALIDATE = 0x03;
inline constexpr uint32_t kMAP_TYPE = 0x0f;
inline constexpr uint32_t kMAP_FIXED = 0x10;
inline constexpr uint32_t kMAP_ANONYMOUS = 0x20;
inline constexpr uint32_t kMAP_32BIT = 0x40;
inline constexpr uint32_t kMAP_GROWSDOWN = 0x0100;
inline constexpr uint32_t kMAP_DENYWRITE = 0x0800;
inline constexpr uint32_t kMAP_EXECUTABLE = 0x1000;
inline constexpr uint32_t kMAP_LOCKED = 0x2000;
inline constexpr uint32_t kMAP_NORESERVE = 0x4000;
inline constexpr uint32_t kMAP_POPULATE = 0x8000;
inline constexpr uint32_t kMAP_NONBLOCK = 0x10000;
inline constexpr uint32_t kMAP_STACK = 0x20000;
inline constexpr uint32_t kMAP_HUGETLB = 0x40000;
inline constexpr uint32_t kMAP_SYNC = 0x80000;
inline constexpr uint32_t kMAP_FIXED_NOREPLACE = 0x100000;

inline constexpr uint32_t kMREMAP_MAYMOVE = 1;
inline constexpr uint32_t kMREMAP_FIXED = 2;
inline constexpr uint32_t kMREMAP_DONTUNMAP = 4;

inline constexpr uint32_t kMS_ASYNC = 1;
inline constexpr uint32_t kMS_INVALIDATE = 2;
inline constexpr uint32_t kMS_SYNC = 4;

inline constexpr uint32_t kMCL_CURRENT = 1;
inline constexpr uint32_t kMCL_FUTURE = 2;
inline constexpr uint32_t kMCL_ONFAULT = 4;

inline constexpr int32_t kMADV_NORMAL = 0;
inline constexpr int32_t kMADV_RANDOM = 1;
inline constexpr int32_t kMADV_SEQUENTIAL = 2;
inline constexpr int32_t kMADV_WILLNEED = 3;
inline constexpr int32_t kMADV_DONTNEED = 4;
inline constexpr int32_t kMADV_FREE = 8;
inline constexpr int32_t kMADV_REMOVE = 9;
inline constexpr int32_t kMADV_DONTFORK = 10;
inline constexpr int32_t kMADV_DOFORK = 11;
inline constexpr int32_t kMADV_MERGEABLE = 12;
inline constexpr int32_t kMADV_UNMERGEABLE = 13;
inline constexpr int32_t kMADV_HUGEPAGE = 14;
inline constexpr int32_t kMADV_NOHUGEPAGE = 15;
inline constexpr int32_t kMADV_DONTDUMP = 16;
inline constexpr int32_t kMADV_DODUMP = 17;
inline constexpr int32_t kMADV_WIPEONFORK = 18;
inline constexpr int32_t kMADV_KEEPONFORK = 19;
inline constexpr int32_t kMADV_COLD = 20;
inline constexpr int32_t kMADV_PAGEOUT = 21;
inline constexpr int32_t kMADV_POPULATE_READ = 22;
inline constexpr int32_t kMADV_POPULATE_WRITE = 23;
inline constexpr int32_t kMADV_DONTNEED_LOCKED = 24;
inline constexpr int32_t kMADV_COLLAPSE = 25;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_MMAN_H_
