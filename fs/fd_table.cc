#include "fs/fd_table.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"

namespace remora::fs {

namespace {

constexpr uint32_t kFirstCapacity = 64;
constexpr uint64_t kFull = ~uint64_t{0};

}  // namespace

// Nobody else knows the table yet.
FdTable::FdTable(sync::Reclaimer* reclaimer, uint32_t max_fds, StripedCounter* alive) ABSL_NO_THREAD_SAFETY_ANALYSIS
    : reclaimer_(reclaimer),
      alive_(alive),
      slots_(new Slots(kFirstCapacity)),
      max_fds_(max_fds) {
  ResizeBits(kFirstCapacity);
}

FdTable::~FdTable() {
  CloseAll();
  delete slots_.load(std::memory_order_relaxed);
}

void FdTable::ResizeBits(uint32_t capacity) {
  const uint32_t num_words = capacity / kBitsPerWord;
  open_.resize(num_words);
  close_on_exec_.resize(num_words);
  full_.resize((num_words + kBitsPerWord - 1) / kBitsPerWord);
}

void FdTable::GrowFor(uint32_t fd) {
  Slots* old = slots_.load(std::memory_order_relaxed);
  if (fd < old->capacity) return;
  const uint32_t capacity = std::bit_ceil(fd + 1);
  auto fresh = std::make_unique<Slots>(capacity);
  for (uint32_t i = 0; i < old->capacity; ++i)
    fresh->files[i].store(old->files[i].load(std::memory_order_relaxed), std::memory_order_relaxed);
  ResizeBits(capacity);
  slots_.store(fresh.release(), std::memory_order_release);
  reclaimer_->RetireDelete(old);
}

bool FdTable::IsOpen(uint32_t fd) const {
  return fd / kBitsPerWord < open_.size() && (open_[fd / kBitsPerWord] & BitOf(fd)) != 0;
}

uint32_t FdTable::LowestFree(uint32_t lowest) const {
  const auto num_words = static_cast<uint32_t>(open_.size());
  uint32_t word = lowest / kBitsPerWord;
  if (word >= num_words) return lowest;
  const uint64_t taken = open_[word] | (BitOf(lowest) - 1);
  if (taken != kFull) return word * kBitsPerWord + static_cast<uint32_t>(std::countr_one(taken));
  ++word;
  while (word < num_words) {
    const uint64_t full_words = full_[word / kBitsPerWord] | (BitOf(word) - 1);
    if (full_words == kFull) {
      word = (word / kBitsPerWord + 1) * kBitsPerWord;
      continue;
    }
    word = word / kBitsPerWord * kBitsPerWord + static_cast<uint32_t>(std::countr_one(full_words));
    if (word >= num_words) break;
    return word * kBitsPerWord + static_cast<uint32_t>(std::countr_one(open_[word]));
  }
  return num_words * kBitsPerWord;
}

File* FdTable::Exchange(uint32_t fd, File* file, bool close_on_exec) {
  const uint32_t word = fd / kBitsPerWord;
  const uint64_t bit = BitOf(fd);
  if (file != nullptr) {
    file->OnPublish(reclaimer_, alive_);
    open_[word] |= bit;
  } else {
    open_[word] &= ~bit;
  }
  close_on_exec_[word] = close_on_exec ? close_on_exec_[word] | bit : close_on_exec_[word] & ~bit;
  uint64_t& full_word = full_[word / kBitsPerWord];
  full_word = open_[word] == kFull ? full_word | BitOf(word) : full_word & ~BitOf(word);
  File* old = slots_.load(std::memory_order_relaxed)->files[fd].exchange(file, std::memory_order_acq_rel);
  num_open_ += static_cast<uint32_t>(file != nullptr) - static_cast<uint32_t>(old != nullptr);
  return old;
}

uint32_t FdTable::NextWord(uint32_t word, bool only_close_on_exec) const {
  const Bits& bits = only_close_on_exec ? close_on_exec_ : open_;
  const auto num_words = static_cast<uint32_t>(bits.size());
  while (word < num_words && bits[word] == 0) ++word;
  return std::min(word, num_words);
}

// Gives references back. Record locks go with any descriptor of the file that their owner, the table, closes.
void FdTable::CloseFiles(const Batch& files) {
  for (File* file : files) {
    AssertNoLocksHeld();
    // Tests have files without an inode.
    if (FileLocks* locks = file->inode() ? file->inode()->file_locks.GetIfAny() : nullptr) locks->ReleaseOwner(this);
    file->OnDescriptorClosed();
    file->Release();
  }
}

ErrnoOr<int32_t> FdTable::Add(Ref<File> file, bool close_on_exec, int32_t lowest, uint32_t limit) {
  limit = std::min(limit, max_fds_);
  if (lowest < 0 || static_cast<uint32_t>(lowest) >= limit) return Errno(lowest == 0 ? EMFILE : EINVAL);
  MutexLock lock(&mu_);
  const uint32_t fd = LowestFree(static_cast<uint32_t>(lowest));
  if (fd >= limit) return Errno(EMFILE);
  GrowFor(fd);
  Exchange(fd, file.release(), close_on_exec);
  return static_cast<int32_t>(fd);
}

ErrnoOr<void> FdTable::Set(int32_t fd, Ref<File> file, bool close_on_exec, uint32_t limit) {
  limit = std::min(limit, max_fds_);
  if (fd < 0 || static_cast<uint32_t>(fd) >= limit) return Errno(EBADF);
  File* old = nullptr;
  {
    MutexLock lock(&mu_);
    GrowFor(static_cast<uint32_t>(fd));
    old = Exchange(static_cast<uint32_t>(fd), file.release(), close_on_exec);
  }
  if (old != nullptr) CloseFiles({old});
  return Ok();
}

ErrnoOr<void> FdTable::Close(int32_t fd) {
  File* old = nullptr;
  {
    MutexLock lock(&mu_);
    if (fd < 0 || !IsOpen(static_cast<uint32_t>(fd))) return Errno(EBADF);
    old = Exchange(static_cast<uint32_t>(fd), nullptr, false);
  }
  CloseFiles({old});
  return Ok();
}

ErrnoOr<void> FdTable::CloseRange(uint32_t first, uint32_t last, bool only_mark_close_on_exec) {
  if (first > last) return Errno(EINVAL);
  for (uint32_t word = first / kBitsPerWord;; ++word) {
    Batch closed;
    {
      MutexLock lock(&mu_);
      // One word with bits at a time, so the batch is bounded.
      word = NextWord(word, false);
      if (word == open_.size() || word > last / kBitsPerWord) return Ok();
      uint64_t bits = open_[word];
      if (word == first / kBitsPerWord) bits &= ~(BitOf(first) - 1);
      if (word == last / kBitsPerWord) bits &= kFull >> (kBitsPerWord - 1 - last % kBitsPerWord);
      if (only_mark_close_on_exec) {
        close_on_exec_[word] |= bits;
        continue;
      }
      for (; bits != 0; bits &= bits - 1)
        closed.push_back(Exchange(word * kBitsPerWord + static_cast<uint32_t>(std::countr_zero(bits)), nullptr, false));
    }
    CloseFiles(closed);
  }
}

ErrnoOr<bool> FdTable::close_on_exec(int32_t fd) const {
  MutexLock lock(&mu_);
  if (fd < 0 || !IsOpen(static_cast<uint32_t>(fd))) return Errno(EBADF);
  const auto n = static_cast<uint32_t>(fd);
  return (close_on_exec_[n / kBitsPerWord] & BitOf(n)) != 0;
}

ErrnoOr<void> FdTable::set_close_on_exec(int32_t fd, bool value) {
  MutexLock lock(&mu_);
  if (fd < 0 || !IsOpen(static_cast<uint32_t>(fd))) return Errno(EBADF);
  const auto n = static_cast<uint32_t>(fd);
  uint64_t& word = close_on_exec_[n / kBitsPerWord];
  word = value ? word | BitOf(n) : word & ~BitOf(n);
  return Ok();
}

// The clone's fields are written without its lock: nobody else knows it yet.
Ref<FdTable> FdTable::Clone() const ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Ref<FdTable> clone = MakeRef<FdTable>(reclaimer_, max_fds_, alive_);
  std::unique_ptr<Slots> room(clone->slots_.exchange(nullptr, std::memory_order_relaxed));
  while (true) {
    uint32_t needed = 0;
    {
      MutexLock lock(&mu_);
      auto num_words = static_cast<uint32_t>(open_.size());
      while (num_words > 1 && open_[num_words - 1] == 0) --num_words;
      needed = std::bit_ceil(num_words) * kBitsPerWord;
      if (needed <= room->capacity) {
        clone->ResizeBits(room->capacity);
        const Slots& slots = *slots_.load(std::memory_order_relaxed);
        for (uint32_t word = 0; word < num_words; ++word) {
          clone->open_[word] = open_[word];
          clone->close_on_exec_[word] = close_on_exec_[word];
          for (uint64_t bits = open_[word]; bits != 0; bits &= bits - 1) {
            const uint32_t fd = word * kBitsPerWord + static_cast<uint32_t>(std::countr_zero(bits));
            File* file = slots.files[fd].load(std::memory_order_relaxed);
            file->AddRef();
            room->files[fd].store(file, std::memory_order_relaxed);
          }
        }
        std::copy_n(full_.begin(), std::min(full_.size(), clone->full_.size()), clone->full_.begin());
        clone->num_open_ = num_open_;
        break;
      }
    }
    // Allocated without the lock, and looked at again: the table may have grown since.
    room = std::make_unique<Slots>(needed);
  }
  clone->slots_.store(room.release(), std::memory_order_release);
  return clone;
}

void FdTable::CloseOnExec() {
  for (uint32_t word = 0;; ++word) {
    Batch closed;
    {
      MutexLock lock(&mu_);
      word = NextWord(word, true);
      if (word == open_.size()) return;
      for (uint64_t bits = close_on_exec_[word]; bits != 0; bits &= bits - 1)
        closed.push_back(Exchange(word * kBitsPerWord + static_cast<uint32_t>(std::countr_zero(bits)), nullptr, false));
    }
    CloseFiles(closed);
  }
}

void FdTable::CloseAll() { (void)CloseRange(0, ~0u, false); }

void FdTable::ForEach(uint32_t first, absl::FunctionRef<bool(int32_t, const Ref<File>&, bool)> visit) const {
  for (uint32_t word = first / kBitsPerWord;; ++word) {
    absl::InlinedVector<std::pair<uint32_t, Ref<File>>, kBitsPerWord> files;
    uint64_t close_on_exec = 0;
    {
      MutexLock lock(&mu_);
      word = NextWord(word, false);
      if (word == open_.size()) return;
      close_on_exec = close_on_exec_[word];
      const Slots* slots = slots_.load(std::memory_order_relaxed);
      for (uint64_t bits = open_[word]; bits != 0; bits &= bits - 1) {
        const uint32_t fd = word * kBitsPerWord + static_cast<uint32_t>(std::countr_zero(bits));
        if (fd >= first) files.emplace_back(fd, Ref<File>(slots->files[fd].load(std::memory_order_relaxed)));
      }
    }
    for (auto& [fd, file] : files)
      if (!visit(static_cast<int32_t>(fd), file, (close_on_exec & BitOf(fd)) != 0)) return;
  }
}

uint32_t FdTable::num_open() const {
  MutexLock lock(&mu_);
  return num_open_;
}

void FdTable::CheckInvariants() const {
  MutexLock lock(&mu_);
  const Slots& slots = *slots_.load(std::memory_order_relaxed);
  CHECK(open_.size() == slots.capacity / kBitsPerWord && close_on_exec_.size() == open_.size());  // 5
  CHECK(full_.size() == (open_.size() + kBitsPerWord - 1) / kBitsPerWord);                        // 5
  uint32_t num_open = 0;
  for (uint32_t word = 0; word < open_.size(); ++word) {
    CHECK(((full_[word / kBitsPerWord] & BitOf(word)) != 0) == (open_[word] == kFull));  // 2
    CHECK((close_on_exec_[word] & ~open_[word]) == 0);                                   // 3
    num_open += static_cast<uint32_t>(std::popcount(open_[word]));
    for (uint32_t i = 0; i < kBitsPerWord; ++i) {
      const File* file = slots.files[word * kBitsPerWord + i].load(std::memory_order_relaxed);
      CHECK((file != nullptr) == ((open_[word] & BitOf(i)) != 0));  // 1
      CHECK(file == nullptr || file->ref_count() != 0);             // 1
    }
  }
  CHECK(num_open == num_open_);
}

}  // namespace remora::fs
