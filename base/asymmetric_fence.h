#ifndef REMORA_BASE_ASYMMETRIC_FENCE_H_
#define REMORA_BASE_ASYMMETRIC_FENCE_H_

#include <atomic>

#include "base/full_fence.h"

namespace remora {

// For two threads that each store first and load then, where one of them does so all the time and the other seldom: at
// least one of them sees what the other has stored if the former has Light, the latter Heavy between the two. Light
// costs nothing where the host has membarrier(2): Heavy has each CPU that runs a thread of this host process put its
// stores in order, and takes some microseconds.
//
// Whoever forbids the host process membarrier(2) (seccomp) does so before an instance is made: later Heavy ends it.
// Thread safety: everything from any thread.
class AsymmetricFence {
 public:
  enum class Kind {
    kByHost,     // where the host's kernel does it; else
    kSymmetric,  // both are full fences
  };
  explicit AsymmetricFence(Kind kind = Kind::kByHost);

  void Light() const {
    if (by_host_) [[likely]]
      std::atomic_signal_fence(std::memory_order_seq_cst);
    else
      FullFence();
  }
  void Heavy() const;

  bool by_host() const { return by_host_; }

 private:
  const bool by_host_;
};

}  // namespace remora

#endif  // REMORA_BASE_ASYMMETRIC_FENCE_H_
