#ifndef REMORA_CPU_TRANSLATOR_TRANSLATION_CACHE_H_
#define REMORA_CPU_TRANSLATOR_TRANSLATION_CACHE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "base/check.h"
#include "base/guest_addr.h"
#include "base/mutex.h"
#include "base/zeroed.h"
#include "cpu/block_arena.h"
#include "cpu/translator/block_numbers.h"
#include "cpu/translator/code_buffer.h"
#include "cpu/translator/far_links.h"
#include "cpu/translator/generated_block.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/host_code.h"
#include "cpu/translator/inline_cache.h"
#include "cpu/translator/routines.h"
#include "cpu/translator/stored_paths.h"
#include "cpu/translator/translation.h"
#include "cpu/translator/translation_store.h"
#include "mm/code_mapping.h"
#include "mm/frame_pool.h"
#include "sync/reclaimer.h"

namespace remora::cpu::translator {

// A page of code as an address space has it.
struct CodePage {
  PageNumber number;
  mm::FrameId frame;
  mm::CodeMapping mapping{};  // not valid: it has none, or that is not to be counted on
};

// All translated code of a Kernel, by frame and address: processes that have a page of code at the same address share
// what was translated from it.
//
// Life of a translation: generated (BlockWriter) -> published -> dropped (its frame is written or freed, or its region
// of the CodeBuffer is needed) -> freed after a grace period.
//
// Invariants:
//  1. A translation is published only if nothing was dropped since before its bytes were read.
//  2. Jumps from one translation into another stay within a frame, or lead from a path to one of its frames (links), or
//     to another page of the same mapping (FarLinks): nothing is dropped without what leads to it, or is led elsewhere.
//     All other ways in lead through an engine's tables, which it clears when generation() has grown.
//  3. Who enters a dropped translation leaves at once to look its address up again: its entries are patched before
//     DropCode returns. Who is inside goes on to its end.
//     Where a call returns to (BlockWriter::WriteHostCall), which GuestContext::returns leads to, is no entry: all that
//     it leads on to is.
//     What has far links is found for pages of that mapping only (FrameCode::mapping), and a path, which links may lead
//     on from, where all its pages may run what there is of them.
//  4. A region of the buffer is used again only when every worker has been quiescent since its translations were
//     dropped.
// Linux twin: none; hardware's instruction cache. Thread safety: all methods from any thread. Translations that were
// found stay valid until the caller's next quiescent point.
class TranslationCache final : public mm::CodeObserver, public BlockNumbers {
 public:
  // `store`, if not null, outlives the cache, and is its alone until then.
  TranslationCache(sync::Reclaimer* reclaimer, uint64_t max_code_bytes, const HostCalls& calls,
                   TranslationStore* store = nullptr);
  ~TranslationCache() override;

  const Routines& routines() const { return routines_; }
  const CodeBuffer& buffer() const { return memory_->buffer; }

  // Null: not translated. Where it goes on in the page behind (Translation::tail_frame) the caller has to see whether
  // that is there. `alone`: the one whose memory operands are each probed by themselves, for addresses where that of
  // groups fails.
  // Where the frame's code counts on another mapping than the page has, that code is dropped, and what will be made of
  // it counts on none.
  Translation* Find(const CodePage& page, uint64_t pc, bool alone);
  // Whether the page may run what there is of its frame; what it may not is dropped, as above.
  bool MayRun(const CodePage& page);
  // Drops the frame's code, though its bytes are the same.
  void Forget(mm::FrameId frame);
  // To look at, not to be run.
  const Translation* Peek(mm::FrameId frame, uint64_t pc) const;
  // Adds to `blocks` those of a page of code that jumps may lead straight to; none where the frame has more code than
  // one page.
  void FindPage(const CodePage& page, std::vector<const Translation*>* blocks) const;
  // `block` null: an address whose instruction is to be interpreted, `repeats` if it has a REP prefix. Answers what was
  // published first, or null if something was dropped since generation() was `generation_before`, or while there is no
  // room.
  // The page's mapping is the one that it has had with this frame.
  Translation* Publish(const CodePage& page, uint64_t pc, mm::FrameId tail_frame, const GeneratedBlock* block,
                       bool repeats, bool alone, uint64_t generation_before);
  // A path that begins at `pc`, on the first of `pages`, and goes through all of them. It takes the place of the block,
  // or path, that Find has answered there, whose entries lead to it from now on; it is dropped with any of its pages.
  // Null as above, or where that is not there any more.
  Translation* PublishPath(uint64_t pc, std::span<const Translation::Page> pages, const GeneratedBlock& block,
                           const Translation& replaces, uint64_t generation_before);
  bool has_store() const { return store_ != nullptr; }
  // Asks the store for a page of code, and has it keep what will be translated of the page. Does nothing if something
  // was dropped since generation() was `generation_before`.
  void AskStore(const CodePage& page, std::span<const std::byte, kPageSize> bytes, uint64_t generation_before);
  // The page is not the store's business.
  void NoteUnstored(mm::FrameId frame, uint64_t page_number);
  // What the store has of a page, as far as it has been asked.
  enum class Stored : uint8_t { kNotAsked, kNothing, kSomething };
  // Publishes what the store has of the block at `pc` and of those of its page that it leads to, they lead to and so
  // on: a function, mostly. Adds to `blocks` what is new here.
  Stored AdoptStored(const CodePage& page, uint64_t pc, std::vector<const Translation*>* blocks);
  // Paths of earlier runs that this one may make, of the pages that the store has been asked for; see StoredPaths.
  bool has_stored_paths() const { return num_stored_paths_.load(std::memory_order_relaxed) != 0; }
  bool HasStoredPathAt(uint64_t pc) const;
  void FindStoredPaths(uint64_t pc, std::vector<StoredPaths::Place>* places) const;
  void ForgetStoredPath(uint32_t number);
  void NoteStoredPathMiss(uint32_t number);
  // Has the store keep a path that this run has made, as far as it keeps what is made of the page that it begins on.
  void StorePath(const Translation& made, const StoredPath& path);
  // One of GuestContext::gates that nobody has had; kGates: there are no more.
  uint32_t NewGate();
  // The translation that a host address lies in; it may be dropped already. Null: none.
  const Translation* FindByHostAddress(const std::byte* host) const;

  // BlockNumbers
  uint32_t WayTo(uint64_t pc) override;
  uint32_t PageOf(uint64_t address, bool write) override;
  uint32_t NewExtent(uint32_t size_class) override;
  const std::atomic<uint64_t>* way_targets() const { return way_targets_.get(); }
  // Tells that the indirect branch which the translation around the host address `site` ends with has gone to `target`,
  // which is translated: its inline cache will know. Without a target that is not translated.
  struct Learned {
    uint64_t block = 0;               // the translation's address
    int32_t until_next = 0;           // how often the branch may go through the tables before this is called again
    std::span<const std::byte> code;  // its inline cache, if there is a new one
  };
  Learned LearnBranch(const std::byte* site, std::optional<uint64_t> target);
  const std::atomic<uint64_t>* page_keys() const { return page_keys_.get(); }

  // mm::CodeObserver
  void DropCode(mm::FrameId frame) override;

  // Grows when something is dropped.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  // What a translation that has just been published takes: its code, and what is known about it and its far links here.
  uint64_t BytesFor(const Translation& translation, size_t num_far_links) const;
  // Whether there has been too little room for all code.
  bool has_evicted() const { return has_evicted_.load(std::memory_order_relaxed); }
  uint64_t num_translations() const { return num_translations_.load(std::memory_order_relaxed); }

 private:
  // A jump within the page whose target is not translated yet.
  struct [[gnu::packed]] PendingLink {
    uint64_t target : 63;
    uint64_t forward : 1;
    uint32_t displacement : 31;  // from the buffer's beginning
    uint32_t flags_saved : 1;
  };
  struct Eviction;
  // What an eviction under way needs after the cache itself has gone.
  struct Memory {
    explicit Memory(uint64_t max_bytes) : buffer(max_bytes) {}
    CodeBuffer buffer;
    std::atomic<const Eviction*> draining[CodeBuffer::kNumRegions] = {};
  };
  static uint64_t Key(uint64_t pc, bool alone) {
    return pc ^ uint64_t { alone } << 63;
  }
  // Hash and equality of translations by their Key.
  struct ByKey {
    using is_transparent = void;
    static uint64_t KeyOf(uint64_t key) { return key; }
    static uint64_t KeyOf(const Translation* translation) { return Key(translation->pc, translation->alone); }
    size_t operator()(const auto& key) const { return absl::HashOf(KeyOf(key)); }
    bool operator()(const auto& a, const auto& b) const { return KeyOf(a) == KeyOf(b); }
  };
  struct FrameCode {
    absl::flat_hash_set<Translation*, ByKey, ByKey> translations;
    std::vector<PendingLink> pending;
    // By the translation that ends with the branch; in the order in which they were learned.
    absl::flat_hash_map<const Translation*, std::vector<BranchTarget>> branches;
    std::vector<Translation*> replaced;  // by paths
    std::vector<uint32_t> heads;         // frames whose translations go on in this one
    // What the store has been asked for; by address, of which a frame seldom has two.
    struct AskedPage {
      uint64_t number = 0;
      TranslationStore::Page* page = nullptr;  // null: it keeps nothing of it
      bool found = false;
      std::vector<uint16_t> failed = {};  // where blocks begin that there was no number for, or no room
    };
    static constexpr size_t kMaxAsked = 8;  // where a guest has it at more, the store is left out
    std::vector<AskedPage> asked;
    // Far links of the code of this page lead to other pages of the mapping. Null: there are none.
    FarLinks::Mapping* mapping = nullptr;
    PageNumber mapped_at;

    bool MayRunFor(const CodePage& page) const {
      return mapping == nullptr || mapped_at != page.number || mapping->shape() == page.mapping;
    }
    Translation* Find(uint64_t key) const {
      const auto found = translations.find(key);
      return found == translations.end() ? nullptr : *found;
    }
    AskedPage* FindAsked(uint64_t page_number) {
      const auto found = std::ranges::find(asked, page_number, &AskedPage::number);
      return found == asked.end() ? nullptr : &*found;
    }
  };

  // The frame's code, for what is made of the page.
  FrameCode& CodeFor(const CodePage& page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Drops code that the page may not run.
  void ForgetMappingLocked(const CodePage& page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The jump, of mapped code, leads to its target, or waits for it.
  void LeadFarLocked(const FrameCode& code, const FarLinks::Jump& jump) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LeadFarLinksLocked(const FrameCode& code, const Translation& made, const GeneratedBlock& block)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What waits for it is led there.
  void LeadToLocked(const FrameCode& code, const Translation& made) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the code's far links are its own, too.
  static bool IsMapped(const FrameCode& code, const Translation& made);
  // `link`: a FarLink, or a StoredFarLink.
  FarLinks::Jump FarJumpOf(const Translation& made, const auto& link) const {
    const std::byte* displacement = made.code + link.displacement_offset;
    return {.displacement = static_cast<uint32_t>(displacement - memory_->buffer.permanent()),
            .to_cold = static_cast<uint16_t>(link.cold_offset - link.displacement_offset),
            .flags_saved = link.flags_saved,
            .forward = link.forward,
            .target = link.target};
  }
  void PatchFarLink(const FarLinks::Jump& jump, const std::byte* to);
  // With what goes on in the frame, from others.
  void DropLocked(uint32_t frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The frame's own; adds to `heads` the frames whose translations go on in it.
  void DropFrameLocked(uint32_t frame, std::vector<uint32_t>* heads) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EvictLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The block's code, put into the piece. Null: there is no room for what is known of it.
  Translation::Owner WriteBlock(const CodeBuffer::Piece& piece, const GeneratedBlock& block,
                                std::span<const Translation::Page> pages = {}) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LinkLocked(FrameCode* code, const Translation& made, const GeneratedBlock& block)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Where nobody runs yet: the displacement `at`, written at `word`, leads to `to`.
  static void WriteDisplacement(std::byte* word, const std::byte* at, const std::byte* to) {
    const auto displacement = static_cast<int32_t>(to - (at + 4));
    std::memcpy(word, &displacement, sizeof(displacement));
  }
  void WriteBranchSite(std::byte* word, const std::byte* branch, bool popped) const;
  // The link leads to its target, or waits for it.
  void LeadLocked(FrameCode* code, const PendingLink& link) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  PendingLink LinkAt(const std::byte* displacement, uint64_t target, bool flags_saved, bool forward) const;
  // --- the store (stored_translations.cc) ---
  struct Wanted {
    uint64_t pc = 0;
    StoredBlockView block;
    const Translation* made = nullptr;
  };
  // The block at `pc`, and those that are to come with it, of what is not here.
  static void FindWanted(const FrameCode& code, uint64_t pc, const TranslationStore& store,
                         const FrameCode::AskedPage& asked, std::vector<Wanted>* wanted);
  // Its code comes to `code`. Null: there is no number for something, or no room.
  Translation::Owner AdoptBlockLocked(const StoredBlockView& stored, const std::byte* code)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What has been numbered; the number of a key, or that there is none.
  uint64_t NumberedKey(const GeneratedBlock::Numbered& numbered) const;
  std::optional<uint32_t> NumberFor(uint64_t key, GeneratedBlock::Numbered::Kind kind)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void StoreLocked(FrameCode* code, uint64_t pc, const GeneratedBlock& block) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint32_t WayToLocked(uint64_t pc) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint32_t PageLocked(uint64_t key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The number of `key`, `next` if it has none yet; `limit`: there are no more.
  static uint32_t NumberOf(uint64_t key, uint32_t next, uint32_t limit,
                           absl::flat_hash_map<uint64_t, uint32_t>* numbers, std::atomic<uint64_t>* keys);
  // Where `target` is for the branch that `from` ends with. False: nowhere, yet.
  bool ResolveLocked(const FrameCode& code, const Translation& from, uint64_t target, BranchTarget* resolved)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Null: the translation is dropped.
  FrameCode* CodeOfLocked(const Translation& translation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint64_t RegionOf(const std::byte* host) const;
  // The one that a host address lies in, of a region's. Null: none.
  static const Translation* FindIn(const std::vector<Translation*>& translations, const std::byte* host);
  // Leads a 4-byte displacement within 16 aligned bytes of the buffer to `to`, in one store.
  void PatchDisplacement(const std::byte* at, const std::byte* to);
  void PatchLink(const PendingLink& link, const Translation& target);
  // Where a jump leads that links to it.
  static const std::byte* EntryFor(const Translation& target, bool flags_saved, bool forward) {
    DCHECK(!target.tail_frame.valid() || target.by_table_host != 0);
    if (target.tail_frame.valid()) return target.code + (flags_saved ? target.by_table_saved : target.by_table_host);
    return target.code + (!flags_saved ? target.host_entry : forward ? target.forward_entry : target.saved_entry);
  }
  // Puts code where it belongs; answers where that can be written.
  std::byte* WritePiece(const std::byte* at, std::span<const uint8_t> code,
                        std::span<const GeneratedBlock::Relocation> relocations);
  // Whoever enters it goes on there, by that instruction (kJumpBytes long): with the flags in the host's register, and
  // with them saved.
  enum class Patch : uint8_t { kCall = 0xe8, kJump = 0xe9 };
  void PatchEntries(const Translation& translation, Patch patch, const void* host_flags, const void* saved_flags);
  void PatchEntry(const Translation& translation, uint32_t entry, Patch patch, const void* to);

  sync::Reclaimer* const reclaimer_;
  TranslationStore* const store_ ABSL_PT_GUARDED_BY(mu_);
  std::atomic<uint64_t> generation_{1};
  std::atomic<bool> has_evicted_{false};
  std::atomic<uint64_t> num_translations_{0};
  mutable Mutex mu_{LockRank::kTranslations};
  const std::shared_ptr<Memory> memory_;   // its regions guarded by mu_
  BlockArena arena_ ABSL_GUARDED_BY(mu_);  // of translations with code
  const Routines routines_;
  // Written once each.
  const Zeroed<std::atomic<uint64_t>> way_targets_ = MakeZeroed<std::atomic<uint64_t>>(GuestContext::kWays);
  absl::flat_hash_map<uint64_t, uint32_t> ways_ ABSL_GUARDED_BY(mu_);
  const Zeroed<std::atomic<uint64_t>> page_keys_ = MakeZeroed<std::atomic<uint64_t>>(GuestContext::kPages);
  absl::flat_hash_map<uint64_t, uint32_t> pages_ ABSL_GUARDED_BY(mu_);
  uint32_t next_page_ ABSL_GUARDED_BY(mu_) = 0;  // those where LooksStored holds are left out
  absl::flat_hash_map<uint32_t, FrameCode> frames_ ABSL_GUARDED_BY(mu_);
  FarLinks far_links_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<uint32_t> unmapped_ ABSL_GUARDED_BY(mu_);  // frames whose code has no mapping any more
  std::atomic<uint32_t> gates_{0};                               // the last one that was given away
  std::array<std::atomic<uint32_t>, kSizeClasses> extents_{};    // how many were given away
  HostCode inline_cache_ ABSL_GUARDED_BY(mu_);                   // being written
  std::vector<GeneratedBlock::Relocation> inline_cache_relocations_ ABSL_GUARDED_BY(mu_);
  std::vector<Wanted> wanted_ ABSL_GUARDED_BY(mu_);  // being adopted
  StoredPaths stored_paths_ ABSL_GUARDED_BY(mu_);
  std::atomic<size_t> num_stored_paths_{0};  // of them
  // Frames that have inline caches in each region: they are dropped with it.
  std::vector<uint32_t> caches_in_region_[CodeBuffer::kNumRegions] ABSL_GUARDED_BY(mu_);
  // What lies in each region, by address.
  std::vector<Translation*> in_region_[CodeBuffer::kNumRegions] ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_TRANSLATION_CACHE_H_
