#include "runner/first_process.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

extern char** environ;

namespace remora::runner {
namespace {

constexpr int kSetUpFailed = 125;
constexpr int kNotFound = 127;

fs::Credentials CallersCredentials() {
  fs::Credentials credentials;
  getresuid(&credentials.uid, &credentials.euid, &credentials.suid);
  getresgid(&credentials.gid, &credentials.egid, &credentials.sgid);
  credentials.fsuid = credentials.euid;
  credentials.fsgid = credentials.egid;
  const int count = getgroups(0, nullptr);
  if (count > 0) {
    credentials.groups.resize(static_cast<size_t>(count));
    if (getgroups(count, credentials.groups.data()) != count) credentials.groups.clear();
  }
  return credentials;
}

std::vector<std::string> Environment(const std::vector<std::string>& changes) {
  std::vector<std::string> result;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) result.emplace_back(*entry);
  for (const std::string& change : changes) {
    const std::string_view name = std::string_view(change).substr(0, change.find('=') + 1);
    std::erase_if(result, [&](const std::string& entry) { return entry.starts_with(name); });
    result.push_back(change);
  }
  return result;
}

std::string_view ValueOf(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string& entry : environment)
    if (entry.starts_with(name) && entry.size() > name.size() && entry[name.size()] == '=')
      return std::string_view(entry).substr(name.size() + 1);
  return {};
}

// `bazel run` starts programs in their runfiles and says where the user stands.
std::string CallersDirectory() {
  char cwd[4096];
  if (getcwd(cwd, sizeof cwd) == nullptr) return "/";
  const char* users = std::getenv("BUILD_WORKING_DIRECTORY");
  return users != nullptr && std::string_view(cwd).find("/remora.runfiles") != std::string_view::npos ? users : cwd;
}

// As execvp: the first executable regular file of that name along PATH; empty if there is none.
std::string FindInPath(const std::string& name, std::string_view path, fs::Vfs& vfs, const fs::WalkContext& walk) {
  if (name.find('/') != std::string::npos) return name;
  while (true) {
    const size_t colon = path.find(':');
    const std::string folder(path.substr(0, colon));
    const std::string candidate = absl::StrCat(folder.empty() ? "." : folder, "/", name);
    const auto attributes = vfs.Stat(walk, candidate, {});
    if (attributes.ok() && attributes->is_regular() && fs::Vfs::Permits(walk.credentials, *attributes, X_OK))
      return candidate;
    if (colon == std::string_view::npos) return {};
    path.remove_prefix(colon + 1);
  }
}

}  // namespace

absl::StatusOr<proc::Kernel::FirstProcess> MakeFirstProcess(const Options& options, proc::Kernel* kernel,
                                                            const FileSystems& file_systems,
                                                            const InheritedFds& inherited,
                                                            const Ref<fs::HostTerminal>& terminal, int* exit_status) {
  *exit_status = kSetUpFailed;
  proc::Kernel::FirstProcess first;
  first.credentials = CallersCredentials();
  first.exec.argv = options.program;
  first.exec.envp = Environment(options.environment);

  sync::Reclaimer::ReadSection reading(&kernel->reclaimer());
  fs::WalkContext walk = file_systems.WalkAs(first.credentials);
  std::string directory = "/";
  if (options.directory) {
    directory = *options.directory;
  } else if (options.root == "/") {
    directory = CallersDirectory();
  }
  const auto cwd = kernel->vfs().Resolve(walk, directory, {.must_be_directory = true});
  if (!cwd.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot start in ", directory, ": ", std::strerror(cwd.error_number())));
  }
  walk.start = *cwd;

  const std::string& program = options.program[0];
  const std::string_view path = ValueOf(first.exec.envp, "PATH");
  first.exec.path = FindInPath(program, path.empty() ? "/usr/local/bin:/usr/bin:/bin" : path, kernel->vfs(), walk);
  if (first.exec.path.empty()) {
    *exit_status = kNotFound;
    return absl::NotFoundError(absl::StrCat(program, ": no such program in PATH"));
  }

  const mode_t mask = umask(022);
  umask(mask);
  first.fs_context = MakeRef<proc::FsContext>(walk.root, walk.start, mask);
  first.fds = MakeRef<fs::FdTable>(&kernel->reclaimer(), fs::FdTable::kMaxFds, &kernel->open_files());
  if (absl::Status added = inherited.AddTo(*first.fds, file_systems.streams(), terminal, kernel->vfs(), walk);
      !added.ok())
    return added;
  return first;
}

}  // namespace remora::runner
