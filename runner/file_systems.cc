#include "runner/file_systems.h"

#include <sys/stat.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fs/devfs/devfs.h"
#include "fs/hostfs/host_file_system.h"
#include "fs/overlayfs/overlayfs.h"
#include "fs/tmpfs/tmpfs.h"
#include "proc/procfs/procfs.h"

namespace remora::runner {
namespace {

absl::Status FromErrno(const std::string& what, int error_number) {
  return absl::FailedPreconditionError(absl::StrCat(what, ": ", std::strerror(error_number)));
}

}  // namespace

fs::WalkContext FileSystems::WalkAs(const fs::Credentials& credentials) const {
  fs::WalkContext context;
  context.root = kernel_->vfs().root();
  context.start = context.root;
  context.credentials = credentials;
  return context;
}

absl::Status FileSystems::MountAt(const std::string& target, Ref<fs::FileSystem> file_system,
                                  const std::string& source) {
  for (size_t slash = target.find('/', 1);; slash = target.find('/', slash + 1)) {
    (void)kernel_->vfs().MakeDirectory(WalkAs(fs::Credentials()), target.substr(0, slash), 0755);
    if (slash == std::string::npos) break;
  }
  const auto mounted = kernel_->vfs().Mount(WalkAs(fs::Credentials()), target, std::move(file_system), source, 0);
  if (!mounted.ok()) return FromErrno(absl::StrCat("cannot mount at ", target), mounted.error_number());
  return absl::OkStatus();
}

absl::Status FileSystems::Build(proc::Kernel* kernel, const Options& options, Ref<fs::HostTerminal> terminal) {
  kernel_ = kernel;
  kernel->memory().page_arrivals = &read_pool_.arrivals();
  streams_ = {&reactor_, &kernel->vfs().anonymous_files(), &kernel->memory(), &read_pool_};
  fs::Vfs& vfs = kernel_->vfs();
  ptys_ = std::make_unique<fs::Devpts>(fs::Devpts::Context{.sessions = &kernel_->terminals(),
                                                           .clock = &kernel_->clock(),
                                                           .devices = &devices_,
                                                           .device_id = vfs.NewDeviceId(),
                                                           .terminal = terminal.get()});
  fs::RegisterDevices(&devices_, {.entropy = &kernel_->entropy(),
                                  .stream = streams_,
                                  .terminal = terminal,
                                  .sessions = &kernel_->terminals(),
                                  .ptys = ptys_.get()});

  auto lower = fs::HostFileSystem::Create({.directory = options.root,
                                           .read_only = true,
                                           .device_id = vfs.NewDeviceId(),
                                           .reclaimer = &kernel_->reclaimer(),
                                           .stream = streams_});
  if (!lower.ok()) return lower.status();
  auto overlay =
      fs::Overlayfs::Create(*std::move(lower), &kernel->memory(), &kernel->clock(), &devices_, vfs.NewDeviceId());
  if (!overlay.ok()) return FromErrno(absl::StrCat("cannot use ", options.root, " as root"), overlay.error_number());
  vfs.MountRoot(*std::move(overlay), 0);

  sync::Reclaimer::ReadSection reading(&kernel_->reclaimer());
  // A bare --root folder may lack them; the overlay takes them in.
  for (const char* folder : {"/dev", "/proc", "/tmp"})
    (void)vfs.MakeDirectory(WalkAs(fs::Credentials()), folder, folder[1] == 't' ? 01777 : 0755);
  const Ref<fs::FileSystem> dev = MakeRef<fs::Tmpfs>(&kernel->memory(), &kernel->clock(), &devices_, vfs.NewDeviceId(),
                                                     fs::Tmpfs::Options{.root_permissions = 0755});
  if (const auto made = fs::PopulateDev(*dev->root(), terminal.get()); !made.ok())
    return FromErrno("cannot fill /dev", made.error_number());
  if (absl::Status mounted = MountAt("/dev", dev, "devtmpfs"); !mounted.ok()) return mounted;
  if (absl::Status mounted = MountAt("/dev/pts", ptys_->file_system(), "devpts"); !mounted.ok()) return mounted;
  if (absl::Status mounted = MountAt("/proc", proc::MakeProcfs(kernel_), "proc"); !mounted.ok()) return mounted;
  for (const Bind& bind : options.binds)
    if (absl::Status mounted = MountBind(bind); !mounted.ok()) return mounted;
  return absl::OkStatus();
}

absl::Status FileSystems::MountBind(const Bind& bind) {
  auto source = fs::HostFileSystem::Create({.directory = bind.source,
                                            .read_only = !bind.writable,
                                            .cacheable_lookups = false,
                                            .device_id = kernel_->vfs().NewDeviceId(),
                                            .reclaimer = &kernel_->reclaimer(),
                                            .stream = streams_});
  if (!source.ok()) return source.status();
  return MountAt(bind.target, *std::move(source), bind.source);
}

}  // namespace remora::runner
