#ifndef REMORA_CPU_CODE_MEMORY_H_
#define REMORA_CPU_CODE_MEMORY_H_

#include <cstddef>
#include <cstdint>

namespace remora::cpu {

// Memory for generated code, mapped twice: writable at one place, executable at another, so that no page is ever both.
// Thread safety: none of its own; what is written must be there before somebody runs it.
class CodeMemory {
 public:
  // Whole pages. Committed when first written.
  explicit CodeMemory(uint64_t bytes);
  ~CodeMemory();
  CodeMemory(const CodeMemory&) = delete;
  CodeMemory& operator=(const CodeMemory&) = delete;

  // Asks the host to hold the 2 MiB around an offset, all of which will be used, in one large page. Takes half a
  // millisecond, and as long again if much is there that has to be copied. Whether they all have memory now.
  bool MakeLargePage(uint64_t offset) const;

  std::byte* writable() const { return writable_; }
  std::byte* code() const { return code_; }
  uint64_t bytes() const { return bytes_; }

 private:
  const uint64_t bytes_;
  std::byte* writable_ = nullptr;
  std::byte* code_ = nullptr;
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_CODE_MEMORY_H_
