#include "benchmarks/rivals/soft_tlb_rival.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>

#include "base/guest_addr.h"
#include "mm/address_space.h"
#include "mm/memory_for_testing.h"
#include "mm/tlb.h"

namespace remora::benchmarks {
namespace {

constexpr uint64_t kNumPages = 3000;
const GuestAddr kBase(0x10000000);

// Both follow one address space, and give the same answers whatever happens to it.
TEST(SoftTlbRivalTest, AnswersAsTheTlb) {
  mm::MemoryForTesting memory;
  const Ref<mm::AddressSpace> space = mm::AddressSpace::Create(&memory.context, memory.layout);
  auto tlb = std::make_unique<mm::Tlb>();
  tlb->Bind(space.get(), space->id());
  auto rival = std::make_unique<DirectMappedTlb>(space.get());
  std::mt19937 random(5);
  const auto below = [&](uint64_t n) { return random() % n; };
  ASSERT_TRUE(space->Map(mm::FixedRequest(kBase, kNumPages)).ok());
  int faults = 0;
  for (int step = 0; step < 200000; ++step) {
    const GuestAddr addr = kBase + below(kNumPages) * kPageSize;
    switch (below(40)) {
      case 0:
        static_cast<void>(space->Protect(addr, kPageSize, mm::Protection(below(2) == 0 ? 1 : 3)).ok());  // or a hole
        break;
      case 1:
        ASSERT_TRUE(space->Unmap(addr, kPageSize).ok());
        break;
      case 2:
      case 3:
        ASSERT_TRUE(space->Map(mm::FixedRequest(addr, 1)).ok());
        break;
      default: {
        const bool write = below(2) == 0;
        std::byte *ours, *theirs;
        do {
          tlb->Synchronize();
          ours = write ? tlb->Lookup<mm::Access::kWrite>(addr) : tlb->Lookup<mm::Access::kRead>(addr);
        } while (ours == nullptr && tlb->last_fault().kind == mm::FaultKind::kMustWait);
        do {
          rival->Synchronize();
          theirs = write ? rival->Lookup<mm::Access::kWrite>(addr) : rival->Lookup<mm::Access::kRead>(addr);
        } while (theirs == nullptr && rival->last_fault().kind == mm::FaultKind::kMustWait);
        // The write of the one may have replaced the zero page that the other saw before.
        tlb->Synchronize();
        if (ours != nullptr) {
          ASSERT_EQ(tlb->Lookup<mm::Access::kRead>(addr), theirs) << step;
        } else {
          ASSERT_EQ(theirs, nullptr) << step;
          ASSERT_EQ(tlb->last_fault().kind, rival->last_fault().kind) << step;
          ++faults;
        }
      }
    }
    if (step % 1024 == 0) memory.Settle();
  }
  EXPECT_GT(faults, 100);
}

}  // namespace
}  // namespace remora::benchmarks
