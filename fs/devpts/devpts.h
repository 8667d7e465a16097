#ifndef REMORA_FS_DEVPTS_DEVPTS_H_
#define REMORA_FS_DEVPTS_DEVPTS_H_

#include <cstdint>
#include <map>

#include "base/clock.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/device_registry.h"
#include "fs/inode.h"
#include "fs/pseudo/pseudo_inode.h"
#include "fs/tty/host_terminal.h"
#include "fs/tty/job_control.h"
#include "fs/tty/pty.h"

namespace remora::fs {

// The pseudo-terminals and the file system that shows their slaves: /dev/pts, with a ptmx that makes new ones.
//
//   /dev/pts/ptmx   5, 2: each open is the master of a new pty
//   /dev/pts/0      136, 0: a slave, there while its master is open; mode 0620, the opener's, group tty (5)
//   /dev/pts/7      the host's terminal, where it is one of the host's own /dev/pts: no pty gets this number
//
// Linux twin: fs/devpts. Differences: one instance; ptmx has mode 0666 (Debian's /dev/ptmx), not 0000.
// Thread safety: all methods from any thread. Outlives the ptys and the mount.
class Devpts final : public PtyNames {
 public:
  struct Context {
    TerminalSessions* sessions = nullptr;
    Clock* clock = nullptr;
    const DeviceRegistry* devices = nullptr;  // opens the host's terminal and ptmx
    uint64_t device_id = 0;
    const HostTerminal* terminal = nullptr;  // may be null
  };
  explicit Devpts(const Context& context);
  ~Devpts() override;

  const Ref<PseudoFileSystem>& file_system() const { return file_system_; }
  // The master of a new pty. ENOSPC: there are kMaxPtys.
  ErrnoOr<Ref<File>> OpenMaster(Ref<Inode> inode, const Path& path, uint32_t flags, const CallerIds& caller);

  Ref<Inode> FindSlave(uint32_t number) override;
  void Remove(uint32_t number) override;

  static constexpr uint32_t kMaxPtys = 4096;  // /proc/sys/kernel/pty/max

 private:
  class Root;
  class Slave;

  TerminalSessions* const sessions_;
  const Ref<PseudoFileSystem> file_system_;
  uint32_t host_number_ = ~0u;  // of the host's terminal; constant after construction
  mutable Mutex mu_{LockRank::kDirectory};
  std::map<uint32_t, Ref<Inode>> slaves_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::fs

#endif  // REMORA_FS_DEVPTS_DEVPTS_H_
