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
constexpr SignalSet kAll(~uint64_t{0});

TEST(PendingSignalsTest, AStandardSignalIsKeptOnce) {
  PendingSignals pending;
  EXPECT_TRUE(pending.Add(Info(abi::kSIGUSR1, 1)));
  EXPECT_FALSE(pending.Add(Info(abi::kSIGUSR1, 2)));
  EXPECT_EQ(pending.Take(kAll)->value, 1u);
  EXPECT_FALSE(pending.Take(kAll));
}

TEST(PendingSignalsTest, RealTimeSignalsQueueInOrder) {
  PendingSignals pending;
  for (uint64_t value : {5, 6, 7}) EXPECT_TRUE(pending.Add(Info(40, value)));
  EXPECT_TRUE(pending.Add(Info(35, 1)));
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

}  // namespace
}  // namespace remora::proc
