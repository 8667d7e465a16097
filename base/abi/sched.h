#ifndef REMORA_BASE_ABI_SCHED_H_
#define REMORA_BASE_ABI_SCHED_H_

#include <cstdint>

// clone(2), clone3(2), sched_*(2), unshare(2).
namespace remora::abi {

inline constexpr uint64_t kCSIGNAL = 0x000000ff;  // clone's exit signal
inline constexpr uint64_t kCLONE_NEWTIME = 0x00000080;
inline constexpr uint64_t kCLONE_VM = 0x00000100;
inline constexpr uint64_t kCLONE_FS = 0x00000200;
inline constexpr uint64_t kCLONE_FILES = 0x00000400;
inline constexpr uint64_t kCLONE_SIGHAND = 0x00000800;
inline constexpr uint64_t kCLONE_PIDFD = 0x00001000;
inline constexpr uint64_t kCLONE_PTRACE = 0x00002000;
inline constexpr uint64_t kCLONE_VFORK = 0x00004000;
inline constexpr uint64_t kCLONE_PARENT = 0x00008000;
inline constexpr uint64_t kCLONE_THREAD = 0x00010000;
inline constexpr uint64_t kCLONE_NEWNS = 0x00020000;
inline constexpr uint64_t kCLONE_SYSVSEM = 0x00040000;
inline constexpr uint64_t kCLONE_SETTLS = 0x00080000;
inline constexpr uint64_t kCLONE_PARENT_SETTID = 0x00100000;
inline constexpr uint64_t kCLONE_CHILD_CLEARTID = 0x00200000;
inline constexpr uint64_t kCLONE_DETACHED = 0x00400000;
inline constexpr uint64_t kCLONE_UNTRACED = 0x00800000;
inline constexpr uint64_t kCLONE_CHILD_SETTID = 0x01000000;
inline constexpr uint64_t kCLONE_NEWCGROUP = 0x02000000;
inline constexpr uint64_t kCLONE_NEWUTS = 0x04000000;
inline constexpr uint64_t kCLONE_NEWIPC = 0x08000000;
inline constexpr uint64_t kCLONE_NEWUSER = 0x10000000;
inline constexpr uint64_t kCLONE_NEWPID = 0x20000000;
inline constexpr uint64_t kCLONE_NEWNET = 0x40000000;
inline constexpr uint64_t kCLONE_IO = 0x80000000;
// clone3 only.
inline constexpr uint64_t kCLONE_CLEAR_SIGHAND = 0x100000000;
inline constexpr uint64_t kCLONE_INTO_CGROUP = 0x200000000;

// struct clone_args.
struct CloneArgs {
  uint64_t flags;
  uint64_t pidfd;
  uint64_t child_tid;
  uint64_t parent_tid;
  uint64_t exit_signal;
  uint64_t stack;
  uint64_t stack_size;
  uint64_t tls;
  uint64_t set_tid;       // from version 1 on
  uint64_t set_tid_size;  // likewise
  uint64_t cgroup;        // from version 2 on
};
static_assert(sizeof(CloneArgs) == 88);
inline constexpr uint64_t kCLONE_ARGS_SIZE_VER0 = 64;
inline constexpr uint64_t kCLONE_ARGS_SIZE_VER1 = 80;
inline constexpr uint64_t kCLONE_ARGS_SIZE_VER2 = 88;

// struct rseq, struct rseq_cs: see rseq(2).
struct alignas(32) Rseq {
  uint32_t cpu_id_start;
  uint32_t cpu_id;
  uint64_t rseq_cs;
  uint32_t flags;
  uint32_t node_id;
  uint32_t mm_cid;
  uint32_t padding;
};
static_assert(sizeof(Rseq) == 32);
struct RseqCs {
  uint32_t version;
  uint32_t flags;
  uint64_t start_ip;
  uint64_t post_commit_offset;
  uint64_t abort_ip;
};
static_assert(sizeof(RseqCs) == 32);
inline constexpr uint32_t kRSEQ_CPU_ID_UNINITIALIZED = ~uint32_t{0};

// membarrier(2).
inline constexpr int32_t kMEMBARRIER_CMD_QUERY = 0;
inline constexpr int32_t kMEMBARRIER_CMD_GLOBAL = 1;
inline constexpr int32_t kMEMBARRIER_CMD_GLOBAL_EXPEDITED = 2;
inline constexpr int32_t kMEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED = 4;
inline constexpr int32_t kMEMBARRIER_CMD_PRIVATE_EXPEDITED = 8;
inline constexpr int32_t kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 16;
inline constexpr int32_t kMEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE = 32;
inline constexpr int32_t kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 64;

// ioprio_set(2): a class above 13 bits of data.
inline constexpr int32_t kIOPRIO_CLASS_SHIFT = 13;
inline constexpr int32_t kIOPRIO_WHO_PROCESS = 1;
inline constexpr int32_t kIOPRIO_WHO_PGRP = 2;
inline constexpr int32_t kIOPRIO_WHO_USER = 3;

// pidfd_open(2).
inline constexpr uint32_t kPIDFD_NONBLOCK = 04000;

inline constexpr int32_t kSCHED_OTHER = 0;  // SCHED_NORMAL
inline constexpr int32_t kSCHED_FIFO = 1;
inline constexpr int32_t kSCHED_RR = 2;
inline constexpr int32_t kSCHED_BATCH = 3;
inline constexpr int32_t kSCHED_IDLE = 5;
inline constexpr int32_t kSCHED_DEADLINE = 6;
inline constexpr int32_t kSCHED_RESET_ON_FORK = 0x40000000;

struct SchedParam {
  int32_t sched_priority;
};
static_assert(sizeof(SchedParam) == 4);

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_SCHED_H_
