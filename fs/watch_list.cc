#include "fs/watch_list.h"

#include <algorithm>
#include <utility>

namespace remora::fs {

void WatchList::Add(Ref<Watch> watch) {
  MutexLock lock(&mu_);
  watches_.push_back(std::move(watch));
}

void WatchList::Remove(const Watch* watch) {
  Ref<Watch> gone;  // dropped after the lock
  MutexLock lock(&mu_);
  const auto found =
      std::find_if(watches_.begin(), watches_.end(), [watch](const Ref<Watch>& each) { return each.get() == watch; });
  if (found == watches_.end()) return;
  gone = std::move(*found);
  watches_.erase(found);
}

void WatchList::Notify(uint32_t events, std::string_view name, uint32_t cookie) const {
  std::vector<Ref<Watch>> told;
  {
    MutexLock lock(&mu_);
    told = watches_;
  }
  for (const Ref<Watch>& watch : told) watch->OnEvent(events, name, cookie);
}

WatchList& LazyWatchList::Get() {
  WatchList* list = GetIfAny();
  if (list != nullptr) return *list;
  auto* made = new WatchList;
  if (list_.compare_exchange_strong(list, made, std::memory_order_acq_rel)) return *made;
  delete made;
  return *list;
}

}  // namespace remora::fs
