#include "cpu/translator/routines.h"

#include <gtest/gtest.h>

#include "cpu/translator/code_buffer.h"

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

}  // namespace
}  // namespace remora::cpu::translator
