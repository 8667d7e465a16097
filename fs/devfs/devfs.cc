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

}  // namespace

void RegisterDevices(DeviceRegistry* registry, DeviceContext context) {
  RegisterMemoryDevices(registry, context.entropy, context.stream.memory);
  registry->Register(DeviceRegistry::Kind::kCharacter, 5, 0,
                     [context = std::move(context)](Ref<Inode> inode, const Path& path, uint32_t flags,
                                                    uint32_t) -> ErrnoOr<Ref<File>> {
                       if (!context.terminal) return Errno(ENXIO);
                       return MakeNamedHostStream(context.stream, context.terminal->fd(), flags, context.terminal,
                                                  std::move(inode), path);
                     });
}

ErrnoOr<void> PopulateDev(Inode& root) {
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
  return Ok();
}

}  // namespace remora::fs
