#ifndef REMORA_SYNC_POLLABLE_H_
#define REMORA_SYNC_POLLABLE_H_

#include "sync/wait_queue.h"

namespace remora::sync {

// Something whose readiness can be asked and waited for. Never blocks.
class Pollable {
 public:
  virtual ~Pollable() = default;
  // Which of `interest`, kError and kHangup hold now.
  virtual Events Readiness(Events interest) = 0;
  // Where to wait for a change; null if readiness never changes (a regular file).
  virtual WaitQueue* wait_queue() = 0;
};

}  // namespace remora::sync

#endif  // REMORA_SYNC_POLLABLE_H_
