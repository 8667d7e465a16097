#include "benchmarks/rivals/proc_snapshot_rival.h"

#include <fcntl.h>

#include <random>

#include "base/clock.h"
#include "fs/pseudo/pseudo_inode.h"
#include "fs/pseudo/snapshot_file.h"
#include "gtest/gtest.h"

namespace remora::benchmarks {
namespace {

TEST(ProcSnapshotRivalTest, ReadsTheSameBytes) {
  HostClock clock;
  const auto file_system = MakeRef<fs::PseudoFileSystem>("proc", 0x9fa0, 77, &clock);
  std::string text;
  for (int i = 0; i < 500; ++i) text += std::to_string(i * 7919) + "\n";
  const auto inode = MakeRef<fs::SnapshotInode>(file_system.get(), [&]() -> ErrnoOr<std::string> { return text; });
  const Ref<fs::File> file = inode->Open(fs::Path(), O_RDONLY).value();
  const ProcSnapshotRival rival([&] { return text; });
  std::mt19937 random(11);
  for (int i = 0; i < 5000; ++i) {
    const uint64_t offset = random() % (text.size() + 20), size = random() % 100;
    std::string mine(size, '\0'), its(size, '\0');
    mm::KernelBuffer to_mine(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(mine)));
    mm::KernelBuffer to_its(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(its)));
    ASSERT_EQ(file->Read(to_mine, offset).value(), rival.Read(to_its, offset).value());
    ASSERT_EQ(mine, its);
  }
}

}  // namespace
}  // namespace remora::benchmarks
