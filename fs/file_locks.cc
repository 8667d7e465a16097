#include "fs/file_locks.h"

#include <algorithm>

namespace remora::fs {

const FileLocks::Record* FileLocks::FindConflictLocked(const Record& wanted) const {
  const Record* first = nullptr;
  for (const Record& record : records_) {
    if (record.owner == wanted.owner || !record.range.Overlaps(wanted.range)) continue;
    if (!record.exclusive && !wanted.exclusive) continue;
    if (first == nullptr || record.range.start < first->range.start) first = &record;
  }
  return first;
}

bool FileLocks::CutLocked(const void* owner, Range range) {
  bool any = false;
  const size_t n = records_.size();
  for (size_t i = 0; i < n; ++i) {
    Record& record = records_[i];
    if (record.owner != owner || !record.range.Overlaps(range)) continue;
    any = true;
    const Range old = record.range;
    record.range.end = std::max(old.start, std::min(old.end, range.start));  // what is left in front
    if (old.end > range.end) {
      Record behind = record;
      behind.range = {range.end, old.end};
      records_.push_back(behind);
    }
  }
  std::erase_if(records_, [](const Record& record) { return record.range.start == record.range.end; });
  return any;
}

ErrnoOr<void> FileLocks::SetRecord(const Record& wanted) {
  bool freed = false;
  {
    MutexLock lock(&mu_);
    if (FindConflictLocked(wanted) != nullptr) return Errno(EAGAIN);
    freed = CutLocked(wanted.owner, wanted.range);
    Record merged = wanted;
    // Neighbours of the same kind become one lock.
    std::erase_if(records_, [&](const Record& record) {
      if (record.owner != merged.owner || record.exclusive != merged.exclusive) return false;
      if (record.range.end == merged.range.start) {
        merged.range.start = record.range.start;
        return true;
      }
      if (record.range.start == merged.range.end) {
        merged.range.end = record.range.end;
        return true;
      }
      return false;
    });
    records_.push_back(merged);
  }
  // An exclusive lock may have become a shared one.
  if (freed) queue_.Notify(sync::kAllEvents);
  return Ok();
}

void FileLocks::ClearRecord(const void* owner, Range range) {
  bool freed = false;
  {
    MutexLock lock(&mu_);
    freed = CutLocked(owner, range);
  }
  if (freed) queue_.Notify(sync::kAllEvents);
}

std::optional<FileLocks::Record> FileLocks::FindConflict(const Record& wanted) const {
  MutexLock lock(&mu_);
  const Record* found = FindConflictLocked(wanted);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

ErrnoOr<void> FileLocks::SetFlock(const void* owner, bool exclusive) {
  bool gave_up = false, conflict = false;
  {
    MutexLock lock(&mu_);
    for (const Flock& flock : flocks_)
      if (flock.owner == owner && flock.exclusive == exclusive) return Ok();
    gave_up = std::erase_if(flocks_, [&](const Flock& flock) { return flock.owner == owner; }) != 0;
    for (const Flock& flock : flocks_) conflict |= flock.exclusive || exclusive;
    if (!conflict) flocks_.push_back({owner, exclusive});
  }
  if (gave_up) queue_.Notify(sync::kAllEvents);
  if (conflict) return Errno(EAGAIN);
  return Ok();
}

void FileLocks::ClearFlock(const void* owner) {
  bool freed = false;
  {
    MutexLock lock(&mu_);
    freed = std::erase_if(flocks_, [&](const Flock& flock) { return flock.owner == owner; }) != 0;
  }
  if (freed) queue_.Notify(sync::kAllEvents);
}

void FileLocks::ReleaseOwner(const void* owner) {
  ClearRecord(owner, Range());
  ClearFlock(owner);
}

std::vector<FileLocks::Record> FileLocks::RecordsForTesting() const {
  MutexLock lock(&mu_);
  return records_;
}

}  // namespace remora::fs
