#include "fs/mount_index.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace remora::fs {
namespace {

class Target final : public RefCounted {
 public:
  Target(sync::Reclaimer* reclaimer, int n) : reclaimer_(reclaimer), number(n) {}

 private:
  ~Target() override = default;
  void OnLastRelease() override {
    reclaimer_->Retire(this, [](void* t) { delete static_cast<Target*>(t); });
  }
  sync::Reclaimer* const reclaimer_;

 public:
  const int number;
};

// The slow answer: every prefix is tried, the longest first.
struct Model {
  std::map<std::string, int, std::less<>> prefixes;  // without doubled and trailing slashes, "" for the root

  static std::string Clean(std::string_view path) {
    std::string clean;
    for (size_t i = 0; i < path.size(); ++i)
      if (path[i] != '/' || (i + 1 < path.size() && path[i + 1] != '/')) clean += path[i];
    return clean;
  }
  // Number (-1: none) and what follows, cleaned.
  std::pair<int, std::string> Lookup(std::string_view path) const {
    const std::string clean = Clean(path);
    for (size_t end = clean.size();; end = clean.rfind('/', end - 1)) {
      const auto it = prefixes.find(std::string_view(clean).substr(0, end));
      if (it != prefixes.end()) return {it->second, clean.substr(std::min(end + 1, clean.size()))};
      if (end == 0) return {-1, ""};
    }
  }
  bool AnyAtOrBelow(std::string_view path) const {
    const std::string clean = Clean(path);
    const auto it = prefixes.lower_bound(clean);
    return (it != prefixes.end() && it->first == clean) ||
           prefixes.lower_bound(clean + "/") != prefixes.lower_bound(clean + "0");
  }
};

std::string RandomPath(std::mt19937_64& random, int max_components) {
  std::string path = "/";
  const int n = static_cast<int>(random() % static_cast<unsigned>(max_components + 1));
  for (int i = 0; i < n; ++i) {
    path += "abc"[random() % 3];
    if (random() % 4 == 0) path += 'x';
    path += random() % 8 == 0 ? "//" : "/";
  }
  if (random() % 2 == 0 && path.size() > 1) path.pop_back();
  return path;
}

TEST(MountIndexTest, AnswersAsTheModelDoes) {
#ifdef NDEBUG
  constexpr int kNumSteps = 1'000'000;
#else
  constexpr int kNumSteps = 20'000;
#endif
  sync::Reclaimer reclaimer;
  sync::Reclaimer::ReadSection section(&reclaimer);
  MountIndex<Target> index(&reclaimer);
  Model model;
  std::mt19937_64 random(7);
  for (int i = 0; i < kNumSteps; ++i) {
    const std::string path = RandomPath(random, 7);
    switch (random() % 8) {
      case 0: {
        const bool there = model.prefixes.erase(Model::Clean(path)) != 0;
        ASSERT_EQ(index.Remove(path) != nullptr, there) << path;
        break;
      }
      case 1: {
        const auto there = model.prefixes.find(Model::Clean(path));
        const Ref<Target> old = index.Set(path, MakeRef<Target>(&reclaimer, i));
        ASSERT_EQ(old ? old->number : -1, there == model.prefixes.end() ? -1 : there->second) << path;
        model.prefixes[Model::Clean(path)] = i;
        break;
      }
      case 2:
        ASSERT_EQ(index.AnyAtOrBelow(path), model.AnyAtOrBelow(path)) << path;
        break;
      default: {
        const auto expected = model.Lookup(path);
        const MountIndex<Target>::Match match = index.Lookup(path);
        ASSERT_EQ(match.value ? match.value->number : -1, expected.first) << path;
        if (!match.value) break;
        ASSERT_EQ(Model::Clean(match.suffix), expected.second) << path;
        // A view into the caller's string, at its end.
        ASSERT_EQ(match.suffix.data() + match.suffix.size(), path.data() + path.size());
      }
    }
    ASSERT_EQ(index.size(), model.prefixes.size());
#ifndef NDEBUG
    index.CheckInvariants();
#endif
    section.Quiesce();
    if (i % 64 == 0) reclaimer.Collect();
  }
  index.CheckInvariants();
}

TEST(MountIndexTest, APrefixEndsAtAComponent) {
  sync::Reclaimer reclaimer;
  sync::Reclaimer::ReadSection section(&reclaimer);
  MountIndex<Target> index(&reclaimer);
  index.Set("/mnt", MakeRef<Target>(&reclaimer, 1));
  EXPECT_FALSE(index.Lookup("/mnt2").value);
  EXPECT_FALSE(index.Lookup("/").value);
  EXPECT_EQ(index.Lookup("/mnt").suffix, "");
  EXPECT_EQ(index.Lookup("//mnt//a/b").suffix, "a/b");
}

TEST(MountIndexTest, APathInReadOnlyMemoryIsEnough) {
  sync::Reclaimer reclaimer;
  sync::Reclaimer::ReadSection section(&reclaimer);
  MountIndex<Target> index(&reclaimer);
  index.Set("/mnt", MakeRef<Target>(&reclaimer, 1));
  constexpr size_t kSize = 4096;
  auto* page = static_cast<char*>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(page, MAP_FAILED);
  std::memset(page, 'x', kSize);
  std::memcpy(page, "/mnt/", 5);
  ASSERT_EQ(mprotect(page, kSize, PROT_READ), 0);
  const MountIndex<Target>::Match match = index.Lookup(std::string_view(page, kSize));
  EXPECT_EQ(match.suffix.data(), page + 5);
  EXPECT_EQ(match.suffix.size(), kSize - 5);
  munmap(page, kSize);
}

// "/a/b" is mounted with ascending numbers and goes away in between. A look-up finds it or what lies below, and never
// an older one than another look-up that ended before it began.
TEST(MountIndexTest, LookupsRaceWithChanges) {
#ifdef NDEBUG
  constexpr int kNumChanges = 100'000;
#else
  constexpr int kNumChanges = 2000;
#endif
  sync::Reclaimer reclaimer;
  MountIndex<Target> index(&reclaimer);
  index.Set("/", MakeRef<Target>(&reclaimer, 0));
  index.Set("/a/other", MakeRef<Target>(&reclaimer, -5));
  std::atomic<bool> stop{false};
  std::atomic<int> newest_seen{0};
  std::thread readers[2];
  for (std::thread& reader : readers)
    reader = std::thread([&] {
      sync::Reclaimer::Participant participant(&reclaimer);
      participant.Online();
      while (!stop.load(std::memory_order_relaxed)) {
        const int at_least = newest_seen.load(std::memory_order_acquire);
        const MountIndex<Target>::Match match = index.Lookup("/a/b/c");
        ASSERT_TRUE(match.value);
        const int number = match.value->number;
        ASSERT_EQ(match.suffix, number == 0 ? "a/b/c" : "c");
        if (number != 0) {
          ASSERT_GE(number, at_least);
          int seen = at_least;
          while (seen < number && !newest_seen.compare_exchange_weak(seen, number, std::memory_order_acq_rel)) {
          }
        }
        ASSERT_EQ(index.Lookup("/a/other").value->number, -5);
        participant.Quiesce();
      }
      participant.Offline();
    });
  for (int i = 1; i < kNumChanges; ++i) {
    index.Set("/a/b", MakeRef<Target>(&reclaimer, i));
    if (i % 2 == 0) index.Remove("/a/b");
    if (i % 64 == 0) reclaimer.Collect();
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  index.CheckInvariants();
}

}  // namespace
}  // namespace remora::fs
