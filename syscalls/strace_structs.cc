#include "syscalls/strace_structs.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/abi/abi.h"
#include "syscalls/strace_args.h"
#include "syscalls/strace_flags.h"
#include "syscalls/strace_format.h"

namespace remora::syscalls {

std::string FormatItimerspec(const mm::UserMemory& memory, uint64_t address) {
  if (address == 0) return "NULL";
  const auto t = memory.Read<abi::Itimerspec>(GuestAddr(address));
  if (!t.ok()) return FormatAddress(address);
  return absl::StrFormat("{it_interval={tv_sec=%d, tv_nsec=%d}, it_value={tv_sec=%d, tv_nsec=%d}}",
                         t->it_interval.tv_sec, t->it_interval.tv_nsec, t->it_value.tv_sec, t->it_value.tv_nsec);
}

std::string FormatItimerval(const mm::UserMemory& memory, uint64_t address) {
  if (address == 0) return "NULL";
  const auto t = memory.Read<abi::Itimerval>(GuestAddr(address));
  if (!t.ok()) return FormatAddress(address);
  return absl::StrFormat("{it_interval={tv_sec=%d, tv_usec=%d}, it_value={tv_sec=%d, tv_usec=%d}}",
                         t->it_interval.tv_sec, t->it_interval.tv_usec, t->it_value.tv_sec, t->it_value.tv_usec);
}

std::string FormatSigevent(const mm::UserMemory& memory, uint64_t address) {
  if (address == 0) return "NULL";
  const auto e = memory.Read<abi::Sigevent>(GuestAddr(address));
  if (!e.ok()) return FormatAddress(address);
  std::string text = absl::StrFormat("{sigev_value={sival_int=%d, sival_ptr=%s}, sigev_signo=%s, sigev_notify=%s",
                                     static_cast<int32_t>(e->value), FormatAddress(e->value), SignalName(e->signo),
                                     NameOrNumber(SigeventNotifications(), static_cast<uint32_t>(e->notify)));
  if (e->notify == abi::kSIGEV_THREAD_ID) absl::StrAppend(&text, ", sigev_notify_thread_id=", e->thread);
  return text + "}";
}

std::string FormatSembufs(const mm::UserMemory& memory, uint64_t address, uint64_t count) {
  constexpr uint64_t kShown = 32;
  constexpr NamedValue kFlags[] = {{abi::kIPC_NOWAIT, "IPC_NOWAIT"}, {abi::kSEM_UNDO, "SEM_UNDO"}};
  if (address == 0) return "NULL";
  std::string text = "[";
  for (uint64_t i = 0; i < count; ++i) {
    if (i != 0) text += ", ";
    if (i == kShown) {
      text += "...";
      break;
    }
    const auto each = memory.Read<abi::Sembuf>(GuestAddr(address + sizeof(abi::Sembuf) * i));
    if (!each.ok()) return FormatAddress(address);
    absl::StrAppend(&text, "{sem_num=", each->sem_num, ", sem_op=", each->sem_op,
                    ", sem_flg=", JoinFlags(kFlags, static_cast<uint16_t>(each->sem_flg)), "}");
  }
  return text + "]";
}

}  // namespace remora::syscalls
