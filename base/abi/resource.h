#ifndef REMORA_BASE_ABI_RESOURCE_H_
#define REMORA_BASE_ABI_RESOURCE_H_

#include <cstdint>

#include "base/abi/time.h"

// getrlimit(2), getrusage(2), sysinfo(2), getpriority(2).
namespace remora::abi {

struct Rlimit {
  uint64_t rlim_cur;
  uint64_t rlim_max;
};
static_assert(sizeof(Rlimit) == 16);

inline constexpr uint64_t kRLIM_INFINITY = ~uint64_t{0};
inline constexpr uint32_t kRLIMIT_CPU = 0;
inline constexpr uint32_t kRLIMIT_FSIZE = 1;
inline constexpr uint32_t kRLIMIT_DATA = 2;
inline constexpr uint32_t kRLIMIT_STACK = 3;
inline constexpr uint32_t kRLIMIT_CORE = 4;
inline constexpr uint32_t kRLIMIT_RSS = 5;
inline constexpr uint32_t kRLIMIT_NPROC = 6;
inline constexpr uint32_t kRLIMIT_NOFILE = 7;
inline constexpr uint32_t kRLIMIT_MEMLOCK = 8;
inline constexpr uint32_t kRLIMIT_AS = 9;
inline constexpr uint32_t kRLIMIT_LOCKS = 10;
inline constexpr uint32_t kRLIMIT_SIGPENDING = 11;
inline constexpr uint32_t kRLIMIT_MSGQUEUE = 12;
inline constexpr uint32_t kRLIMIT_NICE = 13;
inline constexpr uint32_t kRLIMIT_RTPRIO = 14;
inline constexpr uint32_t kRLIMIT_RTTIME = 15;
inline constexpr uint32_t kRLIM_NLIMITS = 16;

struct Rusage {
  Timeval ru_utime;
  Timeval ru_stime;
  int64_t ru_maxrss;  // KiB
  int64_t ru_ixrss;
  int64_t ru_idrss;
  int64_t ru_isrss;
  int64_t ru_minflt;
  int64_t ru_majflt;
  int64_t ru_nswap;
  int64_t ru_inblock;
  int64_t ru_oublock;
  int64_t ru_msgsnd;
  int64_t ru_msgrcv;
  int64_t ru_nsignals;
  int64_t ru_nvcsw;
  int64_t ru_nivcsw;
};
static_assert(sizeof(Rusage) == 144);

inline constexpr int32_t kRUSAGE_SELF = 0;
inline constexpr int32_t kRUSAGE_CHILDREN = -1;
inline constexpr int32_t kRUSAGE_THREAD = 1;

inline constexpr int32_t kPRIO_PROCESS = 0;
inline constexpr int32_t kPRIO_PGRP = 1;
inline constexpr int32_t kPRIO_USER = 2;

struct Sysinfo {
  int64_t uptime;     // seconds
  uint64_t loads[3];  // fixed point, 16 bits of fraction
  uint64_t totalram;
  uint64_t freeram;
  uint64_t sharedram;
  uint64_t bufferram;
  uint64_t totalswap;
  uint64_t freeswap;
  uint16_t procs;
  uint16_t padding0;
  uint32_t padding1;
  uint64_t totalhigh;
  uint64_t freehigh;
  uint32_t mem_unit;
  uint32_t padding2;
};
static_assert(sizeof(Sysinfo) == 112);

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_RESOURCE_H_
