#include "mm/frame_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "base/check.h"
#include "base/large_page.h"
#include "base/populate.h"
#include "mm/guest_copy.h"

namespace remora::mm {
namespace {

constexpr uint64_t kSmallestPool = uint64_t{16} << 20;
constexpr uint64_t kBlockBytes = FrameAllocator::kBlockFrames * kPageSize;

uint32_t BlockOf(FrameId frame) {
  return frame.valid() ? frame.value() / FrameAllocator::kBlockFrames : FrameAllocator::kNoBlock;
}

// Address space only: pages cost nothing until they are touched.
void* Reserve(uint64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

FrameReservation::~FrameReservation() {
  if (pool_ != nullptr) pool_->Unreserve(block_);
}

FramePool::FramePool(Options options) {
  // Page-table entries hold a frame in 30 bits.
  uint64_t bytes = std::clamp(PageRoundDown(options.max_bytes), 2 * kPageSize, uint64_t{1} << 42);
  // A host with a limit on address space (ulimit -v) gives less.
  while ((memory_ = mm::Reserve(bytes + kBlockBytes)) == nullptr && bytes > kSmallestPool)
    bytes = PageRoundDown(bytes / 2);
  CHECK_MSG(memory_ != nullptr, "the host gives no address space for guest memory");
  memory_bytes_ = bytes + kBlockBytes;
  base_ = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(memory_) + kBlockBytes - 1) & ~(kBlockBytes - 1));
  max_frames_ = bytes >> kPageShift;
  counts_ = static_cast<std::atomic<uint32_t>*>(mm::Reserve(max_frames_ * sizeof(*counts_)));
  bits_ = static_cast<std::atomic<uint8_t>*>(mm::Reserve(max_frames_ * sizeof(*bits_)));
  CHECK_MSG(counts_ != nullptr && bits_ != nullptr, "the host gives no address space for frame counts");
  counts_[0].store(1, std::memory_order_relaxed);
  allocator_ = std::make_unique<FrameAllocator>(static_cast<uint32_t>(max_frames_));
}

FramePool::~FramePool() {
  // A frame that nobody released is a leak that no sanitizer sees: the memory is not malloc's.
  DCHECK(num_allocated() == 0);
  munmap(memory_, memory_bytes_);
  munmap(counts_, max_frames_ * sizeof(*counts_));
  munmap(bits_, max_frames_ * sizeof(*bits_));
}

// --- allocation ---

FrameId FramePool::Hand(FrameAllocator::Taken taken, bool zeroed) {
  const FrameId frame(taken.frame);
  if (zeroed && !taken.zeroed) ZeroGuestMemory(Data(frame), kPageSize);
  num_allocated_.fetch_add(1, std::memory_order_relaxed);
  counts_[frame.value()].store(1, std::memory_order_release);
  return frame;
}

ErrnoOr<FrameId> FramePool::Allocate(bool zeroed) {
  std::optional<FrameAllocator::Taken> taken;
  {
    MutexLock lock(&mu_);
    taken = allocator_->TakeAny();
  }
  if (!taken) return Errno(ENOMEM);
  return Hand(*taken, zeroed);
}

ErrnoOr<FrameId> FramePool::AllocateZeroed() { return Allocate(true); }
ErrnoOr<FrameId> FramePool::AllocateUninitialized() { return Allocate(false); }

FrameId FramePool::TryAllocateAt(std::span<const FrameId> places, FrameId own_place, bool zeroed) {
  std::optional<FrameAllocator::Taken> taken;
  {
    MutexLock lock(&mu_);
    for (const FrameId place : places) {
      if (place.valid()) taken = allocator_->TakeAt(place.value(), BlockOf(own_place));
      if (taken) break;
    }
  }
  return taken ? Hand(*taken, zeroed) : FrameId();
}

uint32_t FramePool::TryAllocateRow(FrameId first, uint32_t count, FrameId own_place) {
  absl::InlinedVector<FrameAllocator::Taken, 64> row;
  {
    MutexLock lock(&mu_);
    while (row.size() < count) {
      const auto next = first.value() + static_cast<uint32_t>(row.size());
      if (BlockOf(FrameId(next)) != BlockOf(first)) break;
      const std::optional<FrameAllocator::Taken> taken = allocator_->TakeAt(next, BlockOf(own_place));
      if (!taken) break;
      row.push_back(*taken);
    }
  }
  for (const FrameAllocator::Taken taken : row) Hand(taken, /*zeroed=*/true);
  return static_cast<uint32_t>(row.size());
}

FrameReservation FramePool::Reserve(FrameId wanted, FrameAllocator::Room room) {
  MutexLock lock(&mu_);
  const std::optional<uint32_t> block = allocator_->Reserve(BlockOf(wanted), room);
  return block ? FrameReservation(this, *block) : FrameReservation();
}

void FramePool::Populate(FrameId first, uint64_t count) { remora::Populate(Data(first), count << kPageShift); }

void FramePool::MakeLargePage(FrameId frame) {
  (void)AskForLargePage(Data(FrameId(frame.value() & ~(FrameAllocator::kBlockFrames - 1))), kBlockBytes);
}

void FramePool::Unreserve(uint32_t block) {
  MutexLock lock(&mu_);
  allocator_->Unreserve(block);
}

// --- references ---

void FramePool::AddRef(FrameId frame) {
  if (frame == zero_frame()) return;
  const uint32_t before = counts_[frame.value()].fetch_add(1, std::memory_order_relaxed);
  DCHECK(before != 0);
  (void)before;
}

bool FramePool::ReleaseUnlessLast(FrameId frame) {
  if (frame == zero_frame()) return true;
  std::atomic<uint32_t>& count = counts_[frame.value()];
  uint32_t n = count.load(std::memory_order_relaxed);
  DCHECK(n != 0);
  while (n > 1)
    if (count.compare_exchange_weak(n, n - 1, std::memory_order_acq_rel)) return true;
  return false;
}

void FramePool::Release(FrameId frame) {
  if (frame == zero_frame()) return;
  const uint32_t before = counts_[frame.value()].fetch_sub(1, std::memory_order_acq_rel);
  DCHECK(before != 0);
  if (before == 1) Free(frame);
}

void FramePool::Free(FrameId frame) {
  const uint8_t bits = bits_[frame.value()].exchange(0, std::memory_order_acq_rel);
  if ((bits & kHasCode) != 0 && code_observer_ != nullptr) code_observer_->DropCode(frame);
  num_allocated_.fetch_sub(1, std::memory_order_relaxed);
  std::vector<uint32_t> coldest;
  {
    MutexLock lock(&mu_);
    allocator_->Free(frame.value());
    if (allocator_->num_warm() < kMaxWarmFrames) return;
    allocator_->TakeWarm(kMaxWarmFrames / 2, &coldest);
  }
  GiveBack(std::move(coldest));
}

// The frames count as taken meanwhile, so that nobody allocates one while the host takes its page.
void FramePool::GiveBack(std::vector<uint32_t> frames) {
  std::sort(frames.begin(), frames.end());
  for (size_t i = 0; i < frames.size();) {
    size_t end = i + 1;
    while (end < frames.size() && frames[end] == frames[end - 1] + 1) ++end;
    const bool gone = madvise(Data(FrameId(frames[i])), (end - i) * kPageSize, MADV_DONTNEED) == 0;
    CHECK_MSG(gone, "the host does not take guest memory back");
    i = end;
  }
  MutexLock lock(&mu_);
  allocator_->FreeClean(frames);
}

// --- code ---

void FramePool::PrepareWrite(FrameId frame) {
  DCHECK(frame != zero_frame());
  constexpr uint8_t kPrepared = kEverWritable | kDirty;
  // Most writes change nothing here. A look is enough then: whoever begins code behind it takes write rights away under
  // the spaces' locks, and a kernel write meets it in FinishKernelWrite.
  if (bits(frame) == kPrepared) [[likely]]
    return;
  const uint8_t before = SetBits(frame, kPrepared);
  if ((before & (kHasCode | kRevoking)) == 0) [[likely]]
    return;
  // Cleared first, so that whoever publishes code later under the observer's lock sees that it is stale.
  ClearBits(frame, kHasCode | kRevoking);
  if ((before & kHasCode) != 0 && code_observer_ != nullptr) code_observer_->DropCode(frame);
}

void FramePool::FinishKernelWrite(FrameId frame) {
  // The bytes written must be visible before the bit is read: BeginCode sets the bit, then the bytes are decoded.
  // A read-modify-write rather than a fence, which ThreadSanitizer does not see. kDirty again, because a Sync that came
  // in between has written the old bytes back and cleared it.
  if ((bits_[frame.value()].fetch_or(kDirty, std::memory_order_seq_cst) & kHasCode) != 0) PrepareWrite(frame);
}

void FramePool::DropCode(FrameId frame) {
  if ((bits(frame) & kHasCode) == 0) return;
  if ((ClearBits(frame, kHasCode) & kHasCode) != 0 && code_observer_ != nullptr) code_observer_->DropCode(frame);
}

FramePool::CodeState FramePool::BeginCode(FrameId frame) {
  std::atomic<uint8_t>& bits = bits_[frame.value()];
  uint8_t seen = bits.load(std::memory_order_acquire);
  while (true) {
    if ((seen & kRevoking) != 0) return CodeState::kAwaitingAcks;
    const bool revoke = (seen & kEverWritable) != 0;
    const uint8_t wanted = static_cast<uint8_t>(seen | kHasCode | (revoke ? kRevoking : 0));
    if (bits.compare_exchange_weak(seen, wanted, std::memory_order_seq_cst))
      return revoke ? CodeState::kMustRevoke : CodeState::kReady;
  }
}

bool FramePool::FinishRevocation(FrameId frame) {
  std::atomic<uint8_t>& bits = bits_[frame.value()];
  uint8_t seen = bits.load(std::memory_order_acquire);
  while ((seen & kRevoking) != 0) {
    const uint8_t wanted = static_cast<uint8_t>((seen & ~(kRevoking | kEverWritable)) | kHasCode);
    if (bits.compare_exchange_weak(seen, wanted, std::memory_order_seq_cst)) return true;
  }
  // Somebody else may have finished it.
  return (seen & kEverWritable) == 0 && (seen & kHasCode) != 0;
}

}  // namespace remora::mm
