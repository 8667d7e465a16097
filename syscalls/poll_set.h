#ifndef REMORA_SYSCALLS_POLL_SET_H_
#define REMORA_SYSCALLS_POLL_SET_H_

#include <cstdint>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "base/abi/poll.h"
#include "base/ref_counted.h"
#include "fs/fd_table.h"
#include "fs/file.h"
#include "sync/readiness.h"

namespace remora::syscalls {

// The descriptors that one poll or select asks about: the readiness core that both share (and, by sync/readiness.h,
// epoll as well). Each descriptor is looked up and asked once when it is added, while its file is at hand, and keeps
// the file from then on; each later question is one pass over the rows, in which each row is asked once. Two rows may
// name the same descriptor: each is answered for its own wishes, without looking for the other.
//
// Invariants:
//  1. Rows stand in the order in which they were added; a row's file never changes.
//  2. num_ready() counts the rows with an answer, revents being that to the latest question.
//  3. A row without a file answers as it did when it was added: kInvalid for a bad descriptor, 0 for a negative one.
//  4. A row is armed at most once; ArmAndAsk asks each file after it was armed, so no event between is lost.
// Cost: Ask O(rows), one virtual call each; ArmAndAsk one lock more for each. One allocation above kInlineRows.
// Linux twin: struct poll_wqueues. Difference: files are kept for the whole wait, not looked up again after each wake.
// Thread safety: of its owner; waiters may be notified from any thread.
class PollSet {
 public:
  static constexpr size_t kInlineRows = 8;
  struct Row {
    Ref<fs::File> file;  // null: ignored (negative descriptor) or invalid
    uint32_t events = 0;
    uint32_t revents = 0;
  };

  void Reserve(size_t num_rows) { rows_.reserve(num_rows); }
  // Adds a row and asks it. False for a descriptor that is not open (its row answers kInvalid); a negative one is
  // ignored.
  bool Add(const fs::FdTable& fds, int32_t fd, uint32_t events) {
    Row& row = rows_.emplace_back();
    row.events = events;
    if (fd < 0) return true;
    auto file = fds.Lookup(fd);
    if (!file.ok()) {
      row.revents = sync::kInvalid;
      ++num_ready_;
      return false;
    }
    row.file = *std::move(file);
    num_ready_ += AskRow(row);
    return true;
  }

  // Asks all. How many rows have an answer.
  uint32_t Ask() {
    num_ready_ = 0;
    for (Row& row : rows_) num_ready_ += AskRow(row);
    return num_ready_;
  }
  // How many rows have an answer, by the latest question.
  uint32_t num_ready() const { return num_ready_; }

  // Arms `next_waiter()` (-> sync::Waiter&) for each file that can be waited for, and asks again. The waiters go before
  // this does.
  template <typename NextWaiter>
  uint32_t ArmAndAsk(NextWaiter next_waiter) {
    num_ready_ = 0;
    for (Row& row : rows_) {
      if (row.file)
        if (sync::WaitQueue* queue = row.file->wait_queue()) queue->Arm(&next_waiter(), sync::WakingEvents(row.events));
      num_ready_ += AskRow(row);
    }
    return num_ready_;
  }

  size_t size() const { return rows_.size(); }
  const Row& operator[](size_t i) const { return rows_[i]; }
  auto begin() const { return rows_.begin(); }
  auto end() const { return rows_.end(); }

 private:
  static bool AskRow(Row& row) {
    if (row.file) row.revents = sync::AskReadiness(*row.file, row.events);
    return row.revents != 0;
  }

  absl::InlinedVector<Row, kInlineRows> rows_;
  uint32_t num_ready_ = 0;
};

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_POLL_SET_H_
