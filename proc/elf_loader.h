#ifndef REMORA_PROC_ELF_LOADER_H_
#define REMORA_PROC_ELF_LOADER_H_

#include <cstdint>
#include <span>
#include <string>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "fs/file.h"
#include "mm/address_space.h"
#include "proc/elf_image.h"

namespace remora::proc {

// Bytes read, less than asked at the end of the file only. EAGAIN where the host is slow.
ErrnoOr<uint64_t> ReadFileAt(fs::File& file, uint64_t offset, std::span<std::byte> to);

// The headers of an ELF file whose first bytes are `start`. Errors and diagnosis as ElfImage.
ErrnoOr<ElfImage> ReadElfImage(fs::File& file, std::span<const std::byte> start, std::string* diagnosis);

// Where an image went.
struct MappedElf {
  uint64_t bias = 0;  // added to the file's addresses
  uint64_t entry = 0;
  uint64_t headers_address = 0;  // 0: not in memory
  uint64_t start_code = 0, end_code = 0, start_data = 0, end_data = 0;
  uint64_t end = 0;  // of the highest segment: where the heap may begin
};
// Maps the segments and clears what lies behind their file parts. `base`: where a position-independent image goes; 0:
// wherever mmap puts it. ENOMEM, ENOEXEC.
ErrnoOr<MappedElf> MapElf(mm::AddressSpace& space, fs::File& file, const ElfImage& image, uint64_t base,
                          std::string* diagnosis);

}  // namespace remora::proc

#endif  // REMORA_PROC_ELF_LOADER_H_
