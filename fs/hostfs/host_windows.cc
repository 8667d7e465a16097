#include "fs/hostfs/host_windows.h"

#include <time.h>

#include <algorithm>
#include <utility>

namespace remora::fs {
namespace {

// Host time: how long a window may be kept has nothing to do with what a guest's clock shows.
int64_t HostNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

std::optional<ErrnoOr<HostWindows::Taken>> HostWindows::Take(mm::IoBuffer& to, uint64_t offset) {
  if (!any_.load(std::memory_order_acquire)) return std::nullopt;
  Window window;
  uint64_t drops_before = 0;
  {
    MutexLock lock(&mu_);
    drops_before = num_drops_;
    const int64_t oldest = HostNanos() - kLifeNanos;
    auto it = std::find_if(windows_.begin(), windows_.end(),
                           [&](const Window& w) { return w.Has(offset) && w.read_at_nanos >= oldest; });
    if (it == windows_.end()) return std::nullopt;
    window = std::move(*it);
    windows_.erase(it);
    any_.store(!windows_.empty(), std::memory_order_relaxed);
  }
  // Without the lock: the copy may fault in pages of the guest.
  const Fetched& fetched = window.fetched;
  if (fetched.error_number != 0) return Errno(fetched.error_number);
  const uint64_t skipped = offset - window.offset;
  const bool has_end = fetched.ends_file;
  if (skipped >= fetched.bytes.size()) return Taken{.num_bytes = 0, .file_ended = has_end};
  const uint64_t available = fetched.bytes.size() - skipped;
  const auto n = to.Write(std::span(fetched.bytes).subspan(skipped));
  // Somebody who reads in small steps finds the rest here.
  if (n.ok() && *n < available) {
    MutexLock lock(&mu_);
    if (drops_before == num_drops_ && windows_.size() < kMaxWindows) windows_.push_back(std::move(window));
    any_.store(!windows_.empty(), std::memory_order_release);
  }
  if (!n.ok()) return n.error();
  return Taken{.num_bytes = *n, .file_ended = has_end && *n == available};
}

bool HostWindows::BeginFetch(uint64_t start, uint64_t* num_drops) {
  MutexLock lock(&mu_);
  for (const uint64_t fetched : fetching_)
    if (start - fetched < kBytes) return false;
  fetching_.push_back(start);
  *num_drops = num_drops_;
  return true;
}

void HostWindows::Put(uint64_t start, uint64_t num_drops, Fetched fetched) {
  MutexLock lock(&mu_);
  fetching_.erase(std::find(fetching_.begin(), fetching_.end(), start));
  if (num_drops != num_drops_) return;  // to be read again
  if (windows_.size() == kMaxWindows) windows_.erase(windows_.begin());
  windows_.push_back({start, std::move(fetched), HostNanos()});
  any_.store(true, std::memory_order_release);
}

void HostWindows::EraseIf(auto unwanted) {
  std::erase_if(windows_, unwanted);
  any_.store(!windows_.empty(), std::memory_order_relaxed);
}

void HostWindows::NoteServed(uint64_t offset, uint64_t num_bytes) {
  if (!any_.load(std::memory_order_relaxed)) return;
  MutexLock lock(&mu_);
  EraseIf([&](const Window& w) { return w.Has(offset) || w.offset - offset < num_bytes; });
}

uint64_t HostWindows::bytes_kept() const {
  MutexLock lock(&mu_);
  uint64_t sum = 0;
  for (const Window& window : windows_) sum += window.fetched.bytes.capacity();
  return sum;
}

void HostWindows::Forget(uint64_t start) {
  MutexLock lock(&mu_);
  EraseIf([&](const Window& w) { return w.offset == start; });
}

void HostWindows::Drop() {
  MutexLock lock(&mu_);
  ++num_drops_;
  windows_.clear();
  any_.store(false, std::memory_order_relaxed);
}

}  // namespace remora::fs
