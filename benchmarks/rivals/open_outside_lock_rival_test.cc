// Opens and closes through the one lock and through the inode table: the same sizes, the same calls of the backend.

#include "benchmarks/rivals/open_outside_lock_rival.h"

#include <map>
#include <random>
#include <utility>
#include <vector>

#include "base/ref_counted.h"
#include "fs/inode_table.h"
#include "gtest/gtest.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {
namespace {

struct Backend {
  std::vector<std::pair<char, uint64_t>> calls;
  uint64_t Stat(uint64_t number) {
    calls.emplace_back('s', number);
    return number * 3;
  }
  void CleanUp(uint64_t number) { calls.emplace_back('c', number); }
};

class Inode;
struct Ours {
  explicit Ours(Backend* b) : backend(b) {}
  Backend* const backend;
  sync::Reclaimer reclaimer;
  fs::InodeTable<uint64_t, Inode> table{&reclaimer};
};
class Inode final : public RefCounted {
 public:
  Inode(Ours* ours, uint64_t number) : number_(number), size(ours->backend->Stat(number)), ours_(ours) {}

 private:
  void OnLastRelease() override {
    ours_->table.Remove(number_, this);
    ours_->backend->CleanUp(number_);
    ours_->reclaimer.Retire(this, [](void* self) { delete static_cast<Inode*>(self); });
  }
  const uint64_t number_;

 public:
  const uint64_t size;

 private:
  Ours* const ours_;
};

TEST(OpenOutsideLockRivalTest, AsksTheBackendAsTheTableDoes) {
  Backend ours_backend, rival_backend;
  Ours ours(&ours_backend);
  sync::Reclaimer::ReadSection section(&ours.reclaimer);
  OpenOutsideLockRival<Backend> rival(&rival_backend);
  std::multimap<uint64_t, Ref<Inode>> open;
  std::mt19937_64 random(4);
  for (int i = 0; i < 50000; ++i) {
    const uint64_t number = random() % 50;
    if (random() % 2 == 0) {
      const Ref<Inode> inode = ours.table.GetOrCreate(number, [&] { return MakeRef<Inode>(&ours, number); });
      open.emplace(number, inode);
      ASSERT_EQ(rival.Open(number), inode->size);
    } else if (const auto it = open.find(number); it != open.end()) {
      open.erase(it);
      rival.Close(number);
    }
    ASSERT_EQ(ours_backend.calls, rival_backend.calls);
    ours_backend.calls.clear();
    rival_backend.calls.clear();
    ASSERT_EQ(ours.table.size(), rival.num_inodes());
  }
}

}  // namespace
}  // namespace remora::benchmarks
