#include "mm/frame_allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace remora::mm {
namespace {

constexpr uint64_t BitOf(uint32_t offset) { return uint64_t{1} << (offset % 64); }

}  // namespace

FrameAllocator::FrameAllocator(uint32_t num_frames)
    : num_frames_(num_frames), num_whole_blocks_(num_frames / kBlockFrames) {
  const uint32_t num_blocks = num_whole_blocks_ + 1;
  void* memory = mmap(nullptr, num_blocks * sizeof(Block), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK_MSG(memory != MAP_FAILED, "the host gives no address space for the list of free frames");
  blocks_ = static_cast<Block*>(memory);
  for (List& list : lists_) list.links = &Block::in_list;
  warm_.links = &Block::in_warm;
  if (const uint32_t rest = num_frames % kBlockFrames; rest != 0) {
    // The frames that the last block lacks are taken for ever.
    Block& last = blocks_[num_whole_blocks_];
    for (uint32_t offset = rest; offset < kBlockFrames; ++offset) last.taken[offset / 64] |= BitOf(offset);
    last.num_taken = static_cast<uint16_t>(kBlockFrames - rest);
    last.begun = true;
    last.list = ListId::kNone;
    Relist(num_whole_blocks_);
  }
  BeginGroup(kPackedGroupBlocks, std::nullopt);
  (void)Take(0, 0);
}

FrameAllocator::~FrameAllocator() { munmap(blocks_, (num_whole_blocks_ + 1) * sizeof(Block)); }

// --- lists ---

void FrameAllocator::PushFront(List* list, uint32_t block) {
  Links& links = blocks_[block].*list->links;
  links = {kNoBlock, list->first};
  (list->first == kNoBlock ? list->last : (blocks_[list->first].*list->links).previous) = block;
  list->first = block;
}

void FrameAllocator::PushBack(List* list, uint32_t block) {
  Links& links = blocks_[block].*list->links;
  links = {list->last, kNoBlock};
  (list->last == kNoBlock ? list->first : (blocks_[list->last].*list->links).next) = block;
  list->last = block;
}

void FrameAllocator::Remove(List* list, uint32_t block) {
  const Links links = blocks_[block].*list->links;
  (links.previous == kNoBlock ? list->first : (blocks_[links.previous].*list->links).next) = links.next;
  (links.next == kNoBlock ? list->last : (blocks_[links.next].*list->links).previous) = links.previous;
}

FrameAllocator::ListId FrameAllocator::WantedList(const Block& block) const {
  if (block.num_taken == kBlockFrames) return ListId::kNone;
  if (block.reserved) return ListId::kReserved;
  if (block.num_taken != 0) return ListId::kLoose;
  return block.kind == Kind::kPacked   ? ListId::kFreePacked
         : block.kind == Kind::kLeader ? ListId::kFreeLeaders
                                       : ListId::kFreeGaps;
}

void FrameAllocator::Relist(uint32_t index) {
  Block& block = blocks_[index];
  const ListId wanted = WantedList(block);
  if (wanted == block.list) return;
  // What became free last is likeliest to have the host's memory, so it is used first; but what an owner left behind is
  // used last, for its relatives may still want to continue there.
  const bool first = wanted <= ListId::kFreeGaps || (wanted == ListId::kLoose && block.list == ListId::kNone);
  if (block.list != ListId::kNone) Remove(&ListOf(block.list), index);
  block.list = wanted;
  if (wanted == ListId::kNone) return;
  if (first)
    PushFront(&ListOf(wanted), index);
  else
    PushBack(&ListOf(wanted), index);
}

void FrameAllocator::SetWarm(uint32_t index, uint16_t num_warm) {
  Block& block = blocks_[index];
  const bool was_in = block.num_warm != 0, more = num_warm > block.num_warm;
  num_warm_ += num_warm;
  num_warm_ -= block.num_warm;
  block.num_warm = num_warm;
  if (was_in && (num_warm == 0 || (more && warm_.last != index))) Remove(&warm_, index);
  if (more && (!was_in || warm_.last != index)) PushBack(&warm_, index);
}

// --- frames ---

FrameAllocator::Taken FrameAllocator::Take(uint32_t index, uint32_t offset) {
  Block& block = blocks_[index];
  const uint64_t bit = BitOf(offset);
  const bool dirty = (block.dirty[offset / 64] & bit) != 0;
  block.taken[offset / 64] |= bit;
  block.dirty[offset / 64] |= bit;
  ++block.num_taken;
  if (dirty) SetWarm(index, block.num_warm - 1);
  Relist(index);
  return {index * kBlockFrames + offset, !dirty};
}

std::optional<FrameAllocator::Taken> FrameAllocator::TakeAny() {
  uint32_t index = ListOf(ListId::kLoose).first;
  if (index == kNoBlock) index = FindFreeBlock(Room());
  if (index == kNoBlock) index = ListOf(ListId::kReserved).first;
  if (index == kNoBlock) return std::nullopt;
  // Zeroing a warm frame is cheaper than having the host fetch one.
  const Block& block = blocks_[index];
  for (const bool any : {block.num_warm == 0, true}) {
    for (uint32_t word = 0; word < kWords; ++word) {
      const uint64_t candidates = ~block.taken[word] & (any ? ~uint64_t{0} : block.dirty[word]);
      if (candidates != 0) return Take(index, word * 64 + static_cast<uint32_t>(std::countr_zero(candidates)));
    }
  }
  CHECK_MSG(false, "a block's count of taken frames is wrong");
  return std::nullopt;
}

std::optional<FrameAllocator::Taken> FrameAllocator::TakeAt(uint32_t frame, uint32_t own_block) {
  const uint32_t index = frame / kBlockFrames, offset = frame % kBlockFrames;
  if (frame >= num_frames_) return std::nullopt;
  const Block& block = blocks_[index];
  if (!block.begun || IsFree(index)) return std::nullopt;
  if ((block.taken[offset / 64] & BitOf(offset)) != 0) return std::nullopt;
  if (block.reserved && index != own_block) return std::nullopt;
  return Take(index, offset);
}

void FrameAllocator::Free(uint32_t frame) {
  const uint32_t index = frame / kBlockFrames, offset = frame % kBlockFrames;
  Block& block = blocks_[index];
  DCHECK((block.taken[offset / 64] & BitOf(offset)) != 0);
  block.taken[offset / 64] &= ~BitOf(offset);
  --block.num_taken;
  SetWarm(index, block.num_warm + 1);
  Relist(index);
}

// --- blocks ---

void FrameAllocator::BeginGroup(uint32_t num_blocks, std::optional<uint32_t> leader) {
  const uint32_t first = num_begun_;
  num_begun_ += std::min(num_blocks, num_whole_blocks_ - first);
  // The first shall be the first of its list.
  for (uint32_t index = num_begun_; index-- > first;) {
    Block& block = blocks_[index];
    block.begun = true;
    block.kind = !leader ? Kind::kPacked : index == first + *leader ? Kind::kLeader : Kind::kGap;
    block.list = ListId::kNone;
    Relist(index);
  }
}

bool FrameAllocator::HasRoom(uint32_t block, Room room) const {
  if (block < room.before) return false;
  for (uint32_t index = block - room.before; index <= block + room.behind; ++index)
    if (!IsFree(index)) return false;
  return true;
}

uint32_t FrameAllocator::FindFreeBlock(Room room) {
  const ListId first_choice = room.none() ? ListId::kFreePacked : ListId::kFreeLeaders;
  if (room.none()) {
    if (ListOf(first_choice).first == kNoBlock) BeginGroup(kPackedGroupBlocks, std::nullopt);
  } else {
    uint32_t leader = ListOf(first_choice).first;
    for (int i = 0; i < kMaxLeadersTried && leader != kNoBlock; ++i, leader = blocks_[leader].in_list.next)
      if (HasRoom(leader, room)) return leader;
    const uint32_t fresh = num_begun_ + room.before;
    BeginGroup(room.before + 1 + room.behind, room.before);
    if (IsFree(fresh)) return fresh;
  }
  for (const ListId id : {first_choice, ListId::kFreePacked, ListId::kFreeGaps, ListId::kFreeLeaders})
    if (ListOf(id).first != kNoBlock) return ListOf(id).first;
  return kNoBlock;
}

std::optional<uint32_t> FrameAllocator::Reserve(uint32_t wanted, Room room) {
  room = {std::min(room.before, kMaxRoom), std::min(room.behind, kMaxRoom)};
  // What is wanted may be just behind what was begun.
  if (wanted >= num_begun_ && wanted - num_begun_ <= kMaxRoom)
    BeginGroup(wanted - num_begun_ + 1 + room.behind, wanted - num_begun_);
  const uint32_t index = IsFree(wanted) ? wanted : FindFreeBlock(room);
  if (index == kNoBlock) return std::nullopt;
  blocks_[index].reserved = true;
  Relist(index);
  return index;
}

void FrameAllocator::Unreserve(uint32_t index) {
  DCHECK(blocks_[index].reserved);
  blocks_[index].reserved = false;
  Relist(index);
}

// --- the host's memory ---

void FrameAllocator::TakeWarm(uint64_t at_least, std::vector<uint32_t>* frames) {
  for (uint64_t found = 0; found < at_least && warm_.first != kNoBlock;) {
    const uint32_t index = warm_.first;
    Block& block = blocks_[index];
    for (uint32_t word = 0; word < kWords; ++word) {
      for (uint64_t warm = ~block.taken[word] & block.dirty[word]; warm != 0; warm &= warm - 1)
        frames->push_back(index * kBlockFrames + word * 64 + static_cast<uint32_t>(std::countr_zero(warm)));
      block.taken[word] |= block.dirty[word];
    }
    found += block.num_warm;
    block.num_taken += block.num_warm;
    SetWarm(index, 0);
    Relist(index);
  }
}

void FrameAllocator::FreeClean(std::span<const uint32_t> frames) {
  for (const uint32_t frame : frames) {
    const uint32_t offset = frame % kBlockFrames;
    Block& block = blocks_[frame / kBlockFrames];
    block.taken[offset / 64] &= ~BitOf(offset);
    block.dirty[offset / 64] &= ~BitOf(offset);
    --block.num_taken;
    Relist(frame / kBlockFrames);
  }
}

// --- checks ---

FrameAllocator::Counts FrameAllocator::CountForTesting() const {
  Counts counts;
  counts.free_blocks = num_whole_blocks_ - num_begun_;
  for (uint32_t i = 0; i <= num_whole_blocks_; ++i) {
    if (!blocks_[i].begun) continue;
    counts.free_blocks += blocks_[i].list <= ListId::kFreeGaps;
    counts.loose_blocks += blocks_[i].list == ListId::kLoose;
    counts.reserved_blocks += blocks_[i].list == ListId::kReserved;
  }
  return counts;
}

void FrameAllocator::CheckInvariants() const {
  const auto check_list = [this](const List& list, auto belongs) {
    uint64_t length = 0;
    uint32_t previous = kNoBlock;
    for (uint32_t i = list.first; i != kNoBlock; i = (blocks_[i].*list.links).next) {
      CHECK((blocks_[i].*list.links).previous == previous);
      CHECK(belongs(blocks_[i]));
      previous = i;
      CHECK(++length <= num_whole_blocks_ + 1);
    }
    CHECK(list.last == previous);
    return length;
  };
  uint64_t listed = 0, in_lists = 0, with_warm = 0, warm_sum = 0;
  for (uint32_t i = 0; i <= num_whole_blocks_; ++i) {
    const Block& block = blocks_[i];
    if (!block.begun) {
      CHECK(i >= num_begun_ && block.num_taken == 0 && block.num_warm == 0 && !block.reserved);  // 4
      continue;
    }
    CHECK(i < num_begun_ || i == num_whole_blocks_);  // 4
    int taken = 0, warm = 0;
    for (uint32_t word = 0; word < kWords; ++word) {
      taken += std::popcount(block.taken[word]);
      warm += std::popcount(~block.taken[word] & block.dirty[word]);
    }
    CHECK(block.num_taken == taken && block.num_warm == warm);  // 2
    CHECK(block.list == WantedList(block));                     // 1
    listed += block.list != ListId::kNone;
    with_warm += warm != 0;
    warm_sum += static_cast<uint64_t>(warm);
  }
  CHECK(warm_sum == num_warm_);  // 2
  for (size_t id = 0; id < kNumLists; ++id)
    in_lists += check_list(lists_[id], [id](const Block& block) { return static_cast<size_t>(block.list) == id; });
  CHECK(in_lists == listed);                                                                      // 1
  CHECK(check_list(warm_, [](const Block& block) { return block.num_warm != 0; }) == with_warm);  // 3
}

}  // namespace remora::mm
