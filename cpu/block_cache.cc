#include "cpu/block_cache.h"

#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <new>

#include "base/check.h"
#include "base/mutex.h"
#include "cpu/block_cache_impl.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

uint32_t FirstSlot(uint16_t page_offset, uint32_t mask) { return (page_offset * 0x9e37u >> 4) & mask; }

}  // namespace

// The blocks of one frame: open addressing by page offset, never more than half full. A table that grows is replaced.
// An entry is a block's address with its page offset above, so that looking one up touches no other block.
struct FrameCode {
  explicit FrameCode(uint32_t num_slots) : mask(num_slots - 1), slots(new std::atomic<uint64_t>[num_slots]()) {}

  const uint32_t mask;
  uint32_t used = 0;  // guarded by the cache's mutex
  const std::unique_ptr<std::atomic<uint64_t>[]> slots;

  static constexpr unsigned kAddressBits = 48;
  static Block* BlockIn(uint64_t entry) {
    return reinterpret_cast<Block*>(entry & ((uint64_t{1} << kAddressBits) - 1));
  }
  // Null where none is.
  Block* BlockAt(uint32_t slot) const { return BlockIn(slots[slot].load(std::memory_order_relaxed)); }
  Block* Find(uint16_t page_offset) const {
    for (uint32_t i = FirstSlot(page_offset, mask);; i = (i + 1) & mask) {
      const uint64_t entry = slots[i].load(std::memory_order_acquire);
      if (entry == 0) return nullptr;
      if (entry >> kAddressBits == page_offset) return BlockIn(entry);
    }
  }
  void Add(Block* block) {
    uint32_t i = FirstSlot(block->page_offset, mask);
    while (slots[i].load(std::memory_order_relaxed) != 0) i = (i + 1) & mask;
    slots[i].store(reinterpret_cast<uint64_t>(block) | uint64_t{block->page_offset} << kAddressBits,
                   std::memory_order_release);
    ++used;
  }
};

BlockCache::Impl::Impl(mm::FramePool* frames, sync::Reclaimer* reclaimer)
    : reclaimer_(reclaimer), num_frames_(frames->max_frames()) {
  // Reserved, not committed: a frame without code costs nothing.
  void* memory = mmap(nullptr, num_frames_ * sizeof(std::atomic<FrameCode*>), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK_MSG(memory != MAP_FAILED, "no address space for the block cache");
  frames_ = static_cast<std::atomic<FrameCode*>*>(memory);
}

BlockCache::Impl::~Impl() {
  for (const uint32_t frame : frames_with_code_)
    if (FrameCode* code = frames_[frame].load(std::memory_order_relaxed)) Free(code);
  munmap(static_cast<void*>(frames_), num_frames_ * sizeof(std::atomic<FrameCode*>));
}

void BlockCache::Impl::Free(void* frame_code) {
  auto* code = static_cast<FrameCode*>(frame_code);
  for (uint32_t i = 0; i <= code->mask; ++i)
    if (Block* block = code->BlockAt(i)) BlockArena::Free(block);
  delete code;
}

Block* BlockCache::Impl::Find(mm::FrameId frame, uint16_t page_offset) const {
  const FrameCode* code = frames_[frame.value()].load(std::memory_order_acquire);
  return code == nullptr ? nullptr : code->Find(page_offset);
}

Block* BlockCache::Impl::Publish(mm::FrameId frame, uint16_t page_offset, const Op* ops, uint32_t num_ops,
                                 uint64_t generation_before) {
  MutexLock lock(&mu_);
  if (generation_.load(std::memory_order_relaxed) != generation_before) return nullptr;
  std::atomic<FrameCode*>& place = frames_[frame.value()];
  FrameCode* code = place.load(std::memory_order_relaxed);
  if (code != nullptr)
    if (Block* other = code->Find(page_offset)) return other;
  void* memory = arena_.Allocate(sizeof(Block) + num_ops * sizeof(Op));
  if (memory == nullptr) {
    // All of it goes at once: what is still run is decoded again.
    generation_.fetch_add(1, std::memory_order_acq_rel);
    while (!frames_with_code_.empty()) DropLocked(*frames_with_code_.begin());
    return nullptr;
  }
  auto* block = new (memory) Block;
  block->num_ops = num_ops;
  block->page_offset = page_offset;
  // Ops, links and tails alike are plain memory until they are published.
  std::memcpy(static_cast<void*>(block->ops()), static_cast<const void*>(ops), num_ops * sizeof(Op));
  if (code == nullptr) {
    constexpr uint32_t kFirstSlots = 16;
    code = new FrameCode(kFirstSlots);
    place.store(code, std::memory_order_release);
    frames_with_code_.insert(frame.value());
  }
  if ((code->used + 1) * 2 > code->mask + 1) {
    auto* larger = new FrameCode((code->mask + 1) * 2);
    for (uint32_t i = 0; i <= code->mask; ++i)
      if (Block* old = code->BlockAt(i)) larger->Add(old);
    place.store(larger, std::memory_order_release);
    reclaimer_->RetireDelete(code);  // the table alone: its blocks live on in the larger one
    code = larger;
  }
  code->Add(block);
  num_blocks_.fetch_add(1, std::memory_order_relaxed);
  return block;
}

void BlockCache::Impl::Drop(mm::FrameId frame) {
  MutexLock lock(&mu_);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  DropLocked(frame.value());
}

void BlockCache::Impl::DropLocked(uint32_t frame) {
  FrameCode* code = frames_[frame].exchange(nullptr, std::memory_order_acq_rel);
  if (code == nullptr) return;
  frames_with_code_.erase(frame);
  // Links and jump caches may still lead to these blocks: their first op now leads away again.
  for (uint32_t i = 0; i <= code->mask; ++i) {
    Block* block = code->BlockAt(i);
    if (block != nullptr) __atomic_store_n(&block->ops()->handler, DroppedHandler(), __ATOMIC_RELAXED);
  }
  num_blocks_.fetch_sub(code->used, std::memory_order_relaxed);
  reclaimer_->Retire(code, &Impl::Free);
}

BlockCache::BlockCache(mm::FramePool* frames, sync::Reclaimer* reclaimer)
    : impl_(std::make_unique<Impl>(frames, reclaimer)), reclaimer_(reclaimer) {}
BlockCache::~BlockCache() = default;
void BlockCache::DropCode(mm::FrameId frame) {
  impl_->Drop(frame);
  if (mm::CodeObserver* companion = companion_.load(std::memory_order_acquire)) companion->DropCode(frame);
}
mm::CodeObserver* BlockCache::Companion(
    absl::FunctionRef<std::unique_ptr<mm::CodeObserver>(sync::Reclaimer* reclaimer)> make) {
  MutexLock lock(&companion_mu_);
  if (!owned_companion_) {
    owned_companion_ = make(reclaimer_);
    companion_.store(owned_companion_.get(), std::memory_order_release);
  }
  return owned_companion_.get();
}
uint64_t BlockCache::generation() const { return impl_->generation(); }
uint64_t BlockCache::num_blocks() const { return impl_->num_blocks(); }

}  // namespace remora::cpu
