#include "fs/inode_table.h"

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace remora::fs {
namespace {

class Numbered;
using Table = InodeTable<uint64_t, Numbered>;

class Numbered final : public RefCounted {
 public:
  Numbered(Table* table, uint64_t n) : table_(table), number(n) { ++living; }
  static inline std::atomic<int> living{0};

 private:
  ~Numbered() override { --living; }
  void OnLastRelease() override {
    table_->Remove(number, this);
    delete this;
  }
  Table* const table_;

 public:
  const uint64_t number;
};

TEST(InodeTableTest, OneObjectForANumberAsLongAsItIsUsed) {
  Table table(4);
  int made = 0;
  const auto get = [&](uint64_t n) {
    return table.GetOrCreate(n, [&] {
      ++made;
      return MakeRef<Numbered>(&table, n);
    });
  };
  Ref<Numbered> a = get(7);
  EXPECT_EQ(get(7), a);
  EXPECT_EQ(made, 1);
  EXPECT_EQ(table.Find(8), nullptr);
  a = nullptr;
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.Find(7), nullptr);
  EXPECT_EQ(get(7)->number, 7u);
  EXPECT_EQ(made, 2);
}

TEST(InodeTableTest, ThreadsAgreeOnTheObject) {
  Table table(4);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int i = 0; i < 5000; ++i) {
        const uint64_t n = random() % 8 * 1024;  // strided, as numbers of real file systems are
        Ref<Numbered> mine = table.GetOrCreate(n, [&] { return MakeRef<Numbered>(&table, n); });
        ASSERT_EQ(mine->number, n);
        ASSERT_EQ(table.Find(n), mine);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(Numbered::living, 0);
}

}  // namespace
}  // namespace remora::fs
