#include "testing/silicon/engine_machine.h"

#include <atomic>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "cpu/block_cache.h"
#include "mm/frame_pool.h"
#include "mm/tlb.h"
#include "sync/reclaimer.h"

namespace remora::silicon {
namespace {

// More than any repeated instruction of a test case needs.
constexpr uint64_t kBudget = 100'000;

class FewPages final : public mm::TlbSource {
 public:
  explicit FewPages(mm::FramePool* frames) : frames_(frames) {
    for (uint64_t i = 0; i < kDataBytes / kPage; ++i)
      AddPage(kScratchStart + i * kPage, i < kScratchBytes / kPage, false);
    for (uint64_t i = 0; i < kCodePages; ++i) {
      AddPage(kCodeStart + i * kPage, false, true);
      std::memset(HostAddress(kCodeStart + i * kPage), 0xcc, kPage);
    }
  }
  ~FewPages() {
    for (const Page& page : pages_) frames_->Release(page.frame);
  }

  Translation Translate(PageNumber number, mm::Access access) override {
    const Page* page = Find(number.value() << kPageShift);
    if (page == nullptr) return Refused(mm::FaultKind::kUnmapped);
    const bool allowed = access == mm::Access::kWrite   ? page->writable
                         : access == mm::Access::kFetch ? page->executable
                                                        : true;
    if (!allowed) return Refused(mm::FaultKind::kProtection);
    Translation translation;
    translation.host_page = frames_->Data(page->frame);
    translation.frame = page->frame;
    translation.writable = page->writable;
    return translation;
  }
  uint64_t generation() const override { return 1; }
  uint64_t ReplayInvalidations(uint64_t, mm::Tlb*) override { return 1; }
  Translation PrepareCode(PageNumber number) override {
    const Translation translation = Translate(number, mm::Access::kFetch);
    if (translation.host_page != nullptr) frames_->SetBits(translation.frame, mm::FramePool::kHasCode);
    return translation;
  }

  std::byte* HostAddress(uint64_t address) const {
    const Page* page = Find(address);
    CHECK(page != nullptr);
    return frames_->Data(page->frame) + (address & kPageMask);
  }
  mm::FrameId Frame(uint64_t address) const { return Find(address)->frame; }

 private:
  struct Page {
    uint64_t start;
    mm::FrameId frame;
    bool writable, executable;
  };
  static Translation Refused(mm::FaultKind kind) {
    Translation translation;
    translation.fault = kind;
    return translation;
  }
  void AddPage(uint64_t start, bool writable, bool executable) {
    const ErrnoOr<mm::FrameId> frame = frames_->AllocateZeroed();
    CHECK(frame.ok());
    pages_.push_back({start, *frame, writable, executable});
  }
  const Page* Find(uint64_t address) const {
    for (const Page& page : pages_)
      if (address - page.start < kPage) return &page;
    return nullptr;
  }

  mm::FramePool* const frames_;
  std::vector<Page> pages_;
};

class EngineMachine final : public Machine {
 public:
  explicit EngineMachine(const MakeEngine& make) : engine_(make(&cache_)) {
    frames_.set_code_observer(&cache_);
    tlb_->Bind(&pages_, 1);
    tlb_->Synchronize();
  }

  void Run(const TestCase& test_case, Outcome* outcome) override {
    for (uint64_t i = 0; i < kDataBytes; i += kPage)
      std::memcpy(pages_.HostAddress(kScratchStart + i), test_case.data.data() + i, kPage);
    frames_.PrepareWrite(pages_.Frame(test_case.state.rip));
    std::byte* code = pages_.HostAddress(test_case.state.rip);
    std::memcpy(code, test_case.bytes.data(), test_case.length);

    participant_.Online();
    outcome->state = test_case.state;
    const cpu::Exit exit = engine_->Run(outcome->state, *tlb_, kBudget, interrupt_);
    participant_.Offline();
    reclaimer_.Collect();
    outcome->reason = exit.reason;
    outcome->fault = exit.reason == cpu::ExitReason::kFault ? exit.fault : mm::Fault{};
    frames_.PrepareWrite(pages_.Frame(test_case.state.rip));
    std::memset(code, 0xcc, test_case.length);
    for (uint64_t i = 0; i < kDataBytes; i += kPage)
      std::memcpy(outcome->data.data() + i, pages_.HostAddress(kScratchStart + i), kPage);
  }

 private:
  sync::Reclaimer reclaimer_;
  mm::FramePool frames_{{.max_bytes = 64 << 20}};
  cpu::BlockCache cache_{&frames_, &reclaimer_};
  FewPages pages_{&frames_};
  std::unique_ptr<mm::Tlb> tlb_ = std::make_unique<mm::Tlb>();
  const std::unique_ptr<cpu::Engine> engine_;
  sync::Reclaimer::Participant participant_{&reclaimer_};
  std::atomic<uint32_t> interrupt_{0};
};

}  // namespace

std::unique_ptr<Machine> MakeEngineMachine(const MakeEngine& make) { return std::make_unique<EngineMachine>(make); }

}  // namespace remora::silicon
