#ifndef REMORA_RUNNER_INHERITED_FDS_H_
#define REMORA_RUNNER_INHERITED_FDS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "base/ref_counted.h"
#include "fs/fd_table.h"
#include "fs/hostfs/host_fd.h"
#include "fs/hostfs/host_stream.h"
#include "fs/tty/host_terminal.h"
#include "fs/vfs.h"

namespace remora::runner {

// The descriptors that Remora was started with: standard streams and whatever else the caller left open for the
// program. They are taken out of the way at once, so that the guest's close of its stdout is the last close for the
// host's reader, and nothing that Remora opens is mistaken for one of them. Only stderr stays, for Remora's own words.
// Construct before anything opens a descriptor. Thread safety: none.
class InheritedFds {
 public:
  InheritedFds();

  // The terminal that Remora was started on: that of stdin, stdout or stderr; null if none of them is one.
  Ref<fs::HostTerminal> FindTerminal(fs::TerminalSessions* sessions) const;

  // Gives them to the guest under their numbers. Those that were closed stay closed. A terminal is opened by the
  // guest's own node of it, where /dev has one: ttyname(3) compares descriptor and node. Fails, too, where one could
  // not be taken over.
  absl::Status AddTo(fs::FdTable& fds, const fs::HostStreamContext& context, const Ref<fs::HostTerminal>& terminal,
                     fs::Vfs& vfs, const fs::WalkContext& walk) const;

  // The guest has them, and its last close is the host's: forgets them.
  void LetGo() { inherited_.clear(); }

 private:
  struct Inherited {
    int32_t number;  // the caller's
    Ref<fs::HostFd> fd;
  };
  std::vector<Inherited> inherited_;
  absl::Status lost_;
};

}  // namespace remora::runner

#endif  // REMORA_RUNNER_INHERITED_FDS_H_
