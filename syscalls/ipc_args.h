#ifndef REMORA_SYSCALLS_IPC_ARGS_H_
#define REMORA_SYSCALLS_IPC_ARGS_H_

#include <cstdint>

#include "base/abi/ipc.h"
#include "base/clock.h"
#include "proc/ipc/ipc_table.h"
#include "syscalls/context.h"

namespace remora::syscalls {

// What shm, sem and msg have in common.

inline int64_t NowSeconds(SyscallContext& c) { return c.kernel().clock().RealtimeNanos() / kNanosPerSecond; }

inline proc::IpcPermissions NewPermissions(SyscallContext& c, int32_t key, uint32_t flags) {
  const auto who = c.task().credentials();
  return {key, who->euid, who->egid, who->euid, who->egid, flags & 0777};
}

inline abi::IpcPerm ToIpcPerm(const proc::IpcPermissions& permissions, int32_t id) {
  abi::IpcPerm out{};
  out.key = permissions.key;
  out.uid = permissions.uid;
  out.gid = permissions.gid;
  out.cuid = permissions.creator_uid;
  out.cgid = permissions.creator_gid;
  out.mode = permissions.mode;
  out.seq = static_cast<uint16_t>(id / 32768);
  return out;
}

// shmget, semget, msgget: the number for `key`. `check` judges an object that is there (-> ErrnoOr<void>), `make` makes
// a new one (-> ErrnoOr<Ref<T>>).
template <typename T, typename Check, typename Make>
SyscallOutcome GetByKey(SyscallContext& c, proc::IpcTable<T>& table, int32_t key, uint32_t flags, Check check,
                        Make make) {
  for (;;) {
    if (key != abi::kIPC_PRIVATE) {
      if (const Ref<T> there = table.FindKey(key)) {
        if ((flags & abi::kIPC_CREAT) != 0 && (flags & abi::kIPC_EXCL) != 0) return Errno(EEXIST);
        REMORA_RETURN_IF_ERROR(check(*there));
        if (!there->facts().permissions.Allows(*c.task().credentials(), flags & 0666)) return Errno(EACCES);
        return SyscallOutcome::Return(there->id());
      }
      if ((flags & abi::kIPC_CREAT) == 0) return Errno(ENOENT);
    }
    REMORA_ASSIGN_OR_RETURN(Ref<T> made, make());
    const auto id = table.Insert(key, std::move(made));
    if (id.ok() || id.error_number() != EEXIST) return id;
  }
}

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_IPC_ARGS_H_
