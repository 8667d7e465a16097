#ifndef REMORA_BENCHMARKS_RIVALS_POLL_DEDUP_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_POLL_DEDUP_RIVAL_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/abi/poll.h"
#include "base/ref_counted.h"
#include "fs/fd_table.h"
#include "fs/file.h"
#include "sync/readiness.h"

namespace remora::benchmarks {

// poll as it is often written first: so that no file is asked twice, each row looks through the descriptors found
// before it; then each ready descriptor looks through the rows for those that want to hear of it.
class PollDedupRival {
 public:
  // Fills in revents; how many rows have some.
  uint32_t Poll(const fs::FdTable& fds, std::span<abi::Pollfd> rows) {
    numbers_.clear();
    wanted_.clear();
    files_.clear();
    uint32_t num_ready = 0;
    for (abi::Pollfd& row : rows) {
      row.revents = 0;
      if (row.fd < 0) continue;
      size_t i = 0;
      const size_t n = numbers_.size();
      const int32_t* numbers = numbers_.data();
      while (i < n && numbers[i] != row.fd) ++i;
      if (i == n) {
        auto file = fds.Lookup(row.fd);
        if (!file.ok()) {
          row.revents = abi::kPOLLNVAL;
          ++num_ready;
          continue;
        }
        numbers_.push_back(row.fd);
        wanted_.push_back(0);
        files_.push_back(*std::move(file));
      }
      wanted_[i] |= static_cast<uint16_t>(row.events);
    }
    for (size_t i = 0; i < numbers_.size(); ++i) {
      const uint32_t ready = sync::AskReadiness(*files_[i], wanted_[i]);
      if (ready == 0) continue;
      const int32_t fd = numbers_[i];
      for (abi::Pollfd& row : rows) {
        if (row.fd != fd) continue;
        const uint32_t told = ready & (static_cast<uint16_t>(row.events) | abi::kPOLLERR | abi::kPOLLHUP);
        row.revents = static_cast<int16_t>(told);
        num_ready += told != 0;
      }
    }
    return num_ready;
  }

 private:
  // Kept between calls, so that no call allocates.
  std::vector<int32_t> numbers_;
  std::vector<uint32_t> wanted_;
  std::vector<Ref<fs::File>> files_;
};

// epoll_wait that asks whatever is registered.
class EpollWaitRival {
 public:
  struct Item {
    Ref<fs::File> file;
    uint32_t events;
    uint64_t data;
  };
  void Add(Ref<fs::File> file, uint32_t events, uint64_t data) { items_.push_back({std::move(file), events, data}); }
  template <typename Emit>
  uint32_t Collect(uint32_t max, Emit emit) {
    uint32_t n = 0;
    for (const Item& item : items_) {
      if (n == max) break;
      const uint32_t ready = sync::AskReadiness(*item.file, item.events);
      if (ready == 0) continue;
      emit(ready, item.data);
      ++n;
    }
    return n;
  }

 private:
  std::vector<Item> items_;
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_POLL_DEDUP_RIVAL_H_
