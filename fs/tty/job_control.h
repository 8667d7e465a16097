#ifndef REMORA_FS_TTY_JOB_CONTROL_H_
#define REMORA_FS_TTY_JOB_CONTROL_H_

#include <atomic>
#include <cstdint>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/terminal_caller.h"

namespace remora::fs {

class TerminalSessions;

// What may be a session's controlling terminal: the host's terminal, or a pty. Which process group is in the
// foreground, and what happens to one that is not. Linux twin: tty_jobctrl.c.
//
// Thread safety: all methods from any thread, without a lock of the caller's (they send signals).
class Terminal : public RefCounted {
 public:
  // Whose controlling terminal it is, and the group in the foreground; 0: nobody's, none.
  int32_t session() const { return session_.load(std::memory_order_relaxed); }
  int32_t foreground_group() const { return foreground_group_.load(std::memory_order_relaxed); }

  // Before a read, a write (TOSTOP) and a change: Ok where the caller is in the foreground, or this is not its
  // controlling terminal. From the background its process group is stopped with SIGTTIN or SIGTTOU and the call
  // restarts (512, proc's kRestartSys). A caller that will not be stopped reads EIO, and writes and changes freely; an
  // orphaned group gets EIO.
  ErrnoOr<void> CheckRead(TerminalCaller& caller);
  ErrnoOr<void> CheckChange(TerminalCaller& caller);
  ErrnoOr<void> CheckChange(const IoctlContext& context) {
    return context.terminal_caller == nullptr ? Ok() : CheckChange(*context.terminal_caller);
  }

  void SignalForeground(int signal);

  // TIOCSCTTY, TIOCNOTTY, TIOCGPGRP, TIOCSPGRP, TIOCGSID; nothing for other requests. `from_outside`: the call came
  // from a pty's master, whose holder need not be of the session. `may_read`: how the file is open.
  std::optional<ErrnoOr<uint64_t>> JobControl(const IoctlContext& context, uint32_t request, uint64_t argument,
                                              bool from_outside, bool may_read);
  // open(2) has opened it: a session leader without a terminal that may read and did not say O_NOCTTY gets it.
  void OnOpened(const CallerIds& caller, uint32_t flags);
  // Makes it a session's, whatever was before; session 0: nobody's.
  void SetSession(int32_t session, int32_t foreground_group);
  // The line was cut: the session leader hears SIGHUP and SIGCONT, and the session has no terminal any more.
  void HangUp();

  // What /proc/PID/stat shows: 136, N.
  virtual uint32_t device_major() const = 0;
  virtual uint32_t device_minor() const = 0;
  // What /dev/tty opens. `inode` and `path` are /dev/tty's own.
  virtual ErrnoOr<Ref<File>> OpenAgain(Ref<Inode> inode, const Path& path, uint32_t flags) = 0;

 protected:
  // `sessions` outlives it.
  explicit Terminal(TerminalSessions* sessions) : sessions_(sessions) {}
  ~Terminal() override = default;

 private:
  friend class TerminalSessions;
  ErrnoOr<void> CheckForeground(TerminalCaller& caller, int signal);
  bool IsTerminalOf(const TerminalCaller& caller) const { return session() != 0 && session() == caller.session(); }
  ErrnoOr<uint64_t> SetForegroundGroup(const IoctlContext& context, uint64_t argument);
  ErrnoOr<uint64_t> SetControlling(TerminalCaller& caller, bool steal, bool may_read);
  ErrnoOr<uint64_t> GiveUp(TerminalCaller& caller);

  TerminalSessions* const sessions_;
  // Written under the mutex of sessions_.
  std::atomic<int32_t> session_{0}, foreground_group_{0};
};

// Which session has which terminal: for /dev/tty, for /proc, and for what happens when a session leader ends.
//
// Invariants:
//  1. A terminal is in terminals_ under its session(), and only there.
//  2. A session has at most one terminal, a terminal at most one session.
// Thread safety: all methods from any thread. Lock: kSession; signals are sent behind it.
class TerminalSessions {
 public:
  // `signals` outlives it.
  explicit TerminalSessions(TerminalSignals* signals) : signals_(signals) {}
  TerminalSessions(const TerminalSessions&) = delete;
  TerminalSessions& operator=(const TerminalSessions&) = delete;

  // Null: the session has no terminal.
  Ref<Terminal> Find(int32_t session) const;
  // The leader has ended: the foreground group hears SIGHUP, the terminal is nobody's. Where the line was cut before,
  // the group that was in the foreground then hears SIGHUP and SIGCONT.
  void OnLeaderExit(int32_t session);
  TerminalSignals& signals() const { return *signals_; }

 private:
  friend class Terminal;
  // EPERM if the session has a terminal, or the terminal a session and is not to be stolen.
  ErrnoOr<void> Take(Terminal& terminal, int32_t session, int32_t foreground_group, bool steal);
  // If it is still `session`'s. The group that was in the foreground.
  int32_t Release(Terminal& terminal, int32_t session);
  Ref<Terminal> ReleaseLocked(int32_t session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  TerminalSignals* const signals_;
  mutable Mutex mu_{LockRank::kSession};
  absl::flat_hash_map<int32_t, Ref<Terminal>> terminals_ ABSL_GUARDED_BY(mu_);
  // Sessions whose line was cut: the group that was in the foreground.
  absl::flat_hash_map<int32_t, int32_t> cut_off_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::fs

#endif  // REMORA_FS_TTY_JOB_CONTROL_H_
