#include "cpu/block_arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "base/large_pages_for_testing.h"

namespace remora::cpu {
namespace {

TEST(BlockArenaTest, PiecesAreAlignedAndApart) {
  BlockArena arena(8);
  struct Piece {
    void* memory;
    size_t bytes;
    int fill;
  };
  std::vector<Piece> pieces;
  for (int i = 0; i < 15000; ++i) {
    const size_t bytes = 1 + static_cast<size_t>(i) * 37 % 500;
    void* memory = arena.Allocate(bytes);
    ASSERT_NE(memory, nullptr);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(memory) % BlockArena::kAlignment, 0u);
    std::memset(memory, i & 0xff, bytes);
    pieces.push_back({memory, bytes, i & 0xff});
  }
  EXPECT_GT(arena.num_chunks(), 1u);
  for (const Piece& piece : pieces) {
    for (size_t i = 0; i < piece.bytes; ++i) ASSERT_EQ(static_cast<uint8_t*>(piece.memory)[i], piece.fill);
    BlockArena::Free(piece.memory);
  }
  EXPECT_EQ(arena.num_chunks(), 1u);
}

TEST(BlockArenaTest, AChunkGoesWithTheLastOfItsPiecesAndNotBefore) {
  BlockArena arena(2);
  std::vector<void*> pieces;
  while (void* piece = arena.Allocate(BlockArena::kMaxPieceBytes)) pieces.push_back(piece);
  EXPECT_EQ(arena.num_chunks(), 2u);
  // All but one of the first chunk: that one keeps it.
  for (size_t i = 1; i < pieces.size() / 2; ++i) BlockArena::Free(pieces[i]);
  EXPECT_EQ(arena.Allocate(BlockArena::kMaxPieceBytes), nullptr);
  BlockArena::Free(pieces[0]);
  void* more = arena.Allocate(BlockArena::kMaxPieceBytes);
  EXPECT_NE(more, nullptr);
  BlockArena::Free(more);
  for (size_t i = pieces.size() / 2; i < pieces.size(); ++i) BlockArena::Free(pieces[i]);
}

// Of a program that soon ends only what it touches is there; of another one, large pages of the host's.
TEST(BlockArenaTest, TheFirstChunkBecomesALargePageWhenAQuarterIsUsed) {
  if (!HostGivesLargePages()) return;
  BlockArena arena(2);
  std::vector<void*> pieces;
  size_t bytes = 0;
  const auto use = [&](size_t more) {
    for (const size_t end = bytes + more; bytes < end; bytes += 4096) {
      pieces.push_back(arena.Allocate(4096));
      std::memset(pieces.back(), static_cast<int>(pieces.size()), 4096);
    }
    return BytesInLargePages(pieces.back());
  };
  EXPECT_EQ(use(BlockArena::kChunkBytes / 8), 0u);
  EXPECT_EQ(use(BlockArena::kChunkBytes / 4), BlockArena::kChunkBytes);
  use(BlockArena::kChunkBytes / 2);
  EXPECT_EQ(use(BlockArena::kChunkBytes / 4), BlockArena::kChunkBytes) << "the second";
  EXPECT_EQ(arena.num_chunks(), 2u);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::vector<uint8_t> expected(4096, static_cast<uint8_t>(i + 1));
    EXPECT_EQ(std::memcmp(pieces[i], expected.data(), 4096), 0);
    BlockArena::Free(pieces[i]);
  }
}

TEST(BlockArenaTest, PiecesOutliveTheArenaAndAreFreedByAnyThread) {
  std::vector<void*> pieces;
  {
    BlockArena arena(4);
    for (int i = 0; i < 1000; ++i) pieces.push_back(arena.Allocate(300));
  }
  std::vector<std::thread> threads;
  for (size_t first = 0; first < 4; ++first)
    threads.emplace_back([&pieces, first] {
      for (size_t i = first; i < pieces.size(); i += 4) {
        std::memset(pieces[i], 1, 300);
        BlockArena::Free(pieces[i]);
      }
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace remora::cpu
