#ifndef REMORA_CPU_TRANSLATOR_FAR_LINKS_H_
#define REMORA_CPU_TRANSLATOR_FAR_LINKS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "base/guest_addr.h"
#include "mm/code_mapping.h"
#include "mm/types.h"

namespace remora::cpu::translator {

// Jumps from code of one page to that of another one of the same mapping (mm::CodeMapping): which frame's code a page
// of a mapping has, which jumps lead to it, and which wait until their targets are translated. Knows jumps by where
// their displacements are; whoever calls patches them.
//
// A jump stays here until the memory that it lies in is used for something else (EraseFrom), even if its own code is
// dropped before: nobody runs it then, and to patch it does no harm.
// Memory: 8 bytes a jump, and some 100 for each page that such jumps lead to. Where very many wait for one page, others
// go without a place here, by their cold code: who translates a block looks at all that wait for its page. Thread
// safety: none; guarded by the TranslationCache's lock.
class FarLinks {
 public:
  static constexpr size_t kMaxWaiting = 4096;  // for one page
  // In tables that are between half and wholly full.
  static constexpr size_t kBytesForJump = 12;
  struct Jump {
    uint32_t displacement = 0;                  // from the CodeBuffer's beginning
    uint16_t to_cold = 0;                       // from there to the cold code that it leads to while it waits
    bool flags_saved = false, forward = false;  // as in FarLink
    uint64_t target = 0;
  };

 private:
  struct Stored {
    uint32_t displacement;
    uint16_t page_offset : 12;  // of the target
    uint16_t flags_saved : 1;
    uint16_t forward : 1;
    uint16_t to_cold;
  };
  static_assert(sizeof(Stored) == 8);
  struct Page {
    mm::FrameId frame;  // not valid: there is no code
    std::vector<Stored> leading, waiting;
    // As many as there may be.
    void Wait(const Stored& jump) {
      if (waiting.size() < kMaxWaiting) waiting.push_back(jump);
    }
    bool empty() const { return !frame.valid() && leading.empty() && waiting.empty(); }
  };

 public:
  // Those of one mapping. Valid while a page of it has code.
  class Mapping {
   public:
    explicit Mapping(const mm::CodeMapping& shape) : shape_(shape) {}
    const mm::CodeMapping& shape() const { return shape_; }

   private:
    friend class FarLinks;
    const mm::CodeMapping shape_;
    absl::flat_hash_map<uint64_t, Page> pages_;  // by number
  };

  // The page of the mapping has code of the frame now. Null, and nothing is done: it has that of another frame.
  Mapping* AddPage(const mm::CodeMapping& shape, PageNumber page, mm::FrameId frame);
  // Its code is gone. Calls back with each jump that leads there: it waits again.
  void RemovePage(Mapping* mapping, PageNumber page, absl::FunctionRef<void(const Jump&)> wait);

  // Another jump, to a page of the mapping. If there is code of a frame, `lead` may lead it to its target; where that
  // answers false it waits, too.
  void Add(Mapping* mapping, const Jump& jump, absl::FunctionRef<bool(mm::FrameId)> lead);
  // What waits for `target` is led there: by `lead`.
  void LeadWaiting(Mapping* mapping, uint64_t target, absl::FunctionRef<void(const Jump&)> lead);
  // Forgets the jumps in [first, end).
  void EraseFrom(uint32_t first, uint32_t end);

  size_t num_jumps() const;

 private:
  static Jump JumpOf(uint64_t page, const Stored& stored) {
    return {.displacement = stored.displacement,
            .to_cold = stored.to_cold,
            .flags_saved = stored.flags_saved != 0,
            .forward = stored.forward != 0,
            .target = page * kPageSize + stored.page_offset};
  }

  absl::flat_hash_map<mm::CodeMapping, std::unique_ptr<Mapping>> mappings_;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_FAR_LINKS_H_
