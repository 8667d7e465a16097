#include "cpu/host_avx512.h"

#include <gtest/gtest.h>

#include <string_view>

namespace remora::cpu {
namespace {

TEST(HostAvx512Test, ItsSetsAreThoseOfThatName) {
  for (int i = 0; i <= ZYDIS_ISA_SET_MAX_VALUE; ++i) {
    const auto set = static_cast<ZydisISASet>(i);
    const char* name = ZydisISASetGetString(set);
    if (name == nullptr) continue;
    EXPECT_EQ(IsAvx512Set(set), std::string_view(name).starts_with("AVX512")) << name;
    if (IsInV4(set) || HostHasAvx512Set(set)) EXPECT_TRUE(IsAvx512Set(set)) << name;
    if (IsInV4(set)) EXPECT_EQ(HostHasAvx512Set(set), HostHasAvx512()) << name;
  }
}

}  // namespace
}  // namespace remora::cpu
