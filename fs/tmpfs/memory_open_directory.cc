#include "fs/tmpfs/memory_open_directory.h"

#include <sys/stat.h>

#include <array>

#include "fs/dentry_cache.h"

namespace remora::fs {

ErrnoOr<void> MemoryOpenDirectory::ReadDirectory(uint64_t position,
                                                 absl::FunctionRef<bool(const DirectoryEntry&)> visit) {
  constexpr uint8_t kTypeDirectory = S_IFDIR >> 12;
  if (position == 0) {
    {
      MutexLock lock(&mu_);
      lower_names_ = nullptr;  // rewound: names are read anew
    }
    if (!visit({directory_->number(), ++position, kTypeDirectory, "."})) return Ok();
  }
  if (position == 1) {
    const Ref<Dentry> parent = path().dentry ? path().dentry->parent() : nullptr;
    const uint64_t number = parent ? parent->inode()->number() : directory_->number();
    if (!visit({number, ++position, kTypeDirectory, ".."})) return Ok();
  }
  if (position < kLower) {
    if (!ListOwn(position, visit)) return Ok();
    position = kLower;
  }
  if (!directory_->has_lower()) return Ok();
  return ListLower(position - kLower, visit);
}

bool MemoryOpenDirectory::ListOwn(uint64_t position, absl::FunctionRef<bool(const DirectoryEntry&)> visit) {
  struct Listed {
    std::string name;
    uint64_t inode_number, cookie;
    uint8_t type;
  };
  std::array<Listed, 32> batch;  // `visit` may fault guest pages in, so it runs without the lock
  uint64_t cookie = position - kFirstCookie;
  while (true) {
    size_t n = 0;
    {
      MutexLock lock(&directory_->mu_);
      while (n < batch.size()) {
        const NameTable::Entry* entry = directory_->names_.NextFrom(cookie);
        if (entry == nullptr) break;
        cookie = entry->cookie + 1;
        if (!entry->inode) continue;  // a whiteout
        batch[n++] = {entry->name, entry->inode->number(), entry->cookie,
                      static_cast<uint8_t>(entry->inode->type() >> 12)};
      }
    }
    for (size_t i = 0; i < n; ++i)
      if (!visit({batch[i].inode_number, kFirstCookie + batch[i].cookie + 1, batch[i].type, batch[i].name}))
        return false;
    if (n < batch.size()) return true;
  }
}

bool MemoryOpenDirectory::ShowsThrough(const std::string& name) const {
  MutexLock lock(&directory_->mu_);
  return !directory_->removed_ && directory_->names_.Find(name) == nullptr;
}

ErrnoOr<void> MemoryOpenDirectory::ListLower(uint64_t index, absl::FunctionRef<bool(const DirectoryEntry&)> visit) {
  std::shared_ptr<const LowerNames> names;
  {
    MutexLock lock(&mu_);
    names = lower_names_;
  }
  if (!names) {
    auto fresh = std::make_shared<LowerNames>();
    REMORA_RETURN_IF_ERROR(directory_->ForEachLower([&](const DirectoryEntry& entry) {
      if (entry.name != "." && entry.name != "..")
        fresh->push_back({std::string(entry.name), entry.inode_number, entry.type});
      return true;
    }));
    names = std::move(fresh);
    MutexLock lock(&mu_);
    lower_names_ = names;
  }
  for (; index < names->size(); ++index) {
    const LowerName& entry = (*names)[index];
    if (!ShowsThrough(entry.name)) continue;
    if (!visit({entry.inode_number, kLower + index + 1, entry.type, entry.name})) return Ok();
  }
  return Ok();
}

}  // namespace remora::fs
