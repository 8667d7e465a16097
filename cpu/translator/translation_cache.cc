#include "cpu/translator/translation_cache.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/guest_addr.h"
#include "cpu/host_avx512.h"
#include "cpu/translator/block_frame.h"

namespace remora::cpu::translator {
namespace {

// What is known of translations takes less than their code; some chunks are still held by regions on their way out.
uint32_t MaxChunks(uint64_t max_code_bytes) {
  constexpr uint32_t kOnTheirWayOut = 8;
  return kOnTheirWayOut + static_cast<uint32_t>(max_code_bytes / BlockArena::kChunkBytes);
}

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
    for (Translation* translation : eviction->translations) Translation::Free(translation);
    memory.buffer.FinishEviction(eviction->region);
    delete eviction;
  }
};

TranslationCache::TranslationCache(sync::Reclaimer* reclaimer, uint64_t max_code_bytes, const HostCalls& calls,
                                   TranslationStore* store)
    : reclaimer_(reclaimer),
      store_(store),
      memory_(std::make_shared<Memory>(max_code_bytes)),
      arena_(MaxChunks(max_code_bytes)),
      routines_(MakeRoutines(&memory_->buffer, calls, HostHasAvx512())) {
  if (store != nullptr) store->set_layout(LayoutOf(routines_, memory_->buffer.permanent()));
}

TranslationCache::~TranslationCache() {
  MutexLock lock(&mu_);
  // Those without code are in no region.
  for (auto& [frame, code] : frames_)
    for (Translation* translation : code.translations)
      if (translation->code == nullptr) Translation::Free(translation);
  for (auto& region : in_region_)
    for (Translation* translation : region) Translation::Free(translation);
}

Translation* TranslationCache::Find(const CodePage& page, uint64_t pc, bool alone) {
  MutexLock lock(&mu_);
  const auto found = frames_.find(page.frame.value());
  if (found == frames_.end()) return nullptr;
  if (found->second.MayRunFor(page)) [[likely]]
    return found->second.Find(Key(pc, alone));
  ForgetMappingLocked(page);
  return nullptr;
}

bool TranslationCache::MayRun(const CodePage& page) {
  MutexLock lock(&mu_);
  const auto found = frames_.find(page.frame.value());
  if (found == frames_.end() || found->second.MayRunFor(page)) return true;
  ForgetMappingLocked(page);
  return false;
}

void TranslationCache::Forget(mm::FrameId frame) {
  MutexLock lock(&mu_);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  DropLocked(frame.value());
}

const Translation* TranslationCache::Peek(mm::FrameId frame, uint64_t pc) const {
  MutexLock lock(&mu_);
  const auto found = frames_.find(frame.value());
  return found == frames_.end() ? nullptr : found->second.Find(Key(pc, /*alone=*/false));
}

void TranslationCache::FindPage(const CodePage& page, std::vector<const Translation*>* blocks) const {
  // More than a page has at one address: it is not worth while to look for this one's among those of many.
  constexpr size_t kMost = 1024;
  MutexLock lock(&mu_);
  const auto found = frames_.find(page.frame.value());
  if (found == frames_.end() || found->second.translations.size() > kMost || !found->second.MayRunFor(page)) return;
  for (const Translation* translation : found->second.translations) {
    const bool is_there = GuestAddr(translation->pc).page() == page.number && !translation->alone;
    // Who comes to a path has to see whether its pages are there.
    if (is_there && translation->can_be_joined() && translation->gate == GuestContext::kNoGate)
      blocks->push_back(translation);
  }
}

uint32_t TranslationCache::NumberOf(uint64_t key, uint32_t next, uint32_t limit,
                                    absl::flat_hash_map<uint64_t, uint32_t>* numbers, std::atomic<uint64_t>* keys) {
  if (const auto found = numbers->find(key); found != numbers->end()) return found->second;
  if (next == limit) return limit;
  keys[next].store(key, std::memory_order_relaxed);
  numbers->emplace(key, next);
  return next;
}

uint32_t TranslationCache::WayTo(uint64_t pc) {
  MutexLock lock(&mu_);
  return WayToLocked(pc);
}

uint32_t TranslationCache::WayToLocked(uint64_t pc) {
  const auto known = static_cast<uint32_t>(ways_.size());
  const uint32_t way = NumberOf(pc, known, GuestContext::kWays, &ways_, way_targets_.get());
  if (way == known && way != GuestContext::kNoWay) WriteWayThunks(routines_, memory_->buffer, way);
  return way;
}

uint32_t TranslationCache::PageOf(uint64_t address, bool write) {
  MutexLock lock(&mu_);
  return PageLocked(GuestContext::PageKey(address, write));
}

uint32_t TranslationCache::PageLocked(uint64_t key) {
  while (next_page_ < GuestContext::kPages && LooksStored(PageField(next_page_))) ++next_page_;
  const uint32_t page = NumberOf(key, next_page_, GuestContext::kPages, &pages_, page_keys_.get());
  if (page == next_page_ && page != GuestContext::kNoPage) ++next_page_;
  return page;
}

uint32_t TranslationCache::NewExtent(uint32_t size_class) {
  const uint32_t turn = extents_[size_class].fetch_add(1, std::memory_order_relaxed);
  return FirstExtentOf(size_class) + turn % kExtentsOfClass[size_class];
}

uint32_t TranslationCache::NewGate() {
  uint32_t last = gates_.load(std::memory_order_relaxed), next = 0;
  do {
    next = last + 1;
    while (next < GuestContext::kGates && LooksStored(GateField(next))) ++next;
  } while (next < GuestContext::kGates && !gates_.compare_exchange_weak(last, next, std::memory_order_relaxed));
  return next;
}

void TranslationCache::PatchLink(const PendingLink& link, const Translation& target) {
  PatchDisplacement(memory_->buffer.permanent() + link.displacement, EntryFor(target, link.flags_saved, link.forward));
}

void TranslationCache::PatchDisplacement(const std::byte* at, const std::byte* to) {
  const auto displacement = static_cast<int32_t>(to - (at + 4));
  // Others may be running through it: one aligned store.
  __atomic_store_n(reinterpret_cast<int32_t*>(memory_->buffer.Writable(at)), displacement, __ATOMIC_RELEASE);
}

void TranslationCache::PatchEntry(const Translation& translation, uint32_t entry, Patch patch, const void* to) {
  const uint32_t in_word = entry % sizeof(uint64_t);
  CHECK(in_word + kJumpBytes <= sizeof(uint64_t));
  auto* word = reinterpret_cast<uint64_t*>(memory_->buffer.Writable(translation.code + (entry - in_word)));
  uint64_t bytes = *word;
  const auto displacement =
      static_cast<int32_t>(static_cast<const std::byte*>(to) - (translation.code + entry + kJumpBytes));
  std::byte* at = reinterpret_cast<std::byte*>(&bytes) + in_word;
  std::memcpy(at, &patch, 1);
  std::memcpy(at + 1, &displacement, sizeof(displacement));
  __atomic_store_n(word, bytes, __ATOMIC_RELEASE);
}

void TranslationCache::PatchEntries(const Translation& translation, Patch patch, const void* host_flags,
                                    const void* saved_flags) {
  // One entry is for both where no flag is live.
  if (translation.saved_entry != translation.host_entry)
    PatchEntry(translation, translation.host_entry, patch, host_flags);
  PatchEntry(translation, translation.saved_entry, patch, saved_flags);
  if (translation.forward_entry != translation.saved_entry)
    PatchEntry(translation, translation.forward_entry, patch, saved_flags);
}

TranslationCache::PendingLink TranslationCache::LinkAt(const std::byte* displacement, uint64_t target, bool flags_saved,
                                                       bool forward) const {
  return {.target = target & INT64_MAX,
          .forward = forward,
          .displacement = static_cast<uint32_t>(displacement - memory_->buffer.permanent()) & INT32_MAX,
          .flags_saved = flags_saved};
}

void TranslationCache::LeadLocked(FrameCode* code, const PendingLink& link) {
  const Translation* target = code->Find(Key(link.target, /*alone=*/false));
  if (target == nullptr)
    code->pending.push_back(link);
  else if (target->code != nullptr)
    PatchLink(link, *target);
}

void TranslationCache::LinkLocked(FrameCode* code, const Translation& made, const GeneratedBlock& block) {
  for (const Link& link : block.links)
    LeadLocked(code, LinkAt(made.code + link.displacement_offset, link.target, link.flags_saved, link.forward));
  if (made.alone) return;
  std::erase_if(code->pending, [&](const PendingLink& link) {
    if (link.target != made.pc) return false;
    PatchLink(link, made);
    return true;
  });
}

TranslationCache::FrameCode& TranslationCache::CodeFor(const CodePage& page) {
  FrameCode& code = frames_[page.frame.value()];
  // What is there already may be run by who has another mapping.
  const bool is_new = code.translations.empty() && code.replaced.empty() && code.mapping == nullptr;
  if (!is_new || !page.mapping.valid() || unmapped_.contains(page.frame.value())) return code;
  // Null: the file's page has just got another frame.
  code.mapping = far_links_.AddPage(page.mapping, page.number, page.frame);
  code.mapped_at = page.number;
  return code;
}

void TranslationCache::ForgetMappingLocked(const CodePage& page) {
  generation_.fetch_add(1, std::memory_order_acq_rel);
  DropLocked(page.frame.value());
  unmapped_.insert(page.frame.value());
}

void TranslationCache::LeadFarLocked(const FrameCode& code, const FarLinks::Jump& jump) {
  if (!code.mapping->shape().Contains(jump.target)) return;
  far_links_.Add(code.mapping, jump, [&](mm::FrameId frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto code = frames_.find(frame.value());
    CHECK(code != frames_.end());
    const Translation* target = code->second.Find(Key(jump.target, /*alone=*/false));
    if (target == nullptr || !target->can_be_joined()) return false;
    PatchFarLink(jump, EntryFor(*target, jump.flags_saved, jump.forward));
    return true;
  });
}

void TranslationCache::PatchFarLink(const FarLinks::Jump& jump, const std::byte* to) {
  PatchDisplacement(memory_->buffer.permanent() + jump.displacement, to);
}

bool TranslationCache::IsMapped(const FrameCode& code, const Translation& made) {
  return code.mapping != nullptr && code.mapped_at == GuestAddr(made.pc).page();
}

void TranslationCache::LeadFarLinksLocked(const FrameCode& code, const Translation& made, const GeneratedBlock& block) {
  if (!IsMapped(code, made)) return;
  for (const FarLink& link : block.far_links) LeadFarLocked(code, FarJumpOf(made, link));
}

void TranslationCache::LeadToLocked(const FrameCode& code, const Translation& made) {
  if (!IsMapped(code, made) || !made.can_be_joined()) return;
  far_links_.LeadWaiting(code.mapping, made.pc, [&](const FarLinks::Jump& jump) {
    PatchFarLink(jump, EntryFor(made, jump.flags_saved, jump.forward));
  });
}

void TranslationCache::WriteBranchSite(std::byte* word, const std::byte* branch, bool popped) const {
  const BranchSite site = {.host_offset = static_cast<uint32_t>(branch - memory_->buffer.permanent()) & INT32_MAX,
                           .popped = popped};
  std::memcpy(word, &site, sizeof(site));
}

std::byte* TranslationCache::WritePiece(const std::byte* at, std::span<const uint8_t> code,
                                        std::span<const GeneratedBlock::Relocation> relocations) {
  std::byte* writable = memory_->buffer.Writable(at);
  std::memcpy(writable, code.data(), code.size());
  for (const GeneratedBlock::Relocation& relocation : relocations)
    WriteDisplacement(writable + relocation.displacement_offset, at + relocation.displacement_offset,
                      static_cast<const std::byte*>(relocation.target));
  return writable;
}

Translation::Owner TranslationCache::WriteBlock(const CodeBuffer::Piece& piece, const GeneratedBlock& block,
                                                std::span<const Translation::Page> pages) {
  Translation::Owner made = Translation::Create(&arena_, piece.code, block.marks, block.path, pages);
  if (made == nullptr) return nullptr;
  static_cast<BlockShape&>(*made) = block;
  std::byte* writable = WritePiece(piece.code, block.code, block.relocations);
  for (const GeneratedBlock::Branch& branch : block.branches)
    WriteBranchSite(writable + branch.word_offset, piece.code + branch.code_offset, branch.popped);
  return made;
}

Translation* TranslationCache::Publish(const CodePage& page, uint64_t pc, mm::FrameId tail_frame,
                                       const GeneratedBlock* block, bool repeats, bool alone,
                                       uint64_t generation_before) {
  const mm::FrameId frame = page.frame;
  MutexLock lock(&mu_);
  if (generation_.load(std::memory_order_relaxed) != generation_before) return nullptr;
  if (const auto found = frames_.find(frame.value()); found != frames_.end()) {
    if (!found->second.MayRunFor(page)) {
      ForgetMappingLocked(page);
      return nullptr;
    }
    if (Translation* other = found->second.Find(Key(pc, alone))) {
      if (other->tail_frame == tail_frame) return other;
      // The page behind is another one here: one of the two has to go.
      generation_.fetch_add(1, std::memory_order_acq_rel);
      DropLocked(frame.value());
      return nullptr;
    }
  }
  Translation::Owner made;
  CodeBuffer::Piece piece;
  if (block != nullptr) {
    piece = memory_->buffer.Allocate(static_cast<uint32_t>(block->code.size()));
    // The region behind the one being filled is emptied in time.
    EvictLocked();
    if (piece.code == nullptr) return nullptr;
    if (generation_.load(std::memory_order_relaxed) != generation_before) {
      // The eviction may have taken what this block was to be linked to; the piece stays unused.
      return nullptr;
    }
    made = WriteBlock(piece, *block);
    if (made == nullptr) return nullptr;
  } else {
    made = Translation::CreateWithoutCode();
  }
  made->pc = pc;
  made->frame = frame;
  made->tail_frame = tail_frame;
  made->repeats = repeats;
  made->alone = alone;
  if (block != nullptr) in_region_[piece.region].push_back(made.get());
  FrameCode& code = CodeFor(page);
  if (block != nullptr) {
    LinkLocked(&code, *made, *block);
    LeadFarLinksLocked(code, *made, *block);
    if (!alone) LeadToLocked(code, *made);
    if (store_ != nullptr && !alone && !tail_frame.valid()) StoreLocked(&code, pc, *block);
  } else if (!alone) {
    std::erase_if(code.pending, [pc](const PendingLink& link) { return link.target == pc; });  // to cold code for good
  }
  code.translations.insert(made.get());
  if (tail_frame.valid()) frames_[tail_frame.value()].heads.push_back(frame.value());
  num_translations_.fetch_add(1, std::memory_order_relaxed);
  return made.release();
}

Translation* TranslationCache::PublishPath(uint64_t pc, std::span<const Translation::Page> pages,
                                           const GeneratedBlock& block, const Translation& replaces,
                                           uint64_t generation_before) {
  MutexLock lock(&mu_);
  if (generation_.load(std::memory_order_relaxed) != generation_before) return nullptr;
  const auto found = frames_.find(pages[0].frame.value());
  if (found == frames_.end()) return nullptr;
  Translation* replaced = found->second.Find(Key(pc, /*alone=*/false));
  if (replaced != &replaces || !replaced->can_be_joined()) return nullptr;
  const CodeBuffer::Piece piece = memory_->buffer.Allocate(static_cast<uint32_t>(block.code.size()));
  EvictLocked();
  // The eviction may have taken some of its frames.
  if (piece.code == nullptr || generation_.load(std::memory_order_relaxed) != generation_before) return nullptr;
  Translation::Owner made = WriteBlock(piece, block, pages);
  if (made == nullptr) return nullptr;
  made->pc = pc;
  made->frame = pages[0].frame;
  in_region_[piece.region].push_back(made.get());
  for (const Link& link : block.links) {
    const auto page = std::ranges::find(pages, link.target / kPageSize, &Translation::Page::number);
    const auto code = frames_.find(page->frame.value());
    const Translation* target = code == frames_.end() ? nullptr : code->second.Find(Key(link.target, /*alone=*/false));
    // Where there is nothing yet it stays with the table: the other frames know nothing of this path's links.
    if (target != nullptr && target->can_be_joined())
      PatchDisplacement(made->code + link.displacement_offset,
                        target->code + (link.flags_saved ? target->saved_entry : target->host_entry));
  }
  FrameCode& code = frames_[pages[0].frame.value()];
  LeadFarLinksLocked(code, *made, block);
  code.translations.erase(replaced);
  code.translations.insert(made.get());
  code.replaced.push_back(replaced);
  for (const Translation::Page& page : pages.subspan(1)) {
    std::vector<uint32_t>& heads = frames_[page.frame.value()].heads;
    if (std::ranges::find(heads, made->frame.value()) == heads.end()) heads.push_back(made->frame.value());
  }
  num_translations_.fetch_add(1, std::memory_order_relaxed);
  replaced->replaced_by.store(made.get(), std::memory_order_release);
  // What has led to those that it replaced before goes on by its entries.
  PatchEntries(*replaced, Patch::kJump, made->code + made->host_entry, made->code + made->saved_entry);
  return made.release();
}

uint64_t TranslationCache::BytesFor(const Translation& translation, size_t num_far_links) const {
  // Tables that are between half and wholly full.
  constexpr uint64_t kTableEntries = (sizeof(Translation*) + 1) * 3 / 2 + sizeof(Translation*) * 4 / 3;
  uint64_t bytes =
      translation.code_bytes + kTableEntries + num_far_links * FarLinks::kBytesForJump +
      BlockArena::Padded(sizeof(Translation) + translation.marks().size_bytes() + translation.pages().size_bytes());
  MutexLock lock(&mu_);
  if (const auto found = frames_.find(translation.frame.value()); found != frames_.end()) {
    const std::byte* first = memory_->buffer.permanent();
    for (const PendingLink& link : found->second.pending) {
      const std::byte* at = first + link.displacement;
      if (at >= translation.code && at < translation.code + translation.code_bytes)
        bytes += sizeof(PendingLink) * 3 / 2;
    }
  }
  return bytes;
}

void TranslationCache::EvictLocked() {
  uint32_t region;
  if (!memory_->buffer.BeginEviction(&region)) return;
  has_evicted_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  const uint64_t first = CodeBuffer::kPermanentBytes + region * memory_->buffer.region_bytes();
  far_links_.EraseFrom(static_cast<uint32_t>(first), static_cast<uint32_t>(first + memory_->buffer.region_bytes()));
  auto* eviction = new Eviction{memory_, region, std::exchange(in_region_[region], {})};
  memory_->draining[region].store(eviction, std::memory_order_release);
  for (const Translation* translation : eviction->translations) DropLocked(translation->frame.value());
  for (const uint32_t frame : std::exchange(caches_in_region_[region], {})) DropLocked(frame);
  reclaimer_->Retire(eviction, &Eviction::Finish);
}

void TranslationCache::DropLocked(uint32_t frame) {
  // Frames may lead to each other in long chains.
  std::vector<uint32_t> left = {frame};
  while (!left.empty()) {
    const uint32_t next = left.back();
    left.pop_back();
    DropFrameLocked(next, &left);
  }
}

void TranslationCache::DropFrameLocked(uint32_t frame, std::vector<uint32_t>* heads) {
  const auto found = frames_.find(frame);
  if (found == frames_.end()) return;
  FrameCode code = std::move(found->second);
  frames_.erase(found);
  if (code.mapping != nullptr) {
    far_links_.RemovePage(code.mapping, code.mapped_at,
                          [&](const FarLinks::Jump& jump) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
                            const std::byte* at = memory_->buffer.permanent() + jump.displacement;
                            PatchDisplacement(at, at + jump.to_cold);
                          });
  }
  const auto drop = [this](const Translation& translation) {
    PatchEntries(translation, Patch::kCall, routines_.dropped_host_flags, routines_.dropped_saved_flags);
  };
  for (Translation* translation : code.translations) {
    num_translations_.fetch_sub(1, std::memory_order_relaxed);
    if (translation->code == nullptr) {
      reclaimer_->Retire(translation, &Translation::Free);
      continue;
    }
    // Its memory goes with its region.
    drop(*translation);
  }
  for (const Translation* translation : code.replaced) {
    num_translations_.fetch_sub(1, std::memory_order_relaxed);
    drop(*translation);
  }
  heads->insert(heads->end(), code.heads.begin(), code.heads.end());
}

void TranslationCache::DropCode(mm::FrameId frame) {
  MutexLock lock(&mu_);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  DropLocked(frame.value());
  unmapped_.erase(frame.value());
}

uint64_t TranslationCache::RegionOf(const std::byte* host) const {
  const std::byte* first = memory_->buffer.permanent() + CodeBuffer::kPermanentBytes;
  return static_cast<uint64_t>(host - first) / memory_->buffer.region_bytes();
}

const Translation* TranslationCache::FindIn(const std::vector<Translation*>& translations, const std::byte* host) {
  const auto behind = std::upper_bound(translations.begin(), translations.end(), host,
                                       [](const std::byte* at, const Translation* t) { return at < t->code; });
  if (behind == translations.begin()) return nullptr;
  const Translation* translation = *(behind - 1);
  return host < translation->code + translation->code_bytes ? translation : nullptr;
}

const Translation* TranslationCache::FindByHostAddress(const std::byte* host) const {
  if (!memory_->buffer.Contains(host)) return nullptr;
  const uint64_t region = RegionOf(host);
  // The caller is inside, so the region is not used again before its next quiescent point.
  if (const Eviction* eviction = memory_->draining[region].load(std::memory_order_acquire))
    return FindIn(eviction->translations, host);
  MutexLock lock(&mu_);
  if (const Translation* translation = FindIn(in_region_[region], host)) return translation;
  // It has begun to drain since.
  const Eviction* eviction = memory_->draining[region].load(std::memory_order_acquire);
  return eviction == nullptr ? nullptr : FindIn(eviction->translations, host);
}

TranslationCache::FrameCode* TranslationCache::CodeOfLocked(const Translation& translation) {
  const auto found = frames_.find(translation.frame.value());
  const bool is_there =
      found != frames_.end() && found->second.Find(Key(translation.pc, translation.alone)) == &translation;
  return is_there ? &found->second : nullptr;
}

bool TranslationCache::ResolveLocked(const FrameCode& code, const Translation& from, uint64_t target,
                                     BranchTarget* resolved) {
  const uint64_t branch = from.AddressOf(from.count() - 1);
  *resolved = {.pc = target, .forward = IsForward(branch, target)};
  if (!from.tail_frame.valid() && (target ^ from.pc) / kPageSize == 0) {
    const Translation* to = code.Find(Key(target, /*alone=*/false));
    if (to != nullptr && to->can_be_joined()) {
      resolved->entry = to->code + (resolved->forward ? to->forward_entry : to->saved_entry);
      return true;
    }
  }
  // Direct branches need the ways more.
  constexpr size_t kMostWays = GuestContext::kWays * 3 / 4;
  const auto known = ways_.find(target);
  if (known != ways_.end())
    resolved->way = known->second;
  else if (ways_.size() < kMostWays)
    resolved->way = WayToLocked(target);
  return resolved->way != GuestContext::kNoWay;
}

TranslationCache::Learned TranslationCache::LearnBranch(const std::byte* site, std::optional<uint64_t> target) {
  constexpr size_t kMaxTargets = 3;
  MutexLock lock(&mu_);
  const Translation* from = FindIn(in_region_[RegionOf(site)], site);
  if (from == nullptr) return {};
  Learned learned = {from->pc, GuestContext::kFirstArrivals, {}};
  FrameCode* code = CodeOfLocked(*from);
  if (code == nullptr || !target.has_value()) return learned;
  DCHECK(from->branch_displacement != 0);
  std::vector<BranchTarget>& targets = code->branches[from];
  // That may be: another worker has not come by there yet.
  if (std::ranges::any_of(targets, [&](const BranchTarget& known) { return known.pc == *target; })) return learned;
  const std::byte* branch = from->code + from->branch_displacement;
  BranchTarget resolved;
  const bool is_full = targets.size() == kMaxTargets;
  if (is_full || !ResolveLocked(*code, *from, *target, &resolved)) {
    // The table it is, for good, unless what is known is still of use.
    if (is_full || targets.empty()) PatchDisplacement(branch, from->code + from->branch_by_table);
    return learned;
  }
  targets.push_back(resolved);
  WriteInlineCache(targets, from->code + from->branch_unknown, &inline_cache_, &inline_cache_relocations_);
  const CodeBuffer::Piece piece = memory_->buffer.Allocate(inline_cache_.size());
  EvictLocked();
  // The eviction may have taken the branch, and its targets.
  code = CodeOfLocked(*from);
  if (code == nullptr) return learned;
  if (piece.code == nullptr) {
    code->branches[from].pop_back();
    return learned;
  }
  WritePiece(piece.code, inline_cache_.bytes(), inline_cache_relocations_);
  caches_in_region_[piece.region].push_back(from->frame.value());
  PatchDisplacement(branch, piece.code);
  learned.code = {piece.code, inline_cache_.size()};
  return learned;
}

}  // namespace remora::cpu::translator
