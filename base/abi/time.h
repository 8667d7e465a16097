#ifndef REMORA_BASE_ABI_TIME_H_
#define REMORA_BASE_ABI_TIME_H_

#include <cstdint>

// Clocks, timers and their structs; times(2), adjtimex's error.
namespace remora::abi {

struct Timespec {
  int64_t tv_sec;
  int64_t tv_nsec;
};
static_assert(sizeof(Timespec) == 16);

struct Timeval {
  int64_t tv_sec;
  int64_t tv_usec;
};
static_assert(sizeof(Timeval) == 16);

struct Timezone {
  int32_t tz_minuteswest;
  int32_t tz_dsttime;
};
static_assert(sizeof(Timezone) == 8);

struct Itimerspec {
  Timespec it_interval;
  Timespec it_value;
};
static_assert(sizeof(Itimerspec) == 32);

struct Itimerval {
  Timeval it_interval;
  Timeval it_value;
};
static_assert(sizeof(Itimerval) == 32);

struct Utimbuf {
  int64_t actime;
  int64_t modtime;
};
static_assert(sizeof(Utimbuf) == 16);

// times(2): clock ticks of 1/100 s.
struct Tms {
  int64_t tms_utime;
  int64_t tms_stime;
  int64_t tms_cutime;
  int64_t tms_cstime;
};
static_assert(sizeof(Tms) == 32);
inline constexpr int64_t kUSER_HZ = 100;

inline constexpr int32_t kCLOCK_REALTIME = 0;
inline constexpr int32_t kCLOCK_MONOTONIC = 1;
inline constexpr int32_t kCLOCK_PROCESS_CPUTIME_ID = 2;
inline constexpr int32_t kCLOCK_THREAD_CPUTIME_ID = 3;
inline constexpr int32_t kCLOCK_MONOTONIC_RAW = 4;
inline constexpr int32_t kCLOCK_REALTIME_COARSE = 5;
inline constexpr int32_t kCLOCK_MONOTONIC_COARSE = 6;
inline constexpr int32_t kCLOCK_BOOTTIME = 7;
inline constexpr int32_t kCLOCK_REALTIME_ALARM = 8;
inline constexpr int32_t kCLOCK_BOOTTIME_ALARM = 9;
inline constexpr int32_t kCLOCK_TAI = 11;

inline constexpr uint32_t kTIMER_ABSTIME = 1;
inline constexpr uint32_t kTFD_TIMER_ABSTIME = 1;
inline constexpr uint32_t kTFD_TIMER_CANCEL_ON_SET = 2;
inline constexpr uint32_t kTFD_NONBLOCK = 04000;
inline constexpr uint32_t kTFD_CLOEXEC = 02000000;

inline constexpr int32_t kITIMER_REAL = 0;
inline constexpr int32_t kITIMER_VIRTUAL = 1;
inline constexpr int32_t kITIMER_PROF = 2;

// utimensat(2).
inline constexpr int64_t kUTIME_NOW = (1 << 30) - 1;
inline constexpr int64_t kUTIME_OMIT = (1 << 30) - 2;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_TIME_H_
