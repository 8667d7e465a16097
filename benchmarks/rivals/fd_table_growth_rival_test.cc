#include "benchmarks/rivals/fd_table_growth_rival.h"

#include <random>

#include "benchmarks/fake_file.h"
#include "fs/fd_table.h"
#include "gtest/gtest.h"

namespace remora::benchmarks {
namespace {

TEST(FdTableGrowthRivalTest, HandsOutTheSameNumbers) {
  sync::Reclaimer reclaimer;
  const sync::Reclaimer::ReadSection section(&reclaimer);
  Ref<fs::FdTable> table = MakeRef<fs::FdTable>(&reclaimer);
  FdTableGrowthRival rival;
  const Ref<fs::File> file = MakeRef<FakeFile>();
  std::mt19937 random(5);
  for (int i = 0; i < 20'000; ++i) {
    const auto n = static_cast<int32_t>(random() % 520) - 10;
    if (random() % 2 == 0) {
      const auto mine = table->Add(file, false, n, 500), its = rival.Add(file, n, 500);
      ASSERT_EQ(mine.error_number(), its.error_number());
      if (mine.ok()) ASSERT_EQ(*mine, *its);
    } else {
      ASSERT_EQ(table->Close(n).error_number(), rival.Close(n).error_number());
    }
  }
}

}  // namespace
}  // namespace remora::benchmarks
