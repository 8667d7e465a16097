// Prints where paths lead, without symlinks, "." and "..": as realpath(1), but inside a tree of your choice, where "/"
// and symlinks to absolute paths mean the tree's own and no ".." leaves it, as chroot(1) would see it, without root:
// remora's path walk on a host folder.
//
//   path_normalize [--root=DIR] PATH...      (or one path a line on standard input)
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "fs/hostfs/host_file_system.h"
#include "fs/vfs.h"
#include "sync/reclaimer.h"

namespace fs = remora::fs;

int main(int argc, char** argv) {
  std::string root = "/";
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--root=")) {
      root = argument.substr(7);
    } else {
      paths.emplace_back(argument);
    }
  }
  if (paths.empty())
    for (std::string line; std::getline(std::cin, line);) paths.push_back(line);

  remora::HostClock clock;
  remora::sync::Reclaimer reclaimer;
  const auto vfs = std::make_unique<fs::Vfs>(&clock, &reclaimer);
  auto tree = fs::HostFileSystem::Create(
      {.directory = root, .device_id = vfs->NewDeviceId(), .reclaimer = &reclaimer, .stream = {}});
  if (!tree.ok()) {
    std::fprintf(stderr, "path_normalize: %s\n", std::string(tree.status().message()).c_str());
    return 2;
  }
  vfs->MountRoot(*std::move(tree), 0);

  int failures = 0;
  remora::sync::Reclaimer::ReadSection reading(&reclaimer);
  fs::WalkContext walk{.root = vfs->root(), .start = vfs->root(), .credentials = {}, .caller = {}};
  // Paths that are not absolute begin where we are, if that is in the tree.
  if (const std::unique_ptr<char, void (*)(void*)> cwd(realpath(".", nullptr), std::free); cwd && root == "/")
    if (auto here = vfs->Resolve(walk, cwd.get()); here.ok()) walk.start = *here;
  for (const std::string& path : paths) {
    if (const auto found = vfs->Resolve(walk, path); found.ok()) {
      std::printf("%s\n", vfs->NameOf(*found, walk.root).c_str());
    } else {
      std::fprintf(stderr, "path_normalize: %s: %s\n", path.c_str(), std::strerror(found.error_number()));
      ++failures;
    }
  }
  const fs::Vfs::Counters counters = vfs->counters();
  std::fprintf(stderr, "%zu paths; names found in the cache %llu times, asked of the host %llu times\n", paths.size(),
               static_cast<unsigned long long>(counters.dentry_hits + counters.negative_hits),
               static_cast<unsigned long long>(counters.dentry_misses));
  return failures != 0;
}
