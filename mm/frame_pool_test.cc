#include "mm/frame_pool.h"

#include <cstddef>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "base/guest_addr.h"
#include "gtest/gtest.h"
#include "mm/types.h"

namespace remora::mm {
namespace {

class CountingObserver final : public CodeObserver {
 public:
  void DropCode(FrameId frame) override { dropped.push_back(frame); }
  std::vector<FrameId> dropped;
};

TEST(FramePoolTest, AReusedFrameIsZeroAgain) {
  FramePool pool({.max_bytes = 4 * kPageSize});
  const FrameId first = *pool.AllocateZeroed();
  std::memset(pool.Data(first), 0x5a, kPageSize);
  pool.Release(first);
  const FrameId again = *pool.AllocateZeroed();
  for (uint64_t i = 0; i < kPageSize; ++i) ASSERT_EQ(pool.Data(again)[i], std::byte{0});
  pool.Release(again);
}

TEST(FramePoolTest, AFullPoolAnswersEnomemUntilAFrameIsReleased) {
  FramePool pool({.max_bytes = 4 * kPageSize});  // one of them is the zero frame
  std::vector<FrameId> frames;
  for (int i = 0; i < 3; ++i) frames.push_back(*pool.AllocateUninitialized());
  EXPECT_EQ(pool.AllocateZeroed().error_number(), ENOMEM);
  pool.AddRef(frames[1]);
  pool.Release(frames[1]);
  EXPECT_EQ(pool.AllocateZeroed().error_number(), ENOMEM);
  pool.Release(frames[1]);
  EXPECT_EQ(*pool.AllocateZeroed(), frames[1]);
  EXPECT_EQ(pool.num_allocated(), 3u);
  for (const FrameId frame : frames) pool.Release(frame);
}

TEST(FramePoolTest, ReleaseUnlessLastKeepsTheLastReference) {
  FramePool pool({.max_bytes = 4 * kPageSize});
  const FrameId frame = *pool.AllocateZeroed();
  pool.AddRef(frame);
  EXPECT_TRUE(pool.ReleaseUnlessLast(frame));
  EXPECT_FALSE(pool.ReleaseUnlessLast(frame));
  EXPECT_EQ(pool.ref_count(frame), 1u);
  pool.Release(frame);
}

TEST(FramePoolTest, WritingDropsCode) {
  FramePool pool({.max_bytes = 4 * kPageSize});
  CountingObserver observer;
  pool.set_code_observer(&observer);
  const FrameId frame = *pool.AllocateZeroed();
  EXPECT_EQ(pool.BeginCode(frame), FramePool::CodeState::kReady);
  EXPECT_TRUE(observer.dropped.empty());
  pool.PrepareWrite(frame);
  EXPECT_EQ(observer.dropped, std::vector<FrameId>{frame});
  EXPECT_EQ(pool.bits(frame), FramePool::kEverWritable | FramePool::kDirty);
  pool.PrepareWrite(frame);
  EXPECT_EQ(observer.dropped.size(), 1u);
  pool.Release(frame);
}

TEST(FramePoolTest, CodeOfAWrittenFrameNeedsARevocation) {
  FramePool pool({.max_bytes = 4 * kPageSize});
  const FrameId frame = *pool.AllocateZeroed();
  pool.PrepareWrite(frame);
  EXPECT_EQ(pool.BeginCode(frame), FramePool::CodeState::kMustRevoke);
  EXPECT_EQ(pool.BeginCode(frame), FramePool::CodeState::kAwaitingAcks);
  EXPECT_TRUE(pool.FinishRevocation(frame));
  EXPECT_EQ(pool.bits(frame) & FramePool::kEverWritable, 0);
  EXPECT_EQ(pool.BeginCode(frame), FramePool::CodeState::kReady);
  pool.Release(frame);
}

TEST(FramePoolTest, AWriteDuringTheRevocationUndoesIt) {
  FramePool pool({.max_bytes = 4 * kPageSize});
  const FrameId frame = *pool.AllocateZeroed();
  pool.PrepareWrite(frame);
  EXPECT_EQ(pool.BeginCode(frame), FramePool::CodeState::kMustRevoke);
  pool.PrepareWrite(frame);
  EXPECT_FALSE(pool.FinishRevocation(frame));
  EXPECT_EQ(pool.BeginCode(frame), FramePool::CodeState::kMustRevoke);
  pool.Release(frame);
}

TEST(FramePoolTest, TheEndOfAKernelWriteDropsCodeMadeMeanwhile) {
  FramePool pool({.max_bytes = 4 * kPageSize});
  CountingObserver observer;
  pool.set_code_observer(&observer);
  const FrameId frame = *pool.AllocateZeroed();
  pool.PrepareWrite(frame);
  ASSERT_EQ(pool.BeginCode(frame), FramePool::CodeState::kMustRevoke);
  ASSERT_TRUE(pool.FinishRevocation(frame));
  pool.FinishKernelWrite(frame);
  EXPECT_EQ(observer.dropped.size(), 1u);
  pool.Release(frame);
}

TEST(FramePoolTest, FreeingAFrameWithCodeDropsIt) {
  FramePool pool({.max_bytes = 4 * kPageSize});
  CountingObserver observer;
  pool.set_code_observer(&observer);
  const FrameId frame = *pool.AllocateZeroed();
  ASSERT_EQ(pool.BeginCode(frame), FramePool::CodeState::kReady);
  pool.Release(frame);
  EXPECT_EQ(observer.dropped, std::vector<FrameId>{frame});
  const FrameId again = *pool.AllocateZeroed();
  EXPECT_EQ(pool.bits(again), 0);
  pool.Release(again);
}

TEST(FramePoolTest, FramesThatGaveTheirMemoryBackAreZeroToo) {
  constexpr uint32_t kMany = 40000;  // more than stay warm
  FramePool pool({.max_bytes = (kMany + 1) * kPageSize});
  std::vector<FrameId> frames;
  for (uint32_t i = 0; i < kMany; ++i) {
    frames.push_back(*pool.AllocateUninitialized());
    if (i % 50 == 0) pool.Data(frames.back())[7] = std::byte{1};
  }
  for (const FrameId frame : frames) pool.Release(frame);
  std::set<FrameId> again;
  for (uint32_t i = 0; i < kMany; ++i) {
    const FrameId frame = *pool.AllocateUninitialized();
    EXPECT_TRUE(again.insert(frame).second);
    pool.Release(frame);
    const FrameId zeroed = *pool.AllocateZeroed();
    ASSERT_EQ(zeroed, frame);
    if (i % 50 == 0) ASSERT_EQ(pool.Data(zeroed)[7], std::byte{0});
  }
  EXPECT_FALSE(pool.AllocateZeroed().ok());
  for (const FrameId frame : again) pool.Release(frame);
}

TEST(FramePoolTest, TwoThreadsNeverGetTheSameFrame) {
  FramePool pool({.max_bytes = 2048 * kPageSize});
  std::vector<FrameId> taken[2];
  std::vector<std::thread> threads;
  for (auto& mine : taken)
    threads.emplace_back([&pool, &mine] {
      for (int i = 0; i < 3000; ++i) {
        mine.push_back(*pool.AllocateZeroed());
        if (mine.size() < 500) continue;
        pool.Release(mine.front());
        mine.erase(mine.begin());
      }
    });
  for (std::thread& thread : threads) thread.join();
  std::set<uint32_t> all;
  for (const auto& mine : taken)
    for (const FrameId frame : mine) EXPECT_TRUE(all.insert(frame.value()).second);
  EXPECT_EQ(pool.num_allocated(), all.size());
  for (const auto& mine : taken)
    for (const FrameId frame : mine) pool.Release(frame);
}

}  // namespace
}  // namespace remora::mm
