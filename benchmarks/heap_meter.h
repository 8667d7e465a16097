#ifndef REMORA_BENCHMARKS_HEAP_METER_H_
#define REMORA_BENCHMARKS_HEAP_METER_H_

#include <cstdint>

namespace remora {

// The heap that a scope takes: while one lives, each malloc, free and their kin (and so new and delete) of the process
// is counted, by all threads. Memory that was there before and is freed within the scope counts as 0. What is mapped
// without malloc (the frames of guest memory) is not heap.
//
// One at a time. Counts nothing under a sanitizer, which has a malloc of its own: Works() is false then.
class HeapMeter {
 public:
  HeapMeter();
  ~HeapMeter();
  HeapMeter(const HeapMeter&) = delete;
  HeapMeter& operator=(const HeapMeter&) = delete;

  static bool Works();
  // The most bytes that were allocated and not yet freed at one moment, as malloc_usable_size tells them.
  uint64_t peak_bytes() const;
  uint64_t num_allocations() const;
};

}  // namespace remora

#endif  // REMORA_BENCHMARKS_HEAP_METER_H_
