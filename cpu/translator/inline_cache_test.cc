#include "cpu/translator/inline_cache.h"

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "cpu/code_memory.h"
#include "cpu/translator/block_frame.h"

namespace remora::cpu::translator {
namespace {

// An inline cache in memory that can be run, with what it leads to.
class InlineCacheTest : public testing::Test {
 protected:
  // Code that answers `value`.
  const std::byte* Answer(uint32_t value) {
    const std::byte* at = memory_.code() + used_;
    HostCode code;
    code.Constant(kHostRax, value);
    constexpr unsigned kRet = 0xc3;
    code.Byte(kRet);
    Put(code, {});
    return at;
  }
  // Puts the cache there, behind code that takes R11 from the first argument.
  void Make(const std::vector<BranchTarget>& targets, const std::byte* otherwise) {
    HostCode code;
    std::vector<GeneratedBlock::Relocation> relocations;
    run_ = memory_.code() + used_;
    code.Move(kScratch, kFirstArgument);
    Put(code, {});
    cache_ = memory_.code() + used_;
    WriteInlineCache(targets, otherwise, &code, &relocations);
    Put(code, relocations);
  }
  [[clang::no_sanitize("function")]] uint64_t Run(uint64_t target) const {
    return reinterpret_cast<uint64_t (*)(uint64_t)>(reinterpret_cast<uintptr_t>(run_))(target);
  }
  std::vector<std::string> Read() const {
    std::vector<std::string> lines;
    ZydisDisassembledInstruction instruction;
    for (uint64_t at = 0; lines.empty() || !lines.back().starts_with("jmp 0x"); at += instruction.info.length) {
      if (!ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, at, cache_ + at, 32, &instruction))) break;
      lines.emplace_back(instruction.text);
    }
    return lines;
  }

 private:
  static constexpr uint8_t kFirstArgument = 7;  // RDI

  void Put(const HostCode& code, const std::vector<GeneratedBlock::Relocation>& relocations) {
    std::byte* writable = memory_.writable() + used_;
    std::memcpy(writable, code.bytes().data(), code.size());
    for (const GeneratedBlock::Relocation& relocation : relocations) {
      const std::byte* at = memory_.code() + used_ + relocation.displacement_offset;
      const auto displacement = static_cast<int32_t>(static_cast<const std::byte*>(relocation.target) - (at + 4));
      std::memcpy(writable + relocation.displacement_offset, &displacement, sizeof(displacement));
    }
    used_ += code.size();
  }

  CodeMemory memory_{4096};
  uint32_t used_ = 0;
  const std::byte* run_ = nullptr;
  const std::byte* cache_ = nullptr;
};

TEST_F(InlineCacheTest, LeadsToEachTargetOrElsewhere) {
  // What fits into a constant of four bytes, signed, and what does not.
  const std::vector<uint64_t> addresses = {0x401000,    0x7fff'ffff,      0x8000'0000,
                                           0xffff'ffff, 0x5555'0040'1000, 0x7fff'0040'1000};
  std::vector<BranchTarget> targets;
  const std::byte* otherwise = Answer(1000);
  for (uint32_t i = 0; i < addresses.size(); ++i) targets.push_back({.pc = addresses[i], .entry = Answer(i)});
  for (size_t count = 0; count <= targets.size(); ++count) {
    Make({targets.begin(), targets.begin() + static_cast<int64_t>(count)}, otherwise);
    for (uint32_t i = 0; i < addresses.size(); ++i) EXPECT_EQ(Run(addresses[i]), i < count ? i : 1000u) << count;
    for (const uint64_t other : {uint64_t{0}, uint64_t{0x401001}, ~uint64_t{0}, uint64_t{0x5555'8040'1000}})
      EXPECT_EQ(Run(other), 1000u);
  }
}

TEST_F(InlineCacheTest, GoesToOtherPagesByTheirWays) {
  const std::byte* otherwise = Answer(1000);
  constexpr uint32_t kBackward = 5, kForward = 6;
  Make({{.pc = 0x401000, .way = kBackward}, {.pc = 0x402000, .way = kForward, .forward = true}}, otherwise);
  EXPECT_EQ(Run(0x403000), 1000u);
  const std::vector<std::string> lines = Read();
  const auto way = [](uint32_t number, bool forward) {
    char text[64];
    std::snprintf(text, sizeof(text), "jmp [rsp+0x%X]",
                  static_cast<unsigned>(WayField(number, /*flags_saved=*/true, forward).displacement));
    return std::string(text);
  };
  ASSERT_EQ(lines.size(), 7u);
  EXPECT_EQ(lines[0], "cmp r11, 0x401000");
  EXPECT_EQ(lines[2], way(kBackward, false));
  EXPECT_EQ(lines[3], "cmp r11, 0x402000");
  EXPECT_EQ(lines[5], way(kForward, true));
}

}  // namespace
}  // namespace remora::cpu::translator
