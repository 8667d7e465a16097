#include "cpu/code_memory.h"

#include <sys/mman.h>

#include "base/check.h"
#include "base/large_page.h"

namespace remora::cpu {

CodeMemory::CodeMemory(uint64_t bytes) : bytes_(bytes) {
  // A second place for the same pages. Not a file's: its size may be limited (RLIMIT_FSIZE).
  void* writable = ReserveForLargePages(bytes);
  void* code = ReserveForLargePages(bytes);
  const bool mapped = writable != nullptr && code != nullptr &&
                      mmap(writable, bytes, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED &&
                      mremap(writable, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, code) != MAP_FAILED &&
                      mprotect(code, bytes, PROT_READ | PROT_EXEC) == 0;
  CHECK_MSG(mapped, "no address space for generated code");
  writable_ = static_cast<std::byte*>(writable);
  code_ = static_cast<std::byte*>(code);
}

bool CodeMemory::MakeLargePage(uint64_t offset) const {
  offset &= ~(kLargePageBytes - 1);
  if (offset + kLargePageBytes > bytes_) return false;
  // The host makes none of pages that are not there.
  (void)*static_cast<const volatile std::byte*>(writable_ + offset);
  const bool made = AskForLargePage(writable_ + offset, kLargePageBytes);
  (void)AskForLargePage(code_ + offset, kLargePageBytes);
  return made;
}

CodeMemory::~CodeMemory() {
  munmap(writable_, bytes_);
  munmap(code_, bytes_);
}

}  // namespace remora::cpu
