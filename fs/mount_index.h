#ifndef REMORA_FS_MOUNT_INDEX_H_
#define REMORA_FS_MOUNT_INDEX_H_

#include <atomic>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/check.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/lookup_hash.h"
#include "fs/name_hash.h"
#include "sync/reclaimer.h"

namespace remora::fs {

// Which of many mounted prefixes is the longest that an absolute path begins with, by components: "/mnt" is a prefix of
// "/mnt/a" and of "/mnt", not of "/mnt2".
//
// A trie of components whose edges all lie in one hash, (node, component) -> node. A lookup follows the path's
// components until one is not in the trie: its cost follows the depth of the mounts on this path, neither the number of
// mounts nor the length of the path. Nothing is copied or written: the rest of the path comes back as a view into the
// caller's string. Slashes may be doubled; "." and ".." are components like others (resolve them first).
//
//        root --"dev"--> [1: /dev] --"pts"--> [2: /dev/pts]          "/dev/shm/x" -> 1, "shm/x"
//           \--"mnt"--> ( ) --"usb"--> [3: /mnt/usb]                 "/mnt/x" -> none, "/mnt/x"
//
// Invariants:
//  1. A node without a value has a child (but the root); so there are no more nodes than components of mounted
//     prefixes.
//  2. num_children of a node counts the edges out of it.
//  3. size() counts the values.
// Linux twin: mount_hashtable (by dentry, one component at a time). Difference: by names, so no directory is looked at.
// Cost: Lookup one hash and one probe for each component that is in the trie, and one that is not; Set and Remove for
// each component of the prefix. Thread safety: Lookup from any thread inside a
// read section of the reclaimer, without a lock; changes from any thread.
template <typename T>
  requires std::derived_from<T, RefCounted>
class MountIndex {
 public:
  explicit MountIndex(sync::Reclaimer* reclaimer) : reclaimer_(reclaimer), edges_(reclaimer) {}
  ~MountIndex() {
    edges_.ForEach([&](Node* node) { Destroy(node); });
    if (T* value = root_.value.load(std::memory_order_relaxed)) value->Release();
  }
  MountIndex(const MountIndex&) = delete;
  MountIndex& operator=(const MountIndex&) = delete;

  struct Match {
    Ref<T> value;             // null: no prefix is mounted
    std::string_view suffix;  // what follows the prefix and its slashes: "" for the prefix itself
  };
  // `path` begins with '/'.
  Match Lookup(std::string_view path) const {
    while (true) {
      const Seen seen = Peek(path);
      if (seen.value == nullptr) return {nullptr, path};
      // Fails only if the prefix was just removed or replaced, and nobody else uses what it led to: look again.
      if (seen.value->TryAddRef()) return {Ref<T>::Adopt(seen.value), seen.suffix};
    }
  }
  // As Lookup, but counts nothing: the value's memory stays until the read section ends, TryAddRef tells whether it
  // still lives. Writes nothing at all.
  struct Seen {
    T* value;
    std::string_view suffix;
  };
  Seen Peek(std::string_view path) const {
    const Node* node = &root_;
    std::string_view rest = SkipSlashes(path);
    Seen seen{root_.value.load(std::memory_order_acquire), rest};
    while (!rest.empty() && node->num_children.load(std::memory_order_acquire) != 0) {
      const std::string_view component = FrontComponent(rest);
      const uint64_t hash = HashOfName(node->id, component);
      node = FindEdge(hash, node->id, component);
      if (node == nullptr) break;
      rest = SkipSlashes(rest.substr(component.size()));
      if (T* value = node->value.load(std::memory_order_acquire)) seen = {value, rest};
    }
    if (seen.value == nullptr) seen.suffix = path;
    return seen;
  }

  // Makes `prefix` lead to `value`; what it led to before, or null.
  Ref<T> Set(std::string_view prefix, Ref<T> value) {
    MutexLock lock(&mu_);
    Node* node = &root_;
    for (std::string_view rest = SkipSlashes(prefix); !rest.empty();) {
      const std::string_view component = FrontComponent(rest);
      rest = SkipSlashes(rest.substr(component.size()));
      const uint64_t hash = HashOfName(node->id, component);
      Node* child = FindEdge(hash, node->id, component);
      if (child == nullptr) {
        child = NewNode(hash, next_id_++, node, component);
        edges_.Insert(child);
        node->num_children.fetch_add(1, std::memory_order_release);
      }
      node = child;
    }
    T* old = node->value.exchange(value.release(), std::memory_order_acq_rel);
    if (old == nullptr) ++size_;
    return Ref<T>::Adopt(old);
  }

  // What exactly this prefix led to; null if it was not there. Its objects must be freed behind a grace period (their
  // OnLastRelease retires them), since a lookup may just be counting a reference.
  Ref<T> Remove(std::string_view prefix) {
    Ref<T> removed;
    MutexLock lock(&mu_);
    Node* node = &root_;
    for (std::string_view rest = SkipSlashes(prefix); !rest.empty();) {
      const std::string_view component = FrontComponent(rest);
      rest = SkipSlashes(rest.substr(component.size()));
      node = FindEdge(HashOfName(node->id, component), node->id, component);
      if (node == nullptr) return nullptr;
    }
    removed = Ref<T>::Adopt(node->value.exchange(nullptr, std::memory_order_acq_rel));
    if (removed) --size_;
    while (node != &root_ && node->num_children.load(std::memory_order_relaxed) == 0 &&
           node->value.load(std::memory_order_relaxed) == nullptr) {
      Node* parent = node->parent;
      edges_.Erase(node);
      parent->num_children.fetch_sub(1, std::memory_order_release);
      reclaimer_->Retire(node, [](void* n) { Free(static_cast<Node*>(n)); });
      node = parent;
    }
    return removed;
  }

  // Is this prefix, or one below it, mounted?
  bool AnyAtOrBelow(std::string_view prefix) const {
    MutexLock lock(&mu_);
    const Node* node = &root_;
    for (std::string_view rest = SkipSlashes(prefix); !rest.empty() && node != nullptr;) {
      const std::string_view component = FrontComponent(rest);
      rest = SkipSlashes(rest.substr(component.size()));
      node = FindEdge(HashOfName(node->id, component), node->id, component);
    }
    return node != nullptr && (node != &root_ || size_ != 0);  // invariant 1
  }

  // How many prefixes are mounted.
  uint64_t size() const {
    MutexLock lock(&mu_);
    return size_;
  }

  void CheckInvariants() const {
    MutexLock lock(&mu_);
    edges_.CheckInvariants();
    uint64_t num_values = root_.value.load(std::memory_order_relaxed) != nullptr ? 1 : 0;
    absl::flat_hash_map<const Node*, uint32_t> num_children;
    edges_.ForEach([&](const Node* node) {
      ++num_children[node->parent];
      const bool has_value = node->value.load(std::memory_order_relaxed) != nullptr;
      num_values += has_value ? 1 : 0;
      CHECK(has_value || node->num_children.load(std::memory_order_relaxed) != 0);  // 1
      CHECK(node->parent->id == node->parent_id && node->hash == HashOfName(node->parent_id, node->component()));
    });
    edges_.ForEach([&](const Node* node) {
      CHECK(node->num_children.load(std::memory_order_relaxed) == num_children[node]);  // 2
    });
    CHECK(root_.num_children.load(std::memory_order_relaxed) == num_children[&root_]);
    CHECK(num_values == size_);  // 3
  }

 private:
  // A prefix; its last component lies behind it. Constant but for the atomics.
  struct Node {
    uint64_t hash = 0;  // of (parent's id, component)
    uint64_t id = 0;
    uint64_t parent_id = 0;
    Node* parent = nullptr;  // for Remove only
    std::atomic<T*> value{nullptr};
    std::atomic<uint32_t> num_children{0};
    uint32_t component_size = 0;
    std::string_view component() const { return {reinterpret_cast<const char*>(this + 1), component_size}; }
  };

  static std::string_view SkipSlashes(std::string_view s) {
    size_t i = 0;
    while (i < s.size() && s[i] == '/') ++i;
    return s.substr(i);
  }
  static std::string_view FrontComponent(std::string_view s) {
    const void* slash = std::memchr(s.data(), '/', s.size());
    return slash == nullptr ? s : s.substr(0, static_cast<size_t>(static_cast<const char*>(slash) - s.data()));
  }
  static Node* NewNode(uint64_t hash, uint64_t id, Node* parent, std::string_view component) {
    void* memory = ::operator new(sizeof(Node) + component.size());
    auto* node = new (memory) Node;
    node->hash = hash;
    node->id = id;
    node->parent_id = parent->id;
    node->parent = parent;
    node->component_size = static_cast<uint32_t>(component.size());
    std::memcpy(node + 1, component.data(), component.size());
    return node;
  }
  static void Free(Node* node) {
    node->~Node();
    ::operator delete(node);
  }
  static void Destroy(Node* node) {
    if (T* value = node->value.load(std::memory_order_relaxed)) value->Release();
    Free(node);
  }
  Node* FindEdge(uint64_t hash, uint64_t parent_id, std::string_view component) const {
    return edges_.Find(hash, [&](const Node& n) { return n.parent_id == parent_id && n.component() == component; });
  }

  sync::Reclaimer* const reclaimer_;
  mutable Mutex mu_{LockRank::kMountIndex};
  Node root_;
  LookupHash<Node> edges_;  // read without the lock
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
  uint64_t size_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_MOUNT_INDEX_H_
