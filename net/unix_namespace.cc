#include "net/unix_namespace.h"

#include <errno.h>

#include <cstdio>
#include <utility>

#include "net/unix_endpoint.h"

namespace remora::net {

UnixNamespace::UnixNamespace() = default;
UnixNamespace::~UnixNamespace() = default;

ErrnoOr<void> UnixNamespace::BindAbstract(int32_t type, const std::string& name, const Ref<UnixEndpoint>& endpoint) {
  MutexLock lock(&mu_);
  return abstract_.try_emplace({type, name}, endpoint).second ? Ok() : Errno(EADDRINUSE);
}

ErrnoOr<std::string> UnixNamespace::BindFree(int32_t type, const Ref<UnixEndpoint>& endpoint) {
  constexpr uint32_t kNumNames = 1 << 20;
  MutexLock lock(&mu_);
  for (uint32_t i = 0; i < kNumNames; ++i) {
    char text[8];
    std::snprintf(text, sizeof(text), "%05x", next_free_++ % kNumNames);
    std::string name = std::string(1, '\0') + text;
    if (abstract_.try_emplace({type, name}, endpoint).second) return name;
  }
  return Errno(ENOSPC);
}

void UnixNamespace::BindInode(const Ref<fs::Inode>& inode, const Ref<UnixEndpoint>& endpoint) {
  MutexLock lock(&mu_);
  inodes_[inode.get()] = {inode, endpoint};
}

void UnixNamespace::UnbindAbstract(int32_t type, const std::string& name) {
  Ref<UnixEndpoint> unbound;  // goes behind the lock
  MutexLock lock(&mu_);
  const auto it = abstract_.find(std::pair(type, name));
  if (it == abstract_.end()) return;
  unbound = std::move(it->second);
  abstract_.erase(it);
}

void UnixNamespace::UnbindInode(const fs::Inode* inode) {
  BoundInode unbound;  // goes behind the lock
  MutexLock lock(&mu_);
  const auto it = inodes_.find(inode);
  if (it == inodes_.end()) return;
  unbound = std::move(it->second);
  inodes_.erase(it);
}

Ref<UnixEndpoint> UnixNamespace::FindAbstract(int32_t type, const std::string& name) const {
  MutexLock lock(&mu_);
  const auto it = abstract_.find(std::pair(type, name));
  return it == abstract_.end() ? nullptr : it->second;
}

Ref<UnixEndpoint> UnixNamespace::FindInode(const fs::Inode* inode) const {
  MutexLock lock(&mu_);
  const auto it = inodes_.find(inode);
  return it == inodes_.end() ? nullptr : it->second.endpoint;
}

void UnixNamespace::Add(UnixEndpoint* endpoint) {
  MutexLock lock(&mu_);
  endpoints_.insert(endpoint);
}

void UnixNamespace::Remove(UnixEndpoint* endpoint) {
  MutexLock lock(&mu_);
  endpoints_.erase(endpoint);
}

void UnixNamespace::CloseAll() {
  std::vector<Ref<UnixEndpoint>> left;
  {
    MutexLock lock(&mu_);
    for (UnixEndpoint* endpoint : endpoints_)
      if (endpoint->TryAddRef()) left.push_back(Ref<UnixEndpoint>::Adopt(endpoint));
  }
  for (const Ref<UnixEndpoint>& endpoint : left) endpoint->Close();
}

ErrnoOr<void> UnixNamespace::AddInFlight(uint32_t num_files) {
  MutexLock lock(&mu_);
  if (num_in_flight_ + num_files > kMaxFilesInFlight) return Errno(ETOOMANYREFS);
  num_in_flight_ += num_files;
  return Ok();
}

void UnixNamespace::RemoveInFlight(uint32_t num_files) {
  MutexLock lock(&mu_);
  num_in_flight_ -= num_files;
}

void UnixNamespace::Drop(std::vector<Ref<fs::File>> files) {
  std::vector<Ref<fs::File>> now;
  {
    MutexLock lock(&mu_);
    for (Ref<fs::File>& file : files) dropped_.push_back(std::move(file));
    if (dropping_) return;
    dropping_ = true;
  }
  for (;;) {
    {
      MutexLock lock(&mu_);
      if (dropped_.empty()) {
        dropping_ = false;
        return;
      }
      now.swap(dropped_);
    }
    now.clear();
  }
}

}  // namespace remora::net
