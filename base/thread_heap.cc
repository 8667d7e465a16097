#include "base/thread_heap.h"

#include <array>
#include <cstdlib>

namespace remora {

void ReserveThreadHeap() {
  // Below the size from which on malloc maps each piece by itself.
  constexpr size_t kPieceBytes = 120 << 10, kPieces = 12;
  std::array<void*, kPieces> pieces;
  for (void*& piece : pieces) piece = std::malloc(kPieceBytes);
  for (void* piece : pieces) std::free(piece);
}

}  // namespace remora
