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
  next_ = number + 1 < max_number_ ? number + 1 : 1;
  return number;
}

Ref<RefCounted> TidMap::Publish(int32_t number, Ref<RefCounted> object, bool mark) {
  MutexLock lock(&mu_);
  DCHECK(IsUsed(number));
  Chunk* chunk = chunks_[number >> kChunkBits].load(std::memory_order_relaxed);
  const int32_t i = number & (kChunkSize - 1);
  RefCounted* before = chunk->slots[i].exchange(object.release(), std::memory_order_acq_rel);
  if (mark && (chunk->marked[i / 64].fetch_or(BitOf(i), std::memory_order_acq_rel) & BitOf(i)) == 0) {
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
  for (const auto& word : chunk->marked)
    if (word.load(std::memory_order_relaxed) != 0) return;
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

int32_t TidMap::NextMarked(int32_t number) const {
  if (number < 1) number = 1;
  if (number >= max_number_) return 0;
  int32_t c = number >> kChunkBits;
  int32_t i = number & (kChunkSize - 1);
  for (;;) {
    if (const Chunk* chunk = chunks_[c].load(std::memory_order_acquire)) {
      for (int32_t w = i / 64; w < kChunkWords; ++w) {
        uint64_t bits = chunk->marked[w].load(std::memory_order_acquire);
        if (w == i / 64) bits &= ~uint64_t{0} << (i & 63);
        if (bits != 0) return (c << kChunkBits) + w * 64 + std::countr_zero(bits);
      }
    }
    // The next chunk with a mark.
    ++c;
    i = 0;
    const int32_t num_words = num_chunks_ / 64 + 1;
    uint64_t bits = 0;
    int32_t w = c / 64;
    if (w < num_words) bits = marked_chunks_[w].load(std::memory_order_acquire) & (~uint64_t{0} << (c & 63));
    while (bits == 0 && ++w < num_words) bits = marked_chunks_[w].load(std::memory_order_acquire);
    if (w >= num_words || bits == 0) return 0;
    c = w * 64 + std::countr_zero(bits);
    if (c >= num_chunks_) return 0;
  }
}

}  // namespace remora::proc
