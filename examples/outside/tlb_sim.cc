// Feeds a trace of addresses to remora's software TLB and prints hits, misses and evictions. A line is
//
//   R 0xADDR, W 0xADDR, F 0xADDR     a read, a write, an instruction fetch
//   X 0xADDR                         the page's translation changes (mprotect, munmap)
//   " L ADDR,SIZE" " S" " M" "I "    as valgrind prints them; other lines are left out
//
//   valgrind --tool=lackey --trace-mem=yes --log-fd=9 ls 9>&1 >/dev/null | tlb_sim
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <unordered_set>

#include "base/guest_addr.h"
#include "mm/tlb.h"
#include "mm/types.h"

namespace mm = remora::mm;

namespace {

// Every page is there, and lies where its number says.
class Identity final : public mm::TlbSource {
 public:
  Translation Translate(remora::PageNumber page, mm::Access) override {
    auto* host = reinterpret_cast<std::byte*>(remora::GuestAddr(page).value() + (uint64_t{1} << 60));
    return {.host_page = host, .frame = mm::FrameId(static_cast<uint32_t>(page.value())), .writable = true};
  }
  uint64_t generation() const override { return 1; }
  uint64_t ReplayInvalidations(uint64_t, mm::Tlb*) override { return 1; }
  Translation PrepareCode(remora::PageNumber page) override { return Translate(page, mm::Access::kFetch); }
};

}  // namespace

int main() {
  Identity source;
  const auto tlb = std::make_unique<mm::Tlb>();
  tlb->Bind(&source, 1);
  std::unordered_set<uint64_t> pages;
  uint64_t accesses = 0;
  for (std::string line; std::getline(std::cin, line);) {
    const size_t kind = line.find_first_not_of(' ');
    if (kind == std::string::npos || kind > 1 || !std::strchr("RWFXLSMI", line[kind])) continue;
    const char* text = line.c_str() + kind + 1;
    char* end = nullptr;
    const uint64_t address = std::strtoull(text, &end, 16);
    if (*text != ' ' || end == text || (*end != '\0' && *end != ',' && *end != ' ') || address >> 48 != 0) continue;
    const remora::GuestAddr addr(address);
    switch (line[kind]) {
      case 'X':
        tlb->Invalidate({addr.page(), addr.page() + 1});
        continue;
      case 'F':
      case 'I':
        tlb->Lookup<mm::Access::kFetch>(addr);
        break;
      case 'R':
      case 'L':
        tlb->Lookup<mm::Access::kRead>(addr);
        break;
      default:
        tlb->Lookup<mm::Access::kWrite>(addr);
    }
    ++accesses;
    pages.insert(addr.page().value());
  }
  if (accesses == 0) {
    std::fprintf(stderr, "tlb_sim: no line of a trace on standard input\n");
    return 1;
  }
  const mm::Tlb::Counters counters = tlb->counters();
  std::printf("%" PRIu64 " accesses to %zu pages; %u sets of %u ways\n", accesses, pages.size(), mm::Tlb::kSets,
              mm::Tlb::kWays);
  const auto print = [&](const char* what, uint64_t n) {
    std::printf("  %-24s %12" PRIu64 "  %8.4f %%\n", what, n,
                100.0 * static_cast<double>(n) / static_cast<double>(accesses));
  };
  print("hits in the first way", counters.hits);
  print("hits in another way", counters.way_hits);
  print("misses", counters.misses);
  print("evicted by another page", counters.evictions_by_conflict);
  print("evicted by a change", counters.evictions_by_range);
  return 0;
}
