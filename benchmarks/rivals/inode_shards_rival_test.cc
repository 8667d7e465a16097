// The lists and the shards say the same.

#include "benchmarks/rivals/inode_shards_rival.h"

#include <map>
#include <random>

#include "fs/inode_table.h"
#include "gtest/gtest.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {
namespace {

template <template <typename> typename Table>
class Object final : public RefCounted {
 public:
  Object(Table<Object>* table, uint64_t number, sync::Reclaimer* reclaimer = nullptr)
      : table_(table), number_(number), reclaimer_(reclaimer) {}

 private:
  ~Object() override = default;
  void OnLastRelease() override {
    table_->Remove(number_, this);
    if (reclaimer_ == nullptr) {
      delete this;
    } else {
      reclaimer_->Retire(this, [](void* self) { delete static_cast<Object*>(self); });
    }
  }
  Table<Object>* const table_;
  const uint64_t number_;
  sync::Reclaimer* const reclaimer_;  // null: nobody reads without a lock
};

template <typename T>
using Shards = fs::InodeTable<uint64_t, T>;

TEST(InodeShardsRivalTest, AnswersAsTheShardsDo) {
  sync::Reclaimer reclaimer;
  sync::Reclaimer::ReadSection section(&reclaimer);
  Shards<Object<Shards>> ours(&reclaimer);
  InodeShardsRival<Object<InodeShardsRival>> theirs;
  std::map<uint64_t, Ref<Object<Shards>>> held;
  std::map<uint64_t, Ref<Object<InodeShardsRival>>> held_of_theirs;
  std::mt19937_64 random(2);
  for (int i = 0; i < 50000; ++i) {
    const uint64_t n = random() % 300 * 64;
    bool made = false, made_theirs = false;
    switch (random() % 4) {
      case 0:
        held[n] = ours.GetOrCreate(n, [&] {
          made = true;
          return MakeRef<Object<Shards>>(&ours, n, &reclaimer);
        });
        held_of_theirs[n] = theirs.GetOrCreate(n, [&] {
          made_theirs = true;
          return MakeRef<Object<InodeShardsRival>>(&theirs, n);
        });
        ASSERT_EQ(made, made_theirs);
        break;
      case 1:
        held.erase(n);
        held_of_theirs.erase(n);
        break;
      default:
        ASSERT_EQ(ours.Find(n) != nullptr, theirs.Find(n) != nullptr);
        ASSERT_EQ(theirs.Find(n), held_of_theirs.contains(n) ? held_of_theirs[n] : nullptr);
    }
  }
}

}  // namespace
}  // namespace remora::benchmarks
