#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "gtest/gtest.h"
#include "mm/address_space.h"
#include "mm/memory_for_testing.h"
#include "mm/page_cache.h"
#include "mm/types.h"

// The same calls on the host's kernel and on an AddressSpace, in a window of low addresses that no host library uses:
// errors, rights and contents must agree page by page. Where Linux keeps VMAs apart that Remora merges shows in
// /proc/PID/maps only; mremap is asked for single pages, so that it cannot tell.

namespace remora::mm {
namespace {

constexpr uint64_t kWindow = 0x20000000;
constexpr uint64_t kPages = 48;

uint64_t At(uint64_t page) { return kWindow + page * kPageSize; }
void* HostAt(uint64_t page) { return reinterpret_cast<void*>(At(page)); }

// Rights by page of the window, "-" for none, as the host sees them.
std::vector<std::string> HostRights() {
  std::vector<std::string> rights(kPages, "-");
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uint64_t start = 0, end = 0;
    char text[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &start, &end, text) != 3) continue;
    for (uint64_t page = 0; page < kPages; ++page)
      if (At(page) >= start && At(page) < end) rights[page] = text;
  }
  return rights;
}

std::vector<std::string> OurRights(const AddressSpace& space) {
  std::vector<std::string> rights(kPages, "-");
  space.ForEachMapping([&](const MappingInfo& m) {
    for (uint64_t page = 0; page < kPages; ++page) {
      if (!m.range.Contains(GuestAddr(At(page)).page())) continue;
      const uint8_t bits = m.protection.bits();
      rights[page] = {(bits & 1) != 0 ? 'r' : '-', (bits & 2) != 0 ? 'w' : '-', (bits & 4) != 0 ? 'x' : '-',
                      m.shared ? 's' : 'p'};
    }
  });
  return rights;
}

// The host kernel's own copies to and from user memory answer without a signal, with the rights that the CPU has.
class HostBytes {
 public:
  HostBytes() { EXPECT_EQ(pipe(ends_), 0); }
  ~HostBytes() {
    close(ends_[0]);
    close(ends_[1]);
  }
  // -1 where it cannot be read.
  int64_t Load(uint64_t page) {
    unsigned char byte = 0;
    if (write(ends_[1], HostAt(page), 1) != 1) return -1;
    EXPECT_EQ(read(ends_[0], &byte, 1), 1);
    return byte;
  }
  int Store(uint64_t page, unsigned char byte) {
    EXPECT_EQ(write(ends_[1], &byte, 1), 1);
    if (read(ends_[0], HostAt(page), 1) == 1) return 0;
    const int error = errno;
    EXPECT_EQ(read(ends_[0], &byte, 1), 1);
    return error;
  }

 private:
  int ends_[2];
};

// -1 where it cannot be read.
int64_t OurByte(AddressSpace& space, uint64_t page) {
  std::byte byte{0};
  return space.ReadRemote(GuestAddr(At(page)), std::span(&byte, 1)) == 1 ? static_cast<int64_t>(byte) : -1;
}

int HostError(const void* result) { return result == MAP_FAILED ? errno : 0; }
int HostError(int result) { return result != 0 ? errno : 0; }

class OracleTest : public ::testing::TestWithParam<int> {
 protected:
  OracleTest() { munmap(HostAt(0), kPages * kPageSize); }
  ~OracleTest() override { munmap(HostAt(0), kPages * kPageSize); }
  MemoryForTesting memory_;
  Ref<AddressSpace> space_ = AddressSpace::Create(&memory_.context, memory_.layout);
};

TEST_P(OracleTest, AgreesWithTheHostKernel) {
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()));
  HostBytes bytes;
  const int file = memfd_create("oracle", 0);
  ASSERT_EQ(ftruncate(file, 8 * kPageSize), 0);
  const Ref<FilePages> object = CreateSharedAnonymous(&memory_.context, 8 * kPageSize);
  for (int step = 0; step < 1200; ++step) {
    const uint64_t first = random() % kPages, count = random() % std::min<uint64_t>(10, kPages - first + 1);
    const uint64_t skew = random() % 16 == 0 ? 1 + random() % 4095 : 0;  // of the address or the length
    // Not PROT_EXEC alone: a host with protection keys makes that unreadable, one without does not.
    const int rights = std::array{0, 1, 2, 3, 1, 5, 6, 7}[random() % 8];
    const uint64_t length = count * kPageSize;
    const GuestAddr at(At(first));
    int host = 0, ours = 0;
    std::string what;
    switch (random() % 12) {
      case 0:
      case 1: {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (random() % 3 == 0 ? MAP_FIXED_NOREPLACE : MAP_FIXED);
        what = "mmap anonymous";
        host = HostError(mmap(reinterpret_cast<void*>(at.value() + skew), length, rights, flags, -1, 0));
        MapRequest request = FixedRequest(at + skew, count, Protection(static_cast<uint8_t>(rights)));
        if ((flags & MAP_FIXED) == 0) request.placement = MapRequest::Placement::kFixedNoReplace;
        ours = space_->Map(request).error_number();
        break;
      }
      case 2: {
        const bool shared = random() % 2 == 0;
        const uint64_t offset = (random() % 10) * kPageSize;
        what = shared ? "mmap shared file" : "mmap private file";
        host = HostError(mmap(HostAt(first), length, rights, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, file,
                              static_cast<off_t>(offset)));
        MapRequest request = FixedRequest(at, count, Protection(static_cast<uint8_t>(rights)));
        request.object = object;
        request.shared = shared;
        request.offset_bytes = offset;
        ours = space_->Map(request).error_number();
        break;
      }
      case 3:
        what = "munmap";
        host = HostError(munmap(reinterpret_cast<void*>(at.value() + (skew % 2 ? skew : 0)), length + skew));
        ours = space_->Unmap(at + (skew % 2 ? skew : 0), length + skew).error_number();
        break;
      case 4:
      case 5:
        what = "mprotect";
        host = HostError(mprotect(reinterpret_cast<void*>(at.value() + (skew % 2 ? skew : 0)), length + skew, rights));
        ours = space_->Protect(at + (skew % 2 ? skew : 0), length + skew, Protection(static_cast<uint8_t>(rights)))
                   .error_number();
        break;
      case 6:
        what = "madvise";
        host = HostError(madvise(reinterpret_cast<void*>(at.value() + skew), length, MADV_DONTNEED));
        ours = space_->DiscardPages(at + skew, length).error_number();
        break;
      case 7: {
        // Growth in place; no farther than the window.
        if (first + count > kPages) break;
        what = "mremap in place";
        host = HostError(mremap(reinterpret_cast<void*>(at.value() + skew), kPageSize, length, 0));
        AddressSpace::RemapRequest request{at + skew, kPageSize, length};
        ours = space_->Remap(request).error_number();
        break;
      }
      case 8: {
        const uint64_t to = random() % (kPages - 3);
        const uint64_t new_length = (1 + random() % 3) * kPageSize;
        const bool keep = new_length == kPageSize && random() % 2 == 0;
        what = keep ? "mremap dontunmap" : "mremap fixed";
        host = HostError(mremap(HostAt(first), kPageSize, new_length,
                                MREMAP_MAYMOVE | MREMAP_FIXED | (keep ? MREMAP_DONTUNMAP : 0), HostAt(to)));
        AddressSpace::RemapRequest request{at, kPageSize, new_length, true, true, keep, GuestAddr(At(to))};
        ours = space_->Remap(request).error_number();
        break;
      }
      case 9:
        what = "ftruncate";
        host = HostError(ftruncate(file, static_cast<off_t>(length)));
        ours = object->Truncate(length).error_number();
        break;
      default: {
        what = "store";
        const auto byte = static_cast<unsigned char>(1 + random() % 255);
        host = bytes.Store(first, byte);
        const auto our_byte = static_cast<std::byte>(byte);
        ours = space_->WriteRemote(at, std::span(&our_byte, 1)) == 1 ? 0 : EFAULT;
      }
    }
    ASSERT_EQ(ours, host) << what << " page " << first << " count " << count << " skew " << skew << " step " << step;
    if (what == "store" && step % 8 != 0) continue;
    ASSERT_EQ(OurRights(*space_), HostRights()) << what << " step " << step;
    for (uint64_t page = 0; page < kPages; ++page)
      ASSERT_EQ(OurByte(*space_, page), bytes.Load(page)) << what << " page " << page << " step " << step;
    space_->CheckInvariants();
  }
  close(file);
}

INSTANTIATE_TEST_SUITE_P(Seeds, OracleTest, ::testing::Range(1, 5));

}  // namespace
}  // namespace remora::mm
