#include <pthread.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "base/guest_addr.h"
#include "gtest/gtest.h"
#include "mm/address_space.h"
#include "mm/frame_pool.h"
#include "mm/io_buffer.h"
#include "mm/memory_for_testing.h"
#include "mm/page_cache.h"
#include "mm/tlb.h"
#include "mm/types.h"
#include "mm/user_buffer.h"
#include "mm/user_memory.h"
#include "sync/reclaimer.h"
#include "sync/wait_queue.h"

namespace remora::mm {
namespace {

constexpr GuestAddr kBase(0x10000000);

// What a worker has: a TLB, a mailbox and an interrupt flag.
struct Worker {
  explicit Worker(AddressSpace* space_in) : space(space_in) {
    runner.interrupt = &interrupt;
    tlb->Bind(space, space->id());
    space->RegisterRunner(&runner);
  }
  ~Worker() { space->UnregisterRunner(&runner); }
  // On whichever thread plays the worker's.
  void Enter() {
    runner.host_thread.store(static_cast<uintptr_t>(pthread_self()), std::memory_order_relaxed);
    space->EnterGuest(&runner, tlb.get());
  }
  void Leave() { space->LeaveGuest(&runner); }

  AddressSpace* const space;
  std::unique_ptr<Tlb> tlb = std::make_unique<Tlb>();
  AddressSpace::Runner runner;
  std::atomic<uint32_t> interrupt{0};
};

class ShootdownTest : public ::testing::Test {
 protected:
  std::byte* Read(Worker& worker, GuestAddr at) { return worker.tlb->Lookup<Access::kRead>(at); }
  std::byte* Write(Worker& worker, GuestAddr at) { return worker.tlb->Lookup<Access::kWrite>(at); }

  MemoryForTesting memory_;
  Ref<AddressSpace> space_ = AddressSpace::Create(&memory_.context, memory_.layout);
};

TEST_F(ShootdownTest, ATlbForgetsAnUnmappedPageWhenItSynchronizes) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 2)).ok());
  Worker worker(space_.get());
  ASSERT_NE(Write(worker, kBase), nullptr);
  ASSERT_NE(Write(worker, kBase + kPageSize), nullptr);
  ASSERT_TRUE(space_->Unmap(kBase, kPageSize).ok());
  worker.tlb->Synchronize();
  EXPECT_EQ(Read(worker, kBase), nullptr);
  EXPECT_EQ(worker.tlb->last_fault().kind, FaultKind::kUnmapped);
  EXPECT_NE(worker.tlb->Probe<Access::kWrite>(kBase + kPageSize), nullptr);
}

TEST_F(ShootdownTest, ProtectTakesOnlyTheLostRight) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
  Worker worker(space_.get());
  ASSERT_NE(Write(worker, kBase), nullptr);
  ASSERT_TRUE(space_->Protect(kBase, kPageSize, Protection(1)).ok());
  worker.tlb->Synchronize();
  EXPECT_EQ(worker.tlb->Probe<Access::kWrite>(kBase), nullptr);
  EXPECT_NE(worker.tlb->Probe<Access::kRead>(kBase), nullptr);
}

TEST_F(ShootdownTest, ForkTakesWriteRights) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
  Worker worker(space_.get());
  std::byte* const before = Write(worker, kBase);
  const Ref<AddressSpace> child = *space_->Fork();
  worker.tlb->Synchronize();
  EXPECT_EQ(worker.tlb->Probe<Access::kWrite>(kBase), nullptr);
  EXPECT_EQ(worker.tlb->Probe<Access::kRead>(kBase), before);
  EXPECT_NE(Write(worker, kBase), before);
}

TEST_F(ShootdownTest, ATlbThatMissedMoreThanTheRingHoldsIsFlushed) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 2)).ok());
  Worker worker(space_.get()), other(space_.get());
  ASSERT_NE(Write(worker, kBase), nullptr);
  ASSERT_NE(Write(worker, kBase + kPageSize), nullptr);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_NE(Write(other, kBase), nullptr);
    ASSERT_TRUE(space_->DiscardPages(kBase, kPageSize).ok());
    other.tlb->Synchronize();
  }
  worker.tlb->Synchronize();
  EXPECT_EQ(worker.tlb->Probe<Access::kRead>(kBase), nullptr);
  EXPECT_EQ(worker.tlb->Probe<Access::kRead>(kBase + kPageSize), nullptr);
  EXPECT_NE(Write(worker, kBase + kPageSize), nullptr);
}

TEST_F(ShootdownTest, AWorkerInGuestCodeIsInterruptedAndWaitedFor) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
  Worker worker(space_.get()), other(space_.get());
  other.Enter();
  ASSERT_NE(Write(other, kBase), nullptr);
  ASSERT_TRUE(space_->Unmap(kBase, kPageSize).ok());
  EXPECT_FALSE(space_->AcknowledgedByOthers(space_->generation(), &worker.runner));
  EXPECT_NE(other.interrupt.load(), 0u);
  other.Leave();
  EXPECT_TRUE(space_->AcknowledgedByOthers(space_->generation(), &worker.runner));
  other.Enter();
  EXPECT_TRUE(space_->AcknowledgedByOthers(space_->generation(), &worker.runner));
  EXPECT_EQ(other.tlb->Probe<Access::kRead>(kBase), nullptr);
  other.Leave();
}

TEST_F(ShootdownTest, WhoeverWaitsIsNotified) {
  struct CountingWaiter final : sync::Waiter {
    ~CountingWaiter() override { Disarm(); }
    void Notify(sync::Events) override { ++count; }
    int count = 0;
  };
  CountingWaiter waiter;
  Worker other(space_.get());
  other.Enter();
  space_->acknowledged_queue().Arm(&waiter, sync::kReadable);
  other.Leave();
  EXPECT_EQ(waiter.count, 1);
}

TEST_F(ShootdownTest, ACopyWaitsForAThreadThatReadsTheOldPage) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
  Worker worker(space_.get()), other(space_.get());
  std::thread([&] {
    other.Enter();
    EXPECT_NE(Read(other, kBase), nullptr);  // the zero page
  }).join();
  worker.Enter();
  EXPECT_EQ(Write(worker, kBase), nullptr);
  EXPECT_EQ(worker.tlb->last_fault().kind, FaultKind::kMustWait);
  worker.Leave();
  other.Leave();
  worker.Enter();
  EXPECT_NE(Write(worker, kBase), nullptr);
  worker.Leave();
}

// Three threads, of which one forks: what the second one writes before it hears of that must be in the copy that the
// third one makes.
TEST_F(ShootdownTest, NoCopyIsMadeOfWhatAnotherMayStillWrite) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
  Worker writer(space_.get()), copier(space_.get());
  std::byte* old = nullptr;
  std::thread([&] {
    writer.Enter();
    old = Write(writer, kBase);
    ASSERT_NE(old, nullptr);
    *old = std::byte{1};
  }).join();
  const Ref<AddressSpace> child = *space_->Fork();
  copier.Enter();
  EXPECT_EQ(Write(copier, kBase), nullptr);
  EXPECT_EQ(copier.tlb->last_fault().kind, FaultKind::kMustWait);
  EXPECT_NE(writer.interrupt.load(), 0u);
  *old = std::byte{2};  // it has the right yet
  writer.Leave();
  copier.Leave();
  copier.Enter();
  const std::byte* copy = Write(copier, kBase);
  ASSERT_NE(copy, nullptr);
  EXPECT_EQ(*copy, std::byte{2});
  copier.Leave();
}

// --- code ---

class ReportingObserver final : public CodeObserver {
 public:
  void DropCode(FrameId frame) override { dropped.push_back(frame); }
  std::vector<FrameId> dropped;
};

TEST_F(ShootdownTest, CodeOfANeverWrittenPageIsReadyAtOnce) {
  const Ref<FilePages> file = CreateSharedAnonymous(&memory_.context, kPageSize);
  MapRequest request = FixedRequest(kBase, 1, Protection(5));
  request.object = file;
  ASSERT_TRUE(space_->Map(request).ok());
  const TlbSource::Translation code = space_->PrepareCode(kBase.page());
  ASSERT_EQ(code.fault, FaultKind::kNone);
  EXPECT_NE(memory_.frames.bits(code.frame) & FramePool::kHasCode, 0);
}

TEST_F(ShootdownTest, CodeNeedsTheRightToExecute) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
  EXPECT_EQ(space_->PrepareCode(kBase.page()).fault, FaultKind::kProtection);
}

TEST_F(ShootdownTest, CodeOfAWrittenPageTakesWriteRightsAwayInEverySpace) {
  ReportingObserver observer;
  memory_.frames.set_code_observer(&observer);
  const Ref<FilePages> file = CreateSharedAnonymous(&memory_.context, kPageSize);
  const Ref<AddressSpace> writer_space = AddressSpace::Create(&memory_.context, memory_.layout);
  MapRequest request = FixedRequest(kBase, 1, Protection(5));
  request.object = file;
  request.shared = true;
  ASSERT_TRUE(space_->Map(request).ok());
  request.address = kBase + 77 * kPageSize;
  request.protection = Protection(3);
  ASSERT_TRUE(writer_space->Map(request).ok());
  Worker writer(writer_space.get());
  std::thread([&] {
    writer.Enter();
    ASSERT_NE(Write(writer, request.address), nullptr);
  }).join();

  EXPECT_EQ(space_->PrepareCode(kBase.page()).fault, FaultKind::kMustWait);
  EXPECT_EQ(space_->PrepareCode(kBase.page()).fault, FaultKind::kMustWait);
  EXPECT_NE(writer.interrupt.load(), 0u);
  writer.Leave();
  const TlbSource::Translation code = space_->PrepareCode(kBase.page());
  ASSERT_EQ(code.fault, FaultKind::kNone);
  EXPECT_TRUE(observer.dropped.empty());

  writer.Enter();
  EXPECT_EQ(writer.tlb->Probe<Access::kWrite>(request.address), nullptr);
  ASSERT_NE(Write(writer, request.address), nullptr);
  EXPECT_EQ(observer.dropped, std::vector<FrameId>{code.frame});
  writer.Leave();
  memory_.frames.set_code_observer(nullptr);
}

TEST_F(ShootdownTest, AWriterStepsBackForWhoeverWantsTheCodeButNotForEver) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1, Protection(7))).ok());
  Worker writer(space_.get());
  std::thread([&] {
    writer.Enter();
    ASSERT_NE(Write(writer, kBase), nullptr);
  }).join();
  EXPECT_EQ(space_->PrepareCode(kBase.page()).fault, FaultKind::kMustWait);
  EXPECT_EQ(space_->Translate(kBase.page(), Access::kWrite).fault, FaultKind::kMustWait);
  writer.Leave();
  EXPECT_EQ(space_->PrepareCode(kBase.page()).fault, FaultKind::kNone);
  EXPECT_EQ(space_->Translate(kBase.page(), Access::kWrite).fault, FaultKind::kNone);

  std::thread([&] {
    writer.Enter();
    ASSERT_NE(Write(writer, kBase), nullptr);
  }).join();
  EXPECT_EQ(space_->PrepareCode(kBase.page()).fault, FaultKind::kMustWait);
  int tries = 0;
  while (space_->Translate(kBase.page(), Access::kWrite).fault == FaultKind::kMustWait) ++tries;
  EXPECT_GT(tries, 0);
  writer.Leave();
}

TEST_F(ShootdownTest, CodeOfOnesOwnPageIsReadyAtOnce) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1, Protection(7))).ok());
  Worker worker(space_.get());
  worker.Enter();
  ASSERT_NE(Write(worker, kBase), nullptr);
  ASSERT_EQ(space_->PrepareCode(kBase.page()).fault, FaultKind::kNone);
  worker.tlb->Synchronize();
  EXPECT_EQ(worker.tlb->Probe<Access::kWrite>(kBase), nullptr);
  worker.Leave();
}

TEST_F(ShootdownTest, CodeInAPageSharedByForkIsFoundThroughTheSharedNodes) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1, Protection(7))).ok());
  Worker parent(space_.get());
  std::thread([&] {
    parent.Enter();
    ASSERT_NE(Write(parent, kBase), nullptr);
  }).join();
  const Ref<AddressSpace> child = *space_->Fork();
  // The child has written nothing: both see the frame through one leaf.
  EXPECT_EQ(child->PrepareCode(kBase.page()).fault, FaultKind::kMustWait);
  EXPECT_NE(parent.interrupt.load(), 0u);
  parent.Leave();
  EXPECT_EQ(child->PrepareCode(kBase.page()).fault, FaultKind::kNone);
}

TEST_F(ShootdownTest, AKernelCopyThatOverlapsTheMakingOfCodeDropsIt) {
  ReportingObserver observer;
  memory_.frames.set_code_observer(&observer);
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1, Protection(7))).ok());
  Worker worker(space_.get());
  UserMemory user(worker.tlb.get());
  ASSERT_TRUE(user.StoreWord(kBase, 1).ok());
  worker.tlb->Synchronize();
  const uint64_t generation = worker.tlb->seen_generation();
  const std::byte* host = user.Resolve(kBase, Access::kWrite);
  ASSERT_NE(host, nullptr);
  ASSERT_EQ(space_->PrepareCode(kBase.page()).fault, FaultKind::kNone);
  EXPECT_TRUE(observer.dropped.empty());
  user.FinishWrite(kBase, host, 4, generation);
  EXPECT_EQ(observer.dropped.size(), 1u);
  memory_.frames.set_code_observer(nullptr);
}

// Another thread forks, and writes to the page before the kernel does: the frame that the kernel knows is the child's.
TEST_F(ShootdownTest, AKernelCopyThatOverlapsAForkReachesTheParent) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 3)).ok());
  Worker worker(space_.get()), other(space_.get());
  const UserMemory user(worker.tlb.get());
  const auto fork_and_write = [&] {
    const Ref<AddressSpace> child = *space_->Fork();
    for (uint64_t page = 0; page < 3; ++page) {
      std::byte* host = other.tlb->Lookup<Access::kWrite>(kBase + page * kPageSize + 100);
      ASSERT_NE(host, nullptr);
      *host = std::byte{0xee};
    }
  };
  const auto word_at = [&](uint64_t offset) {
    uint32_t value = 0;
    space_->ReadRemote(kBase + offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  };
  ASSERT_TRUE(user.Zero(kBase, 3 * kPageSize).ok());
  const uint64_t generation = worker.tlb->seen_generation();
  std::byte* host = user.Resolve(kBase + 8, Access::kWrite);
  fork_and_write();
  const uint32_t seven = 7;
  std::memcpy(host, &seven, sizeof(seven));
  user.FinishWrite(kBase + 8, host, sizeof(seven), generation);
  EXPECT_EQ(word_at(8), 7u);

  // Two ranges, the second over a page's end; filled, and advanced over, in two steps.
  const std::vector<UserRange> ranges = {{kBase + 16, 8}, {kBase + 2 * kPageSize - 8, 16}};
  UserBuffer buffer(user, IoBuffer::Direction::kFill, ranges);
  std::array<iovec, 4> pieces;
  const uint32_t count = *buffer.Gather(pieces, UINT64_MAX);
  fork_and_write();
  uint8_t next = 1;
  for (const iovec& piece : std::span(pieces).first(count))
    for (size_t i = 0; i < piece.iov_len; ++i) static_cast<uint8_t*>(piece.iov_base)[i] = next++;
  buffer.Advance(12);
  buffer.Advance(12);
  EXPECT_EQ(word_at(16), 0x04030201u);
  EXPECT_EQ(word_at(20), 0x08070605u);
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(word_at(2 * kPageSize - 8 + 4 * i), 0x0c0b0a09u + 0x04040404u * i);

  UserBuffer peeked(user, IoBuffer::Direction::kFill, {kBase + 32, 4});
  const std::span<std::byte> piece = *peeked.Peek(4);
  fork_and_write();
  std::memcpy(piece.data(), &seven, 4);
  peeked.Advance(4);
  EXPECT_EQ(word_at(32), 7u);
}

// Asked to drop code while a space maps its frame for writing, lets another thread make code of it again.
class CodeMaker final : public CodeObserver {
 public:
  explicit CodeMaker(AddressSpace* space) : space_(space) {}
  ~CodeMaker() override {
    if (maker_.joinable()) maker_.join();
  }
  void DropCode(FrameId) override {
    if (maker_.joinable()) return;
    maker_ = std::thread([this] {
      fault_ = space_->PrepareCode(kBase.page()).fault;
      done_ = true;
    });
    // Where it has to wait for the space that maps, it goes on when that has mapped.
    for (int i = 0; i < 100 && !done_; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  FaultKind Finish() {
    maker_.join();
    return fault_;
  }

 private:
  AddressSpace* const space_;
  std::thread maker_;
  std::atomic<bool> done_{false};
  std::atomic<FaultKind> fault_{FaultKind::kUnmapped};
};

TEST_F(ShootdownTest, CodeMadeWhileAnotherSpaceMapsItsFrameForWritingIsNotMissed) {
  Ref<FilePages> file = MakeRef<FilePages>(&memory_.context, nullptr, Mappable::Description{});
  ASSERT_TRUE(file->Truncate(kPageSize).ok());
  const auto map = [&](AddressSpace& space, uint32_t protection) {
    MapRequest request = FixedRequest(kBase, 1, Protection(protection));
    request.object = file;
    request.shared = true;
    ASSERT_TRUE(space.Map(request).ok());
  };
  const Ref<AddressSpace> writer_space = AddressSpace::Create(&memory_.context, memory_.layout);
  map(*space_, 5);
  map(*writer_space, 3);
  ASSERT_EQ(space_->PrepareCode(kBase.page()).fault, FaultKind::kNone);
  Worker writer(writer_space.get());
  {
    CodeMaker maker(space_.get());
    memory_.frames.set_code_observer(&maker);
    std::byte* host = Write(writer, kBase);
    ASSERT_NE(host, nullptr);
    (void)maker.Finish();
    memory_.frames.set_code_observer(nullptr);
  }
  // Who may write without asking again is known to be able to.
  writer.tlb->Synchronize();
  const FrameId frame = space_->Translate(kBase.page(), Access::kFetch).frame;
  const bool may_write = writer.tlb->Probe<Access::kWrite>(kBase) != nullptr;
  const uint8_t bits = memory_.frames.bits(frame);
  EXPECT_TRUE(!may_write || (bits & FramePool::kEverWritable) != 0) << int{bits};
}

// A space in which another thread forks, and writes, just before the first store.
class ForkingSource final : public TlbSource {
 public:
  ForkingSource(AddressSpace* space, Tlb* other) : space_(space), other_(other) {}
  Translation Translate(PageNumber page, Access access) override { return space_->Translate(page, access); }
  uint64_t generation() const override { return space_->generation(); }
  uint64_t ReplayInvalidations(uint64_t since, Tlb* tlb) override { return space_->ReplayInvalidations(since, tlb); }
  Translation PrepareCode(PageNumber page) override { return space_->PrepareCode(page); }
  bool StoreIfUnchanged(uint64_t generation, absl::FunctionRef<void()> store) override {
    if (++num_stores_ == 1) {
      child_ = *space_->Fork();
      EXPECT_NE(other_->Lookup<Access::kWrite>(kBase + 100), nullptr);
    }
    return space_->StoreIfUnchanged(generation, store);
  }
  int num_stores() const { return num_stores_; }
  AddressSpace& child() { return *child_; }

 private:
  AddressSpace* const space_;
  Tlb* const other_;
  Ref<AddressSpace> child_;
  int num_stores_ = 0;
};

TEST_F(ShootdownTest, AWordThatTheKernelStoresIsTheParentsAlone) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
  for (const bool exchange : {false, true}) {
    Worker other(space_.get());
    ASSERT_NE(Write(other, kBase), nullptr);
    ForkingSource source(space_.get(), other.tlb.get());
    Tlb tlb;
    tlb.Bind(&source, space_->id());
    const UserMemory user(&tlb);
    if (exchange)
      EXPECT_TRUE(*user.CompareExchangeWord(kBase, 7, 8));
    else
      EXPECT_TRUE(user.StoreWord(kBase, 7).ok());
    uint32_t mine = 0, childs = 0;
    space_->ReadRemote(kBase, std::as_writable_bytes(std::span(&mine, 1)));
    source.child().ReadRemote(kBase, std::as_writable_bytes(std::span(&childs, 1)));
    EXPECT_EQ(mine, exchange ? 8u : 7u);
    EXPECT_EQ(childs, exchange ? 7u : 0u);
    EXPECT_GE(source.num_stores(), 2) << "tried again";
  }
}

// --- two threads ---

// One thread reads and writes a page in "guest code" while the other maps and unmaps it, waits for the acknowledgement
// and reuses the frame elsewhere. The guest must never see a byte of somebody else's.
TEST_F(ShootdownTest, AGuestNeverSeesAFrameThatWasTakenFromIt) {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> accesses{0};
  std::thread guest([&] {
    sync::Reclaimer::Participant participant(&memory_.reclaimer);
    Worker worker(space_.get());
    while (!stop.load(std::memory_order_relaxed)) {
      participant.Online();
      worker.Enter();
      while (worker.interrupt.exchange(0) == 0 && !stop.load(std::memory_order_relaxed)) {
        std::byte* host = worker.tlb->Lookup<Access::kWrite>(kBase);
        if (host == nullptr) continue;
        auto* word = reinterpret_cast<uint32_t*>(host);
        const uint32_t seen = __atomic_load_n(word, __ATOMIC_RELAXED);
        ASSERT_TRUE(seen == 0 || seen == 0x11111111) << seen;
        __atomic_store_n(word, 0x11111111, __ATOMIC_RELAXED);
        accesses.fetch_add(1, std::memory_order_relaxed);
      }
      worker.Leave();
      participant.Offline();
      memory_.Settle();
    }
  });
  const Ref<AddressSpace> other = AddressSpace::Create(&memory_.context, memory_.layout);
  const uint32_t secret = 0x22222222;
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
    if (i % 16 == 0) std::this_thread::yield();
    ASSERT_TRUE(space_->Unmap(kBase, kPageSize).ok());
    const uint64_t generation = space_->generation();
    while (!space_->AcknowledgedByOthers(generation, nullptr)) std::this_thread::yield();
    memory_.Settle();
    ASSERT_TRUE(other->Map(FixedRequest(kBase, 1)).ok());
    ASSERT_EQ(other->WriteRemote(kBase, std::as_bytes(std::span(&secret, 1))), 4u);
    uint32_t seen = 0;
    ASSERT_EQ(other->ReadRemote(kBase, std::as_writable_bytes(std::span(&seen, 1))), 4u);
    ASSERT_EQ(seen, secret);
  }
  stop = true;
  guest.join();
}

TEST_F(ShootdownTest, WhoReentersHearsOfANewerGenerationAndStaysOutside) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
  Worker worker(space_.get());
  worker.Enter();
  ASSERT_NE(Write(worker, kBase), nullptr);
  const uint64_t seen = space_->generation();
  space_->LeaveGuestForCall(&worker.runner);
  EXPECT_TRUE(space_->ReenterGuest(&worker.runner, seen));
  space_->LeaveGuestForCall(&worker.runner);
  ASSERT_TRUE(space_->Unmap(kBase, kPageSize).ok());
  EXPECT_FALSE(space_->ReenterGuest(&worker.runner, seen));
  EXPECT_EQ(worker.runner.where.load(), AddressSpace::Runner::Where::kOutside);
  EXPECT_TRUE(space_->AcknowledgedByOthers(space_->generation(), nullptr));
}

// One thread goes in and out of "guest code" as fast as it can, and uses what its TLB says there; the other takes the
// right to write away. Once that is acknowledged nobody writes: either it is seen that the first one is about to go in,
// or that one sees that something has changed.
TEST_F(ShootdownTest, NobodyUsesARightThatWasTakenAwayJustBeforeHeEntered) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> writes{0};
  std::thread guest([&] {
    sync::Reclaimer::Participant participant(&memory_.reclaimer);
    Worker worker(space_.get());
    participant.Online();
    while (!stop.load(std::memory_order_relaxed)) {
      worker.Enter();
      const uint64_t seen = worker.tlb->seen_generation();
      bool inside = true;
      for (int i = 0; i < 100 && inside; ++i) {
        if (worker.tlb->Probe<Access::kWrite>(kBase) != nullptr)
          writes.store(writes.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        else
          worker.tlb->Lookup<Access::kWrite>(kBase);
        space_->LeaveGuestForCall(&worker.runner);
        inside = space_->ReenterGuest(&worker.runner, seen);
      }
      if (inside) worker.Leave();
      worker.interrupt.store(0, std::memory_order_relaxed);
    }
    participant.Offline();
  });
  // On a busy host a round may take as long as the scheduler lets each of the two wait.
  constexpr int kRounds = 20'000;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  for (int i = 0; i < kRounds && std::chrono::steady_clock::now() < end; ++i) {
    ASSERT_TRUE(space_->Protect(kBase, kPageSize, Protection(3)).ok());
    const uint64_t before = writes.load(std::memory_order_relaxed);
    for (int wait = 1; writes.load(std::memory_order_relaxed) < before + 3; ++wait)
      if (wait % 1000 == 0) std::this_thread::yield();
    ASSERT_TRUE(space_->Protect(kBase, kPageSize, Protection(1)).ok());
    while (!space_->AcknowledgedByOthers(space_->generation(), nullptr)) std::this_thread::yield();
    const uint64_t acknowledged = writes.load(std::memory_order_relaxed);
    for (int wait = 0; wait < 100; ++wait)
      ASSERT_EQ(writes.load(std::memory_order_relaxed), acknowledged) << "round " << i;
  }
  stop = true;
  guest.join();
}

// Both threads increment their own words of pages that a third forks again and again.
TEST_F(ShootdownTest, WritesAreNotLostWhileTheSpaceForks) {
  constexpr uint64_t kPages = 8, kRounds = 3000;
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, kPages)).ok());
  auto count = [&](uint64_t offset) {
    sync::Reclaimer::Participant participant(&memory_.reclaimer);
    Worker worker(space_.get());
    participant.Online();
    worker.Enter();
    for (uint64_t i = 0; i < kRounds;) {
      std::byte* host = worker.tlb->Lookup<Access::kWrite>(kBase + (i % kPages) * kPageSize + offset);
      if (host != nullptr) {
        __atomic_fetch_add(reinterpret_cast<uint64_t*>(host), 1, __ATOMIC_RELAXED);
        ++i;
      }
      if (host != nullptr && worker.interrupt.exchange(0) == 0) continue;
      worker.Leave();
      participant.Quiesce();
      while (!space_->AcknowledgedByOthers(space_->generation(), &worker.runner)) std::this_thread::yield();
      worker.Enter();
    }
    worker.Leave();
    participant.Offline();
  };
  std::thread first(count, 0), second(count, 8);
  for (int i = 0; i < 100; ++i) {
    const Ref<AddressSpace> child = *space_->Fork();
    while (!space_->AcknowledgedByOthers(space_->generation(), nullptr)) std::this_thread::yield();
    // The child is a snapshot: it does not change any more.
    uint64_t once = 0, again = 0;
    child->ReadRemote(kBase, std::as_writable_bytes(std::span(&once, 1)));
    std::this_thread::yield();
    child->ReadRemote(kBase, std::as_writable_bytes(std::span(&again, 1)));
    ASSERT_EQ(once, again);
    memory_.Settle();
  }
  first.join();
  second.join();
  for (const uint64_t offset : {0, 8}) {
    uint64_t total = 0;
    for (uint64_t page = 0; page < kPages; ++page) {
      uint64_t value = 0;
      space_->ReadRemote(kBase + page * kPageSize + offset, std::as_writable_bytes(std::span(&value, 1)));
      total += value;
    }
    EXPECT_EQ(total, kRounds);
  }
  space_->CheckInvariants();
}

TEST_F(ShootdownTest, KernelStoresAreNotLostWhileTheSpaceForks) {
  constexpr uint32_t kRounds = 20'000;
  ASSERT_TRUE(space_->Map(FixedRequest(kBase, 1)).ok());
  std::atomic<bool> done{false};
  std::thread kernel([&] {
    sync::Reclaimer::Participant participant(&memory_.reclaimer);
    Worker worker(space_.get());
    const UserMemory user(worker.tlb.get());
    participant.Online();
    for (uint32_t i = 0; i < kRounds; ++i) {
      // Nobody else writes there, so each finds what the one before left behind.
      EXPECT_TRUE(*user.CompareExchangeWord(kBase, i, i + 1)) << i;
      EXPECT_TRUE(user.StoreWord(kBase + 4, i).ok());
      EXPECT_TRUE(user.Write<uint64_t>(kBase + 8, i).ok());
      participant.Quiesce();
      EXPECT_EQ(*user.LoadWord(kBase + 4), i);
      EXPECT_EQ(*user.Read<uint64_t>(kBase + 8), i);
    }
    participant.Offline();
    done = true;
  });
  {
    sync::Reclaimer::Participant participant(&memory_.reclaimer);
    Worker other(space_.get());
    participant.Online();
    while (!done) {
      const Ref<AddressSpace> child = *space_->Fork();
      if (std::byte* host = other.tlb->Lookup<Access::kWrite>(kBase + 100)) *host = std::byte{1};
      other.tlb->Synchronize();
      uint32_t once = 0, again = 0;
      child->ReadRemote(kBase, std::as_writable_bytes(std::span(&once, 1)));
      std::this_thread::yield();
      child->ReadRemote(kBase, std::as_writable_bytes(std::span(&again, 1)));
      ASSERT_EQ(once, again) << "what is exchanged by the parent is not the child's";
      participant.Quiesce();
      memory_.reclaimer.Collect();
    }
    participant.Offline();
  }
  kernel.join();
}

}  // namespace
}  // namespace remora::mm
