#ifndef REMORA_BASE_ABI_ELF_H_
#define REMORA_BASE_ABI_ELF_H_

#include <cstdint>

// ELF-64 files, core of what exec reads, and the auxiliary vector that it writes.
namespace remora::abi {

inline constexpr uint8_t kElfMagic[4] = {0x7f, 'E', 'L', 'F'};
// Indices into e_ident, and values there.
inline constexpr uint32_t kEI_CLASS = 4;
inline constexpr uint32_t kEI_DATA = 5;
inline constexpr uint32_t kEI_VERSION = 6;
inline constexpr uint32_t kEI_OSABI = 7;
inline constexpr uint32_t kEI_NIDENT = 16;
inline constexpr uint8_t kELFCLASS32 = 1;
inline constexpr uint8_t kELFCLASS64 = 2;
inline constexpr uint8_t kELFDATA2LSB = 1;
inline constexpr uint8_t kELFDATA2MSB = 2;
inline constexpr uint32_t kEV_CURRENT = 1;

inline constexpr uint16_t kET_REL = 1;
inline constexpr uint16_t kET_EXEC = 2;
inline constexpr uint16_t kET_DYN = 3;
inline constexpr uint16_t kET_CORE = 4;
inline constexpr uint16_t kEM_386 = 3;
inline constexpr uint16_t kEM_ARM = 40;
inline constexpr uint16_t kEM_X86_64 = 62;
inline constexpr uint16_t kEM_AARCH64 = 183;
inline constexpr uint16_t kEM_RISCV = 243;

struct Elf64Ehdr {
  uint8_t e_ident[kEI_NIDENT];
  uint16_t e_type;
  uint16_t e_machine;
  uint32_t e_version;
  uint64_t e_entry;
  uint64_t e_phoff;
  uint64_t e_shoff;
  uint32_t e_flags;
  uint16_t e_ehsize;
  uint16_t e_phentsize;
  uint16_t e_phnum;
  uint16_t e_shentsize;
  uint16_t e_shnum;
  uint16_t e_shstrndx;
};
static_assert(sizeof(Elf64Ehdr) == 64);

inline constexpr uint32_t kPT_NULL = 0;
inline constexpr uint32_t kPT_LOAD = 1;
inline constexpr uint32_t kPT_DYNAMIC = 2;
inline constexpr uint32_t kPT_INTERP = 3;
inline constexpr uint32_t kPT_NOTE = 4;
inline constexpr uint32_t kPT_PHDR = 6;
inline constexpr uint32_t kPT_TLS = 7;
inline constexpr uint32_t kPT_GNU_EH_FRAME = 0x6474e550;
inline constexpr uint32_t kPT_GNU_STACK = 0x6474e551;
inline constexpr uint32_t kPT_GNU_RELRO = 0x6474e552;
inline constexpr uint32_t kPT_GNU_PROPERTY = 0x6474e553;
inline constexpr uint32_t kPF_X = 1;
inline constexpr uint32_t kPF_W = 2;
inline constexpr uint32_t kPF_R = 4;

struct Elf64Phdr {
  uint32_t p_type;
  uint32_t p_flags;
  uint64_t p_offset;
  uint64_t p_vaddr;
  uint64_t p_paddr;
  uint64_t p_filesz;
  uint64_t p_memsz;
  uint64_t p_align;
};
static_assert(sizeof(Elf64Phdr) == 56);

// What Linux takes at most: a program header table of 64 KiB.
inline constexpr uint64_t kELF_MAX_PHDR_BYTES = 65536;

// The vDSO's tables.
struct Elf64Shdr {
  uint32_t sh_name;
  uint32_t sh_type;
  uint64_t sh_flags;
  uint64_t sh_addr;
  uint64_t sh_offset;
  uint64_t sh_size;
  uint32_t sh_link;
  uint32_t sh_info;
  uint64_t sh_addralign;
  uint64_t sh_entsize;
};
static_assert(sizeof(Elf64Shdr) == 64);
struct Elf64Sym {
  uint32_t st_name;
  uint8_t st_info;
  uint8_t st_other;
  uint16_t st_shndx;
  uint64_t st_value;
  uint64_t st_size;
};
static_assert(sizeof(Elf64Sym) == 24);
struct Elf64Dyn {
  int64_t d_tag;
  uint64_t d_val;
};
static_assert(sizeof(Elf64Dyn) == 16);

// The auxiliary vector: pairs of type and value, ended by AT_NULL.
inline constexpr uint64_t kAT_NULL = 0;
inline constexpr uint64_t kAT_IGNORE = 1;
inline constexpr uint64_t kAT_EXECFD = 2;
inline constexpr uint64_t kAT_PHDR = 3;
inline constexpr uint64_t kAT_PHENT = 4;
inline constexpr uint64_t kAT_PHNUM = 5;
inline constexpr uint64_t kAT_PAGESZ = 6;
inline constexpr uint64_t kAT_BASE = 7;
inline constexpr uint64_t kAT_FLAGS = 8;
inline constexpr uint64_t kAT_ENTRY = 9;
inline constexpr uint64_t kAT_NOTELF = 10;
inline constexpr uint64_t kAT_UID = 11;
inline constexpr uint64_t kAT_EUID = 12;
inline constexpr uint64_t kAT_GID = 13;
inline constexpr uint64_t kAT_EGID = 14;
inline constexpr uint64_t kAT_PLATFORM = 15;
inline constexpr uint64_t kAT_HWCAP = 16;
inline constexpr uint64_t kAT_CLKTCK = 17;
inline constexpr uint64_t kAT_SECURE = 23;
inline constexpr uint64_t kAT_BASE_PLATFORM = 24;
inline constexpr uint64_t kAT_RANDOM = 25;
inline constexpr uint64_t kAT_HWCAP2 = 26;
inline constexpr uint64_t kAT_RSEQ_FEATURE_SIZE = 27;
inline constexpr uint64_t kAT_RSEQ_ALIGN = 28;
inline constexpr uint64_t kAT_EXECFN = 31;
inline constexpr uint64_t kAT_SYSINFO_EHDR = 33;
inline constexpr uint64_t kAT_MINSIGSTKSZ = 51;
inline constexpr uint64_t kAT_HWCAP2_FSGSBASE = 2;  // a bit of AT_HWCAP2's value

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_ELF_H_
