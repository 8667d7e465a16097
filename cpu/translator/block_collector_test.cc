#include "cpu/translator/block_collector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "base/guest_addr.h"

namespace remora::cpu::translator {
namespace {

constexpr uint64_t kPage = 0x401000;

class BlockCollectorTest : public testing::Test {
 protected:
  void Put(uint64_t pc, std::initializer_list<uint8_t> bytes) {
    std::memcpy(page_.data() + pc % kPageSize, std::data(bytes), bytes.size());
  }
  // The addresses of a path's instructions.
  std::vector<uint64_t> Collect(std::initializer_list<uint64_t> path, uint64_t again = 0) {
    std::vector<BlockCollector::Step> steps;
    for (const uint64_t pc : path) steps.push_back({pc, page_.data()});
    goes_on_ = collector_.CollectPath(steps, again);
    return Collected();
  }
  std::vector<uint64_t> Collected() const {
    std::vector<uint64_t> pcs;
    for (const GuestInstruction& instruction : collector_.instructions()) pcs.push_back(instruction.pc);
    return pcs;
  }

  std::array<std::byte, kPageSize> page_{};
  bool goes_on_ = false;  // CollectPath's answer
  InstructionDecoder decoder_{CpuLevel::kHost};
  BlockCollector collector_{&decoder_, Optimizations()};
};

using Path = std::vector<uint64_t>;

TEST_F(BlockCollectorTest, APathGoesAlongBranchesCallsAndReturns) {
  Put(kPage, {0x74, 0x0e});                  // je +14
  Put(kPage + 0x10, {0xe8, 0x0b, 0, 0, 0});  // call +11
  Put(kPage + 0x15, {0xff, 0xe0});           // jmp rax
  Put(kPage + 0x20, {0xc3});                 // ret
  Put(kPage + 0x30, {0x90});                 // nop
  const Path path = {kPage, kPage + 0x10, kPage + 0x20, kPage + 0x15, kPage + 0x30};
  EXPECT_EQ(Collect({path[0], path[1], path[2], path[3], path[4]}), path);
  EXPECT_TRUE(collector_.instructions()[0].goes_on_at_target);
  EXPECT_FALSE(collector_.instructions()[1].goes_on_at_target);
}

TEST_F(BlockCollectorTest, APathEndsWhereItCannotBeFollowed) {
  Put(kPage, {0x90, 0x0f, 0x05, 0x90});  // nop; syscall; nop
  EXPECT_EQ(Collect({kPage, kPage + 1, kPage + 3}), Path{kPage});
  Put(kPage, {0x90, 0xf3, 0xa4, 0x90});  // nop; rep movsb; nop
  EXPECT_EQ(Collect({kPage, kPage + 1, kPage + 3}), Path{kPage});
  Put(kPage, {0x90, 0xe2, 0x10, 0x90});  // nop; loop; nop
  EXPECT_EQ(Collect({kPage, kPage + 1, kPage + 3}), Path{kPage});
  // Behind a branch that was taken, which then ends the path.
  Put(kPage, {0x90, 0x74, 0x0e});  // nop; je +14
  Put(kPage + 0x11, {0x0f, 0x05});
  EXPECT_EQ(Collect({kPage, kPage + 1, kPage + 0x11}), (Path{kPage, kPage + 1}));
  EXPECT_FALSE(collector_.instructions()[1].goes_on_at_target);
  // An instruction that goes on in the next page.
  Put(kPage + kPageSize - 2, {0x90, 0xe8});
  EXPECT_EQ(Collect({kPage + kPageSize - 2, kPage + kPageSize - 1, kPage + 3}), Path{kPage + kPageSize - 2});
}

TEST_F(BlockCollectorTest, APathEndsWithAReturnOfWhatItHasNotCalled) {
  Put(kPage, {0x90, 0xc3, 0x90});  // nop; ret; nop
  EXPECT_EQ(Collect({kPage, kPage + 1, kPage + 2}), (Path{kPage, kPage + 1}));
}

TEST_F(BlockCollectorTest, ARoundLeadsToItsBeginning) {
  Put(kPage, {0x90, 0x75, 0xfd});  // nop; jnz to it
  EXPECT_EQ(Collect({kPage, kPage + 1}, kPage), (Path{kPage, kPage + 1}));
  EXPECT_TRUE(goes_on_);
  EXPECT_FALSE(collector_.instructions()[1].goes_on_at_target);
  EXPECT_EQ(Collect({kPage, kPage + 1}, kPage + 8), (Path{kPage, kPage + 1}));
  EXPECT_FALSE(goes_on_);
  // A return, of what has been called within it.
  Put(kPage, {0xe8, 0x0b, 0, 0, 0});  // call +11
  Put(kPage + 0x10, {0xc3});          // ret
  EXPECT_EQ(Collect({kPage, kPage + 0x10}, kPage), (Path{kPage, kPage + 0x10}));
  EXPECT_TRUE(goes_on_);
  EXPECT_EQ(Collect({kPage + 0x10, kPage}, kPage + 0x10), (Path{kPage + 0x10}));
  EXPECT_FALSE(goes_on_);
}

TEST_F(BlockCollectorTest, ARoundCanBeginWhereNoReturnLeadsOutOfIt) {
  // A loop in a function calls another one, which calls a third one twice.
  constexpr uint64_t kLoop = kPage, kFunction = kPage + 0x10, kInner = kPage + 0x20;
  Put(kLoop, {0xe8, 0x0b, 0, 0, 0, 0xeb, 0xf9});                     // call kFunction; jmp kLoop
  Put(kFunction, {0xe8, 0x0b, 0, 0, 0, 0xe8, 0x06, 0, 0, 0, 0xc3});  // call kInner twice; ret
  Put(kInner, {0xc3});                                               // ret
  const std::vector<uint64_t> round = {kLoop, kFunction, kInner, kFunction + 5, kInner, kFunction + 10, kLoop + 5};
  for (size_t first = 0; first < round.size(); ++first) {
    SCOPED_TRACE(first);
    std::vector<BlockCollector::Step> steps;
    for (size_t i = 0; i < round.size(); ++i) steps.push_back({round[(first + i) % round.size()], page_.data()});
    const std::vector<size_t> outermost = collector_.OutermostOf(steps);
    ASSERT_FALSE(outermost.empty());
    for (const size_t step : outermost) {
      std::vector<BlockCollector::Step> turned = steps;
      std::ranges::rotate(turned, turned.begin() + static_cast<std::ptrdiff_t>(step));
      EXPECT_TRUE(collector_.CollectPath(turned, turned[0].pc)) << step;
      EXPECT_EQ(Collected().size(), round.size());
    }
  }
  Put(kInner, {0x0f, 0x05});  // syscall
  EXPECT_TRUE(collector_.OutermostOf(std::vector<BlockCollector::Step>{{kInner, page_.data()}}).empty());
}

TEST_F(BlockCollectorTest, APathGoesThroughWhatGoesOnInTheNextPage) {
  constexpr uint64_t kLast = kPage + kPageSize - 2;
  std::array<std::byte, kPageSize> next{};
  Put(kLast, {0xb8, 0x11});  // mov eax, 0x11
  const BlockCollector::Step without{.pc = kLast, .page = page_.data()};
  const BlockCollector::Step with{.pc = kLast, .page = page_.data(), .next_page = next.data()};
  EXPECT_FALSE(collector_.CollectPath(std::array{without}, kLast + 5));
  EXPECT_TRUE(collector_.instructions().empty());
  EXPECT_TRUE(collector_.CollectPath(std::array{with}, kLast + 5));
  EXPECT_EQ(Collected(), Path{kLast});
  EXPECT_EQ(collector_.OutermostOf(std::array{with}).size(), 1u);
}

TEST_F(BlockCollectorTest, APathEndsWhereTheCodeIsNotWhatWasRun) {
  Put(kPage, {0x90, 0x90, 0x90});
  EXPECT_EQ(Collect({kPage, kPage + 1, kPage + 8}), (Path{kPage, kPage + 1}));
  Put(kPage, {0xeb, 0x10});  // jmp +16
  EXPECT_EQ(Collect({kPage, kPage + 2}), Path{kPage});
  Put(kPage, {0x74, 0x10});  // je +16
  EXPECT_EQ(Collect({kPage, kPage + 8}), Path{kPage});
  EXPECT_FALSE(collector_.instructions()[0].goes_on_at_target);
}

TEST_F(BlockCollectorTest, ThePartOfAPathGoesOnBehindItsLastBranch) {
  Put(kPage, {0x90, 0x74, 0x0e});  // nop; je +14
  Put(kPage + 0x11, {0x90});
  EXPECT_EQ(Collect({kPage, kPage + 1, kPage + 0x11}), (Path{kPage, kPage + 1, kPage + 0x11}));
  EXPECT_TRUE(collector_.instructions()[1].goes_on_at_target);
  collector_.CutPath(2);
  EXPECT_EQ(Collected(), (Path{kPage, kPage + 1}));
  EXPECT_FALSE(collector_.instructions()[1].goes_on_at_target);
}

}  // namespace
}  // namespace remora::cpu::translator
