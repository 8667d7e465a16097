#ifndef REMORA_PROC_WAIT_H_
#define REMORA_PROC_WAIT_H_

#include <cstdint>
#include <optional>

#include "base/errno_or.h"
#include "proc/task.h"
#include "proc/thread_group.h"

namespace remora::proc {

// Whose change of state to look for: wait4(2) and waitid(2).
struct WaitRequest {
  enum class Who : uint8_t { kAny, kPid, kProcessGroup };
  Who who = Who::kAny;
  int32_t id = 0;
  bool exited = true, stopped = false, continued = false;
  bool leave_waitable = false;  // WNOWAIT
  // Children that announce their end by another signal than SIGCHLD, or by none: left out, the only ones (__WCLONE), or
  // like all others (__WALL).
  enum class Clones : uint8_t { kNone, kOnly, kToo };
  Clones clones = Clones::kNone;
};

struct WaitedChild {
  int32_t pid = 0;
  uint32_t uid = 0;
  int32_t status = 0;  // wait4's status word
  ChildUsage usage;
};

// Looks once, never waits: a child, nullopt if there are children but none has changed, ECHILD if there are none of
// that kind. Reaps what has exited.
ErrnoOr<std::optional<WaitedChild>> CollectChild(Task& caller, const WaitRequest& request);

}  // namespace remora::proc

#endif  // REMORA_PROC_WAIT_H_
