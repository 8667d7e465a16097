#ifndef REMORA_BENCHMARKS_RIVALS_INODE_SHARDS_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_INODE_SHARDS_RIVAL_H_

#include <array>
#include <cstdint>

#include "base/mutex.h"
#include "base/ref_counted.h"

namespace remora::benchmarks {

// The plain table of inodes: 1,024 lists, chosen by the number modulo 1,024, under one mutex.
template <typename T>
class InodeShardsRival {
 public:
  InodeShardsRival() = default;
  ~InodeShardsRival() {
    for (Node* head : lists_) {
      while (head != nullptr) {
        Node* next = head->next;
        delete head;
        head = next;
      }
    }
  }

  Ref<T> Find(uint64_t number) const {
    MutexLock lock(&mu_);
    for (const Node* node = lists_[number % kNumLists]; node != nullptr; node = node->next)
      if (node->number == number) return node->object->TryAddRef() ? Ref<T>::Adopt(node->object) : nullptr;
    return nullptr;
  }
  template <typename Make>
  Ref<T> GetOrCreate(uint64_t number, Make make) {
    MutexLock lock(&mu_);
    for (Node* node = lists_[number % kNumLists]; node != nullptr; node = node->next) {
      if (node->number != number) continue;
      if (node->object->TryAddRef()) return Ref<T>::Adopt(node->object);
      const Ref<T> fresh = make();
      node->object = fresh.get();
      return fresh;
    }
    const Ref<T> fresh = make();
    lists_[number % kNumLists] = new Node{number, fresh.get(), lists_[number % kNumLists]};
    return fresh;
  }
  void Remove(uint64_t number, const T* object) {
    MutexLock lock(&mu_);
    for (Node** link = &lists_[number % kNumLists]; *link != nullptr; link = &(*link)->next) {
      if ((*link)->number != number) continue;
      if ((*link)->object == object) {
        Node* node = *link;
        *link = node->next;
        delete node;
      }
      return;
    }
  }
  // Without a look whether it is there: setting a million up would take hours.
  void AddNew(uint64_t number, T* object) {
    MutexLock lock(&mu_);
    lists_[number % kNumLists] = new Node{number, object, lists_[number % kNumLists]};
  }

 private:
  static constexpr uint64_t kNumLists = 1024;
  struct Node {
    uint64_t number;
    T* object;
    Node* next;
  };
  mutable Mutex mu_{LockRank::kInodeShard};
  std::array<Node*, kNumLists> lists_ ABSL_GUARDED_BY(mu_){};
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_INODE_SHARDS_RIVAL_H_
