#include "proc/vdso/vdso.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <time.h>

#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <thread>

#include "base/abi/elf.h"
#include "base/manual_clock.h"
#include "base/tsc_clock.h"
#include "mm/memory_for_testing.h"
#include "proc/vdso/vdso_image.h"

namespace remora::proc {
namespace {

constexpr int64_t kDtNull = 0, kDtHash = 4, kDtStrtab = 5, kDtSymtab = 6, kDtRela = 7, kDtSoname = 14,
                  kDtVersym = 0x6ffffff0, kDtGnuHash = 0x6ffffef5;

// The image, read as a dynamic loader reads it.
class Image {
 public:
  explicit Image(const std::byte* base) : base_(base) {
    const auto headers = At<abi::Elf64Phdr>(At<abi::Elf64Ehdr>(0)->e_phoff);
    for (int i = 0; i < At<abi::Elf64Ehdr>(0)->e_phnum; ++i) {
      if (headers[i].p_type == abi::kPT_LOAD) loads_.push_back(headers[i]);
      if (headers[i].p_type != abi::kPT_DYNAMIC) continue;
      for (auto entry = At<abi::Elf64Dyn>(headers[i].p_vaddr); entry->d_tag != kDtNull; ++entry)
        dynamic_[entry->d_tag] = entry->d_val;
    }
  }
  template <typename T>
  const T* At(uint64_t offset) const {
    return reinterpret_cast<const T*>(base_ + offset);
  }
  const char* Name(uint64_t offset) const { return At<char>(dynamic_.at(kDtStrtab) + offset); }
  const std::map<int64_t, uint64_t>& dynamic() const { return dynamic_; }
  const std::vector<abi::Elf64Phdr>& loads() const { return loads_; }
  // The number of symbols is that of the hash table's chains.
  uint32_t num_symbols() const { return At<uint32_t>(dynamic_.at(kDtHash))[1]; }
  const abi::Elf64Sym& symbol(uint32_t i) const { return At<abi::Elf64Sym>(dynamic_.at(kDtSymtab))[i]; }
  template <typename F>
  F* Function(const std::string& name) const {
    for (uint32_t i = 1; i < num_symbols(); ++i)
      if (name == Name(symbol(i).st_name))
        return reinterpret_cast<F*>(const_cast<std::byte*>(base_) + symbol(i).st_value);
    return nullptr;
  }

 private:
  const std::byte* const base_;
  std::map<int64_t, uint64_t> dynamic_;
  std::vector<abi::Elf64Phdr> loads_;
};

TEST(VdsoImageTest, IsWhatALoaderExpects) {
  const std::span<const std::byte> bytes = VdsoImage();
  const Image image(bytes.data());
  ASSERT_EQ(image.loads().size(), 1u);
  EXPECT_EQ(image.loads()[0].p_vaddr, 0u);
  EXPECT_EQ(image.loads()[0].p_offset, 0u);
  EXPECT_LE(image.loads()[0].p_memsz, bytes.size());
  EXPECT_LE(bytes.size(), Vdso::kCodePages * kPageSize);
  EXPECT_STREQ(image.Name(image.dynamic().at(kDtSoname)), "linux-vdso.so.1");
  EXPECT_EQ(image.dynamic().count(kDtGnuHash), 1u);
  EXPECT_EQ(image.dynamic().count(kDtRela), 0u);  // nobody would carry them out
  std::set<std::string> names;
  const uint16_t* const versions = image.At<uint16_t>(image.dynamic().at(kDtVersym));
  for (uint32_t i = 1; i < image.num_symbols(); ++i) {
    EXPECT_EQ(versions[i] & 0x7fff, 2) << image.Name(image.symbol(i).st_name);  // LINUX_2.6
    names.insert(image.Name(image.symbol(i).st_name));
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("LINUX_2.6", "__vdso_clock_gettime", "__vdso_gettimeofday",
                                                   "__vdso_time", "__vdso_clock_getres", "__vdso_getcpu",
                                                   "clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu"));
}

// Runs the guest's code on the host, with a timebase in the page before it.
class VdsoCodeTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::span<const std::byte> bytes = VdsoImage();
    pages_ = static_cast<std::byte*>(
        mmap(nullptr, Vdso::kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(pages_, MAP_FAILED);
    std::byte* const code = pages_ + Vdso::kVvarPages * kPageSize;
    std::memcpy(code, bytes.data(), bytes.size());
    ASSERT_EQ(mprotect(code, Vdso::kCodePages * kPageSize, PROT_READ | PROT_EXEC), 0);
    timebase_ = new (pages_) TscTimebase;
    image_ = std::make_unique<Image>(code);
    clock_gettime_ = image_->Function<int(int, timespec*)>("__vdso_clock_gettime");
    ASSERT_NE(clock_gettime_, nullptr);
  }
  void TearDown() override { munmap(pages_, Vdso::kBytes); }
  int64_t Nanos(int clock) {
    timespec now{-1, -1};
    EXPECT_EQ(clock_gettime_(clock, &now), 0);
    EXPECT_TRUE(now.tv_nsec >= 0 && now.tv_nsec < kNanosPerSecond);
    return now.tv_sec * kNanosPerSecond + now.tv_nsec;
  }

  std::byte* pages_ = nullptr;
  TscTimebase* timebase_ = nullptr;
  std::unique_ptr<Image> image_;
  int (*clock_gettime_)(int, timespec*) = nullptr;
};

TEST_F(VdsoCodeTest, TellsTheSameAsTheClock) {
  const std::unique_ptr<TscClock> clock = TscClock::TryMake();
  if (!clock) GTEST_SKIP() << "this host does not tell the time by the time-stamp counter";
  ASSERT_TRUE(clock->KeepTimebaseIn(timebase_));
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  clock->MonotonicNanos();
  ASSERT_NE(timebase_->sequence.load(), 0u);
  for (int id : {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME}) {
    const int64_t before = clock->MonotonicNanos(), told = Nanos(id);
    EXPECT_GE(told, before);
    EXPECT_LE(told, clock->MonotonicNanos());
  }
  for (int id : {CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI}) {
    const int64_t before = clock->RealtimeNanos(), told = Nanos(id);
    EXPECT_GE(told, before);
    EXPECT_LE(told, clock->RealtimeNanos());
  }
  timeval day{};
  const int64_t before = clock->RealtimeNanos();
  EXPECT_EQ(image_->Function<int(timeval*, void*)>("gettimeofday")(&day, nullptr), 0);
  EXPECT_GE(day.tv_sec * kNanosPerSecond + day.tv_usec * 1000, before - 1000);
  time_t seconds = 0;
  EXPECT_EQ(image_->Function<time_t(time_t*)>("time")(&seconds), seconds);
  EXPECT_NEAR(static_cast<double>(seconds), static_cast<double>(day.tv_sec), 1.0);
  EXPECT_TRUE(clock->KeepTimebaseIn(nullptr));
}

TEST_F(VdsoCodeTest, FollowsTheTimebaseAlone) {
  timebase_->base_tsc = ReadTsc();
  timebase_->base_nanos = 5 * kNanosPerSecond;
  timebase_->nanos_per_cycle = 1;  // the time stands still
  timebase_->max_cycles = ~uint64_t{0} >> 1;
  timebase_->realtime_offset_nanos = kNanosPerSecond;
  timebase_->sequence = 2;
  const int64_t at = Nanos(CLOCK_MONOTONIC);
  EXPECT_GE(at, 5 * kNanosPerSecond);
  EXPECT_LE(at, 5 * kNanosPerSecond + 100);
  EXPECT_EQ(Nanos(CLOCK_REALTIME) / kNanosPerSecond, 6);
}

TEST_F(VdsoCodeTest, AsksTheKernelWhereTheTimebaseDoesNotTell) {
  const int64_t host = HostClock().MonotonicNanos();
  timebase_->base_nanos = 1;
  EXPECT_GE(Nanos(CLOCK_MONOTONIC), host);  // nobody has written it
  timebase_->sequence = 3;
  EXPECT_GE(Nanos(CLOCK_MONOTONIC), host);  // somebody writes it
  timebase_->sequence = 4;
  timebase_->max_cycles = 10;
  EXPECT_GE(Nanos(CLOCK_MONOTONIC), host);  // it is too old
  EXPECT_GT(Nanos(CLOCK_PROCESS_CPUTIME_ID), 0);
  timespec now;
  EXPECT_EQ(clock_gettime_(99, &now), -EINVAL);
}

TEST(VdsoTest, IsMappedIntoSpacesThatCannotChangeIt) {
  mm::MemoryForTesting memory;
  ManualClock clock;
  const Vdso vdso(&memory.context, &clock);
  EXPECT_FALSE(vdso.tells_time());
  const Ref<mm::AddressSpace> space = mm::AddressSpace::Create(&memory.context, memory.layout);
  constexpr uint64_t kStart = 0x7fff00000000;
  const ErrnoOr<GuestAddr> mapped = vdso.Map(*space, GuestAddr(kStart));
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ(mapped->value(), kStart + Vdso::kVvarPages * kPageSize);
  char magic[4];
  EXPECT_EQ(space->ReadRemote(*mapped, std::as_writable_bytes(std::span(magic))), 4u);
  EXPECT_EQ(std::string(magic, 4),
            "\x7f"
            "ELF");
  std::string names;
  space->ForEachMapping([&](const mm::MappingInfo& mapping) { names += mapping.object->Describe().path; });
  EXPECT_EQ(names, "[vvar][vdso]");
  EXPECT_EQ(space->Protect(GuestAddr(kStart), kPageSize, mm::Protection(3)).error_number(), EACCES);
  const std::byte one{1};
  EXPECT_EQ(space->WriteRemote(GuestAddr(kStart), std::span(&one, 1)), 0u);
  EXPECT_EQ(vdso.Map(*space, GuestAddr(kStart)).error_number(), ENOMEM);
}

}  // namespace
}  // namespace remora::proc
