// Any rows of poll and any registrations of epoll over the same files, opened, written, read and closed in any order:
// each answer is what the files say one by one, and what epoll tells is ready.

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/abi/epoll.h"
#include "base/abi/poll.h"
#include "base/check.h"
#include "base/clock.h"
#include "fs/fd_table.h"
#include "fs/special/anonymous_files.h"
#include "fs/special/epoll.h"
#include "fs/special/eventfd.h"
#include "fs/special/pipe.h"
#include "mm/io_buffer.h"
#include "sync/reclaimer.h"
#include "syscalls/poll_set.h"

namespace remora::syscalls {
namespace {

constexpr uint32_t kMaxFds = 12;

class Driver {
 public:
  Driver(const uint8_t* data, size_t size) : data_(data), end_(data + size) {}
  ~Driver() { fds_->CloseAll(); }

  void Run() {
    while (data_ != end_) Step();
  }

 private:
  uint8_t Byte() { return data_ == end_ ? 0 : *data_++; }
  int32_t Fd() { return static_cast<int32_t>(Byte() % (kMaxFds + 2)) - 1; }
  uint32_t Events() {
    const uint8_t bits = Byte();
    return (bits & 1 ? abi::kPOLLIN : 0) | (bits & 2 ? abi::kPOLLOUT : 0) | (bits & 4 ? abi::kPOLLRDNORM : 0) |
           (bits & 8 ? abi::kPOLLRDHUP : 0) | (bits & 16 ? abi::kEPOLLET : 0) | (bits & 32 ? abi::kEPOLLONESHOT : 0) |
           (bits & 64 ? abi::kEPOLLEXCLUSIVE : 0) | (bits & 128 ? abi::kPOLLPRI : 0);
  }

  void Open(Ref<fs::File> file) { (void)fds_->Add(std::move(file), false, 0, kMaxFds); }

  void Step() {
    switch (Byte() % 10) {
      case 0:
        return Open(fs::MakeEventFd(*files_, Byte() % 2, 0));
      case 1: {
        auto ends = fs::MakePipe(*files_, fs::Credentials(), 0);
        Open(std::move(ends.reader));
        return Open(std::move(ends.writer));
      }
      case 2:
        return Open(fs::EpollFile::Make(*files_, nesting_));
      case 3:
        (void)fds_->Close(Fd());
        return;
      case 4: {
        auto file = fds_->Lookup(Fd());
        const int32_t to = Fd();
        if (file.ok()) (void)fds_->Set(to, *std::move(file), false, kMaxFds);
        return;
      }
      case 5:
      case 6: {
        auto file = fds_->Lookup(Fd());
        if (!file.ok()) return;
        uint64_t value = 1;
        const bool write = Byte() % 2 == 0;
        mm::KernelBuffer buffer(write ? mm::IoBuffer::Direction::kDrain : mm::IoBuffer::Direction::kFill,
                                std::as_writable_bytes(std::span(&value, 1)));
        if (write ? (*file)->writable() : (*file)->readable())
          (void)(write ? (*file)->Write(buffer, 0) : (*file)->Read(buffer, 0));
        return;
      }
      case 7:
        return Control();
      case 8:
        return Wait();
      default:
        return Poll();
    }
  }

  void Control() {
    const auto epoll_file = fds_->Lookup(Fd());
    const int32_t fd = Fd();
    const auto watched = fds_->Lookup(fd);
    if (!epoll_file.ok() || !watched.ok() || *epoll_file == *watched) return;
    fs::EpollFile* const epoll = fs::EpollFile::From(**epoll_file);
    if (epoll == nullptr) return;
    (void)epoll->Control(1 + Byte() % 3, fd, **watched, Events(), static_cast<uint64_t>(fd));
    epoll->set().CheckInvariants();
  }

  void Wait() {
    const auto file = fds_->Lookup(Fd());
    if (!file.ok()) return;
    fs::EpollFile* const epoll = fs::EpollFile::From(**file);
    if (epoll == nullptr) return;
    const uint32_t max = 1u + Byte() % 4;
    const bool any = epoll->Readiness(sync::kReadable) != 0;
    uint32_t told = 0;
    const auto count = epoll->set().Collect(max, [&](uint32_t events, uint64_t) {
      CHECK(events != 0 && (events & fs::EpollItem::kFlagBits) == 0);
      ++told;
      return Ok();
    });
    CHECK(count.ok() && *count == told && told <= max);
    CHECK(any == (told != 0));
    epoll->set().CheckInvariants();
  }

  void Poll() {
    PollSet set;
    const uint8_t n = Byte() % 16;
    std::vector<int32_t> numbers;
    for (uint8_t i = 0; i < n; ++i) {
      numbers.push_back(Fd());
      set.Add(*fds_, numbers.back(), Events() & 0xffff);
    }
    const uint32_t ready = set.Ask();
    uint32_t expected = 0;
    for (uint8_t i = 0; i < n; ++i) {
      const auto file = fds_->Lookup(numbers[i]);
      uint32_t bits = numbers[i] < 0 ? 0 : sync::kInvalid;
      if (file.ok()) bits = sync::AskReadiness(**file, set[i].events);
      CHECK(bits == set[i].revents);
      expected += bits != 0;
    }
    CHECK(ready == expected);
  }

  const uint8_t* data_;
  const uint8_t* const end_;
  HostClock clock_;
  Ref<fs::AnonymousFiles> files_ = MakeRef<fs::AnonymousFiles>(&clock_);
  Ref<fs::EpollNesting> nesting_ = MakeRef<fs::EpollNesting>();
  sync::Reclaimer reclaimer_;
  Ref<fs::FdTable> fds_ = MakeRef<fs::FdTable>(&reclaimer_);
};

}  // namespace
}  // namespace remora::syscalls

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  remora::syscalls::Driver(data, size).Run();
  return 0;
}
