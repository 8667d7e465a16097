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
constexpr Node kNodes[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                           {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};

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
  RegisterMemoryDevices(registry, context.entropy, context.stream.memory);
  const Ref<HostTerminal> terminal = context.terminal;
  const auto open = [context = std::move(context)](Ref<Inode> inode, const Path& path, uint32_t flags,
                                                   uint32_t) -> ErrnoOr<Ref<File>> {
    if (!context.terminal) return Errno(ENXIO);
    return MakeNamedHostStream(context.stream, context.terminal->fd(), flags, context.terminal, std::move(inode), path);
  };
  registry->Register(DeviceRegistry::Kind::kCharacter, 5, 0, open);
  if (terminal)
    registry->Register(DeviceRegistry::Kind::kCharacter, terminal->device_major(), terminal->device_minor(), open);
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
  Inode::NewNode shared_memory;
  shared_memory.mode = S_IFDIR | 01777;
  REMORA_RETURN_IF_ERROR(root.Create("shm", shared_memory));
  if (terminal != nullptr) REMORA_RETURN_IF_ERROR(AddTerminal(root, *terminal));
  return Ok();
}

}  // namespace remora::fs
