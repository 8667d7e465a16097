#include "proc/symbols/symbol_table.h"

#include <gtest/gtest.h>
#include <link.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

// Something whose place is known.
extern "C" __attribute__((noinline)) int KnownFunctionOfTheTest(int x) { return x * 3 + 1; }

namespace remora::proc {
namespace {

using Bytes = std::vector<char>;

Bytes OwnFile() {
  std::ifstream in("/proc/self/exe", std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

SymbolTable ParseBytes(const Bytes& bytes) {
  return SymbolTable::Parse([&](uint64_t offset, std::span<std::byte> to) {
    if (offset > bytes.size() || to.size() > bytes.size() - offset) return false;
    std::memcpy(to.data(), bytes.data() + offset, to.size());
    return true;
  });
}

// Where in the program's file the code at `address` stands.
uint64_t FileOffsetOf(const void* address) {
  struct Wanted {
    uint64_t address, offset;
  } wanted{reinterpret_cast<uint64_t>(address), 0};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto* want = static_cast<Wanted*>(data);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const ElfW(Phdr)& segment = info->dlpi_phdr[i];
          const uint64_t start = info->dlpi_addr + segment.p_vaddr;
          if (segment.p_type == PT_LOAD && want->address >= start && want->address < start + segment.p_filesz)
            want->offset = want->address - start + segment.p_offset;
        }
        return 1;  // the program itself comes first
      },
      &wanted);
  return wanted.offset;
}

TEST(SymbolTableTest, FindsAFunctionByAnAddressInsideIt) {
  const SymbolTable table = ParseBytes(OwnFile());
  const uint64_t at = FileOffsetOf(reinterpret_cast<const void*>(&KnownFunctionOfTheTest));
  ASSERT_NE(at, 0u);
  const auto begin = table.Find(at);
  ASSERT_TRUE(begin);
  EXPECT_EQ(begin->name, "KnownFunctionOfTheTest");
  EXPECT_EQ(begin->offset, 0u);
  const auto inside = table.Find(at + 2);
  ASSERT_TRUE(inside);
  EXPECT_EQ(inside->name, "KnownFunctionOfTheTest");
  EXPECT_EQ(inside->offset, 2u);
  EXPECT_FALSE(table.Find(0));
  EXPECT_FALSE(table.Find(~uint64_t{0}));
}

TEST(SymbolTableTest, WhatIsNoElfFileHasNoSymbols) {
  EXPECT_TRUE(ParseBytes({}).empty());
  EXPECT_TRUE(ParseBytes(Bytes(5000, 'x')).empty());
}

TEST(SymbolTableTest, EndsOnWhateverStandsInTheFile) {
  const Bytes whole = OwnFile();
  std::minstd_rand random(1);
  const uint64_t sections = reinterpret_cast<const abi::Elf64Ehdr*>(whole.data())->e_shoff;
  for (int round = 0; round < 200; ++round) {
    Bytes broken = whole;
    if (round % 4 == 0) broken.resize(random() % broken.size());
    for (int i = 0; i < 8; ++i) {
      const uint64_t at = i % 2 == 0 ? random() % 1024 : sections + random() % 2560;
      if (at >= 5 && at < broken.size()) broken[at] = static_cast<char>(random());
    }
    const SymbolTable table = ParseBytes(broken);
    for (int i = 0; i < 100; ++i) table.Find(random());
  }
}

}  // namespace
}  // namespace remora::proc
