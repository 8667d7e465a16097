#include "cpu/translator/host_gs_base.h"

#include <asm/prctl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <thread>

namespace remora::cpu::translator {
namespace {

const void* Base() {
  uint64_t base = 0;
  EXPECT_EQ(syscall(SYS_arch_prctl, ARCH_GET_GS, &base), 0);
  return reinterpret_cast<const void*>(base);
}
void SetOtherwise(const void* base) { ASSERT_EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, base), 0); }

TEST(HostGsBaseTest, IsWhatWasSetLast) {
  const int one = 0, other = 0;
  for (const void* base : {static_cast<const void*>(&one), static_cast<const void*>(&other),
                           static_cast<const void*>(&one), static_cast<const void*>(nullptr)}) {
    SetHostGsBase(base);
    EXPECT_EQ(Base(), base);
  }
}

TEST(HostGsBaseTest, TheSameAgainAsksTheHostForNothing) {
  const int one = 0, other = 0;
  SetHostGsBase(&one);
  SetOtherwise(&other);
  SetHostGsBase(&one);
  EXPECT_EQ(Base(), &other);
  ForgetHostGsBase();
  SetHostGsBase(&one);
  EXPECT_EQ(Base(), &one);
}

// A new thread has its parent's, but does not know that.
TEST(HostGsBaseTest, EachThreadHasItsOwn) {
  const int one = 0, other = 0;
  SetHostGsBase(&one);
  std::thread([&] {
    SetOtherwise(&other);
    SetHostGsBase(&one);
    EXPECT_EQ(Base(), &one);
    SetHostGsBase(&other);
  }).join();
  EXPECT_EQ(Base(), &one);
}

}  // namespace
}  // namespace remora::cpu::translator
