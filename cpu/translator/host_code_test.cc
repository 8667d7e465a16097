#include "cpu/translator/host_code.h"

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <string>

namespace remora::cpu::translator {
namespace {

// What the host's CPU reads in the one instruction that was put into `code`.
std::string Read(const HostCode& code) {
  ZydisDisassembledInstruction instruction;
  if (!ZYAN_SUCCESS(
          ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, 0, code.bytes().data(), code.size(), &instruction)))
    return "unreadable";
  if (instruction.info.length != code.size()) return "more than one instruction";
  return instruction.text;
}

template <typename Put>
std::string Written(Put put) {
  HostCode code;
  put(code);
  return Read(code);
}

TEST(HostCodeTest, AddressesOfEachForm) {
  const auto load = [](const HostPlace& place) { return Written([&](HostCode& code) { code.Load(kScratch, place); }); };
  EXPECT_EQ(load({.base = 3}), "mov r11, [rbx]");
  // RBP and R13 cannot do without a displacement, RSP and R12 not without a SIB.
  EXPECT_EQ(load({.base = 5}), "mov r11, [rbp]");
  EXPECT_EQ(load({.base = 13}), "mov r11, [r13]");
  EXPECT_EQ(load({.base = kHostRsp}), "mov r11, [rsp]");
  EXPECT_EQ(load({.base = 12, .displacement = -8}), "mov r11, [r12-0x08]");
  EXPECT_EQ(load({.base = kHostRsp, .displacement = 0x12345}), "mov r11, [rsp+0x12345]");
  EXPECT_EQ(load({.base = 5, .index = 9, .shift = 2}), "mov r11, [rbp+r9*4]");
  EXPECT_EQ(load({.base = 10, .index = 11, .displacement = 128}), "mov r11, [r10+r11*1+0x80]");
}

TEST(HostCodeTest, Constants) {
  EXPECT_EQ(Written([](HostCode& code) { code.Constant(kScratch, 7); }), "mov r11d, 0x07");
  EXPECT_EQ(Written([](HostCode& code) { code.Constant(0, uint64_t{1} << 32); }), "mov rax, 0x100000000");
  EXPECT_EQ(Written([](HostCode& code) { code.Immediate32(5, {.base = kHostRsp, .displacement = 16}, 64); }),
            "sub dword ptr [rsp+0x10], 0x40");
  EXPECT_EQ(Written([](HostCode& code) { code.Immediate32(7, {.base = kHostRsp}, 0x8000); }),
            "cmp dword ptr [rsp], 0x8000");
}

TEST(HostCodeTest, JumpsLandWhereTheyAreTold) {
  HostCode code;
  const uint32_t near = code.JumpIf(5);
  const uint32_t over = code.ShortJump(0xeb);
  code.Nop(7);
  code.Land(near);
  code.LandShort(over);
  EXPECT_EQ(code.size(), 6u + 2 + 7);
  EXPECT_EQ(code.bytes()[near], 9);
  EXPECT_EQ(code.bytes()[over], 7);
}

TEST(HostCodeTest, PaddingIsOneInstruction) {
  for (unsigned bytes = 1; bytes <= 8; ++bytes) {
    HostCode code;
    code.Nop(bytes);
    EXPECT_EQ(code.size(), bytes);
    EXPECT_NE(Read(code).find("nop"), std::string::npos) << Read(code);
  }
  HostCode code;
  code.Byte(0x90);
  code.Align(8, 5);
  EXPECT_EQ((code.size() + 5) % 8, 0u);
}

}  // namespace
}  // namespace remora::cpu::translator
