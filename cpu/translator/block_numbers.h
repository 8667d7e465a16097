#ifndef REMORA_CPU_TRANSLATOR_BLOCK_NUMBERS_H_
#define REMORA_CPU_TRANSLATOR_BLOCK_NUMBERS_H_

#include <cstdint>

namespace remora::cpu::translator {

// Numbers of what blocks reach in the GuestContext; one numbering for all blocks that share contexts.
class BlockNumbers {
 public:
  // The way to `pc` for direct branches from other pages (GuestContext::ways), the same one for ever; kNoWay: there are
  // no more.
  virtual uint32_t WayTo(uint64_t pc) = 0;
  // The one of GuestContext::pages for the page of `address` and the right, the same one for ever; kNoPage: there are
  // no more.
  virtual uint32_t PageOf(uint64_t address, bool write) = 0;
  // One of GuestContext::extents for a site whose accesses have up to 1 << size_class bytes, by turns: what is
  // translated one after the other, as most loops are, has different ones. Less than kNumExtents, and none of those
  // that sites share.
  virtual uint32_t NewExtent(uint32_t size_class) = 0;

 protected:
  ~BlockNumbers() = default;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_BLOCK_NUMBERS_H_
