#include "fs/devfs/devfs.h"

#include <errno.h>
#include <sys/stat.h>

#include <string_view>
#include <utility>

#include "fs/devfs/memory_devices.h"

namespace remora::fs {
namespace {

struct Node {
  std::string_view name;
  uint32_t major, minor;
};
constexpr Node kNodes[] = {{"null", 1, 3},    {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8},
                           {"urandom", 1, 9}, {"tty", 5, 0},  {"ptmx", 5, 2}};

struct Link {
  std::string_view name, target;
};
constexpr Link kLinks[] = {{"fd", "/proc/self/fd"},
                           {"stdin", "/proc/self/fd/0"},
                           {"stdout", "/proc/self/fd/1"},
                           {"stderr", "/proc/self/fd/2"}};

// The node that the host's terminal is known by.
ErrnoOr<void> AddTerminal(Inode& root, const HostTerminal& terminal) {
  constexpr std::string_view kPrefix = "/dev/";
  std::string_view name = terminal.host_name();
  if (!name.starts_with(kPrefix)) return Ok();
  name.remove_prefix(kPrefix.size());
  if (name.starts_with("pts/")) return Ok();
  Ref<Inode> directory(&root);
  for (size_t slash; (slash = name.find('/')) != std::string_view::npos; name.remove_prefix(slash + 1)) {
    Inode::NewNode request;
    request.mode = S_IFDIR | 0755;
    REMORA_ASSIGN_OR_RETURN(directory, directory->Create(name.substr(0, slash), request));
  }
  struct stat host = {};
  if (fstat(terminal.fd()->get(), &host) < 0) return Errno(errno);
  Inode::NewNode request;
  request.mode = host.st_mode;
  request.uid = host.st_uid;
  request.gid = host.st_gid;
  request.special_major = terminal.device_major();
  request.special_minor = terminal.device_minor();
  const auto made = directory->Create(name, request);
  // "/dev/tty" itself is there already.
  if (!made.ok() && made.error_number() != EEXIST) return made.error();
  return Ok();
}

}  // namespace

void RegisterDevices(DeviceRegistry* registry, DeviceContext context) {
  using Opening = DeviceRegistry::Opening;
  constexpr auto kCharacter = DeviceRegistry::Kind::kCharacter;
  RegisterMemoryDevices(registry, context.entropy, context.stream.memory);
  const auto open_host = [stream = context.stream, terminal = context.terminal](Opening opening) {
    return MakeNamedHostStream(stream, terminal->fd(), opening.flags, terminal, std::move(opening.inode), opening.path);
  };
  // The caller's own terminal, whichever that is.
  const auto open_tty = [open_host, terminal = context.terminal,
                         sessions = context.sessions](Opening opening) -> ErrnoOr<Ref<File>> {
    const Ref<Terminal> own = sessions != nullptr ? sessions->Find(opening.caller.session_id) : nullptr;
    if (!own) return Errno(ENXIO);
    if (own.get() == terminal.get()) return open_host(std::move(opening));
    return own->OpenAgain(std::move(opening.inode), opening.path, opening.flags);
  };
  registry->Register(kCharacter, 5, 0, open_tty);
  if (context.ptys != nullptr) {
    registry->Register(kCharacter, 5, 2, [ptys = context.ptys](Opening opening) {
      return ptys->OpenMaster(std::move(opening.inode), opening.path, opening.flags, opening.caller);
    });
  }
  if (context.terminal) {
    const auto open_terminal = [open_host, terminal = context.terminal](Opening opening) -> ErrnoOr<Ref<File>> {
      const CallerIds caller = opening.caller;
      const uint32_t flags = opening.flags;
      REMORA_ASSIGN_OR_RETURN(Ref<File> file, open_host(std::move(opening)));
      terminal->OnOpened(caller, flags);
      return file;
    };
    registry->Register(kCharacter, context.terminal->device_major(), context.terminal->device_minor(), open_terminal);
  }
}

ErrnoOr<void> PopulateDev(Inode& root, const HostTerminal* terminal) {
  for (const Node& node : kNodes) {
    Inode::NewNode request;
    request.mode = S_IFCHR | 0666;
    request.special_major = node.major;
    request.special_minor = node.minor;
    REMORA_RETURN_IF_ERROR(root.Create(node.name, request));
  }
  for (const Link& link : kLinks) {
    Inode::NewNode request;
    request.mode = S_IFLNK | 0777;
    request.symlink_target = link.target;
    REMORA_RETURN_IF_ERROR(root.Create(link.name, request));
  }
  Inode::NewNode pts;
  pts.mode = S_IFDIR | 0755;
  REMORA_RETURN_IF_ERROR(root.Create("pts", pts));
  Inode::NewNode shared_memory;
  shared_memory.mode = S_IFDIR | 01777;
  REMORA_RETURN_IF_ERROR(root.Create("shm", shared_memory));
  if (terminal != nullptr) REMORA_RETURN_IF_ERROR(AddTerminal(root, *terminal));
  return Ok();
}

}  // namespace remora::fs
