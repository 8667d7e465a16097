#ifndef REMORA_BASE_THREAD_HEAP_H_
#define REMORA_BASE_THREAD_HEAP_H_

namespace remora {

// Makes the first megabyte of the calling thread's malloc arena accessible at once. glibc does so page by page, with an
// mprotect for each, which costs a short program hundreds of calls. Takes no memory but twelve pages that are touched.
void ReserveThreadHeap();

}  // namespace remora

#endif  // REMORA_BASE_THREAD_HEAP_H_
