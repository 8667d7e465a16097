#ifndef REMORA_RUNNER_FILE_SYSTEMS_H_
#define REMORA_RUNNER_FILE_SYSTEMS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/ref_counted.h"
#include "fs/device_registry.h"
#include "fs/devpts/devpts.h"
#include "fs/hostfs/host_reactor.h"
#include "fs/hostfs/host_stream.h"
#include "fs/tty/host_terminal.h"
#include "proc/kernel.h"
#include "runner/options.h"

namespace remora::runner {

// What a guest sees as its tree: the host's folder read-only below an in-memory overlay at /, /dev, /dev/pts, /proc,
// and the --binds. Outlives the Kernel's Run and everything the guest had open. Thread safety: Build once, before the
// guest runs; the rest is immutable.
class FileSystems {
 public:
  // `disk`: how the bytes of host files are read; null: from the host.
  explicit FileSystems(std::shared_ptr<fs::HostDisk> disk = nullptr) : read_pool_(std::move(disk)) {}

  // `terminal`: what /dev/tty opens, may be null. The status says which folder is the trouble.
  absl::Status Build(proc::Kernel* kernel, const Options& options, Ref<fs::HostTerminal> terminal);
  // Makes the folder where it is missing, in memory. In a read section.
  absl::Status MountAt(const std::string& target, Ref<fs::FileSystem> file_system, const std::string& source);

  const fs::HostStreamContext& streams() const { return streams_; }
  // Walks from the root as `credentials` would.
  fs::WalkContext WalkAs(const fs::Credentials& credentials) const;

 private:
  absl::Status MountBind(const Bind& bind);

  fs::HostReadPool read_pool_;
  fs::HostReactor reactor_;
  fs::DeviceRegistry devices_;
  std::unique_ptr<fs::Devpts> ptys_;  // since Build
  proc::Kernel* kernel_ = nullptr;    // this and the next since Build
  fs::HostStreamContext streams_;
};

}  // namespace remora::runner

#endif  // REMORA_RUNNER_FILE_SYSTEMS_H_
