// Of TranslationCache: what it takes from the TranslationStore, and gives to it.

#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "cpu/translator/translation_cache.h"

namespace remora::cpu::translator {

using Numbered = GeneratedBlock::Numbered;

TranslationCache::Stored TranslationCache::StoredOf(mm::FrameId frame, uint64_t page_number) const {
  MutexLock lock(&mu_);
  const auto found = frames_.find(frame.value());
  const auto* asked = found == frames_.end() ? nullptr : found->second.FindAsked(page_number);
  if (asked == nullptr)
    return found != frames_.end() && found->second.asked.size() == FrameCode::kMaxAsked ? Stored::kNothing
                                                                                        : Stored::kNotAsked;
  return asked->found ? Stored::kSomething : Stored::kNothing;
}

void TranslationCache::NoteUnstored(mm::FrameId frame, uint64_t page_number) {
  MutexLock lock(&mu_);
  FrameCode& code = frames_[frame.value()];
  if (code.FindAsked(page_number) == nullptr && code.asked.size() < FrameCode::kMaxAsked)
    code.asked.push_back({.number = page_number});
}

TranslationCache::Adopted TranslationCache::AdoptStored(mm::FrameId frame, uint64_t page_number,
                                                        std::span<const std::byte, kPageSize> bytes,
                                                        uint64_t generation_before) {
  MutexLock lock(&mu_);
  if (generation_.load(std::memory_order_relaxed) != generation_before) return {};
  FrameCode& code = frames_[frame.value()];
  // Another engine may have been first.
  if (const auto* asked = code.FindAsked(page_number)) return {asked->found, {}};
  if (code.asked.size() == FrameCode::kMaxAsked) return {};
  TranslationStore::Page* page = store_->Ask(page_number, bytes);
  Adopted adopted = {page != nullptr && !page->stored.empty(), {}};
  code.asked.push_back({.number = page_number, .page = page, .found = adopted.known});
  if (page == nullptr) return adopted;
  for (const StoredPageView& stored : page->stored) {
    AdoptLocked(frame, stored, &adopted.blocks);
    // An eviction: there is little room, and some may have gone.
    if (generation_.load(std::memory_order_relaxed) != generation_before) return {adopted.known, {}};
  }
  return adopted;
}

uint64_t TranslationCache::NumberedKey(const Numbered& numbered) const {
  const std::atomic<uint64_t>* keys = numbered.kind == Numbered::Kind::kWayField ? way_targets() : page_keys();
  return keys[numbered.number].load(std::memory_order_relaxed);
}

std::optional<uint32_t> TranslationCache::NumberFor(uint64_t key, Numbered::Kind kind) {
  if (kind == Numbered::Kind::kWayField) {
    const uint32_t way = WayToLocked(key);
    return way == GuestContext::kNoWay ? std::nullopt : std::optional(way);
  }
  const uint32_t page = NumberOf(key, GuestContext::kPages, &pages_, page_keys_.get());
  return page == GuestContext::kNoPage ? std::nullopt : std::optional(page);
}

void TranslationCache::StoreLocked(const FrameCode& code, uint64_t pc, const GeneratedBlock& block) {
  const FrameCode::AskedPage* asked = code.FindAsked(pc / kPageSize);
  if (asked == nullptr || asked->page == nullptr) return;
  store_->Add(asked->page, pc % kPageSize, block, memory_->buffer.permanent(),
              [this](const Numbered& numbered) { return NumberedKey(numbered); });
}

void TranslationCache::AdoptLocked(mm::FrameId frame, const StoredPageView& stored,
                                   std::vector<const Translation*>* adopted) {
  FrameCode* code = &frames_[frame.value()];
  const auto pc_of = [&](const StoredBlock& block) { return stored.page_number * kPageSize + block.page_offset; };
  uint64_t bytes = 0;
  for (StoredBlockWalk walk(stored); walk.Next();)
    if (code->Find(Key(pc_of(walk.block()), /*alone=*/false)) == nullptr)
      bytes += CodeBuffer::Padded(walk.parts().code.size());
  // Not all at once where that is much of the room there is.
  if (bytes == 0 || bytes > memory_->buffer.region_bytes() / 4) return;
  const uint64_t generation = generation_.load(std::memory_order_relaxed);
  const CodeBuffer::Piece piece = memory_->buffer.Allocate(static_cast<uint32_t>(bytes));
  EvictLocked();
  if (piece.code == nullptr || generation_.load(std::memory_order_relaxed) != generation) return;
  const std::vector<PendingLink> waiting = std::exchange(code->pending, {});
  std::vector<std::pair<const Translation*, std::span<const StoredLink>>> made;
  made.reserve(stored.blocks.size());
  const std::byte* next = piece.code;
  for (StoredBlockWalk walk(stored); walk.Next();) {
    const uint64_t pc = pc_of(walk.block());
    if (code->Find(Key(pc, /*alone=*/false)) != nullptr) continue;
    Translation::Owner block = AdoptBlockLocked(walk.parts(), next);
    next += CodeBuffer::Padded(walk.parts().code.size());
    if (block == nullptr) continue;
    block->pc = pc;
    block->frame = frame;
    in_region_[piece.region].push_back(block.get());
    code->translations.insert(block.get());
    num_translations_.fetch_add(1, std::memory_order_relaxed);
    adopted->push_back(block.get());
    made.emplace_back(block.release(), walk.parts().links);
  }
  for (const auto& [block, links] : made)
    for (const StoredLink& link : links)
      LeadLocked(code, LinkAt(block->code + link.displacement_offset, PageRoundDown(block->pc) + link.page_offset,
                              link.flags_saved, link.forward));
  for (const PendingLink& link : waiting) LeadLocked(code, link);
}

Translation::Owner TranslationCache::AdoptBlockLocked(const StoredPageView& stored, const std::byte* code) {
  std::byte* const writable = memory_->buffer.Writable(code);
  std::memcpy(writable, stored.code.data(), stored.code.size());
  for (const StoredNumber& number : stored.numbered) {
    const std::optional<uint32_t> here = NumberFor(stored.keys[number.key], number.kind);
    if (!here) return nullptr;
    uint32_t word;
    std::memcpy(&word, writable + number.word_offset, sizeof(word));
    word += *here * StrideOf(number.kind);
    std::memcpy(writable + number.word_offset, &word, sizeof(word));
  }
  Translation::Owner made = Translation::Create(&arena_, code, stored.marks);
  if (made == nullptr) return nullptr;
  static_cast<BlockShape&>(*made) = stored.blocks[0].shape;
  for (const StoredRelocation& relocation : stored.relocations)
    WriteDisplacement(writable + relocation.displacement_offset, code + relocation.displacement_offset,
                      memory_->buffer.permanent() + relocation.target);
  for (const StoredBranch& branch : stored.branches)
    WriteBranchSite(writable + branch.word_offset, code + branch.code_offset, branch.popped);
  return made;
}

}  // namespace remora::cpu::translator
