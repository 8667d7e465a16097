// What the rival moves to the front of the buffer is what the index shows as a view.

#include "benchmarks/rivals/mount_suffix_rival.h"

#include <random>
#include <string>

#include "fs/mount_index.h"
#include "gtest/gtest.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {
namespace {

struct Target final : RefCounted {};

TEST(MountSuffixRivalTest, LeavesWhatTheIndexShows) {
  sync::Reclaimer reclaimer;
  sync::Reclaimer::ReadSection section(&reclaimer);
  fs::MountIndex<Target> index(&reclaimer);
  MountSuffixRival<Target> rival;
  for (const char* prefix : {"/", "/a", "/a/b", "/c/d", "/a/b/c/d"}) {
    const auto target = MakeRef<Target>();
    index.Set(prefix, target);
    rival.Set(prefix, target);
  }
  std::mt19937_64 random(9);
  for (int i = 0; i < 20000; ++i) {
    std::string path;
    for (uint64_t n = 1 + random() % 40; n != 0; --n) path += std::string("/") + "abcd"[random() % 4];
    const auto ours = index.Lookup(path);
    std::string buffer = path;
    size_t length = path.size();
    ASSERT_EQ(rival.Strip(buffer.data(), &length), ours.value) << path;
    ASSERT_EQ(std::string_view(buffer).substr(0, length), ours.suffix) << path;
    ASSERT_EQ(buffer[length], '\0');
  }
}

}  // namespace
}  // namespace remora::benchmarks
