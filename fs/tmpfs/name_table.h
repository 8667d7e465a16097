#ifndef REMORA_FS_TMPFS_NAME_TABLE_H_
#define REMORA_FS_TMPFS_NAME_TABLE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "base/ref_counted.h"
#include "fs/inode.h"

namespace remora::fs {

// The names of one directory that lives in memory: each leads to an inode, or (in an overlay) hides a name of the layer
// below: a whiteout.
//
// Invariants:
//  1. A name keeps its cookie as long as it stays, whatever it leads to; cookies ascend and are never reused. So a
//     listing that goes on from a cookie misses nothing and repeats nothing that stayed.
// Thread safety: none; guarded by its directory's lock. References that it gives up are handed to the caller, who drops
// them behind the lock.
class NameTable {
 public:
  struct Entry {
    std::string name;
    uint64_t cookie = 0;
    Ref<Inode> inode;  // null: a whiteout
  };

  const Entry* Find(std::string_view name) const {
    auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : it->second;
  }
  // The first entry whose cookie is at least this, or null.
  const Entry* NextFrom(uint64_t cookie) const {
    auto it = by_cookie_.lower_bound(cookie);
    return it == by_cookie_.end() ? nullptr : it->second.get();
  }

  // Makes `name` lead to `inode` (null: a whiteout); what it led to.
  Ref<Inode> Put(std::string_view name, Ref<Inode> inode) {
    num_inodes_ += static_cast<uint64_t>(inode != nullptr);
    auto it = by_name_.find(name);
    if (it != by_name_.end()) {
      num_inodes_ -= static_cast<uint64_t>(it->second->inode != nullptr);
      return std::exchange(it->second->inode, std::move(inode));
    }
    auto entry = std::make_unique<Entry>(Entry{std::string(name), next_cookie_++, std::move(inode)});
    by_name_.emplace(entry->name, entry.get());
    by_cookie_.emplace(entry->cookie, std::move(entry));
    return nullptr;
  }
  // Forgets `name`, which must be there; what it led to.
  Ref<Inode> Remove(std::string_view name) {
    auto it = by_name_.find(name);
    Entry* entry = it->second;
    num_inodes_ -= static_cast<uint64_t>(entry->inode != nullptr);
    Ref<Inode> inode = std::move(entry->inode);
    by_name_.erase(it);
    by_cookie_.erase(entry->cookie);
    return inode;
  }

  // Names that lead to something.
  uint64_t num_inodes() const { return num_inodes_; }

 private:
  absl::flat_hash_map<std::string_view, Entry*> by_name_;
  absl::btree_map<uint64_t, std::unique_ptr<Entry>> by_cookie_;
  uint64_t next_cookie_ = 0;
  uint64_t num_inodes_ = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_TMPFS_NAME_TABLE_H_
