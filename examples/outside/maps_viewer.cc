// Prints the mappings of a /proc/PID/maps (a file, or standard input) and the largest holes between them: remora's hole
// tracker on its own.
//
//   cat /proc/self/maps | maps_viewer
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "base/guest_addr.h"
#include "mm/hole_tracker.h"

int main(int argc, char** argv) {
  std::ifstream file;
  if (argc > 1) {
    file.open(argv[1]);
    if (!file) {
      std::fprintf(stderr, "maps_viewer: cannot open %s\n", argv[1]);
      return 1;
    }
  }
  std::istream& in = argc > 1 ? static_cast<std::istream&>(file) : std::cin;

  remora::mm::HoleTracker holes;
  uint64_t mapped_pages = 0, mappings = 0;
  for (std::string line; std::getline(in, line);) {
    uint64_t start = 0, end = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &start, &end) != 2) continue;
    if (start >= end || end > remora::kUserAddressEnd) continue;  // vsyscall lies behind user space
    const remora::PageRange range{remora::GuestAddr(start).page(), remora::GuestAddr(end).page()};
    holes.Reserve(range);
    mapped_pages += range.num_pages();
    ++mappings;
  }
  std::printf("%" PRIu64 " mappings, %" PRIu64 " KiB; %" PRIu64 " holes\n", mappings, mapped_pages * 4,
              holes.num_holes());

  std::vector<remora::PageRange> all;
  holes.ForEachHole([&](remora::PageRange hole) { all.push_back(hole); });
  std::sort(all.begin(), all.end(), [](auto a, auto b) { return a.num_pages() > b.num_pages(); });
  for (size_t i = 0; i < std::min<size_t>(all.size(), 10); ++i)
    std::printf("  hole %012" PRIx64 "-%012" PRIx64 " %12" PRIu64 " KiB\n", all[i].start_addr().value(),
                all[i].end_addr().value(), all[i].num_pages() * 4);
  const auto fit = holes.FindTopmost(1 << 18, holes.space());
  if (fit) std::printf("the next mapping of 1 GiB would go to %012" PRIx64 "\n", fit->start_addr().value());
  return mappings == 0;
}
