#include "benchmarks/rivals/close_outside_lock_rival.h"

#include <random>

#include "benchmarks/fake_file.h"
#include "fs/fd_table.h"
#include "gtest/gtest.h"

namespace remora::benchmarks {
namespace {

TEST(CloseOutsideLockRivalTest, ClosesWhatFdTableCloses) {
  sync::Reclaimer reclaimer;
  const sync::Reclaimer::ReadSection section(&reclaimer);
  Ref<fs::FdTable> table = MakeRef<fs::FdTable>(&reclaimer);
  CloseOutsideLockRival rival;
  int closes = 0, rival_closes = 0;
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const auto fd = static_cast<int32_t>(random() % 200);
    if (random() % 500 == 0) {
      table->CloseOnExec();
      rival.CloseOnExec();
    } else if (random() % 2 == 0) {
      const bool close_on_exec = random() % 2 == 0;
      ASSERT_TRUE(table->Set(fd, MakeRef<FakeFile>([&] { ++closes; }), close_on_exec).ok());
      rival.Set(fd, MakeRef<FakeFile>([&] { ++rival_closes; }), close_on_exec);
    } else {
      ASSERT_EQ(table->Close(fd).error_number(), rival.Close(fd).error_number());
    }
    ASSERT_EQ(table->Lookup(fd).error_number(), rival.Lookup(fd).error_number());
    ASSERT_EQ(closes, rival_closes);
  }
}

}  // namespace
}  // namespace remora::benchmarks
