// remora with a SlowBackend's file system mounted at /slow: for guest programs that look at what goes on while a hook
// waits.

#include "runner/main.h"
#include "testing/slow_fs/slow_file_system.h"

int main(int argc, char** argv) {
  remora::testing::SlowBackend backend;
  return remora::runner::Main(argc, argv, [&](remora::proc::Kernel& kernel, remora::runner::FileSystems& file_systems) {
    return file_systems.MountAt(
        "/slow", backend.NewFileSystem(kernel.vfs().NewDeviceId(), &kernel.clock(), &kernel.reclaimer()), "slow");
  });
}
