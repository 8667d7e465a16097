#ifndef REMORA_FS_PATH_DRIVER_FOR_TESTING_H_
#define REMORA_FS_PATH_DRIVER_FOR_TESTING_H_

#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "fs/vfs_for_testing.h"

namespace remora::fs {

// Does the same to a Vfs and to a slow, obvious model of a tree with symlinks and mounts, and CHECKs that both say the
// same. For random tests and fuzzers: any path may be given.
class PathDriver {
 public:
  PathDriver() {
    Ref<Tmpfs> root = t_.NewTmpfs();
    root_ = New(S_IFDIR, nullptr);
    t_.vfs().MountRoot(root, 0);
    Learn(root_, "/");
    context_ = t_.context();
  }

  // stat and lstat: errno and object.
  void Resolve(std::string_view path, bool follow_last) {
    WalkOptions options;
    options.follow_last = follow_last;
    const ErrnoOr<Path> theirs = t_.vfs().Resolve(context_, path, options);
    Node* node = nullptr;
    const int error_number = Walk(path, follow_last, &node);
    CHECK_MSG(theirs.error_number() == error_number, "the model has another errno");
    if (error_number == 0) CHECK_MSG(IdOf(*theirs->dentry->inode()) == node->id, "the model has another object");
  }

  // The rest changes something: `name` is one component but "." and "..", `directory` any path.
  void Make(std::string_view directory, std::string_view name, uint32_t type, std::string_view text) {
    const std::string path = Join(directory, name);
    int expected = 0;
    Node* parent = ParentOf(directory, name, &expected);
    if (expected == 0 && parent->children.contains(std::string(name))) expected = EEXIST;
    if (type == S_IFLNK && text.empty()) expected = ENOENT;  // looked at first
    int error_number = 0;
    if (type == S_IFDIR)
      error_number = t_.MakeDirectory(path);
    else if (type == S_IFLNK)
      error_number = t_.vfs().MakeSymlink(context_, text, path).error_number();
    else
      error_number = t_.vfs().MakeNode(context_, path, S_IFREG | 0644, 0, 0).error_number();
    CHECK_MSG(error_number == expected, "the model has another errno for a new name");
    if (error_number != 0) return;
    Node* node = New(type, parent);
    node->text = text;
    parent->children[std::string(name)] = node;
    Learn(node, path);
  }
  void Remove(std::string_view directory, std::string_view name, bool is_directory) {
    const std::string path = Join(directory, name);
    int expected = 0;
    Node* parent = ParentOf(directory, name, &expected);
    const auto it = expected == 0 ? parent->children.find(std::string(name)) : decltype(parent->children.find("")){};
    if (expected == 0) {
      if (it == parent->children.end())
        expected = ENOENT;
      else if (it->second->mounted != nullptr)
        expected = EBUSY;
      else if (is_directory != (it->second->type == S_IFDIR))
        expected = is_directory ? ENOTDIR : EISDIR;
      else if (!it->second->children.empty())
        expected = ENOTEMPTY;
    }
    const auto removed = is_directory ? t_.vfs().RemoveDirectory(context_, path) : t_.vfs().Unlink(context_, path);
    CHECK_MSG(removed.error_number() == expected, "the model has another errno for a removal");
    if (expected == 0) parent->children.erase(it);
  }
  // The Vfs decides, the model follows: what it says must be possible.
  void Rename(std::string_view directory, std::string_view name, std::string_view to_directory,
              std::string_view to_name) {
    const auto renamed =
        t_.vfs().Rename(context_, Join(directory, name), context_, Join(to_directory, to_name), RENAME_NOREPLACE);
    if (!renamed.ok()) return;
    int error_number = 0;
    Node* from = ParentOf(directory, name, &error_number);
    Node* to = ParentOf(to_directory, to_name, &error_number);
    CHECK(error_number == 0);
    const auto it = from->children.find(std::string(name));
    CHECK(it != from->children.end() && !to->children.contains(std::string(to_name)));
    Node* moved = it->second;
    for (const Node* up = to; up != nullptr; up = up->parent) CHECK(up != moved);
    from->children.erase(it);
    to->children[std::string(to_name)] = moved;
    moved->parent = to;
  }
  void Mount(std::string_view path) {
    if (mounted_.size() == kMaxMounts) return;
    Node* place = nullptr;
    const int error_number = Walk(path, true, &place);
    if (place == root_) return;  // what covers the root is seen through "/.." only
    const Ref<Tmpfs> file_system = t_.NewTmpfs();
    const auto mounted = t_.vfs().Mount(context_, path, file_system, "none", 0);
    CHECK_MSG(mounted.error_number() == (error_number == 0 && place->type != S_IFDIR ? ENOTDIR : error_number),
              "the model has another errno for a mount");
    if (!mounted.ok()) return;
    Node* top = New(S_IFDIR, nullptr);
    top->covers = place;
    place->mounted = top;
    mounted_.push_back(top);
    top->id = IdOf(*file_system->root());  // the path may lead elsewhere now
  }
  void Unmount(std::string_view path) {
    Node* top = nullptr;
    int error_number = Walk(path, true, &top);
    if (error_number == 0 && top->covers == nullptr) error_number = EINVAL;  // no root of a mount, or that of all
    for (const Node* other : mounted_) {
      const Node* up = other->covers;
      while (up->parent != nullptr) up = up->parent;
      if (error_number == 0 && up == top) error_number = EBUSY;
    }
    const auto unmounted = t_.vfs().Unmount(context_, path, 0);
    CHECK_MSG(unmounted.error_number() == error_number, "the model has another errno for an unmount");
    if (error_number != 0) return;
    std::erase(mounted_, top);
    top->covers->mounted = nullptr;
  }

  void CheckInvariants() const { t_.vfs().CheckInvariants(); }
  // Between two steps, as a worker does: what was retired is freed.
  void Quiesce() { t_.Quiesce(); }
  uint64_t num_nodes() const { return nodes_.size(); }

 private:
  static constexpr uint32_t kMaxMounts = 32;
  using Id = std::pair<uint32_t, uint64_t>;  // device, number
  struct Node {
    uint32_t type;
    Node* parent;  // null for the root of a file system
    std::map<std::string, Node*> children;
    std::string text;
    Node* mounted = nullptr;  // the root of what is mounted on it
    Node* covers = nullptr;   // where this root is mounted
    Id id;
  };

  static std::string Join(std::string_view directory, std::string_view name) {
    return std::string(directory) + '/' + std::string(name);
  }
  Node* New(uint32_t type, Node* parent) {
    nodes_.push_back({.type = type, .parent = parent, .children = {}, .text = {}, .id = {}});
    return &nodes_.back();
  }
  static Id IdOf(Inode& inode) {
    const auto attributes = inode.GetAttributes();
    CHECK(attributes.ok());
    return {attributes->device_minor, attributes->inode_number};
  }
  void Learn(Node* node, std::string_view path) {
    WalkOptions options;
    options.follow_last = false;
    node->id = IdOf(*t_.vfs().Resolve(t_.context(), path, options).value().dentry->inode());
  }
  Node* ParentOf(std::string_view directory, std::string_view name, int* error_number) const {
    Node* parent = nullptr;
    // The length is that of the whole path.
    if (Join(directory, name).size() >= PathWalk::kMaxPath)
      *error_number = ENAMETOOLONG;
    else
      *error_number = WalkText(std::string(directory) + "/", true, &parent);
    if (*error_number == 0 && name.size() > PathWalk::kMaxName) *error_number = ENAMETOOLONG;
    return parent;
  }

  int Walk(std::string_view path, bool follow_last, Node** result) const {
    if (path.empty()) return ENOENT;
    if (path.size() >= PathWalk::kMaxPath) return ENAMETOOLONG;
    return WalkText(std::string(path), follow_last, result);
  }
  // path_resolution(7), word for word.
  int WalkText(std::string text, bool follow_last, Node** result) const {
    Node* at = root_;
    int num_symlinks = 0;
    while (true) {
      const size_t begin = text.find_first_not_of('/');
      if (begin == std::string::npos) {
        if (!text.empty() && at->type != S_IFDIR) return ENOTDIR;
        *result = at;
        return 0;
      }
      const size_t end = std::min(text.find('/', begin), text.size());
      const std::string name = text.substr(begin, end - begin);
      const std::string rest = text.substr(end);
      const bool last = rest.find_first_not_of('/') == std::string::npos;
      if (at->type != S_IFDIR) return ENOTDIR;
      if (name == ".") {
      } else if (name == "..") {
        while (at->covers != nullptr) at = at->covers;
        if (at->parent != nullptr) at = at->parent;
        while (at->mounted != nullptr) at = at->mounted;
      } else {
        if (name.size() > PathWalk::kMaxName) return ENAMETOOLONG;
        const auto it = at->children.find(name);
        if (it == at->children.end()) return ENOENT;
        Node* child = it->second;
        while (child->mounted != nullptr) child = child->mounted;
        if (child->type == S_IFLNK && (!last || follow_last || !rest.empty())) {
          if (++num_symlinks > 40) return ELOOP;
          if (child->text.front() == '/') at = root_;
          text = child->text + rest;
          continue;
        }
        at = child;
      }
      text = rest;
    }
  }

  VfsForTesting t_;
  WalkContext context_;
  std::deque<Node> nodes_;
  Node* root_ = nullptr;
  std::vector<Node*> mounted_;  // the roots
};

}  // namespace remora::fs

#endif  // REMORA_FS_PATH_DRIVER_FOR_TESTING_H_
