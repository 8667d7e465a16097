#include "mm/reverse_map.h"

#include <sys/mman.h>

#include "absl/container/inlined_vector.h"
#include "base/check.h"

namespace remora::mm {
namespace {

// A user-space pointer has 47 bits and nodes are 16-byte aligned: pointer << 16 leaves 20 low bits, of which the slot
// takes nine.
constexpr uint32_t kSlotShift = 1;
constexpr uint64_t kListTag = 1;

uint64_t Pack(const PageTableLeaf* leaf, uint32_t slot) {
  return reinterpret_cast<uintptr_t>(leaf) << 16 | uint64_t{slot} << kSlotShift;
}
PageTableLeaf* LeafOf(uint64_t word) { return reinterpret_cast<PageTableLeaf*>(word >> 16); }
uint32_t SlotOf(uint64_t word) { return static_cast<uint32_t>(word >> kSlotShift) & (PageTableNode::kFanOut - 1); }

}  // namespace

// Small at first: most frames that have a list are shared by a process and its child.
struct ReverseMap::List {
  absl::InlinedVector<uint64_t, 6> words;
};

namespace {

template <typename List>
List* ListOf(uint64_t word) {
  return reinterpret_cast<List*>(word & ~kListTag);
}

}  // namespace

ReverseMap::ReverseMap(const FramePool* frames) : num_words_(frames->max_frames()) {
  void* memory = mmap(nullptr, num_words_ * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK_MSG(memory != MAP_FAILED, "the host gives no address space for the reverse map");
  words_ = static_cast<uint64_t*>(memory);
}

// All page tables are gone, and with them all lists.
ReverseMap::~ReverseMap() { munmap(words_, num_words_ * sizeof(uint64_t)); }

void ReverseMap::Add(FrameId frame, PageTableLeaf* leaf, uint32_t slot) {
  MutexLock lock(&ShardOf(frame));
  uint64_t& word = words_[frame.value()];
  const uint64_t added = Pack(leaf, slot);
  if (word == 0) {
    word = added;
  } else if ((word & kListTag) != 0) {
    ListOf<List>(word)->words.push_back(added);
  } else {
    word = reinterpret_cast<uintptr_t>(new List{{word, added}}) | kListTag;
  }
}

void ReverseMap::Remove(FrameId frame, PageTableLeaf* leaf, uint32_t slot) {
  MutexLock lock(&ShardOf(frame));
  uint64_t& word = words_[frame.value()];
  const uint64_t gone = Pack(leaf, slot);
  if (word == gone) {
    word = 0;
    return;
  }
  CHECK_MSG((word & kListTag) != 0, "reverse map lacks an entry that is being removed");
  List* list = ListOf<List>(word);
  // The youngest first: what was mapped last is usually unmapped first.
  for (size_t i = list->words.size(); i-- > 0;) {
    if (list->words[i] != gone) continue;
    list->words[i] = list->words.back();
    list->words.pop_back();
    if (list->words.size() == 1) {
      word = list->words[0];
      delete list;
    }
    return;
  }
  CHECK_MSG(false, "reverse map lacks an entry that is being removed");
}

void ReverseMap::VisitUp(const PageTableNode* node, PageNumber page,
                         absl::FunctionRef<void(PageTableOwner*, PageNumber)> visit) {
  for (void* owner : node->owners) {
    if (node->level == PageTableNode::kRootLevel)
      visit(static_cast<PageTableOwner*>(owner), page);
    else
      VisitUp(static_cast<PageTableNode*>(owner), page, visit);
  }
}

void ReverseMap::ForEachMapper(FrameId frame, absl::FunctionRef<void(PageTableOwner*, PageNumber)> visit) {
  MutexLock sharing(&sharing_mu_);
  MutexLock lock(&ShardOf(frame));
  const uint64_t word = words_[frame.value()];
  if (word == 0) return;
  if ((word & kListTag) == 0) {
    VisitUp(LeafOf(word), LeafOf(word)->first_page + SlotOf(word), visit);
    return;
  }
  for (const uint64_t w : ListOf<List>(word)->words) VisitUp(LeafOf(w), LeafOf(w)->first_page + SlotOf(w), visit);
}

uint32_t ReverseMap::num_entries(FrameId frame) {
  MutexLock lock(&ShardOf(frame));
  const uint64_t word = words_[frame.value()];
  if (word == 0) return 0;
  return (word & kListTag) == 0 ? 1 : static_cast<uint32_t>(ListOf<List>(word)->words.size());
}

}  // namespace remora::mm
