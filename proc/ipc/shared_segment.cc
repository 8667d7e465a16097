#include "proc/ipc/shared_segment.h"

#include <cstdio>

namespace remora::proc {

SharedSegment::SharedSegment(IpcTable<SharedSegment>* table, mm::MemoryContext* memory, uint64_t size_bytes,
                             const IpcPermissions& permissions, int32_t creator_pid, int64_t now_seconds)
    : table_(table), pages_(mm::CreateSharedAnonymous(memory, PageRoundUp(size_bytes))), size_bytes_(size_bytes) {
  MutexLock lock(&mu_);
  facts_.permissions = permissions;
  facts_.creator_pid = creator_pid;
  facts_.changed_seconds = now_seconds;
}

SharedSegment::~SharedSegment() { table_->Forget(id(), this); }

SharedSegment::Facts SharedSegment::facts() const {
  MutexLock lock(&mu_);
  return facts_;
}

void SharedSegment::OnMapped(mm::AddressSpace* space, PageRange range, uint64_t first_page_index) {
  num_attached_.fetch_add(1, std::memory_order_relaxed);
  pages_->OnMapped(space, range, first_page_index);
}

void SharedSegment::OnUnmapped(mm::AddressSpace* space, PageRange range, uint64_t first_page_index) {
  num_attached_.fetch_sub(1, std::memory_order_relaxed);
  pages_->OnUnmapped(space, range, first_page_index);
}

mm::Mappable::Description SharedSegment::Describe() const {
  Description description;
  description.device_minor = 1;
  description.inode = static_cast<uint32_t>(id());
  char name[32];
  std::snprintf(name, sizeof(name), "/SYSV%08x (deleted)", static_cast<uint32_t>(facts().permissions.key));
  description.path = name;
  return description;
}

}  // namespace remora::proc
