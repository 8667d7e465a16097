#ifndef REMORA_BASE_FULL_FENCE_H_
#define REMORA_BASE_FULL_FENCE_H_

#include <atomic>

namespace remora {

// std::atomic_thread_fence(seq_cst): this thread's earlier stores are visible before its later loads are done. On x86
// by a locked instruction on the stack's own line, which takes half the time of the mfence that compilers emit (mfence
// orders non-temporal accesses too). Thread safety: any thread.
inline void FullFence() {
#if defined(__x86_64__)
  asm volatile("lock orl $0, (%%rsp)" ::: "memory", "cc");
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace remora

#endif  // REMORA_BASE_FULL_FENCE_H_
