#ifndef REMORA_CPU_VERIFY_VERIFIED_MEMORY_H_
#define REMORA_CPU_VERIFY_VERIFIED_MEMORY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/guest_addr.h"
#include "mm/frame_pool.h"
#include "mm/tlb.h"
#include "mm/types.h"

namespace remora::cpu {

// Stands between an engine's TLB and an address space, and keeps a copy of each page before it may be written, so that
// what ran can be undone. TLBs that are bound to it must lose their write rights at Begin and Undo.
// Thread safety: used by one worker; nobody else writes to the space's memory meanwhile.
class VerifiedMemory final : public mm::TlbSource {
 public:
  explicit VerifiedMemory(mm::FramePool* frames) : frames_(*frames) {}
  void set_inner(mm::TlbSource* inner) { inner_ = inner; }

  // A page as it was, or as it has become.
  struct Page {
    PageNumber number;
    mm::FrameId frame;
    std::unique_ptr<std::array<std::byte, kPageSize>> bytes;
  };
  // What is written from now on is written anew.
  void Begin() { pages_.clear(); }
  // Puts back what stood there at Begin. Answers what was there until now; Begin is implied.
  std::vector<Page> Undo();
  // Where memory differs from `expected`, or a page that is not in it has changed since Begin: the first byte's
  // address, with both values, as a sentence. Empty: nowhere.
  std::string DifferenceTo(const std::vector<Page>& expected) const;

  // mm::TlbSource.
  Translation Translate(PageNumber page, mm::Access access) override;
  uint64_t generation() const override { return inner_->generation(); }
  uint64_t ReplayInvalidations(uint64_t since, mm::Tlb* tlb) override {
    return inner_->ReplayInvalidations(since, tlb);
  }
  Translation PrepareCode(PageNumber page) override;
  void AwaitPage(PageNumber page, mm::Access access) override { inner_->AwaitPage(page, access); }

 private:
  static Page CopyOf(PageNumber number, mm::FrameId frame, const std::byte* bytes);
  const Page* Find(const std::vector<Page>& pages, mm::FrameId frame) const;

  mm::FramePool& frames_;
  mm::TlbSource* inner_ = nullptr;
  std::vector<Page> pages_;  // as they were; few
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_VERIFY_VERIFIED_MEMORY_H_
