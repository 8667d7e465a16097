#include "cpu/translator/routines.h"

#include <asm/prctl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xbyak/xbyak.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "base/zeroed.h"
#include "cpu/translator/code_buffer.h"
#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {
namespace {

constexpr uint64_t kMegabyte = uint64_t{1} << 20;

// MakeRoutines checks it. They are only put together here, so whichever host runs this sees whether there is room for
// every host's.
TEST(RoutinesTest, ThereIsRoomForThemWhetherTheHostHasAvx512OrNot) {
  for (const bool has_avx512 : {false, true}) {
    SCOPED_TRACE(has_avx512);
    CodeBuffer buffer(kMegabyte);
    const Routines routines = MakeRoutines(&buffer, HostCalls{}, has_avx512);
    EXPECT_EQ(routines.load_avx512 > routines.load_vectors, has_avx512);
  }
}

// A site that calls a routine of access, as a block would: on the context's stack, with the address in R11.
class SiteCode : public Xbyak::CodeGenerator {
 public:
  explicit SiteCode(const void* routine) {
    constexpr auto kR10 = static_cast<int>(offsetof(GuestContext, r10));
    constexpr auto kHostRsp = static_cast<int>(offsetof(GuestContext, host_rsp));
    Xbyak::Label back;
    mov(qword[rdi + kHostRsp], rsp);
    lea(rsp, ptr[rdi + kR10]);
    mov(r11, rsi);
    mov(rax, reinterpret_cast<uint64_t>(routine));
    call(rax);
    const size_t returns_to = getSize();
    jmp(back, T_NEAR);
    db(0xa9);  // TEST EAX, site
    site_at_ = getSize();
    EXPECT_EQ(site_at_ - returns_to, Routines::kSiteBehindReturn);
    dd(0);
    L(back);
    mov(rax, r11);
    mov(rsp, qword[rsp + (kHostRsp - kR10)]);
    ret();
  }

  uint64_t Run(GuestContext* context, AccessSite site, uint64_t address) {
    rewrite(site_at_, std::bit_cast<uint32_t>(site), sizeof(site));
    return getCode<uint64_t (*)(GuestContext*, uint64_t)>()(context, address);
  }

 private:
  size_t site_at_ = 0;
};

TEST(RoutinesTest, AMissIsRecordedInTheSitesOwnExtent) {
  CodeBuffer buffer(kMegabyte);
  const Routines routines = MakeRoutines(&buffer, HostCalls{}, /*has_avx512=*/false);
  const Zeroed<GuestContext> context = MakeZeroed<GuestContext>();
  ASSERT_EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, context.get()), 0);
  constexpr uint64_t kStart = 0x7000000, kRunBytes = 0x5000, kHost = 0x123456000, kAddress = kStart + 0x1230;
  constexpr uint64_t kLargest = uint64_t{1} << (kSizeClasses - 1);
  for (auto& of_right : context->recents)
    of_right[GuestContext::RecentIndex(kAddress)] = {
        .start = kStart, .limit = kRunBytes - kLargest + 1, .delta = kHost - kStart, .host = kHost};
  // All were recorded once.
  for (uint32_t number = 0; number < 2 * kNumExtents; ++number) context->extent(number).host = 1;
  for (uint32_t i = 0; i < GuestContext::kArrivals; ++i) context->arrivals(i) = 5;
  std::vector<ExtentRow> expected(context->extent_rows.begin(), context->extent_rows.end());
  for (const bool as_delta : {false, true}) {
    SiteCode code[2] = {SiteCode((as_delta ? routines.access_delta : routines.access)[0]),
                        SiteCode((as_delta ? routines.access_delta : routines.access)[1])};
    for (uint32_t number = 0; number < 2 * kNumExtents; ++number) {
      AccessSite site = {};
      site.extent = number % kNumExtents;
      site.write = number / kNumExtents;
      const uint64_t size = site.extent_size();
      site.size_less_one = static_cast<uint32_t>(size - 1) & 0x1ff;
      context->extent(number) = {.host = 1};
      context->misses = UINT32_MAX;  // its turn
      context->records = 0;
      ASSERT_EQ(code[site.write].Run(context.get(), site, kAddress), as_delta ? kHost - kStart : kHost + 0x1230);
      const Extent& extent = context->extent(number);
      ASSERT_EQ(extent.start, kStart) << number;
      ASSERT_EQ(extent.limit, kRunBytes - size + 1) << number;
      ASSERT_EQ(extent.host, kHost) << number;
      ASSERT_EQ(extent.delta, kHost - kStart) << number;
      expected[number / ExtentRow::kExtents].extents[number % ExtentRow::kExtents] = extent;
    }
    EXPECT_EQ(std::memcmp(expected.data(), context->extent_rows.data(), sizeof(context->extent_rows)), 0);
  }
  ASSERT_EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, 0), 0);
}

TEST(RoutinesTest, NamesAreForAllThatStaysInTheBuffer) {
  CodeBuffer buffer(kMegabyte);
  const Routines routines = MakeRoutines(&buffer, HostCalls{}, /*has_avx512=*/false);
  std::map<std::string_view, std::span<const std::byte>> names;
  const std::byte* next = buffer.permanent();
  for (const NamedCode& routine : NamesOf(routines, buffer)) {
    EXPECT_EQ(routine.code.data(), next) << routine.name;
    EXPECT_FALSE(routine.code.empty()) << routine.name;
    EXPECT_TRUE(names.emplace(routine.name, routine.code).second) << routine.name;
    next = routine.code.data() + routine.code.size();
  }
  EXPECT_EQ(next, buffer.permanent() + CodeBuffer::kPermanentBytes);
  EXPECT_EQ(names["access_delta_write"].data(), routines.access_delta[1]);
  EXPECT_EQ(names["enter"].data(), reinterpret_cast<const std::byte*>(routines.enter));
  EXPECT_EQ(names["way_thunks"].size(), 2 * GuestContext::kWays * GuestContext::kWayThunkBytes);
  EXPECT_FALSE(names.contains("load_avx512"));
}

}  // namespace
}  // namespace remora::cpu::translator
