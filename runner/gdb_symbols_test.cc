#include "runner/gdb_symbols.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

// What gdb looks at, see gdb_symbols.cc.
extern "C" {
struct jit_code_entry {
  jit_code_entry* next_entry;
  jit_code_entry* prev_entry;
  const char* symfile_addr;
  uint64_t symfile_size;
};
struct jit_descriptor {
  uint32_t version;
  uint32_t action_flag;
  jit_code_entry* relevant_entry;
  jit_code_entry* first_entry;
};
extern jit_descriptor __jit_debug_descriptor;
}

namespace remora::runner {
namespace {

struct Symbol {
  uint64_t end = 0;
  std::string name;
  bool operator==(const Symbol&) const = default;
};
using Symbols = std::map<uint64_t, Symbol>;  // by where they begin

template <typename T>
T Read(const jit_code_entry& entry, uint64_t offset) {
  T value = {};
  EXPECT_LE(offset + sizeof(T), entry.symfile_size);
  if (offset + sizeof(T) <= entry.symfile_size) std::memcpy(&value, entry.symfile_addr + offset, sizeof(T));
  return value;
}

// Adds those of one file, which must lie in its section.
void AddSymbolsOf(const jit_code_entry& entry, Symbols* symbols) {
  const auto header = Read<Elf64_Ehdr>(entry, 0);
  ASSERT_EQ(std::memcmp(header.e_ident, ELFMAG, SELFMAG), 0);
  Elf64_Shdr code = {}, table = {};
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    const auto section = Read<Elf64_Shdr>(entry, header.e_shoff + i * sizeof(Elf64_Shdr));
    if (section.sh_type == SHT_NOBITS) code = section;
    if (section.sh_type == SHT_SYMTAB) table = section;
  }
  const auto strings = Read<Elf64_Shdr>(entry, header.e_shoff + table.sh_link * sizeof(Elf64_Shdr));
  ASSERT_NE(code.sh_addr, 0u);
  for (uint64_t at = sizeof(Elf64_Sym); at < table.sh_size; at += sizeof(Elf64_Sym)) {
    const auto symbol = Read<Elf64_Sym>(entry, table.sh_offset + at);
    ASSERT_LE(symbol.st_value + symbol.st_size, code.sh_size);
    const uint64_t begin = code.sh_addr + symbol.st_value;
    const char* name = entry.symfile_addr + strings.sh_offset + symbol.st_name;
    const bool is_new = symbols->emplace(begin, Symbol{begin + symbol.st_size, name}).second;
    ASSERT_TRUE(is_new);
  }
}

// All that gdb knows, if it looks now.
Symbols Known(size_t* num_files = nullptr) {
  Symbols symbols;
  size_t files = 0;
  const jit_code_entry* before = nullptr;
  for (const jit_code_entry* entry = __jit_debug_descriptor.first_entry; entry != nullptr; entry = entry->next_entry) {
    EXPECT_EQ(entry->prev_entry, before);
    AddSymbolsOf(*entry, &symbols);
    before = entry;
    ++files;
  }
  if (num_files != nullptr) *num_files = files;
  return symbols;
}

class GdbSymbolsTest : public testing::Test {
 protected:
  ~GdbSymbolsTest() override { EXPECT_EQ(__jit_debug_descriptor.first_entry, nullptr); }
  std::span<const std::byte> Code(size_t at, size_t bytes) {
    return std::span<const std::byte>(code_).subspan(at, bytes);
  }
  uint64_t Address(size_t at) { return reinterpret_cast<uint64_t>(code_.data()) + at; }

  std::vector<std::byte> code_ = std::vector<std::byte>(1 << 20);
};

TEST_F(GdbSymbolsTest, NamesAreWhereTheCodeIs) {
  GdbSymbols symbols;
  symbols.Add(Code(64, 100), "memcpy+0x12 (libc.so.6)");
  symbols.Add(Code(200, 8), "");
  EXPECT_EQ(Known(),
            (Symbols{{Address(64), {Address(164), "memcpy+0x12 (libc.so.6)"}}, {Address(200), {Address(208), ""}}}));
}

TEST_F(GdbSymbolsTest, FewFilesHaveAllOfThem) {
  GdbSymbols symbols;
  constexpr size_t kPieces = 3 * GdbSymbols::kMostPieces + 40;
  Symbols expected;
  for (size_t i = 0; i < kPieces; ++i) {
    const std::string name = "piece " + std::to_string(i);
    symbols.Add(Code(i * 100, 90), name);
    expected[Address(i * 100)] = {Address(i * 100 + 90), name};
    EXPECT_LE(symbols.num_files(), i / GdbSymbols::kMostPieces + 2 * (GdbSymbols::kTogether - 1));
  }
  size_t num_files = 0;
  EXPECT_EQ(Known(&num_files), expected);
  EXPECT_EQ(num_files, symbols.num_files());
  EXPECT_EQ(num_files, 3u + 40 / GdbSymbols::kTogether + 40 % GdbSymbols::kTogether);
}

TEST_F(GdbSymbolsTest, TwoAtOnceLeaveEachOthersAlone) {
  GdbSymbols one;
  one.Add(Code(0, 10), "one");
  {
    GdbSymbols other;
    other.Add(Code(500, 10), "other");
    one.Add(Code(20, 10), "one more");
    EXPECT_EQ(Known().size(), 3u);
  }
  EXPECT_EQ(Known(), (Symbols{{Address(0), {Address(10), "one"}}, {Address(20), {Address(30), "one more"}}}));
}

TEST_F(GdbSymbolsTest, ThreadsAddAtOnce) {
  GdbSymbols symbols;
  constexpr size_t kThreads = 4, kEach = 500;
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&, thread] {
      for (size_t i = 0; i < kEach; ++i) symbols.Add(Code((i * kThreads + thread) * 16, 16), std::to_string(thread));
    });
  for (std::thread& thread : threads) thread.join();
  const Symbols known = Known();
  EXPECT_EQ(known.size(), kThreads * kEach);
  for (const auto& [begin, symbol] : known)
    EXPECT_EQ(symbol.name, std::to_string((begin - Address(0)) / 16 % kThreads));
}

// Memory for code is used again and again: against a map of what was said of it last.
TEST_F(GdbSymbolsTest, TheLatestOfTwoAtOnePlaceIsRight) {
  std::mt19937_64 random(1);
  const auto below = [&](uint64_t n) { return random() % n; };
  for (int round = 0; round < 20; ++round) {
    GdbSymbols symbols;
    Symbols expected;
    size_t next = 0;
    for (int step = 0; step < 1500; ++step) {
      // Mostly one behind the other, as a CodeBuffer gives them away.
      const size_t bytes = 1 + below(300);
      const size_t at = below(50) == 0 ? below(60'000) : next;
      next = (at + bytes + below(2) * below(40)) % 60'000;
      const std::string name = std::to_string(step);
      symbols.Add(Code(at, bytes), name);
      std::erase_if(expected, [&](const auto& known) {
        return known.first < Address(at + bytes) && known.second.end > Address(at);
      });
      expected[Address(at)] = {Address(at + bytes), name};
      if (step % 100 == 99) ASSERT_EQ(Known(), expected) << round << " " << step;
    }
  }
}

}  // namespace
}  // namespace remora::runner
