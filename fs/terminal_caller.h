#ifndef REMORA_FS_TERMINAL_CALLER_H_
#define REMORA_FS_TERMINAL_CALLER_H_

#include <cstdint>

#include "base/errno_or.h"

namespace remora::fs {

// What a terminal asks of, and does to, the process that uses it: implemented by proc/, so that fs/ knows no processes.
class TerminalCaller {
 public:
  virtual ~TerminalCaller() = default;
  virtual int32_t session() const = 0;
  virtual int32_t process_group() const = 0;
  virtual bool is_session_leader() const = 0;
  virtual bool ignores_or_blocks(int signal) const = 0;
  // Nobody outside the caller's process group could continue it: it is not stopped, its call fails.
  virtual bool is_orphaned() const = 0;
  virtual bool privileged() const = 0;
  // The session of a living process group (or, as for Linux, of the process of that number); 0 if there is none.
  virtual int32_t SessionOfProcessGroup(int32_t process_group) const = 0;
  // Sends to a whole process group.
  virtual void SignalProcessGroup(int32_t process_group, int signal) = 0;
};

// The signals that a terminal raises by itself: a key was typed, a window changed, the line was cut. Implemented by
// proc/. Thread safety: from any thread, without a lock.
class TerminalSignals {
 public:
  virtual ~TerminalSignals() = default;
  virtual void SignalProcessGroup(int32_t process_group, int signal) = 0;
  virtual void SignalProcess(int32_t process_id, int signal) = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_TERMINAL_CALLER_H_
