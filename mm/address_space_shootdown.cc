#include <pthread.h>

#include <algorithm>

#include "base/check.h"
#include "mm/address_space.h"
#include "mm/reverse_map.h"

// How changes reach the TLBs of other workers, and what has to happen before code is decoded.
//
// Example: thread A unmaps a page while thread B runs guest code. A's munmap records the range, bumps the generation
// from 8 to 9 and returns; A's worker asks AcknowledgedByOthers(9): B is in guest code and has seen 8, so its interrupt
// flag is set and A parks on acknowledged_queue(). B leaves at the next block boundary (LeaveGuest: A is woken), and
// before it runs guest code again EnterGuest replays invalidation 9 on its TLB. The frame is freed only after B has
// been quiescent.

namespace remora::mm {

void AddressSpace::RecordLocked(PageRange range, bool writes_only) {
  const uint64_t next = generation_.load(std::memory_order_relaxed) + 1;
  ring_[next % kRingSize] = {range, writes_only};
  generation_.store(next, std::memory_order_seq_cst);
}

void AddressSpace::RecordChangedCodeLocked() {
  if (!vmas_.has_changed_code()) [[likely]]
    return;
  for (const PageRange range : vmas_.TakeChangedCode()) RecordLocked(range, /*writes_only=*/false);
}

uint64_t AddressSpace::RequestBarrier() {
  MutexLock lock(&mu_);
  RecordLocked(PageRange{PageNumber(0), PageNumber(0)}, /*writes_only=*/true);
  return generation_.load(std::memory_order_relaxed);
}

uint64_t AddressSpace::ReplayInvalidations(uint64_t since, Tlb* tlb) {
  MutexLock lock(&mu_);
  const uint64_t now = generation_.load(std::memory_order_relaxed);
  if (since > now || now - since > kRingSize) {
    tlb->Flush();
    return now;
  }
  for (uint64_t generation = since + 1; generation <= now; ++generation) {
    const Invalidation& change = ring_[generation % kRingSize];
    if (change.writes_only)
      tlb->InvalidateWriteRights(change.range);
    else
      tlb->Invalidate(change.range);
  }
  return now;
}

void AddressSpace::RegisterRunner(Runner* runner) {
  runner->host_thread.store(static_cast<uintptr_t>(pthread_self()), std::memory_order_relaxed);
  runner->where.store(Runner::Where::kOutside, std::memory_order_relaxed);
  MutexLock lock(&runners_mu_);
  runners_.push_back(runner);
}

void AddressSpace::UnregisterRunner(Runner* runner) {
  {
    MutexLock lock(&runners_mu_);
    auto it = std::find(runners_.begin(), runners_.end(), runner);
    CHECK(it != runners_.end());
    *it = runners_.back();
    runners_.pop_back();
  }
  if (context_->acknowledged_queue.has_waiters()) context_->acknowledged_queue.Notify(sync::kReadable);
}

bool AddressSpace::IsRunByThisThreadOnly() {
  const auto this_thread = static_cast<uintptr_t>(pthread_self());
  MutexLock lock(&runners_mu_);
  return std::ranges::all_of(runners_, [this_thread](const Runner* runner) {
    return runner->host_thread.load(std::memory_order_relaxed) == this_thread;
  });
}

void AddressSpace::FollowBeforeGuest(Runner* runner, Tlb* tlb) {
  do {
    tlb->Synchronize();
    runner->seen_generation.store(tlb->seen_generation(), std::memory_order_seq_cst);
  } while (generation() != tlb->seen_generation());
}

void AddressSpace::NotifyAcknowledged() { context_->acknowledged_queue.Notify(sync::kReadable); }

AddressSpace::Laggards AddressSpace::InterruptLaggards(uint64_t generation, const Runner* self, bool skip_this_thread) {
  const auto this_thread = static_cast<uintptr_t>(pthread_self());
  Laggards laggards;
  MutexLock lock(&runners_mu_);
  for (Runner* runner : runners_) {
    if (runner == self) continue;
    if (runner->seen_generation.load(std::memory_order_seq_cst) >= generation) continue;
    if (skip_this_thread && runner->host_thread.load(std::memory_order_relaxed) == this_thread) continue;
    const Runner::Where where = runner->where.load(std::memory_order_seq_cst);
    if (where == Runner::Where::kInCall) laggards.may_be_more = true;
    if (where != Runner::Where::kInGuest) continue;
    laggards.found = true;
    if (runner->interrupt != nullptr) runner->interrupt->fetch_or(1, std::memory_order_seq_cst);
  }
  return laggards;
}

bool AddressSpace::LaggardExists(uint64_t generation, const Runner* self, bool skip_this_thread) {
  const Laggards laggards = InterruptLaggards(generation, self, skip_this_thread);
  if (laggards.found || !laggards.may_be_more) return laggards.found;
  // Who is not seen in guest code behind this will see the generation.
  context_->guest_fence.Heavy();
  return InterruptLaggards(generation, self, skip_this_thread).found;
}

bool AddressSpace::AcknowledgedByOthers(uint64_t generation, const Runner* self) {
  return !LaggardExists(generation, self, /*skip_this_thread=*/false);
}

void AddressSpace::RevokeWriteRights(PageNumber page) {
  MutexLock lock(&mu_);
  RecordLocked({page, page + 1}, /*writes_only=*/true);
}

TlbSource::Translation AddressSpace::PrepareCode(PageNumber page) {
  Translation result = Translate(page, Access::kFetch);
  if (result.fault != FaultKind::kNone) return result;
  result.writable = false;
  FramePool& frames = *context_->frames;
  if ((frames.bits(result.frame) & (FramePool::kHasCode | FramePool::kEverWritable)) == FramePool::kHasCode)
    return result;

  struct Mapper {
    Ref<AddressSpace> space;
    PageNumber page;
  };
  std::vector<Mapper> mappers;
  MutexLock lock(&context_->code_mu);
  while (true) {
    const FramePool::CodeState state = frames.BeginCode(result.frame);
    if (state == FramePool::CodeState::kReady) return result;
    // The frame was ever writable: everybody who maps it may have it in a TLB for writing.
    context_->reverse_map->ForEachMapper(result.frame, [&](PageTableOwner* owner, PageNumber at) {
      auto* space = static_cast<AddressSpace*>(owner);
      if (space->TryAddRef()) mappers.push_back({Ref<AddressSpace>::Adopt(space), at});
    });
    bool wait = false;
    for (const Mapper& mapper : mappers) {
      if (state == FramePool::CodeState::kMustRevoke) mapper.space->RevokeWriteRights(mapper.page);
      // This thread's own TLB follows before it uses the code: see TlbSource.
      if (mapper.space->LaggardExists(mapper.space->generation(), nullptr, /*skip_this_thread=*/true)) wait = true;
    }
    if (wait) return Failed(FaultKind::kMustWait);
    if (frames.FinishRevocation(result.frame)) return result;
  }
}

bool AddressSpace::StoreIfUnchanged(uint64_t generation, absl::FunctionRef<void()> store) {
  MutexLock lock(&mu_);
  if (generation_.load(std::memory_order_relaxed) != generation) return false;
  store();
  return true;
}

CodeMapping AddressSpace::CodeMappingOf(PageNumber page) {
  MutexLock lock(&mu_);
  const Vma* vma = vmas_.Find(page);
  if (vma == nullptr || !vma->object || !vma->protection.executable() || vma->protection.writable() || vma->may_differ)
    return {};
  vmas_.MarkAsCode(page);
  return {vma->object->object_id(), vma->first_page_index, vma->range};
}

bool AddressSpace::IsOfHostFile(PageNumber page) {
  MutexLock lock(&mu_);
  const Vma* vma = vmas_.Find(page);
  return vma != nullptr && vma->object != nullptr && vma->object->outlives_kernel();
}

}  // namespace remora::mm
