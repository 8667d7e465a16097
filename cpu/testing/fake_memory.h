#ifndef REMORA_CPU_TESTING_FAKE_MEMORY_H_
#define REMORA_CPU_TESTING_FAKE_MEMORY_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/block_cache.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/interpreter.h"
#include "cpu/testing/engine_under_test.h"
#include "mm/code_mapping.h"
#include "mm/frame_pool.h"
#include "mm/tlb.h"
#include "mm/types.h"
#include "sync/reclaimer.h"

namespace remora::cpu {

// A page table for engine tests: pages with rights, nothing copied on write. Thread safety: what TlbSource has, from
// any thread; no page is mapped or protected meanwhile.
class FakeMemory final : public mm::TlbSource {
 public:
  explicit FakeMemory(mm::FramePool* frames) : frames_(frames) {}
  ~FakeMemory() {
    for (auto& [page, entry] : pages_) frames_->Release(entry.frame);
  }

  void Map(uint64_t address, uint64_t num_pages, mm::Protection protection) {
    for (uint64_t i = 0; i < num_pages; ++i)
      pages_[(address >> kPageShift) + i] = {frames_->AllocateZeroed().value(), protection};
  }
  // The frame of `from` at `to`, too.
  void Alias(uint64_t to, uint64_t from, mm::Protection protection) {
    const mm::FrameId frame = FrameAt(from);
    frames_->AddRef(frame);
    const auto [place, is_new] = pages_.try_emplace(to >> kPageShift);
    if (!is_new) frames_->Release(place->second.frame);
    place->second = {frame, protection};
    if (code_mapping.Contains(to)) ++code_mapping.object;  // it is another one now
  }
  void Protect(uint64_t address, mm::Protection protection) {
    pages_.at(address >> kPageShift).protection = protection;
    if (code_mapping.Contains(address)) ++code_mapping.object;
    ++generation_;
  }
  mm::FrameId FrameAt(uint64_t address) const { return pages_.at(address >> kPageShift).frame; }

  // What the kernel would write.
  void Write(uint64_t address, std::span<const uint8_t> bytes) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      const mm::FrameId frame = FrameAt(address + i);
      frames_->PrepareWrite(frame);
      frames_->Data(frame)[(address + i) & kPageMask] = static_cast<std::byte>(bytes[i]);
    }
  }
  void Write(uint64_t address, std::initializer_list<uint8_t> bytes) {
    Write(address, std::span<const uint8_t>(bytes.begin(), bytes.size()));
  }
  template <typename T>
  void Store(uint64_t address, T value) {
    uint8_t bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    Write(address, bytes);
  }
  template <typename T>
  T Load(uint64_t address) const {
    uint8_t bytes[sizeof(T)];
    for (size_t i = 0; i < sizeof(T); ++i)
      bytes[i] = static_cast<uint8_t>(frames_->Data(FrameAt(address + i))[(address + i) & kPageMask]);
    T value;
    std::memcpy(&value, bytes, sizeof(T));
    return value;
  }

  // --- mm::TlbSource ---
  Translation Translate(PageNumber page, mm::Access access) override {
    const auto found = pages_.find(page.value());
    if (found == pages_.end()) return {.fault = mm::FaultKind::kUnmapped};
    if (!found->second.protection.Allows(access)) return {.fault = mm::FaultKind::kProtection};
    if (access == mm::Access::kWrite) frames_->PrepareWrite(found->second.frame);
    return {.host_page = frames_->Data(found->second.frame), .frame = found->second.frame};
  }
  uint64_t generation() const override { return generation_; }
  uint64_t ReplayInvalidations(uint64_t, mm::Tlb* tlb) override {
    if (flush_) tlb->Flush();
    tlb->InvalidateWriteRights({PageNumber(0), PageNumber(kUserAddressEnd >> kPageShift)});
    return generation_;
  }
  bool IsOfHostFile(PageNumber) override { return of_files; }
  bool of_files = false;  // all pages
  mm::CodeMapping CodeMappingOf(PageNumber page) override {
    return code_mapping.pages.Contains(page) ? code_mapping : mm::CodeMapping();
  }
  mm::CodeMapping code_mapping;  // that there is; whoever changes it, or pages of it, flushes
  Translation PrepareCode(PageNumber page) override {
    const Translation translation = Translate(page, mm::Access::kFetch);
    if (translation.host_page == nullptr) return translation;
    if ((frames_->SetBits(translation.frame, mm::FramePool::kHasCode) & mm::FramePool::kHasCode) == 0) {
      flush_ = false;
      ++generation_;  // write rights go at the next Synchronize
    }
    return translation;
  }
  // From now on a replay drops everything.
  void FlushAtNextSynchronize() {
    flush_ = true;
    ++generation_;
  }

 private:
  struct Entry {
    mm::FrameId frame;
    mm::Protection protection;
  };
  mm::FramePool* const frames_;
  std::map<uint64_t, Entry> pages_;
  std::atomic<uint64_t> generation_{1};
  std::atomic<bool> flush_{false};
};

// A CPU with memory of its own: code at kCode, data at kData, a stack below kStackTop.
class FakeMachine {
 public:
  static constexpr uint64_t kCode = 0x400000, kData = 0x600000, kStackTop = 0x7fff0000;
  static constexpr uint64_t kPages = 4;

  using Make = std::function<std::unique_ptr<Engine>(BlockCache*)>;
  explicit FakeMachine(InterpreterOptions options = {})
      : FakeMachine([options](BlockCache* blocks) { return MakeEngineUnderTest(blocks, options); }) {}
  explicit FakeMachine(const Make& make)
      : participant_(&reclaimer_), memory(&frames), cache(&frames, &reclaimer_), tlb(std::make_unique<mm::Tlb>()) {
    frames.set_code_observer(&cache);
    participant_.Online();
    memory.Map(kCode, kPages, mm::Protection(5));
    memory.code_mapping = {.object = 1, .pages = {GuestAddr(kCode).page(), GuestAddr(kCode).page() + kPages}};
    memory.Map(kData, kPages, mm::Protection(3));
    memory.Map(kStackTop - kPages * kPageSize, kPages, mm::Protection(3));
    tlb->Bind(&memory, 1);
    engine = make(&cache);
    state.rip = kCode;
    state.gpr[kRsp] = kStackTop - 0x100;
  }
  ~FakeMachine() {
    engine.reset();
    participant_.Offline();
    frames.set_code_observer(nullptr);
  }

  Exit Run(uint64_t budget) {
    tlb->Synchronize();
    return engine->Run(state, *tlb, budget, interrupt);
  }
  // Puts `code` at kCode and runs `budget` instructions from there.
  Exit RunCode(std::initializer_list<uint8_t> code, uint64_t budget) {
    memory.Write(kCode, code);
    state.rip = kCode;
    return Run(budget);
  }
  void Quiesce() {
    participant_.Quiesce();
    reclaimer_.Collect();
  }

 private:
  sync::Reclaimer reclaimer_;
  sync::Reclaimer::Participant participant_;

 public:
  mm::FramePool frames{mm::FramePool::Options{.max_bytes = uint64_t{16} << 20}};
  FakeMemory memory;
  BlockCache cache;
  std::unique_ptr<mm::Tlb> tlb;
  std::unique_ptr<Engine> engine;
  std::atomic<uint32_t> interrupt{0};
  CpuState state;
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_TESTING_FAKE_MEMORY_H_
