// remora [FLAGS] PROGRAM [ARGS]

#include <malloc.h>

#include "runner/main.h"

namespace {

// A thread's heap begins with that much address space, and grows beyond it by a page and a system call each time.
constexpr int kHeapBytes = 8 << 20;
// What is larger has a mapping of its own. (Said for good: malloc does not raise the limit by what is freed any more.)
constexpr int kOwnMappingBytes = 1 << 20;

}  // namespace

int main(int argc, char** argv) {
  mallopt(M_TOP_PAD, kHeapBytes);
  mallopt(M_MMAP_THRESHOLD, kOwnMappingBytes);
  return remora::runner::Main(argc, argv);
}
