#ifndef REMORA_PROC_SYMBOLS_SYMBOL_TABLE_H_
#define REMORA_PROC_SYMBOLS_SYMBOL_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/abi/elf.h"

namespace remora::proc {

// The functions of an ELF file, from .symtab and .dynsym. The file is the guest's: whatever stands in it, parsing ends,
// and takes no more than some hundred MiB.
// Thread safety: constant once parsed.
class SymbolTable {
 public:
  // Fills `to` from the file at `offset`; false: it is not all there.
  using ReadAt = absl::FunctionRef<bool(uint64_t offset, std::span<std::byte> to)>;
  // Empty where the file is no 64-bit ELF file or names no function.
  static SymbolTable Parse(ReadAt read);

  struct Found {
    std::string_view name;  // good while the table lives
    uint64_t offset = 0;    // bytes behind the function's beginning
  };
  // The function whose code is at this offset of the file.
  std::optional<Found> Find(uint64_t file_offset) const;
  bool empty() const { return symbols_.empty(); }

 private:
  struct Symbol {
    uint64_t address = 0, size = 0;
    size_t name = 0;  // where it begins in names_, which ends it with a zero byte
  };
  void ReadSection(ReadAt read, const abi::Elf64Shdr& symbols, const abi::Elf64Shdr& strings);

  std::vector<abi::Elf64Phdr> segments_;
  std::vector<Symbol> symbols_;  // by address
  std::string names_;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_SYMBOLS_SYMBOL_TABLE_H_
