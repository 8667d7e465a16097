#include "benchmarks/rivals/fd_table_lookup_rival.h"

#include <random>

#include "benchmarks/fake_file.h"
#include "fs/fd_table.h"
#include "gtest/gtest.h"

namespace remora::benchmarks {
namespace {

TEST(FdTableLookupRivalTest, AnswersAsFdTableDoes) {
  sync::Reclaimer reclaimer;
  const sync::Reclaimer::ReadSection section(&reclaimer);
  Ref<fs::FdTable> table = MakeRef<fs::FdTable>(&reclaimer);
  FdTableLookupRival rival;
  std::mt19937 random(3);
  for (int i = 0; i < 20'000; ++i) {
    const auto fd = static_cast<int32_t>(random() % 300);
    if (random() % 4 == 0) {
      Ref<fs::File> file = MakeRef<FakeFile>();
      rival.Set(fd, file);
      ASSERT_TRUE(table->Set(fd, file, false).ok());
    } else if (random() % 4 == 0) {
      rival.Set(fd, nullptr);
      (void)table->Close(fd);
    }
    const auto looked_for = static_cast<int32_t>(random() % 320) - 10;
    const auto mine = table->Lookup(looked_for), its = rival.Lookup(looked_for);
    ASSERT_EQ(mine.error_number(), its.error_number());
    if (mine.ok()) ASSERT_EQ(mine->get(), its->get());
  }
}

}  // namespace
}  // namespace remora::benchmarks
