#include "proc/elf_image.h"

#include <cstring>
#include <random>
#include <vector>

#include "base/guest_addr.h"
#include "gtest/gtest.h"

namespace remora::proc {
namespace {

// A small program: code, then data with a .bss, an interpreter's name and a stack header.
struct Program {
  abi::Elf64Ehdr header = {};
  std::vector<abi::Elf64Phdr> headers = std::vector<abi::Elf64Phdr>(4);
  uint64_t file_size = 0x3000;

  Program() {
    std::memcpy(header.e_ident, abi::kElfMagic, 4);
    header.e_ident[abi::kEI_CLASS] = abi::kELFCLASS64;
    header.e_ident[abi::kEI_DATA] = abi::kELFDATA2LSB;
    header.e_type = abi::kET_DYN;
    header.e_machine = abi::kEM_X86_64;
    header.e_entry = 0x1040;
    header.e_phoff = 64;
    header.e_phentsize = sizeof(abi::Elf64Phdr);
    headers[0] = {abi::kPT_INTERP, abi::kPF_R, 0x200, 0x200, 0, 28, 28, 1};
    headers[1] = {abi::kPT_LOAD, abi::kPF_R | abi::kPF_X, 0, 0, 0, 0x1800, 0x1800, 0x1000};
    headers[2] = {abi::kPT_LOAD, abi::kPF_R | abi::kPF_W, 0x1800, 0x2800, 0, 0x300, 0x5000, 0x1000};
    headers[3] = {abi::kPT_GNU_STACK, abi::kPF_R | abi::kPF_W, 0, 0, 0, 0, 0, 16};
    header.e_phnum = static_cast<uint16_t>(headers.size());
  }

  ErrnoOr<ElfImage> Parse(std::string* diagnosis = nullptr) const {
    return ElfImage::Parse(std::as_bytes(std::span(&header, 1)), std::as_bytes(std::span(headers)), file_size,
                           diagnosis);
  }
  std::string Refusal() const {
    std::string diagnosis;
    const ErrnoOr<ElfImage> image = Parse(&diagnosis);
    EXPECT_EQ(image.error_number(), ENOEXEC);
    return diagnosis;
  }
};

void ExpectInvariants(const ElfImage& image, uint64_t file_size) {
  ASSERT_FALSE(image.segments.empty());
  for (const ElfImage::Segment& s : image.segments) {
    ASSERT_GT(s.memory_bytes, 0u);
    ASSERT_LE(s.file_bytes, s.memory_bytes);
    ASSERT_LT(s.address, kUserAddressEnd);
    ASSERT_LE(s.memory_bytes, kUserAddressEnd - s.address);
    ASSERT_EQ((s.address - s.offset) % kPageSize, 0u);
    if (s.file_bytes != 0) {
      ASSERT_LE(s.offset, file_size);
      ASSERT_LE(s.file_bytes, file_size - s.offset);
    }
    ASSERT_LE(image.low, s.address);
    ASSERT_GE(image.high, s.address + s.memory_bytes);
  }
  ASSERT_LT(image.entry, kUserAddressEnd);
}

TEST(ElfImageTest, ReadsAProgram) {
  const ErrnoOr<ElfImage> image = Program().Parse();
  ASSERT_TRUE(image.ok());
  EXPECT_TRUE(image->position_independent);
  EXPECT_EQ(image->segments.size(), 2u);
  EXPECT_EQ(image->high, 0x8000u);
  EXPECT_EQ(image->headers_address, 64u);
  EXPECT_EQ(image->interpreter.offset, 0x200u);
  EXPECT_FALSE(image->executable_stack);
}

TEST(ElfImageTest, SaysWhatIsWrong) {
  Program p;
  p.header.e_machine = abi::kEM_AARCH64;
  EXPECT_EQ(p.Refusal(), "is a program for arm64 (aarch64), not for x86-64");
  p = Program();
  p.header.e_ident[abi::kEI_CLASS] = abi::kELFCLASS32;
  p.header.e_machine = abi::kEM_386;
  EXPECT_EQ(p.Refusal(), "is a program for 32-bit x86, not for x86-64");
  p = Program();
  p.file_size = 0x1900;
  EXPECT_EQ(p.Refusal(), "is truncated: a segment ends at byte 6912, the file has 6400");
  p = Program();
  p.header.e_type = abi::kET_REL;
  EXPECT_EQ(p.Refusal(), "is an object file, not a program");
  p = Program();
  p.header.e_phnum = 0;
  p.headers.clear();
  EXPECT_EQ(p.Refusal(), "has no program headers");
  p = Program();
  p.headers[1].p_memsz = ~uint64_t{0};
  EXPECT_EQ(p.Refusal(), "has a segment outside the address space");
}

TEST(ElfImageTest, TheFirstBytesOfAHeaderAreNoHeader) {
  const Program p;
  for (size_t n = 0; n < sizeof(p.header); ++n) {
    std::string diagnosis;
    const auto found = ElfImage::FindProgramHeaders(std::as_bytes(std::span(&p.header, 1)).first(n), n, &diagnosis);
    EXPECT_EQ(found.error_number(), ENOEXEC) << n;
    EXPECT_FALSE(diagnosis.empty());
  }
}

TEST(ElfImageTest, MutatedHeadersAreRefusedOrHarmless) {
  std::mt19937_64 random(4);
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    Program p;
    const int changes = 1 + static_cast<int>(random() % 4);
    for (int c = 0; c < changes; ++c) {
      auto bytes = random() % 3 == 0 ? std::as_writable_bytes(std::span(&p.header, 1))
                                     : std::as_writable_bytes(std::span(p.headers));
      const size_t at = random() % bytes.size();
      if (random() % 2 == 0) {
        bytes[at] = static_cast<std::byte>(random());
      } else {
        constexpr uint64_t kExtremes[] = {
            0, 1, ~uint64_t{0}, uint64_t{1} << 63, kUserAddressEnd, 0x1000, ~uint64_t{0xfff}};
        const uint64_t value = kExtremes[random() % std::size(kExtremes)];
        std::memcpy(bytes.data() + at, &value, std::min(sizeof(value), bytes.size() - at));
      }
    }
    std::string diagnosis;
    const ErrnoOr<ElfImage> image = p.Parse(&diagnosis);
    if (image.ok()) {
      ++accepted;
      ExpectInvariants(*image, p.file_size);
    } else {
      ASSERT_FALSE(diagnosis.empty());
    }
  }
  EXPECT_GT(accepted, 1000);  // the mutations are not all hopeless
}

}  // namespace
}  // namespace remora::proc
