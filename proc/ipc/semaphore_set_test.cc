#include "proc/ipc/semaphore_set.h"

#include <random>

#include "gtest/gtest.h"

namespace remora::proc {
namespace {

constexpr IpcPermissions kForAll{.mode = 0666};

TEST(SemaphoreSetTest, AllOrNothingBesideAModel) {
  std::mt19937 random(4);
  const fs::Credentials who;
  const Ref<SemaphoreSet> set = MakeRef<SemaphoreSet>(3, kForAll, 0);
  std::vector<int> model(3);
  for (int step = 0; step < 50'000; ++step) {
    std::vector<abi::Sembuf> operations(1 + random() % 4);
    for (abi::Sembuf& each : operations)
      each = {static_cast<uint16_t>(random() % 3), static_cast<int16_t>(static_cast<int>(random() % 7) - 3), 0};
    if (random() % 50 == 0) operations[0].sem_op = 32760;
    std::vector<int> after = model;
    int expected = 0;
    size_t at = 0;
    for (; at < operations.size() && expected == 0; ++at) {
      int& value = after[operations[at].sem_num];
      const int op = operations[at].sem_op;
      if (op == 0 ? value != 0 : value + op < 0)
        expected = EAGAIN;
      else if (value + op > 32767)
        expected = ERANGE;
      value += op;
    }
    size_t blocking = 99;
    const auto result = set->Try(operations, who, step, 0, &blocking);
    ASSERT_EQ(result.error_number(), expected);
    if (expected == 0)
      model = after;
    else
      ASSERT_EQ(blocking, at - 1);
    for (uint32_t i = 0; i < 3; ++i) ASSERT_EQ(set->Get(i)->value, model[i]);
    if (random() % 100 == 0) {
      ASSERT_TRUE(set->SetValues(std::vector<uint16_t>(3, 0), 1, 0).ok());
      model.assign(3, 0);
    }
  }
}

TEST(SemaphoreSetTest, RemovalIsHeardAndFinal) {
  class Listener final : public sync::Waiter {
   public:
    ~Listener() override { Disarm(); }
    void Notify(sync::Events) override { ++times; }
    int times = 0;
  };
  const Ref<SemaphoreSet> set = MakeRef<SemaphoreSet>(1, kForAll, 0);
  Listener listener;
  set->queue().Arm(&listener, sync::kReadable | sync::kHangup);
  set->MarkRemoved();
  EXPECT_EQ(listener.times, 1);
  const abi::Sembuf up{0, 1, 0};
  size_t blocking;
  EXPECT_EQ(set->Try({&up, 1}, {}, 1, 0, &blocking).error_number(), EIDRM);
}

TEST(SemaphoreUndoTest, AdjustmentsOfAProcessAddUpAndAreTakenOnce) {
  SemaphoreUndo undo;
  undo.Note(5, 1, 0, -2);
  undo.Note(5, 1, 0, 1);
  undo.Note(5, 2, 3, 4);
  undo.Note(6, 1, 0, 9);
  undo.Note(5, 1, 1, 1);
  undo.Note(5, 1, 1, -1);
  EXPECT_EQ(undo.Find(5, 1, 0), -1);
  undo.Clear(2, ~uint32_t{0});
  const auto taken = undo.Take(5);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken.at({1, 0}), -1);
  EXPECT_TRUE(undo.Take(5).empty());
  EXPECT_EQ(undo.Find(6, 1, 0), 9);
}

}  // namespace
}  // namespace remora::proc
