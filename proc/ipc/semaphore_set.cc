#include "proc/ipc/semaphore_set.h"

#include <algorithm>

namespace remora::proc {

SemaphoreSet::SemaphoreSet(uint32_t num_semaphores, const IpcPermissions& permissions, int64_t now_seconds,
                           std::atomic<uint32_t>* total)
    : num_semaphores_(num_semaphores), total_(total) {
  MutexLock lock(&mu_);
  semaphores_.resize(num_semaphores);
  facts_.permissions = permissions;
  facts_.changed_seconds = now_seconds;
}

SemaphoreSet::~SemaphoreSet() {
  if (total_ != nullptr) total_->fetch_sub(size(), std::memory_order_relaxed);
}

ErrnoOr<void> SemaphoreSet::Try(std::span<const abi::Sembuf> operations, const fs::Credentials& who, int32_t pid,
                                int64_t now_seconds, size_t* blocking) {
  {
    MutexLock lock(&mu_);
    if (facts_.removed) return Errno(EIDRM);
    bool alters = false;
    for (const abi::Sembuf& operation : operations) {
      if (operation.sem_num >= num_semaphores_) return Errno(EFBIG);
      alters |= operation.sem_op != 0;
    }
    if (!facts_.permissions.Allows(who, alters ? 0222 : 0444)) return Errno(EACCES);
    size_t done = 0;
    int error = 0;
    for (; done < operations.size(); ++done) {
      const abi::Sembuf& operation = operations[done];
      int32_t& value = semaphores_[operation.sem_num].value;
      const int32_t after = value + operation.sem_op;
      if (operation.sem_op == 0 ? value != 0 : after < 0)
        error = EAGAIN;
      else if (after > kMaxValue)
        error = ERANGE;
      if (error != 0) break;
      value = after;
    }
    if (error != 0) {
      *blocking = done;
      while (done-- > 0) semaphores_[operations[done].sem_num].value -= operations[done].sem_op;
      return Errno(error);
    }
    for (const abi::Sembuf& operation : operations) semaphores_[operation.sem_num].pid = pid;
    facts_.operated_seconds = now_seconds;
    if (!alters) return Ok();
  }
  queue_.Notify(sync::kReadable);
  return Ok();
}

void SemaphoreSet::AddWaiter(const abi::Sembuf& operation, int delta) {
  MutexLock lock(&mu_);
  Semaphore& semaphore = semaphores_[operation.sem_num];
  (operation.sem_op == 0 ? semaphore.waiting_for_zero : semaphore.waiting_for_more) += static_cast<uint32_t>(delta);
}

void SemaphoreSet::Adjust(uint32_t number, int32_t adjustment, int32_t pid, int64_t now_seconds) {
  {
    MutexLock lock(&mu_);
    if (facts_.removed || number >= num_semaphores_) return;
    Semaphore& semaphore = semaphores_[number];
    semaphore.value = std::clamp(semaphore.value + adjustment, 0, kMaxValue);
    semaphore.pid = pid;
    facts_.operated_seconds = now_seconds;
  }
  queue_.Notify(sync::kReadable);
}

ErrnoOr<SemaphoreSet::Semaphore> SemaphoreSet::Get(uint32_t number) const {
  if (number >= num_semaphores_) return Errno(EINVAL);
  MutexLock lock(&mu_);
  if (facts_.removed) return Errno(EIDRM);
  return semaphores_[number];
}

ErrnoOr<void> SemaphoreSet::Set(uint32_t number, int32_t value, int32_t pid, int64_t now_seconds) {
  if (value < 0 || value > kMaxValue) return Errno(ERANGE);
  if (number >= num_semaphores_) return Errno(EINVAL);
  {
    MutexLock lock(&mu_);
    if (facts_.removed) return Errno(EIDRM);
    semaphores_[number].value = value;
    semaphores_[number].pid = pid;
    facts_.changed_seconds = now_seconds;
  }
  queue_.Notify(sync::kReadable);
  return Ok();
}

ErrnoOr<std::vector<uint16_t>> SemaphoreSet::Values() const {
  std::vector<uint16_t> values;
  MutexLock lock(&mu_);
  if (facts_.removed) return Errno(EIDRM);
  for (const Semaphore& semaphore : semaphores_) values.push_back(static_cast<uint16_t>(semaphore.value));
  return values;
}

ErrnoOr<void> SemaphoreSet::SetValues(std::span<const uint16_t> values, int32_t pid, int64_t now_seconds) {
  for (const uint16_t value : values)
    if (value > kMaxValue) return Errno(ERANGE);
  {
    MutexLock lock(&mu_);
    if (facts_.removed) return Errno(EIDRM);
    for (size_t i = 0; i < std::min(values.size(), num_semaphores_); ++i) {
      semaphores_[i].value = values[i];
      semaphores_[i].pid = pid;
    }
    facts_.changed_seconds = now_seconds;
  }
  queue_.Notify(sync::kReadable);
  return Ok();
}

SemaphoreSet::Facts SemaphoreSet::facts() const {
  MutexLock lock(&mu_);
  return facts_;
}

void SemaphoreSet::SetOwner(uint32_t uid, uint32_t gid, uint32_t mode, int64_t now_seconds) {
  MutexLock lock(&mu_);
  facts_.permissions.uid = uid;
  facts_.permissions.gid = gid;
  facts_.permissions.mode = mode & 0777;
  facts_.changed_seconds = now_seconds;
}

void SemaphoreSet::MarkRemoved() {
  {
    MutexLock lock(&mu_);
    facts_.removed = true;
  }
  queue_.Notify(sync::kAllEvents);
}

void SemaphoreUndo::Note(int32_t pid, int32_t set, uint32_t number, int32_t adjustment) {
  MutexLock lock(&mu_);
  auto& own = by_process_[pid];
  const auto [place, fresh] = own.try_emplace({set, number}, 0);
  (void)fresh;
  place->second += adjustment;
  if (place->second == 0) own.erase(place);
  if (own.empty()) by_process_.erase(pid);
}

int32_t SemaphoreUndo::Find(int32_t pid, int32_t set, uint32_t number) const {
  MutexLock lock(&mu_);
  const auto own = by_process_.find(pid);
  if (own == by_process_.end()) return 0;
  const auto found = own->second.find({set, number});
  return found == own->second.end() ? 0 : found->second;
}

void SemaphoreUndo::Clear(int32_t set, uint32_t number) {
  MutexLock lock(&mu_);
  for (auto& [pid, own] : by_process_)
    std::erase_if(own, [&](const auto& entry) {
      return entry.first.first == set && (number == ~uint32_t{0} || entry.first.second == number);
    });
  std::erase_if(by_process_, [](const auto& entry) { return entry.second.empty(); });
}

std::map<SemaphoreUndo::Key, int32_t> SemaphoreUndo::Take(int32_t pid) {
  MutexLock lock(&mu_);
  const auto own = by_process_.find(pid);
  if (own == by_process_.end()) return {};
  std::map<Key, int32_t> taken = std::move(own->second);
  by_process_.erase(own);
  return taken;
}

}  // namespace remora::proc
