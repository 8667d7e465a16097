#ifndef REMORA_PROC_ELF_IMAGE_H_
#define REMORA_PROC_ELF_IMAGE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/abi/elf.h"
#include "base/errno_or.h"

namespace remora::proc {

// What exec needs to know of an ELF file, every field of it checked. Pure: it sees bytes, no files and no memory, so it
// is tested and fuzzed alone.
//
// Invariants of a parsed image (all arithmetic below is then safe):
//  1. segments is not empty, in the file's order, each memory_bytes > 0, file_bytes <= memory_bytes, and
//     address + memory_bytes <= kUserAddressEnd without wrapping.
//  2. offset and address of a segment agree modulo the page size; offset + file_bytes <= file_size.
//  3. low <= every address, high >= every end, both page-aligned.
struct ElfImage {
  struct Segment {
    uint64_t address = 0, offset = 0, file_bytes = 0, memory_bytes = 0;
    uint8_t protection = 0;  // PROT_*
  };
  bool position_independent = false;  // ET_DYN
  uint64_t entry = 0;
  std::vector<Segment> segments;
  uint64_t low = 0, high = 0;
  uint64_t alignment = 4096;  // the largest power of two that a segment asks for
  // Where the program headers lie in memory (not biased), if a segment holds them.
  std::optional<uint64_t> headers_address;
  uint16_t num_headers = 0;
  struct {
    uint64_t offset = 0, length_bytes = 0;  // length includes the NUL; 0: no interpreter
  } interpreter;
  bool executable_stack = false;

  static constexpr uint64_t kHeaderBytes = sizeof(abi::Elf64Ehdr);
  // At most this many bytes of program headers are read.
  static constexpr uint64_t kMaxProgramHeaderBytes = abi::kELF_MAX_PHDR_BYTES;

  static bool HasMagic(std::span<const std::byte> start);

  // Where the program headers are, from the first bytes of the file. ENOEXEC, with one clause for a user in
  // *diagnosis: "is a 32-bit ELF program", "is for aarch64", ...
  struct HeaderRange {
    uint64_t offset = 0, length_bytes = 0;
  };
  static ErrnoOr<HeaderRange> FindProgramHeaders(std::span<const std::byte> start, uint64_t file_size,
                                                 std::string* diagnosis);
  // `headers` are the bytes at that range.
  static ErrnoOr<ElfImage> Parse(std::span<const std::byte> start, std::span<const std::byte> headers,
                                 uint64_t file_size, std::string* diagnosis);
};

}  // namespace remora::proc

#endif  // REMORA_PROC_ELF_IMAGE_H_
