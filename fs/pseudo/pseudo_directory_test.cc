#include "fs/pseudo/pseudo_directory.h"

#include <atomic>
#include <charconv>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "fs/dentry_cache.h"
#include "fs/path_walk.h"
#include "gtest/gtest.h"

namespace remora::fs {
namespace {

#ifdef NDEBUG
constexpr int kModelSteps = 1'000'000;
constexpr int kLookupsOfThread = 100'000;
#else
constexpr int kModelSteps = 60'000;
constexpr int kLookupsOfThread = 10'000;
#endif
constexpr int kNumbers = 500;

// One life of a number.
class Life final : public PseudoDirectory {
 public:
  Life(PseudoFileSystem* fs, int number, uint64_t life)
      : PseudoDirectory(fs, 0555, 1000 + static_cast<uint64_t>(number)), number_of_child(number), life(life) {}
  const int number_of_child;
  const uint64_t life;
};

// Numbers that come and go: life 0 is none.
class Numbers final : public PseudoDirectory {
 public:
  explicit Numbers(PseudoFileSystem* fs) : PseudoDirectory(fs, 0555), fs_(fs), lives(kNumbers) {}
  bool cacheable_lookups() const override { return false; }

 protected:
  ErrnoOr<Ref<Inode>> LookupDynamic(std::string_view name) override {
    ++num_made;
    int number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) return Errno(ENOENT);
    if (number < 0 || number >= kNumbers) return Errno(ENOENT);
    const uint64_t life = lives[static_cast<size_t>(number)];
    if (life == 0) return Errno(ENOENT);
    return Ref<Inode>(MakeRef<Life>(fs_, number, life));
  }
  bool StillFindsDynamic(std::string_view, Inode& child) override {
    const auto& known = static_cast<const Life&>(child);
    return lives[static_cast<size_t>(known.number_of_child)] == known.life;
  }

 private:
  PseudoFileSystem* const fs_;

 public:
  std::vector<std::atomic<uint64_t>> lives;
  std::atomic<int> num_made{0};
};

class PseudoDirectoryTest : public ::testing::Test {
 protected:
  PseudoDirectoryTest() { root_->Add("fixed", MakeRef<PseudoDirectory>(fs_.get())); }

  HostClock clock_;
  sync::Reclaimer reclaimer_;
  Ref<PseudoFileSystem> fs_ = MakeRef<PseudoFileSystem>("proc", 0x9fa0, 77, &clock_);
  Ref<Numbers> root_ = MakeRef<Numbers>(fs_.get());
  DentryCache cache_{&reclaimer_};
  Ref<Dentry> dentry_ = cache_.MakeRoot(root_);
};

TEST_F(PseudoDirectoryTest, AKnownChildIsNotMadeAgainWhileItLives) {
  const sync::Reclaimer::ReadSection section(&reclaimer_);
  root_->lives[7] = 1;
  const Ref<Dentry> first = LookupName(cache_, dentry_, "7").value();
  EXPECT_EQ(LookupName(cache_, dentry_, "7").value(), first);
  EXPECT_EQ(root_->num_made, 1);
  root_->lives[7] = 2;  // another one with this number
  const Ref<Dentry> second = LookupName(cache_, dentry_, "7").value();
  EXPECT_NE(second, first);
  EXPECT_EQ(static_cast<Life&>(*second->inode()).life, 2u);
  root_->lives[7] = 0;
  EXPECT_FALSE(LookupName(cache_, dentry_, "7").value());
  root_->lives[7] = 3;  // absence is not kept
  EXPECT_TRUE(LookupName(cache_, dentry_, "7").value());
}

TEST_F(PseudoDirectoryTest, AFixedChildIsFoundByNameWithoutMakingAny) {
  const sync::Reclaimer::ReadSection section(&reclaimer_);
  const Ref<Dentry> fixed = LookupName(cache_, dentry_, "fixed").value();
  EXPECT_EQ(LookupName(cache_, dentry_, "fixed").value(), fixed);
  EXPECT_EQ(root_->num_made, 0);
}

TEST_F(PseudoDirectoryTest, AnswersAsTheArrayOfLivesDoes) {
  sync::Reclaimer::Participant participant(&reclaimer_);
  participant.Online();
  std::mt19937 random(5);
  uint64_t next_life = 1;
  for (int i = 0; i < kModelSteps; ++i) {
    const auto n = static_cast<size_t>(random() % kNumbers);
    if (random() % 8 == 0) root_->lives[n] = random() % 3 == 0 ? 0 : next_life++;
    const size_t asked = random() % 3 == 0 ? n : random() % 40;
    const Ref<Dentry> found = LookupName(cache_, dentry_, std::to_string(asked)).value();
    ASSERT_EQ(found ? static_cast<Life&>(*found->inode()).life : 0, root_->lives[asked]) << asked;
    if (i % 64 == 0) {
      participant.Quiesce();
      reclaimer_.Collect();
    }
  }
#ifndef NDEBUG
  cache_.CheckInvariants();
#endif
  participant.Offline();
  EXPECT_LT(root_->num_made, kModelSteps / 2);
}

// Lives of a number ascend, so what a look-up finds lies between what was there before and after it.
TEST_F(PseudoDirectoryTest, LookupsBesideChangesSeeALifeOfTheirTime) {
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    std::mt19937 random(6);
    for (uint64_t life = 1; !stop; ++life) root_->lives[random() % 20] = life;
  });
  std::vector<std::thread> readers;
  for (unsigned t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      sync::Reclaimer::Participant participant(&reclaimer_);
      participant.Online();
      std::mt19937 random(t);
      for (int i = 0; i < kLookupsOfThread; ++i) {
        const size_t n = random() % 20;
        const uint64_t before = root_->lives[n];
        Ref<Dentry> found = LookupName(cache_, dentry_, std::to_string(n)).value();
        const uint64_t after = root_->lives[n];
        const uint64_t seen = found ? static_cast<Life&>(*found->inode()).life : 0;
        ASSERT_LE(before, seen);
        ASSERT_LE(seen, after);
        found = nullptr;
        if (i % 16 == 0) {
          participant.Quiesce();
          reclaimer_.Collect();
        }
      }
      participant.Offline();
    });
  }
  for (std::thread& reader : readers) reader.join();
  stop = true;
  changer.join();
}

}  // namespace
}  // namespace remora::fs
