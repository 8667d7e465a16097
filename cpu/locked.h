#ifndef REMORA_CPU_LOCKED_H_
#define REMORA_CPU_LOCKED_H_

#include <cstdint>

#include "base/mutex.h"
#include "cpu/chain.h"

namespace remora::cpu {

// The lock for LOCKed accesses that the host cannot do as one: those that cross a page, whose two host pages are not
// neighbours, and those that cross a cache line, which some hosts refuse. Such accesses are atomic among themselves.
Mutex& SplitLock(RunContext& context);

// An atomic read-modify-write of guest memory: new = update(old), in one step for all workers. False: the exit is
// recorded. `old` gets the value before. `update` may run more than once.
template <typename T, typename F>
[[clang::no_sanitize("alignment")]] bool LockedUpdate(RunContext& context, uint64_t address, T* old, F update) {
  if (!context.ProbeWrite(address, sizeof(T))) return false;
  constexpr uint64_t kLineMask = 63;
  if ((address & kLineMask) + sizeof(T) <= 64) {
    // ProbeWrite left the page in the TLB's first way.
    std::byte* host = context.tlb().Lookup<mm::Access::kWrite>(GuestAddr(address));
    auto* word = reinterpret_cast<T*>(host);
    T expected = __atomic_load_n(word, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(word, &expected, update(expected), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
    *old = expected;
    return true;
  }
  MutexLock lock(&SplitLock(context));
  T value;
  if (!context.Load(address, &value)) return false;
  *old = value;
  return context.Store(address, update(value));
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_LOCKED_H_
