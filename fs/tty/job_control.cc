#include "fs/tty/job_control.h"

#include <errno.h>
#include <fcntl.h>

#include <utility>

#include "base/abi/signal.h"
#include "base/abi/termios.h"

namespace remora::fs {
namespace {

constexpr int kRestartSys = 512;  // proc/syscall_outcome.h's: restarted after the signal that was just raised

}  // namespace

// ---- Terminal ----

ErrnoOr<void> Terminal::CheckForeground(TerminalCaller& caller, int signal) {
  const int32_t foreground = foreground_group(), own = caller.process_group();
  if (!IsTerminalOf(caller) || foreground == 0 || foreground == own) return Ok();
  if (caller.ignores_or_blocks(signal)) {
    if (signal == abi::kSIGTTIN) return Errno(EIO);
    return Ok();
  }
  if (caller.is_orphaned()) return Errno(EIO);
  caller.SignalProcessGroup(own, signal);
  return Errno(kRestartSys);
}

ErrnoOr<void> Terminal::CheckRead(TerminalCaller& caller) { return CheckForeground(caller, abi::kSIGTTIN); }
ErrnoOr<void> Terminal::CheckChange(TerminalCaller& caller) { return CheckForeground(caller, abi::kSIGTTOU); }

void Terminal::SignalForeground(int signal) {
  const int32_t group = foreground_group();
  if (group != 0) sessions_->signals().SignalProcessGroup(group, signal);
}

std::optional<ErrnoOr<uint64_t>> Terminal::JobControl(const IoctlContext& context, uint32_t request, uint64_t argument,
                                                      bool from_outside, bool may_read) {
  TerminalCaller* const caller = context.terminal_caller;
  const auto tell = [&](int32_t answer) -> ErrnoOr<uint64_t> {
    REMORA_RETURN_IF_ERROR(context.memory.Write(GuestAddr(argument), answer));
    return 0u;
  };
  switch (request) {
    case abi::kTIOCGPGRP:
    case abi::kTIOCGSID: {
      if (!from_outside && (caller == nullptr || !IsTerminalOf(*caller))) return Errno(ENOTTY);
      if (request == abi::kTIOCGPGRP) return tell(foreground_group());
      const int32_t owner = session();
      if (owner == 0) return Errno(ENOTTY);
      return tell(owner);
    }
    case abi::kTIOCSPGRP:
      return SetForegroundGroup(context, argument);
    case abi::kTIOCSCTTY:
      if (caller == nullptr || from_outside) return Errno(ENOTTY);
      return SetControlling(*caller, argument == 1, may_read);
    case abi::kTIOCNOTTY:
      if (caller == nullptr || from_outside) return Errno(ENOTTY);
      return GiveUp(*caller);
    default:
      return std::nullopt;
  }
}

ErrnoOr<uint64_t> Terminal::SetForegroundGroup(const IoctlContext& context, uint64_t argument) {
  TerminalCaller* const caller = context.terminal_caller;
  if (caller == nullptr) return Errno(ENOTTY);
  if (const auto may = CheckChange(*caller); !may.ok()) {
    if (may.error_number() == EIO) return Errno(ENOTTY);
    return may.error();
  }
  REMORA_ASSIGN_OR_RETURN(const int32_t group, context.memory.Read<int32_t>(GuestAddr(argument)));
  if (group < 0) return Errno(EINVAL);
  if (!IsTerminalOf(*caller)) return Errno(ENOTTY);
  const int32_t owner = caller->SessionOfProcessGroup(group);
  if (owner == 0) return Errno(ESRCH);
  if (owner != caller->session()) return Errno(EPERM);
  MutexLock lock(&sessions_->mu_);
  if (session() == owner) foreground_group_.store(group, std::memory_order_relaxed);
  return 0u;
}

ErrnoOr<uint64_t> Terminal::SetControlling(TerminalCaller& caller, bool steal, bool may_read) {
  if (caller.is_session_leader() && IsTerminalOf(caller)) return 0u;
  if (!caller.is_session_leader()) return Errno(EPERM);
  if (!may_read && !caller.privileged()) return Errno(EPERM);
  REMORA_RETURN_IF_ERROR(
      sessions_->Take(*this, caller.session(), caller.process_group(), steal && caller.privileged()));
  return 0u;
}

ErrnoOr<uint64_t> Terminal::GiveUp(TerminalCaller& caller) {
  if (!IsTerminalOf(caller)) return Errno(ENOTTY);
  if (!caller.is_session_leader()) return 0u;
  if (const int32_t group = sessions_->Release(*this, caller.session()); group != 0) {
    caller.SignalProcessGroup(group, abi::kSIGHUP);
    caller.SignalProcessGroup(group, abi::kSIGCONT);
  }
  return 0u;
}

void Terminal::OnOpened(const CallerIds& caller, uint32_t flags) {
  const bool leader = caller.session_id != 0 && caller.session_id == caller.process_id;
  if (!leader || session() != 0 || (flags & O_NOCTTY) != 0 || (flags & O_ACCMODE) == O_WRONLY) return;
  // EPERM: it has one, or somebody was faster.
  (void)sessions_->Take(*this, caller.session_id, caller.process_group_id, /*steal=*/false);
}

void Terminal::SetSession(int32_t session, int32_t foreground_group) {
  if (const int32_t owner = this->session(); owner != 0) sessions_->Release(*this, owner);
  if (session != 0) (void)sessions_->Take(*this, session, foreground_group, /*steal=*/true);
}

void Terminal::HangUp() {
  const int32_t leader = session();
  if (leader == 0) return;
  const int32_t group = sessions_->Release(*this, leader);
  {
    MutexLock lock(&sessions_->mu_);
    if (group != 0) sessions_->cut_off_[leader] = group;
  }
  sessions_->signals().SignalProcess(leader, abi::kSIGHUP);
  sessions_->signals().SignalProcess(leader, abi::kSIGCONT);
}

// ---- TerminalSessions ----

Ref<Terminal> TerminalSessions::Find(int32_t session) const {
  MutexLock lock(&mu_);
  const auto found = terminals_.find(session);
  return found == terminals_.end() ? nullptr : found->second;
}

Ref<Terminal> TerminalSessions::ReleaseLocked(int32_t session) {
  const auto found = terminals_.find(session);
  if (found == terminals_.end()) return nullptr;
  Ref<Terminal> terminal = std::move(found->second);
  terminals_.erase(found);
  terminal->session_.store(0, std::memory_order_relaxed);
  return terminal;
}

ErrnoOr<void> TerminalSessions::Take(Terminal& terminal, int32_t session, int32_t foreground_group, bool steal) {
  Ref<Terminal> stolen;  // dropped behind the lock
  MutexLock lock(&mu_);
  if (terminals_.contains(session)) return Errno(EPERM);
  if (const int32_t owner = terminal.session(); owner != 0) {
    if (!steal) return Errno(EPERM);
    stolen = ReleaseLocked(owner);
  }
  terminals_.emplace(session, Ref<Terminal>(&terminal));
  terminal.foreground_group_.store(foreground_group, std::memory_order_relaxed);
  terminal.session_.store(session, std::memory_order_relaxed);
  cut_off_.erase(session);
  return Ok();
}

int32_t TerminalSessions::Release(Terminal& terminal, int32_t session) {
  Ref<Terminal> released;  // dropped behind the lock
  MutexLock lock(&mu_);
  if (terminal.session() != session) return 0;
  released = ReleaseLocked(session);
  return terminal.foreground_group_.exchange(0, std::memory_order_relaxed);
}

void TerminalSessions::OnLeaderExit(int32_t session) {
  Ref<Terminal> released;
  int32_t group = 0;
  bool was_cut = false;
  {
    MutexLock lock(&mu_);
    if (const auto cut = cut_off_.find(session); cut != cut_off_.end()) {
      group = cut->second;
      was_cut = true;
      cut_off_.erase(cut);
    }
    released = ReleaseLocked(session);
    if (released) {
      group = released->foreground_group_.exchange(0, std::memory_order_relaxed);
      was_cut = false;
    }
  }
  if (group == 0) return;
  signals_->SignalProcessGroup(group, abi::kSIGHUP);
  if (was_cut) signals_->SignalProcessGroup(group, abi::kSIGCONT);
}

}  // namespace remora::fs
