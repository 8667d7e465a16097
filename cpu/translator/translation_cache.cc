#include "cpu/translator/translation_cache.h"

#include <cstring>
#include <utility>

#include "base/check.h"

namespace remora::cpu::translator {
namespace {

constexpr uint8_t kJmpRel32 = 0xe9;

}  // namespace

// A region's translations on their way out. Threads that are inside still ask where they are.
struct TranslationCache::Eviction {
  std::shared_ptr<Memory> memory;
  uint32_t region;
  std::vector<Translation*> translations;

  static void Finish(void* raw) {
    auto* eviction = static_cast<Eviction*>(raw);
    Memory& memory = *eviction->memory;
    memory.draining[eviction->region].store(nullptr, std::memory_order_release);
    for (Translation* translation : eviction->translations) delete translation;
    memory.buffer.FinishEviction(eviction->region);
    delete eviction;
  }
};

TranslationCache::TranslationCache(sync::Reclaimer* reclaimer, uint64_t max_code_bytes, const HostCalls& calls)
    : reclaimer_(reclaimer),
      memory_(std::make_shared<Memory>(max_code_bytes)),
      routines_(MakeRoutines(&memory_->buffer, calls)) {}

TranslationCache::~TranslationCache() {
  MutexLock lock(&mu_);
  // Those without code are in no region.
  for (auto& [frame, code] : frames_)
    for (auto& [pc, translation] : code.by_pc)
      if (translation->code == nullptr) delete translation;
  for (auto& region : in_region_)
    for (Translation* translation : region) delete translation;
}

Translation* TranslationCache::Find(mm::FrameId frame, uint64_t pc, bool alone, bool* crosses,
                                    mm::FrameId* tail_frame) const {
  MutexLock lock(&mu_);
  const auto found = frames_.find(frame.value());
  if (found == frames_.end()) return nullptr;
  const auto translation = found->second.by_pc.find(Key(pc, alone));
  if (translation == found->second.by_pc.end()) return nullptr;
  *tail_frame = translation->second->tail_frame;
  *crosses = tail_frame->valid();
  return translation->second;
}

uint32_t TranslationCache::NumberOf(uint64_t key, uint32_t limit, absl::flat_hash_map<uint64_t, uint32_t>* numbers,
                                    std::atomic<uint64_t>* keys) {
  if (const auto found = numbers->find(key); found != numbers->end()) return found->second;
  if (numbers->size() == limit) return limit;
  const auto number = static_cast<uint32_t>(numbers->size());
  keys[number].store(key, std::memory_order_relaxed);
  numbers->emplace(key, number);
  return number;
}

uint32_t TranslationCache::WayTo(uint64_t pc) {
  MutexLock lock(&mu_);
  return NumberOf(pc, GuestContext::kWays, &ways_, way_targets_.get());
}

uint32_t TranslationCache::PageOf(uint64_t address, bool write) {
  MutexLock lock(&mu_);
  return NumberOf(GuestContext::PageKey(address, write), GuestContext::kPages, &pages_, page_keys_.get());
}

void TranslationCache::PatchLink(const PendingLink& link, const Translation& target) {
  const uint32_t entry = !link.flags_saved ? target.host_entry
                         : link.forward    ? target.forward_entry
                                           : target.saved_entry;
  const std::byte* to = target.code + entry;
  const auto displacement = static_cast<int32_t>(to - (link.displacement + 4));
  // Others may be running through it: one aligned store.
  __atomic_store_n(reinterpret_cast<int32_t*>(memory_->buffer.Writable(link.displacement)), displacement,
                   __ATOMIC_RELEASE);
}

void TranslationCache::PatchEntry(const Translation& translation, uint32_t entry, uint32_t dropped) {
  constexpr uint32_t kJmpBytes = 5;
  const uint32_t in_word = entry % sizeof(uint64_t);
  CHECK(in_word + kJmpBytes <= sizeof(uint64_t));
  auto* word = reinterpret_cast<uint64_t*>(memory_->buffer.Writable(translation.code + (entry - in_word)));
  uint64_t bytes = *word;
  const auto displacement = static_cast<int32_t>(dropped) - static_cast<int32_t>(entry + kJmpBytes);
  std::byte* at = reinterpret_cast<std::byte*>(&bytes) + in_word;
  std::memcpy(at, &kJmpRel32, 1);
  std::memcpy(at + 1, &displacement, sizeof(displacement));
  __atomic_store_n(word, bytes, __ATOMIC_RELEASE);
}

void TranslationCache::LinkLocked(FrameCode* code, const Translation& made, const GeneratedBlock& block) {
  for (const Link& link : block.links) {
    const PendingLink pending = {made.code + link.displacement_offset, link.flags_saved, link.forward};
    const auto target = code->by_pc.find(link.target);
    if (target == code->by_pc.end()) {
      code->pending[link.target].push_back(pending);
    } else if (target->second->code != nullptr && !target->second->tail_frame.valid()) {
      PatchLink(pending, *target->second);
    }
  }
  if (made.alone) return;
  if (const auto waiting = code->pending.find(made.pc); waiting != code->pending.end()) {
    if (!made.tail_frame.valid())
      for (const PendingLink& link : waiting->second) PatchLink(link, made);
    code->pending.erase(waiting);
  }
}

Translation* TranslationCache::Publish(uint64_t pc, mm::FrameId frame, mm::FrameId tail_frame,
                                       const GeneratedBlock* block, bool repeats, bool alone,
                                       uint64_t generation_before) {
  MutexLock lock(&mu_);
  if (generation_.load(std::memory_order_relaxed) != generation_before) return nullptr;
  if (const auto found = frames_.find(frame.value()); found != frames_.end()) {
    const auto other = found->second.by_pc.find(Key(pc, alone));
    if (other != found->second.by_pc.end()) {
      if (other->second->tail_frame == tail_frame) return other->second;
      // The page behind is another one here: one of the two has to go.
      generation_.fetch_add(1, std::memory_order_acq_rel);
      DropLocked(frame.value());
      return nullptr;
    }
  }
  auto made = std::make_unique<Translation>();
  made->pc = pc;
  made->frame = frame;
  made->tail_frame = tail_frame;
  made->repeats = repeats;
  made->alone = alone;
  if (block != nullptr) {
    const CodeBuffer::Piece piece = memory_->buffer.Allocate(static_cast<uint32_t>(block->code.size()));
    // The region behind the one being filled is emptied in time.
    EvictLocked();
    if (piece.code == nullptr) return nullptr;
    if (generation_.load(std::memory_order_relaxed) != generation_before) {
      // The eviction may have taken what this block was to be linked to; the piece stays unused.
      return nullptr;
    }
    made->region = piece.region;
    made->code = piece.code;
    made->code_bytes = static_cast<uint32_t>(block->code.size());
    made->host_entry = block->host_entry;
    made->saved_entry = block->saved_entry;
    made->indirect_entry = block->indirect_entry;
    made->forward_entry = block->forward_entry;
    made->cold_offset = block->cold_offset;
    made->dropped_host = block->dropped_host;
    made->dropped_saved = block->dropped_saved;
    made->marks = block->marks;
    std::byte* writable = memory_->buffer.Writable(piece.code);
    std::memcpy(writable, block->code.data(), block->code.size());
    for (const GeneratedBlock::Relocation& relocation : block->relocations) {
      const auto displacement = static_cast<int32_t>(static_cast<const std::byte*>(relocation.target) -
                                                     (piece.code + relocation.displacement_offset + 4));
      std::memcpy(writable + relocation.displacement_offset, &displacement, sizeof(displacement));
    }
    for (const GeneratedBlock::Branch& branch : block->branches) {
      const BranchSite site = {
          .host_offset =
              static_cast<uint32_t>(piece.code + branch.code_offset - memory_->buffer.permanent()) & INT32_MAX,
          .popped = branch.popped};
      std::memcpy(writable + branch.word_offset, &site, sizeof(site));
    }
    in_region_[piece.region].push_back(made.get());
  }
  FrameCode& code = frames_[frame.value()];
  if (block != nullptr)
    LinkLocked(&code, *made, *block);
  else if (!alone)
    code.pending.erase(pc);  // such links lead to their own cold code for good
  code.by_pc.emplace(Key(pc, alone), made.get());
  if (tail_frame.valid()) frames_[tail_frame.value()].heads.push_back(frame.value());
  num_translations_.fetch_add(1, std::memory_order_relaxed);
  return made.release();
}

void TranslationCache::EvictLocked() {
  uint32_t region;
  if (!memory_->buffer.BeginEviction(&region)) return;
  generation_.fetch_add(1, std::memory_order_acq_rel);
  auto* eviction = new Eviction{memory_, region, std::exchange(in_region_[region], {})};
  memory_->draining[region].store(eviction, std::memory_order_release);
  for (const Translation* translation : eviction->translations) DropLocked(translation->frame.value());
  reclaimer_->Retire(eviction, &Eviction::Finish);
}

void TranslationCache::DropLocked(uint32_t frame) {
  const auto found = frames_.find(frame);
  if (found == frames_.end()) return;
  FrameCode code = std::move(found->second);
  frames_.erase(found);
  for (const auto& [pc, translation] : code.by_pc) {
    num_translations_.fetch_sub(1, std::memory_order_relaxed);
    if (translation->code == nullptr) {
      reclaimer_->RetireDelete(translation);
      continue;
    }
    // Its memory goes with its region.
    PatchEntry(*translation, translation->host_entry, translation->dropped_host);
    if (translation->saved_entry != translation->host_entry)
      PatchEntry(*translation, translation->saved_entry, translation->dropped_saved);
    if (translation->forward_entry != translation->saved_entry)
      PatchEntry(*translation, translation->forward_entry, translation->dropped_saved);
  }
  for (const uint32_t head : code.heads) DropLocked(head);
}

void TranslationCache::DropCode(mm::FrameId frame) {
  MutexLock lock(&mu_);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  DropLocked(frame.value());
}

const Translation* TranslationCache::FindByHostAddress(const std::byte* host) const {
  if (!memory_->buffer.Contains(host)) return nullptr;
  const std::byte* first = memory_->buffer.permanent() + CodeBuffer::kPermanentBytes;
  const auto region = static_cast<uint64_t>(host - first) / memory_->buffer.region_bytes();
  const auto find_in = [host](const std::vector<Translation*>& translations) -> const Translation* {
    const auto behind = std::upper_bound(translations.begin(), translations.end(), host,
                                         [](const std::byte* at, const Translation* t) { return at < t->code; });
    if (behind == translations.begin()) return nullptr;
    const Translation* translation = *(behind - 1);
    return host < translation->code + translation->code_bytes ? translation : nullptr;
  };
  // The caller is inside, so the region is not used again before its next quiescent point.
  if (const Eviction* eviction = memory_->draining[region].load(std::memory_order_acquire))
    return find_in(eviction->translations);
  MutexLock lock(&mu_);
  if (const Translation* translation = find_in(in_region_[region])) return translation;
  // It has begun to drain since.
  const Eviction* eviction = memory_->draining[region].load(std::memory_order_acquire);
  return eviction == nullptr ? nullptr : find_in(eviction->translations);
}

}  // namespace remora::cpu::translator
