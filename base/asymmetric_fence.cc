#include "base/asymmetric_fence.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"

namespace remora {
namespace {

long Membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

}  // namespace

// A host process has to say once that it will ask; more often does no harm.
AsymmetricFence::AsymmetricFence(Kind kind)
    : by_host_(kind == Kind::kByHost && Membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0) {}

void AsymmetricFence::Heavy() const {
  if (!by_host_) return FullFence();
  // Nothing else stands in for it, now that others have relied on it: short of memory, it is asked again.
  while (Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0)
    CHECK_MSG(errno == ENOMEM, "the host does not allow membarrier(2) any more");
}

}  // namespace remora
