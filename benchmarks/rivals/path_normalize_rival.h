#ifndef REMORA_BENCHMARKS_RIVALS_PATH_NORMALIZE_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_PATH_NORMALIZE_RIVAL_H_

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/inode.h"

namespace remora::benchmarks {

// A file system that is asked by whole paths, as lstat(2) and readlink(2) are: it goes from its root to the object.
class WalkedBackend {
 public:
  explicit WalkedBackend(Ref<fs::Inode> root) : root_(std::move(root)) {}

  ErrnoOr<std::string> ReadLink(std::string_view path) const {
    REMORA_ASSIGN_OR_RETURN(const Ref<fs::Inode> inode, Find(path));
    if (inode->type() != S_IFLNK) return Errno(EINVAL);
    return inode->ReadLink();
  }
  ErrnoOr<fs::Attributes> Stat(std::string_view path) const {
    REMORA_ASSIGN_OR_RETURN(const Ref<fs::Inode> inode, Find(path));
    return inode->GetAttributes();
  }

 private:
  ErrnoOr<Ref<fs::Inode>> Find(std::string_view path) const {
    Ref<fs::Inode> inode = root_;
    while (!path.empty()) {
      const size_t slash = path.find('/');
      const std::string_view name = path.substr(0, slash);
      path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
      REMORA_ASSIGN_OR_RETURN(inode, inode->Lookup(name));
    }
    return inode;
  }
  const Ref<fs::Inode> root_;
};

// A kinder one: it knows every path by heart, so each question is one look into a hash.
class HashedBackend {
 public:
  explicit HashedBackend(Ref<fs::Inode> root) { inodes_[""] = std::move(root); }
  void Add(std::string path, Ref<fs::Inode> inode) { inodes_[std::move(path)] = std::move(inode); }

  ErrnoOr<std::string> ReadLink(std::string_view path) const {
    const auto it = inodes_.find(path);
    if (it == inodes_.end()) return Errno(ENOENT);
    if (it->second->type() != S_IFLNK) return Errno(EINVAL);
    return it->second->ReadLink();
  }
  ErrnoOr<fs::Attributes> Stat(std::string_view path) const {
    const auto it = inodes_.find(path);
    if (it == inodes_.end()) return Errno(ENOENT);
    return it->second->GetAttributes();
  }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return absl::HashOf(s); }
  };
  absl::flat_hash_map<std::string, Ref<fs::Inode>, Hash, std::equal_to<>> inodes_;
};

// The plain way to resolve a path: for each component copy the name so far and the component behind it, find the mount
// in a list sorted by length under a mutex, ask its file system by path for a symlink's text, then for attributes.
template <typename Backend>
class PathNormalizeRival {
 public:
  // `prefix`: "" for the root, "/mnt" else.
  void Mount(std::string prefix, Backend* backend) {
    MutexLock lock(&mu_);
    const auto place = std::find_if(mounts_.begin(), mounts_.end(),
                                    [&](const Mounted& m) { return m.prefix.size() <= prefix.size(); });
    mounts_.insert(place, Mounted{std::move(prefix), backend});
  }

  struct Answer {
    std::string name;  // absolute, without ".", ".." and symlinks
    fs::Attributes attributes;
  };
  // An absolute path; a symlink as the last component is followed.
  ErrnoOr<Answer> Resolve(std::string_view path) const {
    if (path.empty()) return Errno(ENOENT);
    if (path.size() >= 4096) return Errno(ENAMETOOLONG);
    std::string text(path), prefix, candidate;
    size_t at = 0;
    uint32_t num_symlinks = 0;
    REMORA_ASSIGN_OR_RETURN(fs::Attributes attributes, Find("").backend->Stat(""));
    while (true) {
      at = text.find_first_not_of('/', at);
      if (at == std::string::npos) break;
      size_t end = text.find('/', at);
      if (end == std::string::npos) end = text.size();
      const std::string_view name(text.data() + at, end - at);
      if (!attributes.is_directory()) return Errno(ENOTDIR);
      if (name == ".") {
        at = end;
        continue;
      }
      if (name == "..") {
        prefix.resize(prefix.empty() ? 0 : prefix.rfind('/'));
        const Found found = Find(prefix);
        REMORA_ASSIGN_OR_RETURN(attributes, found.backend->Stat(found.suffix));
        at = end;
        continue;
      }
      if (name.size() > 255) return Errno(ENAMETOOLONG);
      candidate = prefix;
      candidate += '/';
      candidate += name;
      const Found found = Find(candidate);
      ErrnoOr<std::string> link = found.backend->ReadLink(found.suffix);
      if (link.ok()) {
        if (++num_symlinks > 40) return Errno(ELOOP);
        if (link->front() == '/') {
          prefix.clear();
          REMORA_ASSIGN_OR_RETURN(attributes, Find("").backend->Stat(""));
        }
        text.replace(0, end, *link);
        at = 0;
        continue;
      }
      if (link.error_number() != EINVAL) return link.error();
      REMORA_ASSIGN_OR_RETURN(attributes, found.backend->Stat(found.suffix));
      prefix = candidate;
      at = end;
    }
    if (text.ends_with('/') && !attributes.is_directory()) return Errno(ENOTDIR);
    if (prefix.empty()) prefix = "/";
    return Answer{std::move(prefix), attributes};
  }

 private:
  struct Mounted {
    std::string prefix;
    Backend* backend;
  };
  struct Found {
    Backend* backend;
    std::string_view suffix;
  };
  Found Find(std::string_view path) const {
    MutexLock lock(&mu_);
    for (const Mounted& mount : mounts_) {
      const size_t size = mount.prefix.size();
      if (!path.starts_with(mount.prefix)) continue;
      if (path.size() == size) return {mount.backend, ""};
      if (path[size] == '/') return {mount.backend, path.substr(size + 1)};
    }
    return {mounts_.back().backend, path.substr(path.empty() ? 0 : 1)};
  }

  mutable Mutex mu_{LockRank::kMountTable};
  std::vector<Mounted> mounts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_PATH_NORMALIZE_RIVAL_H_
