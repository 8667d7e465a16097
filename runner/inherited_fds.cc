#include "runner/inherited_fds.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace remora::runner {
namespace {

// Remora's own descriptors live from here on, so that the caller's numbers stay free for nobody.
constexpr int kOutOfTheWay = 100;

// Open descriptors that are not close-on-exec, in ascending order.
std::vector<int> OpenDescriptors() {
  std::vector<int> result;
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) {  // no /proc on this host: the standard streams will do
    for (int fd = 0; fd < 3; ++fd)
      if (fcntl(fd, F_GETFD) >= 0) result.push_back(fd);
    return result;
  }
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] == '.') continue;
    const int fd = std::atoi(entry->d_name);
    const int flags = fcntl(fd, F_GETFD);
    if (fd != dirfd(folder) && flags >= 0 && (flags & FD_CLOEXEC) == 0) result.push_back(fd);
  }
  closedir(folder);
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace

InheritedFds::InheritedFds() {
  for (const int fd : OpenDescriptors()) {
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, kOutOfTheWay);
    if (moved < 0) moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);  // a limit below that
    if (moved < 0) {
      lost_ =
          absl::ResourceExhaustedError(absl::StrCat("cannot take over descriptor ", fd, ": ", std::strerror(errno)));
      continue;
    }
    inherited_.push_back({fd, MakeRef<fs::HostFd>(moved)});
    if (fd > 2) close(fd);
  }
  // 0 and 1 become /dev/null in Remora itself, 2 where it was closed.
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd)
    if (null != fd && (fd < 2 || fcntl(fd, F_GETFD) < 0)) dup2(null, fd);
  if (null > 2) close(null);
}

Ref<fs::HostTerminal> InheritedFds::FindTerminal(fs::TerminalSessions* sessions) const {
  for (const Inherited& one : inherited_)
    if (one.number < 3 && isatty(one.fd->get()) != 0) return MakeRef<fs::HostTerminal>(one.fd, sessions);
  return nullptr;
}

absl::Status InheritedFds::AddTo(fs::FdTable& fds, const fs::HostStreamContext& context,
                                 const Ref<fs::HostTerminal>& terminal, fs::Vfs& vfs,
                                 const fs::WalkContext& walk) const {
  if (!lost_.ok()) return lost_;
  for (const Inherited& one : inherited_) {
    const auto flags = fs::HostStreamFlags(one.fd->get());
    if (!flags.ok()) continue;
    const bool is_terminal = isatty(one.fd->get()) != 0;
    auto stream = fs::MakeHostStream(context, one.fd, *flags, is_terminal ? terminal : nullptr);
    if (!stream.ok()) continue;  // what no stream can be made of (a directory, an O_PATH descriptor) is not handed on
    if (is_terminal && terminal && !terminal->host_name().empty()) {
      if (auto named = vfs.Open(walk, terminal->host_name(), {.flags = *flags}); named.ok()) stream = *std::move(named);
    }
    if (const auto set = fds.Set(one.number, *std::move(stream), false); !set.ok())
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot hand on descriptor ", one.number, ": ", std::strerror(set.error_number())));
  }
  return absl::OkStatus();
}

}  // namespace remora::runner
