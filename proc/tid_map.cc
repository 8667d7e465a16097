#include "proc/tid_map.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace remora::proc {

namespace {
constexpr uint64_t BitOf(int32_t n) { return uint64_t{1} << (n & 63); }
}  // namespace

TidMap::TidMap(sync::Reclaimer* reclaimer, int32_t max_number)
    : reclaimer_(reclaimer),
      max_number_(max_number),
      num_chunks_((max_number + kChunkSize - 1) / kChunkSize),
      chunks_(std::make_unique<std::atomic<Chunk*>[]>(static_cast<size_t>(num_chunks_))),
      marked_chunks_(std::make_unique<std::atomic<uint64_t>[]>(static_cast<size_t>(num_chunks_ / 64 + 1))) {
  CHECK(max_number > 1);
}

TidMap::~TidMap() {
  for (int32_t c = 0; c < num_chunks_; ++c) {
    Chunk* chunk = chunks_[c].load(std::memory_order_acquire);
    if (chunk == nullptr) continue;
    for (auto& slot : chunk->slots)
      if (RefCounted* object = slot.exchange(nullptr, std::memory_order_acq_rel)) object->Release();
    delete chunk;
  }
}

bool TidMap::IsUsed(int32_t number) const {
  const Chunk* chunk = chunks_[number >> kChunkBits].load(std::memory_order_relaxed);
  return chunk != nullptr && (chunk->used[(number & (kChunkSize - 1)) / 64] & BitOf(number)) != 0;
}

void TidMap::MarkUsed(int32_t number) {
  std::atomic<Chunk*>& place = chunks_[number >> kChunkBits];
  Chunk* chunk = place.load(std::memory_order_relaxed);
  if (chunk == nullptr) {
    chunk = new Chunk;
    place.store(chunk, std::memory_order_release);
  }
  uint64_t& word = chunk->used[(number & (kChunkSize - 1)) / 64];
  if ((word & BitOf(number)) == 0) ++chunk->num_used;
  word |= BitOf(number);
}

int32_t TidMap::AllocateFrom(int32_t first, int32_t end) {
  for (int32_t n = first; n < end;) {
    const Chunk* chunk = chunks_[n >> kChunkBits].load(std::memory_order_relaxed);
    if (chunk == nullptr) return n;
    if (chunk->num_used == kChunkSize) {
      n = ((n >> kChunkBits) + 1) << kChunkBits;
      continue;
    }
    const uint64_t free = ~chunk->used[(n & (kChunkSize - 1)) / 64] & (~uint64_t{0} << (n & 63));
    if (free != 0) {
      const int32_t found = (n & ~63) + std::countr_zero(free);
      return found < end ? found : 0;
    }
    n = (n & ~63) + 64;
  }
  return 0;
}

ErrnoOr<int32_t> TidMap::Allocate() {
  MutexLock lock(&mu_);
  int32_t number = AllocateFrom(next_, max_number_);
  if (number == 0) number = AllocateFrom(1, std::min(next_, max_number_));
  if (number == 0) return Errno(EAGAIN);
  MarkUsed(number);
  last_.store(number, std::memory_order_relaxed);
  next_ = number + 1 < max_number_ ? number + 1 : 1;
  return number;
}

ErrnoOr<int32_t> TidMap::AllocateExactly(int32_t number) {
  if (number < 1 || number >= max_number_) return Errno(EINVAL);
  MutexLock lock(&mu_);
  if (IsUsed(number)) return Errno(EEXIST);
  MarkUsed(number);
  return number;
}

Ref<RefCounted> TidMap::Publish(int32_t number, Ref<RefCounted> object, bool mark) {
  MutexLock lock(&mu_);
  DCHECK(IsUsed(number));
  Chunk* chunk = chunks_[number >> kChunkBits].load(std::memory_order_relaxed);
  const int32_t i = number & (kChunkSize - 1);
  RefCounted* before = chunk->slots[i].exchange(object.release(), std::memory_order_acq_rel);
  if (mark && (chunk->marked[i / 64].fetch_or(BitOf(i), std::memory_order_acq_rel) & BitOf(i)) == 0) {
    chunk->marked_words.fetch_or(1u << (i / 64), std::memory_order_acq_rel);
    const int32_t c = number >> kChunkBits;
    marked_chunks_[c / 64].fetch_or(BitOf(c), std::memory_order_acq_rel);
    num_marked_.fetch_add(1, std::memory_order_relaxed);
  }
  return Ref<RefCounted>::Adopt(before);
}

void TidMap::ClearMark(int32_t number) {
  const int32_t c = number >> kChunkBits;
  Chunk* chunk = chunks_[c].load(std::memory_order_relaxed);
  const int32_t i = number & (kChunkSize - 1);
  if ((chunk->marked[i / 64].fetch_and(~BitOf(i), std::memory_order_acq_rel) & BitOf(i)) == 0) return;
  num_marked_.fetch_sub(1, std::memory_order_relaxed);
  if (chunk->marked[i / 64].load(std::memory_order_relaxed) != 0) return;
  const uint32_t bit = 1u << (i / 64);
  if (chunk->marked_words.fetch_and(~bit, std::memory_order_acq_rel) != bit) return;
  marked_chunks_[c / 64].fetch_and(~BitOf(c), std::memory_order_acq_rel);
}

TidMap::Chunk* TidMap::FreeNumber(int32_t number) {
  const int32_t c = number >> kChunkBits;
  Chunk* chunk = chunks_[c].load(std::memory_order_relaxed);
  chunk->used[(number & (kChunkSize - 1)) / 64] &= ~BitOf(number);
  if (--chunk->num_used != 0) return nullptr;
  // Lock-free readers may still look into it.
  chunks_[c].store(nullptr, std::memory_order_release);
  return chunk;
}

Ref<RefCounted> TidMap::Remove(int32_t number) {
  RefCounted* object = nullptr;
  Chunk* empty = nullptr;
  {
    MutexLock lock(&mu_);
    if (!IsUsed(number)) return nullptr;
    Chunk* chunk = chunks_[number >> kChunkBits].load(std::memory_order_relaxed);
    object = chunk->slots[number & (kChunkSize - 1)].exchange(nullptr, std::memory_order_acq_rel);
    ClearMark(number);
    if (!holds_.contains(number)) empty = FreeNumber(number);
  }
  RetireChunk(empty);
  return Ref<RefCounted>::Adopt(object);
}

void TidMap::Hold(int32_t number) {
  MutexLock lock(&mu_);
  ++holds_[number];
  MarkUsed(number);
}

void TidMap::Unhold(int32_t number) {
  Chunk* empty = nullptr;
  {
    MutexLock lock(&mu_);
    const auto found = holds_.find(number);
    CHECK(found != holds_.end());
    if (--found->second != 0) return;
    holds_.erase(found);
    const Chunk* chunk = chunks_[number >> kChunkBits].load(std::memory_order_relaxed);
    if (chunk->slots[number & (kChunkSize - 1)].load(std::memory_order_relaxed) == nullptr) empty = FreeNumber(number);
  }
  RetireChunk(empty);
}

Ref<RefCounted> TidMap::Lookup(int32_t number) const {
  if (number <= 0 || number >= max_number_) return nullptr;
  const Chunk* chunk = chunks_[number >> kChunkBits].load(std::memory_order_acquire);
  if (chunk == nullptr) return nullptr;
  RefCounted* object = chunk->slots[number & (kChunkSize - 1)].load(std::memory_order_acquire);
  if (object == nullptr || !object->TryAddRef()) return nullptr;
  return Ref<RefCounted>::Adopt(object);
}

size_t TidMap::ListMarked(int32_t number, std::span<int32_t> out) const {
  number = std::max(number, 1);
  if (number >= max_number_ || out.empty()) return 0;
  size_t n = 0;
  const int32_t first_chunk = number >> kChunkBits;
  for (int32_t chunk_word = first_chunk / 64; chunk_word <= num_chunks_ / 64; ++chunk_word) {
    uint64_t chunks = marked_chunks_[chunk_word].load(std::memory_order_acquire);
    if (chunk_word == first_chunk / 64) chunks &= ~(BitOf(first_chunk) - 1);
    for (; chunks != 0; chunks &= chunks - 1) {
      const int32_t c = chunk_word * 64 + std::countr_zero(chunks);
      const Chunk* chunk = chunks_[c].load(std::memory_order_acquire);
      if (chunk == nullptr) continue;
      const int32_t from = c == first_chunk ? number & (kChunkSize - 1) : 0;
      uint32_t words = chunk->marked_words.load(std::memory_order_acquire) & (~0u << (from / 64));
      for (; words != 0; words &= words - 1) {
        const int32_t word = std::countr_zero(words);
        uint64_t bits = chunk->marked[word].load(std::memory_order_acquire);
        if (word == from / 64) bits &= ~(BitOf(from) - 1);
        for (; bits != 0; bits &= bits - 1) {
          out[n++] = (c << kChunkBits) + word * 64 + std::countr_zero(bits);
          if (n == out.size()) return n;
        }
      }
    }
  }
  return n;
}

void TidMap::CheckInvariants() const {
  MutexLock lock(&mu_);
  uint32_t num_marked = 0;
  for (int32_t c = 0; c < num_chunks_; ++c) {
    const Chunk* chunk = chunks_[c].load(std::memory_order_relaxed);
    int32_t num_used = 0;
    uint32_t marks = 0;
    for (int32_t w = 0; chunk != nullptr && w < kChunkWords; ++w) {
      const uint64_t marked = chunk->marked[w].load(std::memory_order_relaxed);
      num_used += std::popcount(chunk->used[w]);
      CHECK((marked != 0) == ((chunk->marked_words.load(std::memory_order_relaxed) >> w & 1) != 0));  // 5
      marks += static_cast<uint32_t>(std::popcount(marked));
      for (int32_t i = w * 64; i < w * 64 + 64; ++i) {
        const bool published = chunk->slots[i].load(std::memory_order_relaxed) != nullptr;
        CHECK(!published || (chunk->used[w] & BitOf(i)) != 0);  // 1
        CHECK((marked & BitOf(i)) == 0 || published);           // 2: nothing is being removed now
      }
    }
    CHECK(chunk == nullptr || (num_used != 0 && num_used == chunk->num_used));                          // 4
    CHECK(((marked_chunks_[c / 64].load(std::memory_order_relaxed) & BitOf(c)) != 0) == (marks != 0));  // 5
    num_marked += marks;
  }
  CHECK(num_marked == num_marked_.load(std::memory_order_relaxed));                // 5
  for (const auto& [number, count] : holds_) CHECK(count != 0 && IsUsed(number));  // 3
}

}  // namespace remora::proc
