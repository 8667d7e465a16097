#include "fs/mount_index.h"

#include <atomic>
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

// The slow answer: every prefix is tried.
struct Model {
  std::map<std::vector<std::string>, int> prefixes;

  static std::vector<std::string> Split(std::string_view path) {
    std::vector<std::string> parts;
    std::string part;
    for (char c : std::string(path) + "/") {
      if (c != '/') {
        part += c;
      } else if (!part.empty()) {
        parts.push_back(part);
        part.clear();
      }
    }
    return parts;
  }
  // Number (-1: none) and how many components follow.
  std::pair<int, size_t> Lookup(std::string_view path) const {
    const std::vector<std::string> parts = Split(path);
    std::pair<int, size_t> best{-1, 0};
    size_t best_size = 0;
    for (const auto& [prefix, number] : prefixes) {
      if (prefix.size() > parts.size() || !std::equal(prefix.begin(), prefix.end(), parts.begin())) continue;
      if (best.first == -1 || prefix.size() >= best_size) {
        best = {number, parts.size() - prefix.size()};
        best_size = prefix.size();
      }
    }
    return best;
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

TEST(MountIndexTest, AnswersAsALinearScanDoes) {
  sync::Reclaimer reclaimer;
  sync::Reclaimer::ReadSection section(&reclaimer);
  MountIndex<Target> index(&reclaimer);
  Model model;
  std::mt19937_64 random(7);
  for (int i = 0; i < 5000; ++i) {
    const std::string prefix = RandomPath(random, 4);
    if (random() % 3 == 0) {
      const bool there = model.prefixes.erase(Model::Split(prefix)) != 0;
      ASSERT_EQ(index.Remove(prefix) != nullptr, there) << prefix;
    } else if (random() % 3 == 0) {
      index.Set(prefix, MakeRef<Target>(&reclaimer, i));
      model.prefixes[Model::Split(prefix)] = i;
    }
    ASSERT_EQ(index.size(), model.prefixes.size());
    const std::string path = RandomPath(random, 7);
    const auto expected = model.Lookup(path);
    const MountIndex<Target>::Match match = index.Lookup(path);
    ASSERT_EQ(match.value ? match.value->number : -1, expected.first) << path;
    if (!match.value) continue;
    ASSERT_EQ(Model::Split(match.suffix).size(), expected.second) << path;
    // A view into the caller's string, at its end.
    ASSERT_EQ(match.suffix.data() + match.suffix.size(), path.data() + path.size());
  }
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

TEST(MountIndexTest, LookupsRaceWithChanges) {
  sync::Reclaimer reclaimer;
  MountIndex<Target> index(&reclaimer);
  index.Set("/", MakeRef<Target>(&reclaimer, 0));
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    sync::Reclaimer::Participant participant(&reclaimer);
    participant.Online();
    while (!stop.load(std::memory_order_relaxed)) {
      const MountIndex<Target>::Match match = index.Lookup("/a/b/c");
      ASSERT_TRUE(match.value);
      ASSERT_EQ(match.suffix, match.value->number == 0 ? "a/b/c" : "c");
      participant.Quiesce();
    }
    participant.Offline();
  });
  for (int i = 1; i < 2000; ++i) {
    index.Set("/a/b", MakeRef<Target>(&reclaimer, i));
    index.Remove("/a/b");
  }
  stop = true;
  reader.join();
}

}  // namespace
}  // namespace remora::fs
