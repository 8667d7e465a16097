// Item 7: a path is walked without copies and repeated questions.
//
// The same trees in memory, seven mounts, paths of /n components that were walked before; stat(2) of the last.
// BM_Rival... asks its file system by path (rivals/path_normalize_rival.h), BM_RivalHashed... is the same with a
// file system that knows every path by heart: what a faster file system would gain.
// Counter: heap_allocations_per_walk.

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "benchmarks/rivals/path_normalize_rival.h"
#include "fs/vfs_for_testing.h"

namespace {
// Of this thread: allocations by operator new.
thread_local uint64_t num_allocations = 0;
}  // namespace

void* operator new(size_t size) {
  ++num_allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace remora::benchmarks {
namespace {

constexpr int kNumTrees = 16;
constexpr const char* kMountpoints[] = {"/proc", "/dev", "/dev/shm", "/dev/pts", "/tmp", "/run"};

// Trees of directories with some neighbours in each, the same for both.
class Trees {
 public:
  explicit Trees(int num_components) {
    root_ = t_.NewTmpfs();
    t_.vfs().MountRoot(root_, 0);
    walked_ = std::make_unique<WalkedBackend>(root_->root());
    hashed_ = std::make_unique<HashedBackend>(root_->root());
    by_walk_.Mount("", walked_.get());
    by_hash_.Mount("", hashed_.get());
    for (const char* mountpoint : kMountpoints) {
      t_.MakeDirectory(mountpoint);
      const Ref<fs::Tmpfs> mounted = t_.NewTmpfs();
      CHECK(t_.vfs().Mount(t_.context(), mountpoint, mounted, "none", 0).ok());
      others_.push_back(
          {std::make_unique<WalkedBackend>(mounted->root()), std::make_unique<HashedBackend>(mounted->root())});
      by_walk_.Mount(mountpoint, others_.back().walked.get());
      by_hash_.Mount(mountpoint, others_.back().hashed.get());
    }
    for (int tree = 0; tree < kNumTrees; ++tree) {
      std::string path;
      Ref<fs::Inode> inode = root_->root();
      for (int depth = 0; depth < num_components; ++depth) {
        const std::string prefix = path;
        for (int sibling = 0; sibling < 8; ++sibling) {
          path = prefix + "/dir" + std::to_string(tree) + "-" + std::to_string(depth * 8 + sibling);
          CHECK(t_.MakeDirectory(path) == 0);
        }
        inode = *inode->Lookup(path.substr(path.rfind('/') + 1));
        hashed_->Add(path.substr(1), inode);
      }
      paths_.push_back(path);
    }
    context_ = t_.context();
    for (const std::string& path : paths_) {
      const auto ours = t_.vfs().Stat(context_, path, {});
      const auto walked = by_walk_.Resolve(path);
      const auto hashed = by_hash_.Resolve(path);
      CHECK(ours.ok() && walked.ok() && hashed.ok());
      CHECK(ours->inode_number == walked->attributes.inode_number && walked->name == path);
      CHECK(ours->inode_number == hashed->attributes.inode_number);
    }
  }

  const std::string& path(uint64_t i) const { return paths_[i % kNumTrees]; }
  fs::Vfs& vfs() { return t_.vfs(); }
  const fs::WalkContext& context() const { return context_; }
  const PathNormalizeRival<WalkedBackend>& by_walk() const { return by_walk_; }
  const PathNormalizeRival<HashedBackend>& by_hash() const { return by_hash_; }

 private:
  struct Other {
    std::unique_ptr<WalkedBackend> walked;
    std::unique_ptr<HashedBackend> hashed;
  };
  fs::VfsForTesting t_;
  Ref<fs::Tmpfs> root_;
  std::unique_ptr<WalkedBackend> walked_;
  std::unique_ptr<HashedBackend> hashed_;
  std::vector<Other> others_;
  PathNormalizeRival<WalkedBackend> by_walk_;
  PathNormalizeRival<HashedBackend> by_hash_;
  std::vector<std::string> paths_;
  fs::WalkContext context_;
};

template <typename Stat>
void Run(benchmark::State& state, Stat stat) {
  Trees trees(static_cast<int>(state.range(0)));
  const uint64_t before = num_allocations;
  uint64_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(stat(trees, trees.path(i++)));
  state.counters["heap_allocations_per_walk"] =
      static_cast<double>(num_allocations - before) / static_cast<double>(state.iterations());
  state.SetItemsProcessed(state.iterations());
}

void BM_RivalPathNormalize(benchmark::State& state) {
  Run(state, [](Trees& t, const std::string& path) { return t.by_walk().Resolve(path).value().attributes; });
}
void BM_RivalHashedPathNormalize(benchmark::State& state) {
  Run(state, [](Trees& t, const std::string& path) { return t.by_hash().Resolve(path).value().attributes; });
}
void BM_PathNormalize(benchmark::State& state) {
  Run(state, [](Trees& t, const std::string& path) { return t.vfs().Stat(t.context(), path, {}).value(); });
}

BENCHMARK(BM_RivalPathNormalize)->Arg(2)->Arg(4)->Arg(8)->Arg(16)->Arg(32);
BENCHMARK(BM_RivalHashedPathNormalize)->Arg(2)->Arg(4)->Arg(8)->Arg(16)->Arg(32);
BENCHMARK(BM_PathNormalize)->Arg(2)->Arg(4)->Arg(8)->Arg(16)->Arg(32);

}  // namespace
}  // namespace remora::benchmarks
