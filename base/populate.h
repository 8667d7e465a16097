#ifndef REMORA_BASE_POPULATE_H_
#define REMORA_BASE_POPULATE_H_

#include <algorithm>
#include <cstddef>

namespace remora {

// Has the host find memory now for all pages that [memory, memory + bytes) touches, mapped and writable; what is in
// them stays. For what will soon be written all over: a third to a half of what it takes the host to find a page at its
// first write, and again where that page has been read before. A host that cannot (Linux before 5.14, no memory) leaves
// it to the writes. Thread safety: any. Source: madvise(2), MADV_POPULATE_WRITE.
void Populate(void* memory, size_t bytes);

// For memory that is written from its beginning on: populates it some pages ahead of what is used.
// Thread safety: one thread at a time.
class PopulatedAhead {
 public:
  static constexpr size_t kStepBytes = size_t{64} << 10;

  // Before byte `end` - 1 of `memory`, which has `bytes` and is always the same, is written.
  void Reach(void* memory, size_t end, size_t bytes) {
    if (end > populated_) [[unlikely]]
      Step(memory, end, bytes);
  }
  // What is before byte `end` is not asked for: it has memory, or is left to the writes.
  void NoteThere(size_t end) { populated_ = std::max(populated_, end); }

 private:
  void Step(void* memory, size_t end, size_t bytes);

  size_t populated_ = 0;
};

}  // namespace remora

#endif  // REMORA_BASE_POPULATE_H_
