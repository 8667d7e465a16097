#include "proc/pending_signals.h"

#include "gtest/gtest.h"
#include "proc/signal_sets.h"

namespace remora::proc {
namespace {

SignalInfo Info(int signal, uint64_t value = 0) {
  SignalInfo info;
  info.signal = signal;
  info.value = value;
  return info;
}
using Added = PendingSignals::Added;
constexpr SignalSet kAll(~uint64_t{0});

TEST(PendingSignalsTest, AStandardSignalIsKeptOnce) {
  PendingSignals pending;
  EXPECT_EQ(pending.Add(Info(abi::kSIGUSR1, 1)), Added::kAdded);
  EXPECT_EQ(pending.Add(Info(abi::kSIGUSR1, 2)), Added::kMerged);
  EXPECT_EQ(pending.Take(kAll)->value, 1u);
  EXPECT_FALSE(pending.Take(kAll));
}

TEST(PendingSignalsTest, RealTimeSignalsQueueInOrder) {
  PendingSignals pending;
  for (uint64_t value : {5, 6, 7}) EXPECT_EQ(pending.Add(Info(40, value)), Added::kAdded);
  EXPECT_EQ(pending.Add(Info(35, 1)), Added::kAdded);
  EXPECT_EQ(pending.Take(kAll)->signal, 35);
  for (uint64_t value : {5, 6, 7}) EXPECT_EQ(pending.Take(kAll)->value, value);
  EXPECT_TRUE(pending.set().empty());
}

TEST(PendingSignalsTest, FaultsComeFirst) {
  PendingSignals pending;
  pending.Add(Info(abi::kSIGHUP));
  pending.Add(Info(abi::kSIGSEGV));
  EXPECT_EQ(pending.Take(kAll)->signal, abi::kSIGSEGV);
  EXPECT_EQ(pending.Take(kAll)->signal, abi::kSIGHUP);
}

TEST(PendingSignalsTest, OnlyWantedOnesAreTaken) {
  PendingSignals pending;
  pending.Add(Info(abi::kSIGUSR1));
  pending.Add(Info(abi::kSIGUSR2));
  EXPECT_EQ(pending.Take(SignalSet().With(abi::kSIGUSR2))->signal, abi::kSIGUSR2);
  EXPECT_FALSE(pending.Take(SignalSet().With(abi::kSIGUSR2)));
  pending.Discard(SignalSet().With(abi::kSIGUSR1));
  EXPECT_TRUE(pending.set().empty());
  EXPECT_EQ(pending.num_queued(), 0u);
}

TEST(PendingSignalsTest, AFloodIsBounded) {
  PendingSignals pending;
  for (size_t i = 0; i < 2 * PendingSignals::kMaxQueued; ++i) pending.Add(Info(50, i));
  EXPECT_EQ(pending.num_queued(), PendingSignals::kMaxQueued);
  pending.Add(Info(51));
  EXPECT_TRUE(pending.set().Contains(51));
  EXPECT_EQ(pending.Take(SignalSet().With(51))->code, abi::kSI_USER);
  EXPECT_FALSE(pending.set().Contains(51));
}

TEST(PendingSignalsTest, BeyondTheLimitOnlyWhatTellsNothingIsKept) {
  PendingSignals pending;
  SignalInfo queued = Info(40, 7);
  queued.code = abi::kSI_QUEUE;
  EXPECT_EQ(pending.Add(queued, 1), Added::kAdded);
  EXPECT_EQ(pending.Add(queued, 1), Added::kOverLimit);
  EXPECT_EQ(pending.Add(Info(41), 1), Added::kAdded);
  queued.signal = abi::kSIGUSR1;
  EXPECT_EQ(pending.Add(queued, 1), Added::kAdded);
  EXPECT_EQ(pending.num_queued(), 1u);
  EXPECT_EQ(pending.Take(kAll)->code, abi::kSI_USER);  // SIGUSR1 lost its value
}

TEST(PendingSignalsTest, ATimersSignalStandsForItself) {
  PendingSignals pending;
  SignalInfo timer = Info(abi::kSIGALRM);
  timer.from_timer = true;
  pending.Add(Info(abi::kSIGALRM, 1));
  for (int32_t id : {3, 4}) {
    timer.pid = id;
    EXPECT_EQ(pending.Add(timer, 0), Added::kAdded);
  }
  EXPECT_EQ(pending.num_queued(), 3u);
  pending.DiscardTimer(3);
  EXPECT_EQ(pending.Take(kAll)->value, 1u);
  EXPECT_TRUE(pending.set().Contains(abi::kSIGALRM));
  pending.DiscardTimer(4);
  EXPECT_TRUE(pending.set().empty());
}

}  // namespace
}  // namespace remora::proc
