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
  // Sends to a whole process group.
  virtual void SignalProcessGroup(int32_t process_group, int signal) = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_TERMINAL_CALLER_H_
