#ifndef REMORA_RUNNER_FIRST_PROCESS_H_
#define REMORA_RUNNER_FIRST_PROCESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "fs/tty/host_terminal.h"
#include "proc/kernel.h"
#include "runner/file_systems.h"
#include "runner/inherited_fds.h"
#include "runner/options.h"

namespace remora::runner {

// The caller's ids, descriptors, environment, umask and folder as the first guest process gets them. On failure
// `exit_status` says what Remora exits with: 125, or 127 when PROGRAM is not in PATH.
absl::StatusOr<proc::Kernel::FirstProcess> MakeFirstProcess(const Options& options, proc::Kernel* kernel,
                                                            const FileSystems& file_systems,
                                                            const InheritedFds& inherited,
                                                            const Ref<fs::HostTerminal>& terminal, int* exit_status);

}  // namespace remora::runner

#endif  // REMORA_RUNNER_FIRST_PROCESS_H_
