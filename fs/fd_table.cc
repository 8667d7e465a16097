#include "fs/fd_table.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/container/inlined_vector.h"

namespace remora::fs {

namespace {

constexpr uint32_t kBitsPerWord = 64;
constexpr uint32_t kFirstCapacity = 64;
constexpr uint64_t kFull = ~uint64_t{0};

}  // namespace

// Invariants:
//  1. slots[fd] is not null exactly where the bit of fd in open_ is set; each such slot owns one reference.
//  2. A bit of full_ is set exactly where the word of open_ is kFull.
//  3. Slots change under mu_ only. A table that was replaced is never written again: a lookup that still reads it began
//     before the replacement.
struct FdTable::Impl {
  struct Slots {
    explicit Slots(uint32_t n) : capacity(n), files(new std::atomic<File*>[n]()) {}
    const uint32_t capacity;
    const std::unique_ptr<std::atomic<File*>[]> files;
  };

  Impl(sync::Reclaimer* r, uint32_t max) : reclaimer(r), max_fds(max), slots(new Slots(kFirstCapacity)) {
    Resize(kFirstCapacity);
  }
  ~Impl() { delete slots.load(std::memory_order_relaxed); }

  void Resize(uint32_t capacity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const uint32_t num_words = capacity / kBitsPerWord;
    open.resize(num_words);
    close_on_exec.resize(num_words);
    full.resize((num_words + kBitsPerWord - 1) / kBitsPerWord);
  }

  // Makes room for `fd` < max_fds. Doubles, so that n descriptors cost O(n) in all.
  void GrowFor(uint32_t fd) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    Slots* old = slots.load(std::memory_order_relaxed);
    if (fd < old->capacity) return;
    const uint32_t capacity = std::bit_ceil(fd + 1);
    auto fresh = std::make_unique<Slots>(capacity);
    for (uint32_t i = 0; i < old->capacity; ++i)
      fresh->files[i].store(old->files[i].load(std::memory_order_relaxed), std::memory_order_relaxed);
    Resize(capacity);
    slots.store(fresh.release(), std::memory_order_release);
    reclaimer->RetireDelete(old);
  }

  bool IsOpen(uint32_t fd) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return fd / kBitsPerWord < open.size() && (open[fd / kBitsPerWord] >> (fd % kBitsPerWord) & 1) != 0;
  }

  // The lowest number >= lowest that is not open; may be the first one behind the table.
  uint32_t LowestFree(uint32_t lowest) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const auto num_words = static_cast<uint32_t>(open.size());
    uint32_t word = lowest / kBitsPerWord;
    if (word >= num_words) return lowest;
    const uint64_t taken = open[word] | ((uint64_t{1} << (lowest % kBitsPerWord)) - 1);
    if (taken != kFull) return word * kBitsPerWord + static_cast<uint32_t>(std::countr_one(taken));
    ++word;
    while (word < num_words) {
      const uint64_t full_words = full[word / kBitsPerWord] | ((uint64_t{1} << (word % kBitsPerWord)) - 1);
      if (full_words == kFull) {
        word = (word / kBitsPerWord + 1) * kBitsPerWord;
        continue;
      }
      word = word / kBitsPerWord * kBitsPerWord + static_cast<uint32_t>(std::countr_one(full_words));
      if (word >= num_words) break;
      return word * kBitsPerWord + static_cast<uint32_t>(std::countr_one(open[word]));
    }
    return num_words * kBitsPerWord;
  }

  // Puts a file (or null) into a slot that exists; what was there, with its reference.
  File* Exchange(uint32_t fd, File* file, bool cloexec) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const uint32_t word = fd / kBitsPerWord;
    const uint64_t bit = uint64_t{1} << (fd % kBitsPerWord);
    if (file != nullptr) {
      file->SetReclaimer(reclaimer);
      open[word] |= bit;
    } else {
      open[word] &= ~bit;
    }
    close_on_exec[word] = cloexec ? close_on_exec[word] | bit : close_on_exec[word] & ~bit;
    const uint64_t word_bit = uint64_t{1} << (word % kBitsPerWord);
    uint64_t& full_word = full[word / kBitsPerWord];
    full_word = open[word] == kFull ? full_word | word_bit : full_word & ~word_bit;
    File* old = slots.load(std::memory_order_relaxed)->files[fd].exchange(file, std::memory_order_acq_rel);
    num_open += static_cast<uint32_t>(file != nullptr) - static_cast<uint32_t>(old != nullptr);
    return old;
  }

  sync::Reclaimer* const reclaimer;
  const uint32_t max_fds;
  std::atomic<Slots*> slots;  // read without mu
  mutable Mutex mu{LockRank::kFdTable};
  std::vector<uint64_t> open ABSL_GUARDED_BY(mu), close_on_exec ABSL_GUARDED_BY(mu), full ABSL_GUARDED_BY(mu);
  uint32_t num_open ABSL_GUARDED_BY(mu) = 0;
};

namespace {

// A descriptor's reference, given back outside the table's lock. Record locks go with any descriptor of the file that
// their owner, the table, closes.
void CloseFile(File* file, const FdTable* table) {
  if (file == nullptr) return;
  AssertNoLocksHeld();
  // Tests have files without an inode.
  if (FileLocks* locks = file->inode() ? file->inode()->file_locks.GetIfAny() : nullptr) locks->ReleaseOwner(table);
  file->OnDescriptorClosed();
  file->Release();
}

}  // namespace

FdTable::FdTable(sync::Reclaimer* reclaimer, uint32_t max_fds) ABSL_NO_THREAD_SAFETY_ANALYSIS
    : impl_(std::make_unique<Impl>(reclaimer, max_fds)) {}

FdTable::~FdTable() { CloseAll(); }

ErrnoOr<Ref<File>> FdTable::Lookup(int32_t fd) const {
  if (fd < 0) return Errno(EBADF);
  while (true) {
    const Impl::Slots* slots = impl_->slots.load(std::memory_order_acquire);
    if (static_cast<uint32_t>(fd) >= slots->capacity) return Errno(EBADF);
    File* file = slots->files[static_cast<uint32_t>(fd)].load(std::memory_order_acquire);
    if (file == nullptr) return Errno(EBADF);
    // Fails only if the descriptor was closed since: then the slot has changed, or the table.
    if (file->TryAddRef()) return Ref<File>::Adopt(file);
  }
}

ErrnoOr<int32_t> FdTable::Add(Ref<File> file, bool close_on_exec, int32_t lowest, uint32_t limit) {
  limit = std::min(limit, impl_->max_fds);
  if (lowest < 0 || static_cast<uint32_t>(lowest) >= limit) return Errno(lowest == 0 ? EMFILE : EINVAL);
  MutexLock lock(&impl_->mu);
  const uint32_t fd = impl_->LowestFree(static_cast<uint32_t>(lowest));
  if (fd >= limit) return Errno(EMFILE);
  impl_->GrowFor(fd);
  impl_->Exchange(fd, file.release(), close_on_exec);
  return static_cast<int32_t>(fd);
}

ErrnoOr<void> FdTable::Set(int32_t fd, Ref<File> file, bool close_on_exec, uint32_t limit) {
  limit = std::min(limit, impl_->max_fds);
  if (fd < 0 || static_cast<uint32_t>(fd) >= limit) return Errno(EBADF);
  File* old = nullptr;
  {
    MutexLock lock(&impl_->mu);
    impl_->GrowFor(static_cast<uint32_t>(fd));
    old = impl_->Exchange(static_cast<uint32_t>(fd), file.release(), close_on_exec);
  }
  CloseFile(old, this);
  return Ok();
}

ErrnoOr<void> FdTable::Close(int32_t fd) {
  File* old = nullptr;
  {
    MutexLock lock(&impl_->mu);
    if (fd < 0 || !impl_->IsOpen(static_cast<uint32_t>(fd))) return Errno(EBADF);
    old = impl_->Exchange(static_cast<uint32_t>(fd), nullptr, false);
  }
  CloseFile(old, this);
  return Ok();
}

ErrnoOr<void> FdTable::CloseRange(uint32_t first, uint32_t last, bool only_mark_close_on_exec) {
  if (first > last) return Errno(EINVAL);
  uint64_t next = first;
  while (true) {
    absl::InlinedVector<File*, kBitsPerWord> closed;
    {
      MutexLock lock(&impl_->mu);
      const uint64_t end = std::min<uint64_t>(uint64_t{last} + 1, impl_->open.size() * kBitsPerWord);
      if (next >= end) return Ok();
      // One word at a time, so the batch is bounded.
      const uint64_t stop = std::min<uint64_t>(end, (next / kBitsPerWord + 1) * kBitsPerWord);
      for (; next < stop; ++next) {
        const auto fd = static_cast<uint32_t>(next);
        if (!impl_->IsOpen(fd)) continue;
        if (only_mark_close_on_exec)
          impl_->close_on_exec[fd / kBitsPerWord] |= uint64_t{1} << (fd % kBitsPerWord);
        else
          closed.push_back(impl_->Exchange(fd, nullptr, false));
      }
    }
    for (File* file : closed) CloseFile(file, this);
  }
}

ErrnoOr<bool> FdTable::close_on_exec(int32_t fd) const {
  MutexLock lock(&impl_->mu);
  if (fd < 0 || !impl_->IsOpen(static_cast<uint32_t>(fd))) return Errno(EBADF);
  const auto n = static_cast<uint32_t>(fd);
  return (impl_->close_on_exec[n / kBitsPerWord] >> (n % kBitsPerWord) & 1) != 0;
}

ErrnoOr<void> FdTable::set_close_on_exec(int32_t fd, bool value) {
  MutexLock lock(&impl_->mu);
  if (fd < 0 || !impl_->IsOpen(static_cast<uint32_t>(fd))) return Errno(EBADF);
  const auto n = static_cast<uint32_t>(fd);
  const uint64_t bit = uint64_t{1} << (n % kBitsPerWord);
  uint64_t& word = impl_->close_on_exec[n / kBitsPerWord];
  word = value ? word | bit : word & ~bit;
  return Ok();
}

Ref<FdTable> FdTable::Clone() const {
  Ref<FdTable> clone = MakeRef<FdTable>(impl_->reclaimer, impl_->max_fds);
  Impl& to = *clone->impl_;
  for (uint32_t word = 0;; ++word) {
    // Files are copied word by word, each under the source's lock only; the clone is nobody else's yet.
    absl::InlinedVector<std::pair<uint32_t, Ref<File>>, kBitsPerWord> files;
    uint64_t cloexec = 0;
    {
      MutexLock lock(&impl_->mu);
      if (word >= impl_->open.size()) return clone;
      cloexec = impl_->close_on_exec[word];
      const Impl::Slots* slots = impl_->slots.load(std::memory_order_relaxed);
      for (uint64_t bits = impl_->open[word]; bits != 0; bits &= bits - 1) {
        const uint32_t fd = word * kBitsPerWord + static_cast<uint32_t>(std::countr_zero(bits));
        files.emplace_back(fd, Ref<File>(slots->files[fd].load(std::memory_order_relaxed)));
      }
    }
    MutexLock lock(&to.mu);
    for (auto& [fd, file] : files) {
      to.GrowFor(fd);
      to.Exchange(fd, file.release(), (cloexec >> (fd % kBitsPerWord) & 1) != 0);
    }
  }
}

void FdTable::CloseOnExec() {
  for (uint32_t word = 0;; ++word) {
    absl::InlinedVector<File*, kBitsPerWord> closed;
    {
      MutexLock lock(&impl_->mu);
      if (word >= impl_->open.size()) return;
      for (uint64_t bits = impl_->open[word] & impl_->close_on_exec[word]; bits != 0; bits &= bits - 1)
        closed.push_back(
            impl_->Exchange(word * kBitsPerWord + static_cast<uint32_t>(std::countr_zero(bits)), nullptr, false));
    }
    for (File* file : closed) CloseFile(file, this);
  }
}

void FdTable::CloseAll() { (void)CloseRange(0, ~0u, false); }

void FdTable::ForEach(absl::FunctionRef<void(int32_t, const Ref<File>&, bool)> visit) const {
  for (uint32_t word = 0;; ++word) {
    absl::InlinedVector<std::pair<uint32_t, Ref<File>>, kBitsPerWord> files;
    uint64_t cloexec = 0;
    {
      MutexLock lock(&impl_->mu);
      if (word >= impl_->open.size()) return;
      cloexec = impl_->close_on_exec[word];
      const Impl::Slots* slots = impl_->slots.load(std::memory_order_relaxed);
      for (uint64_t bits = impl_->open[word]; bits != 0; bits &= bits - 1) {
        const uint32_t fd = word * kBitsPerWord + static_cast<uint32_t>(std::countr_zero(bits));
        files.emplace_back(fd, Ref<File>(slots->files[fd].load(std::memory_order_relaxed)));
      }
    }
    for (auto& [fd, file] : files) visit(static_cast<int32_t>(fd), file, (cloexec >> (fd % kBitsPerWord) & 1) != 0);
  }
}

uint32_t FdTable::num_open() const {
  MutexLock lock(&impl_->mu);
  return impl_->num_open;
}

}  // namespace remora::fs
