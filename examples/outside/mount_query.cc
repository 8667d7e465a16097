// For each absolute path on standard input: which line of a mount table (/proc/self/mounts, or a file given) it lies
// on, and the rest of the path behind it: remora's mount index on its own.
//
//   printf '/dev/shm/x\n/home/me\n' | mount_query /proc/self/mounts
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "base/ref_counted.h"
#include "fs/mount_index.h"
#include "sync/reclaimer.h"

namespace {
struct MountLine final : remora::RefCounted {
  MountLine(std::string source, std::string target) : source(std::move(source)), target(std::move(target)) {}
  const std::string source, target;
};
}  // namespace

int main(int argc, char** argv) {
  std::ifstream table(argc > 1 ? argv[1] : "/proc/self/mounts");
  if (!table) {
    std::fprintf(stderr, "mount_query: cannot open the mount table\n");
    return 1;
  }
  remora::sync::Reclaimer reclaimer;
  int found = 0;
  {
    remora::fs::MountIndex<MountLine> index(&reclaimer);
    for (std::string line; std::getline(table, line);) {
      std::istringstream words(line);
      std::string source, target;
      if (words >> source >> target && target.starts_with('/'))
        index.Set(target, remora::MakeRef<MountLine>(source, target));
    }
    remora::sync::Reclaimer::ReadSection reading(&reclaimer);
    for (std::string path; std::getline(std::cin, path);) {
      if (!path.starts_with('/')) continue;
      const auto match = index.Lookup(path);
      if (match.value == nullptr) {
        std::printf("%s: on no mount\n", path.c_str());
        continue;
      }
      std::printf("%s: %s on %s, then \"%.*s\"\n", path.c_str(), match.value->source.c_str(),
                  match.value->target.c_str(), static_cast<int>(match.suffix.size()), match.suffix.data());
      ++found;
    }
  }
  return found == 0;
}
