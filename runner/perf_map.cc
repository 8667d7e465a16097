#include "runner/perf_map.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace remora::runner {

std::string PerfMap::PathOfThisProcess() { return absl::StrCat("/tmp/perf-", getpid(), ".map"); }

absl::StatusOr<std::unique_ptr<PerfMap>> PerfMap::Create(const std::string& path) {
  // Not through somebody else's link: the folder is everybody's.
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  std::FILE* const file = fd < 0 ? nullptr : fdopen(fd, "w");
  if (file == nullptr) {
    const absl::Status status = absl::FailedPreconditionError(absl::StrCat(path, ": ", strerrordesc_np(errno)));
    if (fd >= 0) close(fd);
    return status;
  }
  // Who looks while the program runs, or after it was killed, finds whole lines.
  std::setvbuf(file, nullptr, _IOLBF, BUFSIZ);
  return std::unique_ptr<PerfMap>(new PerfMap(file));
}

PerfMap::~PerfMap() {
  MutexLock lock(&mu_);
  std::fclose(file_);
}

void PerfMap::Add(std::span<const std::byte> code, const std::string& name) {
  MutexLock lock(&mu_);
  std::fprintf(file_, "%lx %zx %s\n", reinterpret_cast<unsigned long>(code.data()), code.size(), name.c_str());
}

}  // namespace remora::runner
