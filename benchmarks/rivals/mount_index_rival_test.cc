// The list and the index say the same of any path.

#include "benchmarks/rivals/mount_index_rival.h"

#include <random>
#include <string>

#include "fs/mount_index.h"
#include "gtest/gtest.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {
namespace {

struct Target final : RefCounted {
  explicit Target(int number) : number(number) {}
  const int number;
};

std::string RandomPath(std::mt19937_64& random, uint64_t max_components) {
  std::string path;
  for (uint64_t n = random() % (max_components + 1); n != 0; --n) {
    path += '/';
    path += "abc"[random() % 3];
    if (random() % 4 == 0) path += "xy"[random() % 2];
  }
  return path.empty() ? "/" : path;
}

TEST(MountIndexRivalTest, AnswersAsTheIndexDoes) {
  sync::Reclaimer reclaimer;
  sync::Reclaimer::ReadSection section(&reclaimer);
  std::vector<Ref<Target>> all;  // outlive the look-ups
  fs::MountIndex<Target> index(&reclaimer);
  MountIndexRival<Target> rival;
  std::mt19937_64 random(3);
  for (int i = 0; i < 20000; ++i) {
    const std::string prefix = RandomPath(random, 4), path = RandomPath(random, 7);
    switch (random() % 8) {
      case 0:
        all.push_back(MakeRef<Target>(i));
        index.Set(prefix, all.back());
        rival.Set(prefix, all.back());
        break;
      case 1:
        index.Remove(prefix);
        rival.Remove(prefix);
        break;
      default:
        const auto ours = index.Lookup(path);
        const auto theirs = rival.Lookup(path);
        ASSERT_EQ(ours.value, theirs.value) << path;
        if (ours.value) ASSERT_EQ(ours.suffix, theirs.suffix) << path;
    }
  }
}

}  // namespace
}  // namespace remora::benchmarks
