// Of TranslationCache: what it takes from the TranslationStore, and gives to it.

#include <bitset>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cpu/translator/translation_cache.h"

namespace remora::cpu::translator {

using Numbered = GeneratedBlock::Numbered;

namespace {

// At once: a page of small functions that all call each other is not to keep who waits for one of them.
constexpr size_t kMostAdopted = 256;

}  // namespace

void TranslationCache::NoteUnstored(mm::FrameId frame, uint64_t page_number) {
  MutexLock lock(&mu_);
  FrameCode& code = frames_[frame.value()];
  if (code.FindAsked(page_number) == nullptr && code.asked.size() < FrameCode::kMaxAsked)
    code.asked.push_back({.number = page_number});
}

void TranslationCache::AskStore(const CodePage& asked_page, std::span<const std::byte, kPageSize> bytes,
                                uint64_t generation_before) {
  const uint64_t page_number = asked_page.number.value();
  MutexLock lock(&mu_);
  if (generation_.load(std::memory_order_relaxed) != generation_before) return;
  FrameCode& code = CodeFor(asked_page);
  // Another engine may have been first.
  if (code.FindAsked(page_number) != nullptr || code.asked.size() == FrameCode::kMaxAsked) return;
  TranslationStore::Page* page = store_->Ask(page_number, bytes);
  if (page != nullptr && !page->stored.empty() && code.translations.empty()) {
    // Of what programs have ever come to there, one comes to half.
    code.translations.reserve(page->stored[0].places.size() / 2);
    code.pending.reserve(page->stored[0].places.size() / 2);
  }
  code.asked.push_back({.number = page_number, .page = page, .found = page != nullptr && !page->stored.empty()});
  if (page == nullptr) return;
  for (const StoredPath& path : store_->PathsOf(*page)) stored_paths_.Add(path);
  num_stored_paths_.store(stored_paths_.num_paths(), std::memory_order_relaxed);
}

bool TranslationCache::HasStoredPathAt(uint64_t pc) const {
  MutexLock lock(&mu_);
  return stored_paths_.IsAnyAt(pc);
}

void TranslationCache::FindStoredPaths(uint64_t pc, std::vector<StoredPaths::Place>* places) const {
  MutexLock lock(&mu_);
  stored_paths_.FindAt(pc, places);
}

void TranslationCache::ForgetStoredPath(uint32_t number) {
  MutexLock lock(&mu_);
  stored_paths_.Forget(number);
  num_stored_paths_.store(stored_paths_.num_paths(), std::memory_order_relaxed);
}

void TranslationCache::NoteStoredPathMiss(uint32_t number) {
  MutexLock lock(&mu_);
  stored_paths_.NoteMiss(number);
  num_stored_paths_.store(stored_paths_.num_paths(), std::memory_order_relaxed);
}

void TranslationCache::StorePath(const Translation& made, const StoredPath& path) {
  MutexLock lock(&mu_);
  FrameCode* code = CodeOfLocked(made);
  const FrameCode::AskedPage* asked = code == nullptr ? nullptr : code->FindAsked(made.pc / kPageSize);
  if (asked != nullptr && asked->page != nullptr) store_->AddPath(*asked->page, path);
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
  const uint32_t page = PageLocked(key);
  return page == GuestContext::kNoPage ? std::nullopt : std::optional(page);
}

void TranslationCache::StoreLocked(FrameCode* code, uint64_t pc, const GeneratedBlock& block) {
  const FrameCode::AskedPage* asked = code->FindAsked(pc / kPageSize);
  if (asked == nullptr || asked->page == nullptr) return;
  store_->Add(asked->page, pc % kPageSize, block, memory_->buffer.permanent(),
              [this](const Numbered& numbered) { return NumberedKey(numbered); });
}

void TranslationCache::FindWanted(const FrameCode& code, uint64_t pc, const TranslationStore& store,
                                  const FrameCode::AskedPage& asked, std::vector<Wanted>* wanted) {
  wanted->clear();
  TranslationStore::Page* const page = asked.page;
  std::bitset<kPageSize> looked_for;
  for (const uint16_t page_offset : asked.failed) looked_for.set(page_offset);
  const uint64_t first = PageRoundDown(pc);
  const auto add = [&](uint32_t page_offset, const std::optional<StoredBlockView>& block) {
    if (block) wanted->push_back({.pc = first + page_offset, .block = *block});
  };
  const auto is_missing = [&](uint32_t page_offset) {
    if (looked_for.test(page_offset)) return false;
    looked_for.set(page_offset);
    return code.Find(Key(first + page_offset, /*alone=*/false)) == nullptr;
  };
  // Much that blocks lead to was never come to, and is in no image: to look into all of them is for what is come to.
  const auto add_if_known = [&](uint32_t page_offset) {
    if (page_offset < kPageSize && is_missing(page_offset)) add(page_offset, page->Find(page_offset));
  };
  const auto offset = static_cast<uint32_t>(pc - first);
  if (is_missing(offset)) add(offset, store.FindInAll(page, offset));
  for (size_t i = 0; i < wanted->size() && wanted->size() < kMostAdopted; ++i) {
    const StoredBlockView block = (*wanted)[i].block;
    for (const StoredLink& link : block.links) add_if_known(link.page_offset);
    if (block.block->comes_back_at != StoredBlock::kNowhere) add_if_known(block.block->comes_back_at);
  }
}

TranslationCache::Stored TranslationCache::AdoptStored(const CodePage& page, uint64_t pc,
                                                       std::vector<const Translation*>* blocks) {
  const mm::FrameId frame = page.frame;
  MutexLock lock(&mu_);
  // What has been asked goes when the frame's code is dropped.
  const auto known = frames_.find(frame.value());
  if (known == frames_.end()) return Stored::kNotAsked;
  if (!known->second.MayRunFor(page)) {
    ForgetMappingLocked(page);
    return Stored::kNotAsked;
  }
  FrameCode* code = &known->second;
  FrameCode::AskedPage* asked = code->FindAsked(pc / kPageSize);
  if (asked == nullptr) return code->asked.size() == FrameCode::kMaxAsked ? Stored::kNothing : Stored::kNotAsked;
  if (!asked->found) return Stored::kNothing;
  FindWanted(*code, pc, *store_, *asked, &wanted_);
  // Not all at once where that is much of the room there is.
  const uint64_t most = memory_->buffer.region_bytes() / 4;
  uint64_t bytes = 0;
  size_t number = 0;
  for (; number < wanted_.size(); ++number) {
    const uint64_t more = CodeBuffer::Padded(wanted_[number].block.code.size());
    if (bytes + more > most) break;
    bytes += more;
  }
  wanted_.resize(number);
  if (bytes == 0) return Stored::kSomething;
  const uint64_t generation = generation_.load(std::memory_order_relaxed);
  const CodeBuffer::Piece piece = memory_->buffer.Allocate(static_cast<uint32_t>(bytes));
  EvictLocked();
  // An eviction: there is little room, and the frame's code may have gone.
  if (piece.code == nullptr || generation_.load(std::memory_order_relaxed) != generation) return Stored::kSomething;
  const std::byte* next = piece.code;
  std::bitset<kPageSize> is_new;  // where blocks begin
  for (Wanted& wanted : wanted_) {
    Translation::Owner block = AdoptBlockLocked(wanted.block, next);
    next += CodeBuffer::Padded(wanted.block.code.size());
    if (block == nullptr) {
      asked->failed.push_back(static_cast<uint16_t>(wanted.pc % kPageSize));
      continue;
    }
    block->pc = wanted.pc;
    block->frame = frame;
    in_region_[piece.region].push_back(block.get());
    code->translations.insert(block.get());
    is_new.set(wanted.pc % kPageSize);
    num_translations_.fetch_add(1, std::memory_order_relaxed);
    blocks->push_back(block.get());
    wanted.made = block.release();
  }
  std::erase_if(code->pending, [&](const PendingLink& link) {
    if (link.target / kPageSize != pc / kPageSize || !is_new.test(link.target % kPageSize)) return false;
    PatchLink(link, *code->Find(Key(link.target, /*alone=*/false)));
    return true;
  });
  for (const Wanted& wanted : wanted_) {
    if (wanted.made == nullptr) continue;
    for (const StoredLink& link : wanted.block.links)
      LeadLocked(code, LinkAt(wanted.made->code + link.displacement_offset, PageRoundDown(pc) + link.page_offset,
                              link.flags_saved, link.forward));
    LeadToLocked(*code, *wanted.made);
    if (!IsMapped(*code, *wanted.made)) continue;
    for (const StoredFarLink& link : wanted.block.far_links) LeadFarLocked(*code, FarJumpOf(*wanted.made, link));
  }
  return Stored::kSomething;
}

Translation::Owner TranslationCache::AdoptBlockLocked(const StoredBlockView& stored, const std::byte* code) {
  std::byte* const writable = memory_->buffer.Writable(code);
  std::memcpy(writable, stored.code.data(), stored.code.size());
  for (const StoredNumber& number : stored.numbered) {
    const std::optional<uint32_t> here = NumberFor(number.key, number.kind);
    if (!here) return nullptr;
    uint32_t word;
    std::memcpy(&word, writable + number.word_offset, sizeof(word));
    word += *here * StrideOf(number.kind);
    std::memcpy(writable + number.word_offset, &word, sizeof(word));
  }
  Translation::Owner made = Translation::Create(&arena_, code, stored.marks);
  if (made == nullptr) return nullptr;
  static_cast<BlockShape&>(*made) = stored.block->shape;
  for (const StoredRelocation& relocation : stored.relocations)
    WriteDisplacement(writable + relocation.displacement_offset, code + relocation.displacement_offset,
                      memory_->buffer.permanent() + relocation.target);
  for (const StoredBranch& branch : stored.branches)
    WriteBranchSite(writable + branch.word_offset, code + branch.code_offset, branch.popped);
  return made;
}

}  // namespace remora::cpu::translator
