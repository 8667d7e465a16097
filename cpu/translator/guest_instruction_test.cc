#include "cpu/translator/guest_instruction.h"

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

namespace remora::cpu::translator {
namespace {

TEST(GuestInstructionTest, GeneralRegistersAreThoseThatZydisSays) {
  for (int i = 0; i <= ZYDIS_REGISTER_MAX_VALUE; ++i) {
    const auto reg = static_cast<ZydisRegister>(i);
    const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    const bool general = whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15;
    EXPECT_EQ(GeneralRegister(reg), general ? whole - ZYDIS_REGISTER_RAX : -1) << ZydisRegisterGetString(reg);
  }
}

}  // namespace
}  // namespace remora::cpu::translator
