#ifndef REMORA_BASE_ABI_IPC_H_
#define REMORA_BASE_ABI_IPC_H_

#include <cstdint>

// System V shared memory, semaphores and message queues; POSIX message queues.
namespace remora::abi {

inline constexpr int32_t kIPC_PRIVATE = 0;
inline constexpr uint32_t kIPC_CREAT = 01000;
inline constexpr uint32_t kIPC_EXCL = 02000;
inline constexpr uint32_t kIPC_NOWAIT = 04000;
inline constexpr int32_t kIPC_RMID = 0;
inline constexpr int32_t kIPC_SET = 1;
inline constexpr int32_t kIPC_STAT = 2;
inline constexpr int32_t kIPC_INFO = 3;

// struct ipc64_perm.
struct IpcPerm {
  int32_t key;
  uint32_t uid;
  uint32_t gid;
  uint32_t cuid;
  uint32_t cgid;
  uint32_t mode;
  uint16_t seq;
  uint16_t padding0;
  uint32_t padding1;
  uint64_t unused[2];
};
static_assert(sizeof(IpcPerm) == 48);

// struct shmid64_ds.
struct ShmidDs {
  IpcPerm shm_perm;
  uint64_t shm_segsz;
  int64_t shm_atim;
  int64_t shm_dtim;
  int64_t shm_ctim;
  int32_t shm_cpid;
  int32_t shm_lpid;
  uint64_t shm_nattch;
  uint64_t unused[2];
};
static_assert(sizeof(ShmidDs) == 112);

// struct shminfo64, struct shm_info.
struct ShmInfo64 {
  uint64_t shmmax, shmmin, shmmni, shmseg, shmall;
  uint64_t unused[4];
};
static_assert(sizeof(ShmInfo64) == 72);
struct ShmUsage {
  int32_t used_ids;
  int32_t padding;
  uint64_t shm_tot, shm_rss, shm_swp;
  uint64_t swap_attempts, swap_successes;
};
static_assert(sizeof(ShmUsage) == 48);

inline constexpr uint32_t kSHM_RDONLY = 010000;
inline constexpr uint32_t kSHM_RND = 020000;
inline constexpr uint32_t kSHM_REMAP = 040000;
inline constexpr uint32_t kSHM_EXEC = 0100000;
inline constexpr uint32_t kSHM_HUGETLB = 04000;
inline constexpr uint32_t kSHM_NORESERVE = 010000;
inline constexpr uint32_t kSHM_DEST = 01000;    // in shm_perm.mode: goes with the last attachment
inline constexpr uint32_t kSHM_LOCKED = 02000;  // in shm_perm.mode
inline constexpr int32_t kSHM_LOCK = 11;
inline constexpr int32_t kSHM_UNLOCK = 12;
inline constexpr int32_t kSHM_STAT = 13;
inline constexpr int32_t kSHM_INFO = 14;
inline constexpr int32_t kSHM_STAT_ANY = 15;

// struct semid64_ds.
struct SemidDs {
  IpcPerm sem_perm;
  int64_t sem_otime;
  uint64_t unused1;
  int64_t sem_ctime;
  uint64_t unused2;
  uint64_t sem_nsems;
  uint64_t unused3[2];
};
static_assert(sizeof(SemidDs) == 104);
struct Seminfo {
  int32_t semmap, semmni, semmns, semmnu, semmsl, semopm, semume, semusz, semvmx, semaem;
};
static_assert(sizeof(Seminfo) == 40);
struct Sembuf {
  uint16_t sem_num;
  int16_t sem_op;
  int16_t sem_flg;
};
static_assert(sizeof(Sembuf) == 6);
inline constexpr int32_t kSEM_UNDO = 0x1000;
inline constexpr int32_t kGETPID = 11;
inline constexpr int32_t kGETVAL = 12;
inline constexpr int32_t kGETALL = 13;
inline constexpr int32_t kGETNCNT = 14;
inline constexpr int32_t kGETZCNT = 15;
inline constexpr int32_t kSETVAL = 16;
inline constexpr int32_t kSETALL = 17;
inline constexpr int32_t kSEM_STAT = 18;
inline constexpr int32_t kSEM_INFO = 19;
inline constexpr int32_t kSEM_STAT_ANY = 20;

// struct msqid64_ds.
struct MsqidDs {
  IpcPerm msg_perm;
  int64_t msg_stime;
  int64_t msg_rtime;
  int64_t msg_ctime;
  uint64_t msg_cbytes;
  uint64_t msg_qnum;
  uint64_t msg_qbytes;
  int32_t msg_lspid;
  int32_t msg_lrpid;
  uint64_t unused[2];
};
static_assert(sizeof(MsqidDs) == 120);
struct Msginfo {
  int32_t msgpool, msgmap, msgmax, msgmnb, msgmni, msgssz, msgtql;
  uint16_t msgseg;
};
static_assert(sizeof(Msginfo) == 32);
inline constexpr uint32_t kMSG_NOERROR = 010000;
inline constexpr uint32_t kMSG_EXCEPT = 020000;
inline constexpr uint32_t kMSG_COPY = 040000;
inline constexpr int32_t kMSG_STAT = 11;
inline constexpr int32_t kMSG_INFO = 12;
inline constexpr int32_t kMSG_STAT_ANY = 13;

// struct mq_attr.
struct MqAttr {
  int64_t mq_flags;
  int64_t mq_maxmsg;
  int64_t mq_msgsize;
  int64_t mq_curmsgs;
  int64_t reserved[4];
};
static_assert(sizeof(MqAttr) == 64);

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_IPC_H_
