#include "fs/hostfs/host_fd_cache.h"

namespace remora::fs {

Ref<HostFd> HostFdCache::Put(const Ref<HostFdSlot>& slot, Ref<HostFd> fd) {
  {
    MutexLock lock(&slot->mu_);
    slot->used_ = true;
    if (slot->fd_) return slot->fd_;
    slot->fd_ = fd;
  }
  {
    MutexLock lock(&mu_);
    queue_.push_back(slot);
  }
  EvictDownTo(capacity_);
  return fd;
}

void HostFdCache::EvictDownTo(uint32_t target) {
  // Twice round at most: the first round takes the second chances away.
  uint32_t steps = size() * 2;
  while (steps-- > 0) {
    Ref<HostFdSlot> slot;
    {
      MutexLock lock(&mu_);
      if (queue_.size() <= target) return;
      slot = std::move(queue_.front());
      queue_.pop_front();
    }
    Ref<HostFd> closed;  // behind both locks
    bool keep = false;
    {
      MutexLock lock(&slot->mu_);
      if (slot->fd_) {
        keep = slot->used_ || slot->num_pins_.load(std::memory_order_relaxed) != 0;
        slot->used_ = false;
        if (!keep) closed = std::move(slot->fd_);
      }
    }
    if (keep) {
      MutexLock lock(&mu_);
      queue_.push_back(std::move(slot));
    }
  }
}

bool HostFdCache::Shrink() {
  const uint32_t before = size();
  EvictDownTo(before / 2);
  return size() < before;
}

uint32_t HostFdCache::size() const {
  MutexLock lock(&mu_);
  return static_cast<uint32_t>(queue_.size());
}

}  // namespace remora::fs
