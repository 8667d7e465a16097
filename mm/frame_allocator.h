#ifndef REMORA_MM_FRAME_ALLOCATOR_H_
#define REMORA_MM_FRAME_ALLOCATOR_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace remora::mm {

// Which frames are free. They are taken one by one, from anywhere or at a wanted place, and a *block* of 512 that lie
// side by side can be reserved: for a page-table leaf or for 2 MiB of a file, whose page k then takes frame k of the
// block. So neighbours in the guest's memory are neighbours in the host's, whatever the order in which they are
// touched.
//
//      block 7, reserved   [..##....#...]   only its user takes frames here, by TakeAt
//      block 8, loose      [####.##.....]   single frames, by TakeAny
//      block 9, free       [............]   can be reserved, or becomes loose when there is no other loose one
//
// What grows by and by shall find room for further blocks beside the one that it has. So blocks are begun in groups,
// which are *spread* (one block in each, its leader, goes to a user that may grow, the others wait for that) or
// *packed* (for users of one block and for single frames). When no group is left to begin, any free block serves
// anybody. (Groups are no larger than asked for: what is kept for each frame, here and elsewhere, costs a page of the
// host's wherever a block is used.)
//
// Reserving takes no frame and costs no memory. TakeAny turns to reserved blocks when nothing else is left, so that a
// pool is full only when all its frames are taken; the user of such a block finds some of its places taken.
//
// A free frame is *warm* if it was taken since the host last took its memory back: then its content is anything, else
// zeros.
//
// Invariants:
//  1. Each block that was begun stands in the list that its state asks for: free (not reserved, no frame taken; a list
//     for each Kind), loose (not reserved, some are), reserved (some frames are not taken), or none (all are).
//  2. num_taken and num_warm of a block equal the bits in it; num_warm() is the sum.
//  3. A block stands in the warm list exactly while it has a warm frame; the one that was last freed into stands last.
//  4. Blocks from num_begun_ on are free, and stand in no list.
// Twin: FreeBSD's vm_reserv (Navarro, "Practical, transparent operating system support for superpages"); Linux has
// pageblocks and large folios. Differences: one size; a reservation need not be broken, for it owns nothing.
// Cost: all but TakeWarm and FreeClean are O(1) (looking at 8 words).
// Thread safety: none.
class FrameAllocator {
 public:
  static constexpr uint32_t kBlockFrames = 512;
  static constexpr uint32_t kNoBlock = ~0u;
  struct Taken {
    uint32_t frame;
    bool zeroed;  // its bytes are zero
  };

  // Frames 0..num_frames-1; 1..2^30. Frame 0 is taken for ever (the pool's zero frame); those behind the last multiple
  // of 512 are never reserved.
  explicit FrameAllocator(uint32_t num_frames);
  ~FrameAllocator();
  FrameAllocator(const FrameAllocator&) = delete;
  FrameAllocator& operator=(const FrameAllocator&) = delete;

  // Nothing: all are taken.
  std::optional<Taken> TakeAny();
  // Nothing: it is taken, or in a free block, or in one that is reserved and is not `own_block`.
  std::optional<Taken> TakeAt(uint32_t frame, uint32_t own_block);
  void Free(uint32_t frame);

  // Blocks that a user may want later on before and behind the one that it asks for. None: a user of one block.
  struct Room {
    uint32_t before = 0, behind = 0;
    bool none() const { return before == 0 && behind == 0; }
  };
  static constexpr uint32_t kMaxRoom = 32;  // of either, more is cut

  // A free block: `wanted` if that is free, else one with `room` beside it if there is such. Any number is allowed as
  // `wanted`. Nothing: no block is free.
  std::optional<uint32_t> Reserve(uint32_t wanted, Room room);
  // Frames taken in it stay taken.
  void Unreserve(uint32_t block);

  uint64_t num_warm() const { return num_warm_; }
  // Takes warm frames, those of the blocks that were freed into longest ago first, until there are `at_least` or no
  // more; appends them. FreeClean gives them back once the host has taken their memory.
  void TakeWarm(uint64_t at_least, std::vector<uint32_t>* frames);
  void FreeClean(std::span<const uint32_t> frames);

  struct Counts {
    uint64_t free_blocks = 0, loose_blocks = 0, reserved_blocks = 0;  // the last: those that are not full
  };
  Counts CountForTesting() const;
  bool IsReservedForTesting(uint32_t block) const { return blocks_[block].reserved; }
  void CheckInvariants() const;

 private:
  static constexpr uint32_t kWords = kBlockFrames / 64;
  static constexpr uint32_t kPackedGroupBlocks = 4;
  static constexpr int kMaxLeadersTried = 8;
  enum class Kind : uint8_t { kPacked, kLeader, kGap };
  enum class ListId : uint8_t { kFreePacked, kFreeLeaders, kFreeGaps, kLoose, kReserved, kNone };
  static constexpr size_t kNumLists = static_cast<size_t>(ListId::kNone);
  struct Links {
    uint32_t previous, next;
  };
  struct Block {
    std::array<uint64_t, kWords> taken, dirty;  // dirty: taken since the host last took its memory
    uint16_t num_taken, num_warm;
    Kind kind;
    ListId list;
    bool begun, reserved;
    Links in_list, in_warm;
  };
  struct List {
    Links Block::* links;
    uint32_t first = kNoBlock, last = kNoBlock;
  };
  void PushFront(List* list, uint32_t block);
  void PushBack(List* list, uint32_t block);
  void Remove(List* list, uint32_t block);
  List& ListOf(ListId id) { return lists_[static_cast<size_t>(id)]; }
  ListId WantedList(const Block& block) const;
  // Puts a block whose state has changed where it belongs.
  void Relist(uint32_t block);
  void SetWarm(uint32_t block, uint16_t num_warm);
  bool IsFree(uint32_t block) const { return block < num_begun_ && blocks_[block].list <= ListId::kFreeGaps; }
  bool HasRoom(uint32_t block, Room room) const;
  // Where there are blocks left.
  void BeginGroup(uint32_t num_blocks, std::optional<uint32_t> leader);
  uint32_t FindFreeBlock(Room room);
  Taken Take(uint32_t block, uint32_t offset);

  const uint32_t num_frames_, num_whole_blocks_;
  Block* blocks_ = nullptr;  // address space; pages are touched as blocks are begun
  uint32_t num_begun_ = 0;
  uint64_t num_warm_ = 0;
  std::array<List, kNumLists> lists_;  // by ListId
  List warm_;
};

}  // namespace remora::mm

#endif  // REMORA_MM_FRAME_ALLOCATOR_H_
