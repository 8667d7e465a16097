#include "cpu/code_memory.h"

#include <sys/mman.h>

#include "base/check.h"

namespace remora::cpu {

CodeMemory::CodeMemory(uint64_t bytes) : bytes_(bytes) {
  // A second place for the same pages. Not a file's: its size may be limited (RLIMIT_FSIZE).
  void* writable = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK_MSG(writable != MAP_FAILED, "no address space for generated code");
  void* code = mremap(writable, 0, bytes, MREMAP_MAYMOVE);
  CHECK_MSG(code != MAP_FAILED && mprotect(code, bytes, PROT_READ | PROT_EXEC) == 0,
            "no address space for generated code");
  writable_ = static_cast<std::byte*>(writable);
  code_ = static_cast<std::byte*>(code);
}

CodeMemory::~CodeMemory() {
  munmap(writable_, bytes_);
  munmap(code_, bytes_);
}

}  // namespace remora::cpu
