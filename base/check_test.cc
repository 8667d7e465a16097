#include "base/check.h"

#include <gtest/gtest.h>

namespace remora {
namespace {

TEST(CheckDeathTest, NamesThePlaceTheConditionAndTheMessage) {
  EXPECT_DEATH(CHECK_MSG(1 + 1 == 3, "sums are off"), "remora: internal error at .*check_test.cc:.*1 \\+ 1 == 3.*sums");
}

TEST(CheckTest, PassesWhereTrue) {
  int evaluated = 0;
  CHECK(++evaluated == 1);
  EXPECT_EQ(evaluated, 1);
}

TEST(CheckTest, DcheckIsEvaluatedInDebugBuildsOnly) {
  int evaluated = 0;
  DCHECK(++evaluated == 1);
#ifdef NDEBUG
  EXPECT_EQ(evaluated, 0);
#else
  EXPECT_EQ(evaluated, 1);
#endif
}

}  // namespace
}  // namespace remora
