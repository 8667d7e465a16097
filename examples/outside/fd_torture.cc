// Threads open, duplicate, close and look up descriptors in one of remora's descriptor tables, as fast as they can, and
// check what they find: number n only ever leads to file n modulo the number of files, and in the end each file was
// closed as often as it was opened and died once. Prints operations a second; 1 if something was wrong.
//
//   fd_torture [THREADS [SECONDS]]
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "base/ref_counted.h"
#include "fs/fd_table.h"
#include "fs/file.h"
#include "sync/reclaimer.h"

namespace {

constexpr int32_t kFiles = 37, kNumbers = 2000, kAnywhere = 4000;

struct Tally {
  std::atomic<int64_t> opened{0}, closed{0}, died{0}, wrong{0}, operations{0};
};

class NumberedFile final : public remora::fs::File {
 public:
  NumberedFile(Tally* tally, int32_t number) : File(nullptr, {}, 0), number(number), tally_(tally) {}
  remora::ErrnoOr<uint64_t> Read(remora::mm::IoBuffer&, uint64_t) override { return remora::Errno(EIO); }
  remora::ErrnoOr<uint64_t> Write(remora::mm::IoBuffer&, uint64_t) override { return remora::Errno(EIO); }
  void OnDescriptorClosed() override { ++tally_->closed; }
  const int32_t number;

 private:
  ~NumberedFile() override { ++tally_->died; }
  Tally* const tally_;
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 4;
  const double seconds = argc > 2 ? std::atof(argv[2]) : 2;
  Tally tally;
  remora::sync::Reclaimer reclaimer;
  std::vector<remora::Ref<remora::fs::File>> files;
  for (int32_t i = 0; i < kFiles; ++i) files.push_back(remora::MakeRef<NumberedFile>(&tally, i));
  const auto table = remora::MakeRef<remora::fs::FdTable>(&reclaimer);

  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  const auto torture = [&](int thread) {
    std::mt19937 random(static_cast<uint32_t>(thread) + 1);
    remora::sync::Reclaimer::Participant participant(&reclaimer);
    participant.Online();
    int64_t operations = 0, opened = 0, wrong = 0;
    while (std::chrono::steady_clock::now() < end) {
      for (int i = 0; i < 200; ++i, ++operations) {
        const auto fd = static_cast<int32_t>(random() % kNumbers);
        const uint32_t what = random() % 16;
        if (what == 0) {
          opened += table->Set(fd, files[fd % kFiles], false).ok();
        } else if (what == 1) {
          (void)table->Close(fd).ok();
        } else if (what == 2) {
          const auto added = table->Add(files[fd % kFiles], true, kAnywhere);
          opened += added.ok();
          if (!added.ok() || *added < kAnywhere || !table->Close(*added).ok()) ++wrong;
        } else if (const auto file = table->Lookup(fd); file.ok()) {
          wrong += static_cast<NumberedFile&>(**file).number != fd % kFiles;
        }
      }
      participant.Quiesce();
      reclaimer.Collect();
    }
    participant.Offline();
    tally.operations += operations, tally.opened += opened, tally.wrong += wrong;
  };
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) all.emplace_back(torture, i);
  for (std::thread& thread : all) thread.join();
  table->CloseAll();
  files.clear();
  while (reclaimer.num_pending() != 0) reclaimer.Collect();

  const bool good = tally.wrong == 0 && tally.opened == tally.closed && tally.died == kFiles;
  std::printf("%d threads: %.1f million operations a second, %lld wrong; opened %lld, closed %lld: %s\n", threads,
              static_cast<double>(tally.operations) / seconds / 1e6, static_cast<long long>(tally.wrong),
              static_cast<long long>(tally.opened), static_cast<long long>(tally.closed), good ? "good" : "WRONG");
  return good ? 0 : 1;
}
