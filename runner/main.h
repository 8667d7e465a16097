#ifndef REMORA_RUNNER_MAIN_H_
#define REMORA_RUNNER_MAIN_H_

#include <functional>

#include "absl/status/status.h"
#include "proc/kernel.h"
#include "runner/file_systems.h"

namespace remora::runner {

// Mounts what a variant of the program shows beside the usual tree; called before the guest starts, in a read section.
using MoreMounts = std::function<absl::Status(proc::Kernel& kernel, FileSystems& file_systems)>;

// All of the program but `main` itself, so that tests can make one with a file system of their own.
// The exit status.
int Main(int argc, char** argv, const MoreMounts& more_mounts = nullptr);

}  // namespace remora::runner

#endif  // REMORA_RUNNER_MAIN_H_
