#ifndef REMORA_BASE_ABI_FUTEX_H_
#define REMORA_BASE_ABI_FUTEX_H_

#include <cstdint>

// futex(2), set_robust_list(2).
namespace remora::abi {

inline constexpr int32_t kFUTEX_WAIT = 0;
inline constexpr int32_t kFUTEX_WAKE = 1;
inline constexpr int32_t kFUTEX_FD = 2;
inline constexpr int32_t kFUTEX_REQUEUE = 3;
inline constexpr int32_t kFUTEX_CMP_REQUEUE = 4;
inline constexpr int32_t kFUTEX_WAKE_OP = 5;
inline constexpr int32_t kFUTEX_LOCK_PI = 6;
inline constexpr int32_t kFUTEX_UNLOCK_PI = 7;
inline constexpr int32_t kFUTEX_TRYLOCK_PI = 8;
inline constexpr int32_t kFUTEX_WAIT_BITSET = 9;
inline constexpr int32_t kFUTEX_WAKE_BITSET = 10;
inline constexpr int32_t kFUTEX_WAIT_REQUEUE_PI = 11;
inline constexpr int32_t kFUTEX_CMP_REQUEUE_PI = 12;
inline constexpr int32_t kFUTEX_LOCK_PI2 = 13;
inline constexpr int32_t kFUTEX_PRIVATE_FLAG = 128;
inline constexpr int32_t kFUTEX_CLOCK_REALTIME = 256;
inline constexpr int32_t kFUTEX_CMD_MASK = ~(kFUTEX_PRIVATE_FLAG | kFUTEX_CLOCK_REALTIME);
inline constexpr uint32_t kFUTEX_BITSET_MATCH_ANY = ~0u;

// The word of a robust or PI futex.
inline constexpr uint32_t kFUTEX_WAITERS = 0x80000000;
inline constexpr uint32_t kFUTEX_OWNER_DIED = 0x40000000;
inline constexpr uint32_t kFUTEX_TID_MASK = 0x3fffffff;

// FUTEX_WAKE_OP's val3: op(4) cmp(4) oparg(12) cmparg(12).
inline constexpr uint32_t kFUTEX_OP_SET = 0;
inline constexpr uint32_t kFUTEX_OP_ADD = 1;
inline constexpr uint32_t kFUTEX_OP_OR = 2;
inline constexpr uint32_t kFUTEX_OP_ANDN = 3;
inline constexpr uint32_t kFUTEX_OP_XOR = 4;
inline constexpr uint32_t kFUTEX_OP_OPARG_SHIFT = 8;
inline constexpr uint32_t kFUTEX_OP_CMP_EQ = 0;
inline constexpr uint32_t kFUTEX_OP_CMP_NE = 1;
inline constexpr uint32_t kFUTEX_OP_CMP_LT = 2;
inline constexpr uint32_t kFUTEX_OP_CMP_LE = 3;
inline constexpr uint32_t kFUTEX_OP_CMP_GT = 4;
inline constexpr uint32_t kFUTEX_OP_CMP_GE = 5;

// struct robust_list_head; a list entry is one pointer to the next entry.
struct RobustListHead {
  uint64_t list_next;
  int64_t futex_offset;
  uint64_t list_op_pending;
};
static_assert(sizeof(RobustListHead) == 24);
inline constexpr uint32_t kROBUST_LIST_LIMIT = 2048;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_FUTEX_H_
