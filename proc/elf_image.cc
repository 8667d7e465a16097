#include "proc/elf_image.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/guest_addr.h"

namespace remora::proc {

namespace {

std::string MachineName(uint16_t machine) {
  switch (machine) {
    case abi::kEM_386:
      return "32-bit x86";
    case abi::kEM_ARM:
      return "32-bit ARM";
    case abi::kEM_AARCH64:
      return "arm64 (aarch64)";
    case abi::kEM_RISCV:
      return "RISC-V";
    case 8:
      return "MIPS";
    case 20:
      return "PowerPC";
    case 21:
      return "PowerPC64";
    case 22:
      return "s390";
    case 258:
      return "LoongArch";
    default:
      return absl::StrCat("machine type ", machine);
  }
}

Errno Refuse(std::string* diagnosis, std::string why) {
  if (diagnosis) *diagnosis = std::move(why);
  return Errno(ENOEXEC);
}

uint8_t ProtectionOf(uint32_t flags) {
  return static_cast<uint8_t>(((flags & abi::kPF_R) ? 1 : 0) | ((flags & abi::kPF_W) ? 2 : 0) |
                              ((flags & abi::kPF_X) ? 4 : 0));
}

ErrnoOr<void> AddSegment(const abi::Elf64Phdr& header, uint64_t file_size, ElfImage* image, std::string* diagnosis) {
  if (header.p_memsz == 0) return Ok();
  if (header.p_filesz > header.p_memsz) return Refuse(diagnosis, "has a segment larger in the file than in memory");
  if (header.p_vaddr >= kUserAddressEnd || header.p_memsz > kUserAddressEnd - header.p_vaddr)
    return Refuse(diagnosis, "has a segment outside the address space");
  if ((header.p_vaddr - header.p_offset) % kPageSize != 0)
    return Refuse(diagnosis, "has a segment whose offset and address disagree");
  if (header.p_filesz != 0 && (header.p_offset > file_size || header.p_filesz > file_size - header.p_offset))
    return Refuse(diagnosis, absl::StrCat("is truncated: a segment ends at byte ", header.p_offset + header.p_filesz,
                                          ", the file has ", file_size));
  const uint64_t end = header.p_vaddr + header.p_memsz;
  image->low = std::min(image->low, PageRoundDown(header.p_vaddr));
  image->high = std::max(image->high, PageRoundUp(end));
  if (header.p_align > image->alignment && (header.p_align & (header.p_align - 1)) == 0)
    image->alignment = header.p_align;
  image->segments.push_back(
      {header.p_vaddr, header.p_offset, header.p_filesz, header.p_memsz, ProtectionOf(header.p_flags)});
  return Ok();
}

}  // namespace

bool ElfImage::HasMagic(std::span<const std::byte> start) {
  return start.size() >= sizeof(abi::kElfMagic) &&
         std::memcmp(start.data(), abi::kElfMagic, sizeof(abi::kElfMagic)) == 0;
}

ErrnoOr<ElfImage::HeaderRange> ElfImage::FindProgramHeaders(std::span<const std::byte> start, uint64_t file_size,
                                                            std::string* diagnosis) {
  if (!HasMagic(start)) return Refuse(diagnosis, "is not an ELF file");
  // Class, byte order and machine first: they stand where they stand in every ELF file.
  if (start.size() >= 20) {
    const auto at = [&](size_t i) { return static_cast<uint8_t>(start[i]); };
    const bool big_endian = at(abi::kEI_DATA) == abi::kELFDATA2MSB;
    const auto machine = static_cast<uint16_t>(big_endian ? at(18) << 8 | at(19) : at(19) << 8 | at(18));
    if (machine != abi::kEM_X86_64)
      return Refuse(diagnosis, absl::StrCat("is a program for ", MachineName(machine), ", not for x86-64"));
    if (at(abi::kEI_CLASS) == abi::kELFCLASS32)
      return Refuse(diagnosis, "is a 32-bit (x32) program; only 64-bit ones run here");
    if (at(abi::kEI_CLASS) != abi::kELFCLASS64 || big_endian)
      return Refuse(diagnosis, "has an ELF header that makes no sense");
  }
  if (start.size() < kHeaderBytes) return Refuse(diagnosis, "is truncated: its ELF header is incomplete");
  abi::Elf64Ehdr header;
  std::memcpy(&header, start.data(), sizeof(header));
  if (header.e_type != abi::kET_EXEC && header.e_type != abi::kET_DYN)
    return Refuse(diagnosis, header.e_type == abi::kET_REL    ? "is an object file, not a program"
                             : header.e_type == abi::kET_CORE ? "is a core dump, not a program"
                                                              : "is an ELF file of an unknown type");
  if (header.e_phentsize != sizeof(abi::Elf64Phdr) || header.e_phnum == 0)
    return Refuse(diagnosis, "has no program headers");
  const uint64_t length = uint64_t{header.e_phnum} * sizeof(abi::Elf64Phdr);
  if (length > kMaxProgramHeaderBytes) return Refuse(diagnosis, "has too many program headers");
  if (header.e_phoff > file_size || length > file_size - header.e_phoff)
    return Refuse(diagnosis, "is truncated: its program headers lie behind its end");
  return HeaderRange{header.e_phoff, length};
}

ErrnoOr<ElfImage> ElfImage::Parse(std::span<const std::byte> start, std::span<const std::byte> headers,
                                  uint64_t file_size, std::string* diagnosis) {
  REMORA_ASSIGN_OR_RETURN(const HeaderRange range, FindProgramHeaders(start, file_size, diagnosis));
  if (headers.size() != range.length_bytes)
    return Refuse(diagnosis, "is truncated: its program headers are incomplete");
  abi::Elf64Ehdr header;
  std::memcpy(&header, start.data(), sizeof(header));

  ElfImage image;
  image.position_independent = header.e_type == abi::kET_DYN;
  image.entry = header.e_entry;
  image.num_headers = header.e_phnum;
  image.low = std::numeric_limits<uint64_t>::max();
  for (uint32_t i = 0; i < header.e_phnum; ++i) {
    abi::Elf64Phdr program;
    std::memcpy(&program, headers.data() + i * sizeof(program), sizeof(program));
    switch (program.p_type) {
      case abi::kPT_LOAD:
        REMORA_RETURN_IF_ERROR(AddSegment(program, file_size, &image, diagnosis));
        if (program.p_memsz != 0 && program.p_offset <= range.offset &&
            range.offset - program.p_offset < program.p_filesz)
          image.headers_address = range.offset - program.p_offset + program.p_vaddr;
        break;
      case abi::kPT_INTERP:
        if (image.interpreter.length_bytes != 0) break;
        if (program.p_filesz < 2 || program.p_filesz > 4096)
          return Refuse(diagnosis, "names its interpreter in a way that makes no sense");
        if (program.p_offset > file_size || program.p_filesz > file_size - program.p_offset)
          return Refuse(diagnosis, "is truncated: the name of its interpreter lies behind its end");
        image.interpreter.offset = program.p_offset;
        image.interpreter.length_bytes = program.p_filesz;
        break;
      case abi::kPT_GNU_STACK:
        image.executable_stack = (program.p_flags & abi::kPF_X) != 0;
        break;
      default:
        break;
    }
  }
  if (image.segments.empty()) return Refuse(diagnosis, "has nothing to load");
  if (image.entry >= kUserAddressEnd) return Refuse(diagnosis, "starts at an address outside the address space");
  return image;
}

}  // namespace remora::proc
