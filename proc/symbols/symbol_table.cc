#include "proc/symbols/symbol_table.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace remora::proc {
namespace {

constexpr uint32_t kSectionSymtab = 2, kSectionDynsym = 11;
constexpr uint8_t kTypeFunction = 2, kTypeIndirectFunction = 10, kTypeMask = 15;
// What real programs have, and more.
constexpr uint64_t kMaxSegments = 64, kMaxSections = 65536, kMaxSymbols = 1 << 21, kMaxStringBytes = 128 << 20;

template <typename T>
bool ReadStruct(SymbolTable::ReadAt read, uint64_t offset, T* to) {
  return read(offset, std::as_writable_bytes(std::span(to, 1)));
}

}  // namespace

SymbolTable SymbolTable::Parse(ReadAt read) {
  SymbolTable table;
  abi::Elf64Ehdr header;
  constexpr std::array<uint8_t, 5> kElf64 = {0x7f, 'E', 'L', 'F', 2};
  if (!ReadStruct(read, 0, &header) || std::memcmp(&header, kElf64.data(), kElf64.size()) != 0) return table;
  if (header.e_phentsize != sizeof(abi::Elf64Phdr) || header.e_shentsize != sizeof(abi::Elf64Shdr)) return table;
  for (uint64_t i = 0; i < std::min<uint64_t>(header.e_phnum, kMaxSegments); ++i) {
    abi::Elf64Phdr segment;
    if (!ReadStruct(read, header.e_phoff + i * sizeof segment, &segment)) return table;
    if (segment.p_type == abi::kPT_LOAD) table.segments_.push_back(segment);
  }
  const uint64_t num_sections = std::min<uint64_t>(header.e_shnum, kMaxSections);
  for (uint64_t i = 0; i < num_sections; ++i) {
    abi::Elf64Shdr section, strings;
    if (!ReadStruct(read, header.e_shoff + i * sizeof section, &section)) break;
    if (section.sh_type != kSectionSymtab && section.sh_type != kSectionDynsym) continue;
    if (section.sh_link < num_sections && ReadStruct(read, header.e_shoff + section.sh_link * sizeof strings, &strings))
      table.ReadSection(read, section, strings);
  }
  // Of those at one address, in the order in which they were found.
  std::sort(table.symbols_.begin(), table.symbols_.end(), [](const Symbol& a, const Symbol& b) {
    return a.address != b.address ? a.address < b.address : a.name < b.name;
  });
  return table;
}

void SymbolTable::ReadSection(ReadAt read, const abi::Elf64Shdr& symbols, const abi::Elf64Shdr& strings) {
  constexpr uint64_t kChunkBytes = 64 << 10;
  const size_t first_name = names_.size();
  const uint64_t num_string_bytes = std::min<uint64_t>(strings.sh_size, kMaxStringBytes - names_.size());
  for (uint64_t at = 0; at < num_string_bytes;) {
    const uint64_t n = std::min(kChunkBytes, num_string_bytes - at);
    names_.resize(first_name + at + n);
    if (!read(strings.sh_offset + at, std::as_writable_bytes(std::span(names_).subspan(first_name + at, n)))) {
      names_.resize(first_name);
      return;
    }
    at += n;
  }
  names_.push_back('\0');
  std::vector<abi::Elf64Sym> chunk;
  const uint64_t count = std::min<uint64_t>(symbols.sh_size / sizeof(abi::Elf64Sym), kMaxSymbols);
  for (uint64_t i = 0; i < count && symbols_.size() < kMaxSymbols;) {
    chunk.resize(std::min(count - i, kChunkBytes / sizeof(abi::Elf64Sym)));
    if (!read(symbols.sh_offset + i * sizeof(abi::Elf64Sym), std::as_writable_bytes(std::span(chunk)))) return;
    i += chunk.size();
    for (const abi::Elf64Sym& symbol : chunk) {
      const uint8_t type = symbol.st_info & kTypeMask;
      if ((type != kTypeFunction && type != kTypeIndirectFunction) || symbol.st_shndx == 0) continue;
      if (symbol.st_name < num_string_bytes && names_[first_name + symbol.st_name] != '\0')
        symbols_.push_back({symbol.st_value, symbol.st_size, first_name + symbol.st_name});
    }
  }
}

std::optional<SymbolTable::Found> SymbolTable::Find(uint64_t file_offset) const {
  for (const abi::Elf64Phdr& segment : segments_) {
    if (file_offset < segment.p_offset || file_offset - segment.p_offset >= segment.p_filesz) continue;
    const uint64_t address = file_offset - segment.p_offset + segment.p_vaddr;
    auto behind = std::upper_bound(symbols_.begin(), symbols_.end(), address,
                                   [](uint64_t at, const Symbol& symbol) { return at < symbol.address; });
    // Of those at one address the first.
    if (behind == symbols_.begin()) continue;
    const uint64_t start = std::prev(behind)->address;
    const auto first = std::lower_bound(symbols_.begin(), behind, start,
                                        [](const Symbol& symbol, uint64_t at) { return symbol.address < at; });
    for (auto symbol = first; symbol != behind; ++symbol)
      if (symbol->size == 0 || address - start < symbol->size)
        return Found{names_.c_str() + symbol->name, address - start};
  }
  return std::nullopt;
}

}  // namespace remora::proc
