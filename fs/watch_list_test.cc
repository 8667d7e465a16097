#include "fs/watch_list.h"

#include <string>

#include "gtest/gtest.h"

namespace remora::fs {
namespace {

class Recorder final : public Watch {
 public:
  void OnEvent(uint32_t events, std::string_view name, uint32_t cookie) override {
    told += std::to_string(events) + ":" + std::string(name) + ":" + std::to_string(cookie) + " ";
    if (list != nullptr) list->Remove(this);
  }
  std::string told;
  WatchList* list = nullptr;
};

TEST(WatchListTest, WithoutAWatchThereIsNoList) {
  LazyWatchList watches;
  watches.Notify(1);
  EXPECT_EQ(watches.GetIfAny(), nullptr);
}

TEST(WatchListTest, EveryWatchIsToldUntilItIsRemoved) {
  LazyWatchList watches;
  const Ref<Recorder> a = MakeRef<Recorder>(), b = MakeRef<Recorder>();
  watches.Get().Add(a);
  watches.Get().Add(b);
  watches.Notify(2, "name", 7);
  watches.Get().Remove(a.get());
  watches.Notify(4);
  EXPECT_EQ(a->told, "2:name:7 ");
  EXPECT_EQ(b->told, "2:name:7 4::0 ");
}

TEST(WatchListTest, AWatchMayRemoveItselfWhenItIsTold) {
  LazyWatchList watches;
  const Ref<Recorder> once = MakeRef<Recorder>();
  once->list = &watches.Get();
  watches.Get().Add(once);
  watches.Notify(1);
  watches.Notify(1);
  EXPECT_EQ(once->told, "1::0 ");
}

}  // namespace
}  // namespace remora::fs
