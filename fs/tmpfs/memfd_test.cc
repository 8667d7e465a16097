#include "fs/tmpfs/memfd.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <random>
#include <string>
#include <vector>

#include "base/abi/fcntl.h"
#include "base/clock.h"
#include "gtest/gtest.h"
#include "mm/frame_pool.h"
#include "mm/reverse_map.h"
#include "sync/reclaimer.h"

namespace remora::fs {
namespace {

using mm::IoBuffer;
using mm::KernelBuffer;

class MemfdTest : public testing::Test {
 protected:
  Ref<File> Make(uint32_t flags) { return MakeMemfd(*files_, &memory_, "test", flags, 1, 2); }

  HostClock clock_;
  Ref<AnonymousFiles> files_ = MakeRef<AnonymousFiles>(&clock_);
  mm::FramePool frames_{mm::FramePool::Options{uint64_t{1} << 30}};
  mm::ReverseMap reverse_map_{&frames_};
  sync::Reclaimer reclaimer_;
  mm::MemoryContext memory_{&frames_, &reclaimer_, &reverse_map_};
};

int64_t Answer(const ErrnoOr<uint64_t>& result) {
  return result.ok() ? static_cast<int64_t>(*result) : -result.error_number();
}
int64_t Answer(const ErrnoOr<void>& result) { return -result.error_number(); }
int64_t HostAnswer(int64_t result) { return result < 0 ? -errno : result; }

// The host's memfd is the model. Writes that pass the end of one that may not grow are left out: see the header.
TEST_F(MemfdTest, RandomOperationsAndSealsMatchTheHost) {
  std::mt19937 random(11);
  for (int round = 0; round < 60; ++round) {
    const int host = memfd_create("test", MFD_ALLOW_SEALING);
    ASSERT_GE(host, 0);
    const Ref<File> ours = Make(abi::kMFD_ALLOW_SEALING);
    for (int step = 0; step < 60; ++step) {
      const uint64_t offset = random() % 20'000, length = 1 + random() % 6000;
      switch (random() % 6) {
        case 0:
        case 1: {
          if ((*ours->Seals() & F_SEAL_GROW) != 0 && offset + length > *ours->SizeForSeek()) break;
          std::string bytes(length, static_cast<char>('a' + random() % 26));
          KernelBuffer from(IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(bytes)));
          const int64_t expected = HostAnswer(pwrite(host, bytes.data(), length, static_cast<off_t>(offset)));
          ASSERT_EQ(Answer(ours->Write(from, offset)), expected);
          break;
        }
        case 2:
          ASSERT_EQ(Answer(ours->Truncate(offset)), HostAnswer(ftruncate(host, static_cast<off_t>(offset))));
          break;
        case 3: {
          const int mode = random() % 2 == 0 ? 0 : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
          const int64_t expected =
              HostAnswer(fallocate(host, mode, static_cast<off_t>(offset), static_cast<off_t>(length)));
          ASSERT_EQ(Answer(ours->Allocate(mode, offset, length)), expected);
          break;
        }
        case 4:
          if (random() % 12 == 0) {
            const uint32_t seal = uint32_t{1} << random() % 5;
            ASSERT_EQ(Answer(ours->AddSeals(seal)), HostAnswer(fcntl(host, F_ADD_SEALS, seal)));
            ASSERT_EQ(static_cast<int>(*ours->Seals()), fcntl(host, F_GET_SEALS));
          }
          break;
        default: {
          std::vector<char> expected(length), actual(length);
          KernelBuffer to(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(actual)));
          const int64_t n = HostAnswer(pread(host, expected.data(), length, static_cast<off_t>(offset)));
          ASSERT_EQ(Answer(ours->Read(to, offset)), n);
          ASSERT_EQ(actual, expected);
        }
      }
    }
    close(host);
  }
}

TEST_F(MemfdTest, WithoutLeaveItCannotBeSealed) {
  const Ref<File> plain = Make(0);
  EXPECT_EQ(*plain->Seals(), abi::kF_SEAL_SEAL);
  EXPECT_EQ(plain->AddSeals(abi::kF_SEAL_GROW).error_number(), EPERM);
  const Ref<File> no_exec = Make(abi::kMFD_NOEXEC_SEAL);
  EXPECT_EQ(*no_exec->Seals(), abi::kF_SEAL_EXEC);
  AttributeChange change;
  change.permissions = 0755;
  EXPECT_EQ(no_exec->inode()->SetAttributes(change).error_number(), EPERM);
  change.permissions = 0600;
  EXPECT_TRUE(no_exec->inode()->SetAttributes(change).ok());
}

TEST_F(MemfdTest, ItIsOpenedAgainThroughItsInode) {
  const Ref<File> first = Make(0);
  std::string bytes = "shared";
  KernelBuffer from(IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(bytes)));
  ASSERT_EQ(*first->Write(from, 0), 6u);
  const auto second = first->inode()->Open(Path(), O_RDONLY);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(*(*second)->SizeForSeek(), 6u);
  EXPECT_EQ((*second)->AddSeals(0).error_number(), EPERM);
  EXPECT_EQ((*second)->DescribePath(), "/memfd:test (deleted)");
  EXPECT_EQ(first->inode()->GetAttributes()->num_links, 0u);
}

}  // namespace
}  // namespace remora::fs
