#include "cpu/translator/operand_forecast.h"

#include <gtest/gtest.h>
#include <xbyak/xbyak.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/cpu_level.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/instruction_decoder.h"
#include "cpu/testing/fake_memory.h"
#include "mm/types.h"

namespace remora::cpu::translator {
namespace {

using Xbyak::util::ptr, Xbyak::util::qword, Xbyak::util::dword;

constexpr uint64_t kCode = FakeMachine::kCode, kData = FakeMachine::kData;
constexpr uint64_t kDataBytes = FakeMachine::kPages * kPageSize;

// Runs code by the interpreter, and forecasts it before.
class OperandForecastTest : public testing::Test {
 protected:
  void Put(const Xbyak::CodeGenerator& code) {
    const std::span<const uint8_t> bytes(code.getCode(), code.getSize());
    machine_.memory.Write(kCode, bytes);
    instructions_.clear();
    for (size_t at = 0; at < bytes.size();) {
      GuestInstruction& instruction = instructions_.emplace_back();
      instruction.pc = kCode + at;
      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                  std::min<size_t>(kMaxInstructionBytes, bytes.size() - at), instruction.bytes.begin());
      ASSERT_TRUE(ZYAN_SUCCESS(decoder_.Decode(instruction.bytes.data(), kMaxInstructionBytes, &instruction.decoded)));
      Classify(&instruction);
      at += instruction.decoded.info.length;
    }
    machine_.state.rip = kCode;
  }
  // All pages that the code may read are known at once.
  void Forecast() {
    for (uint64_t at = kData; at < kData + kDataBytes; at += kPageSize)
      machine_.tlb->Fill(GuestAddr(at), mm::Access::kRead);
    for (uint64_t i = 1; i <= FakeMachine::kPages; ++i)
      machine_.tlb->Fill(GuestAddr(FakeMachine::kStackTop - i * kPageSize), mm::Access::kRead);
    forecast_.Find(instructions_, machine_.state, *machine_.tlb);
  }
  // Where the operand is now.
  uint64_t Address(const GuestInstruction& instruction) const {
    const DecodedOperand::Memory& memory = instruction.memory_operand().mem;
    uint64_t address = memory.has_displacement ? static_cast<uint64_t>(memory.displacement) : 0;
    if (memory.base == ZYDIS_REGISTER_RIP) return address + instruction.next_pc();
    const int base = GeneralRegister(memory.base), index = GeneralRegister(memory.index);
    if (base >= 0) address += machine_.state.gpr[static_cast<size_t>(base)];
    if (index >= 0) address += machine_.state.gpr[static_cast<size_t>(index)] * memory.scale;
    return address;
  }

  FakeMachine machine_;
  InstructionDecoder decoder_{CpuLevel::kHost};
  std::vector<GuestInstruction> instructions_;
  OperandForecast forecast_;
};

TEST_F(OperandForecastTest, PointersAreFollowed) {
  Xbyak::CodeGenerator code;
  code.mov(code.rax, ptr[code.rdi + 8]);
  code.mov(code.rcx, ptr[code.rax]);
  code.add(qword[code.rcx + code.rdx * 4 + 16], 1);
  code.mul(code.rbx);
  code.mov(code.rsi, ptr[code.rax]);  // unknown
  code.mov(code.rsi, ptr[code.rcx]);
  Put(code);
  machine_.state.gpr[kRdi] = kData;
  machine_.state.gpr[kRdx] = 2;
  machine_.memory.Store(kData + 8, kData + 0x1000);
  machine_.memory.Store(kData + 0x1000, kData + 0x2000);
  Forecast();
  EXPECT_EQ(forecast_.AddressOf(0), kData + 8);
  EXPECT_EQ(forecast_.AddressOf(1), kData + 0x1000);
  EXPECT_EQ(forecast_.AddressOf(2), kData + 0x2000 + 8 + 16);
  EXPECT_EQ(forecast_.AddressOf(3), std::nullopt);
  EXPECT_EQ(forecast_.AddressOf(4), std::nullopt);
  EXPECT_EQ(forecast_.AddressOf(5), kData + 0x2000);
}

TEST_F(OperandForecastTest, WhatIsNotKnownAtOnceIsNotKnown) {
  Xbyak::CodeGenerator code;
  code.mov(code.rax, ptr[code.rdi]);
  code.mov(code.rcx, ptr[code.rax]);
  Put(code);
  machine_.state.gpr[kRdi] = 0x7000'0000;  // nothing is there
  Forecast();
  EXPECT_EQ(forecast_.AddressOf(0), 0x7000'0000u);
  EXPECT_EQ(forecast_.AddressOf(1), std::nullopt);
  // The last bytes of what there is.
  machine_.state.gpr[kRdi] = kData + kDataBytes - 4;
  Forecast();
  EXPECT_EQ(forecast_.AddressOf(0), kData + kDataBytes - 4);
  EXPECT_EQ(forecast_.AddressOf(1), std::nullopt);
}

// Against what happens: what is known is right, where code writes nothing.
TEST_F(OperandForecastTest, KnownAddressesAreThoseThatTheCodeUses) {
  std::mt19937 random(1);
  const auto any = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
  size_t known = 0, unknown = 0;
  for (uint64_t at = kData; at < kData + kDataBytes; at += 8)
    machine_.memory.Store(at, kData + kPageSize + 8 * any(2 * kPageSize / 8));
  for (int program = 0; program < 400; ++program) {
    SCOPED_TRACE(program);
    Xbyak::CodeGenerator code;
    const std::array<const Xbyak::Reg64*, 6> registers = {&code.rax, &code.rcx, &code.rdx,
                                                          &code.rbx, &code.rsi, &code.rdi};
    const auto reg = [&]() -> const Xbyak::Reg64& { return *registers[any(registers.size())]; };
    for (int i = 0; i < 14; ++i) {
      switch (any(12)) {
        case 0:
          code.mov(reg(), reg());
          break;
        case 1:
          code.lea(reg(), ptr[reg() + 8 * any(4)]);
          break;
        case 2:
          code.add(reg(), 8 * any(4));
          break;
        case 3:
          code.sub(reg(), 8 * any(4));
          break;
        case 4:
          code.pop(reg());
          break;
        case 5:
          code.bswap(reg());
          code.mov(reg(), static_cast<uint32_t>(kData + kPageSize));
          break;
        case 6:
          code.mov(reg().cvt32(), dword[reg() + 8 * any(8)]);
          break;
        case 7:
          code.mov(reg().cvt16(), 0x1000);
          break;
        case 8:
          code.xchg(reg(), reg());
          break;
        default:
          code.mov(reg(), ptr[reg() + 8 * any(8)]);
      }
    }
    Put(code);
    for (const Xbyak::Reg64* each : registers)
      machine_.state.gpr[static_cast<size_t>(each->getIdx())] = kData + kPageSize + 8 * any(2 * kPageSize / 8);
    machine_.state.gpr[kRsp] = kData + kPageSize;
    Forecast();
    for (uint32_t i = 0; i < instructions_.size(); ++i) {
      const GuestInstruction& instruction = instructions_[i];
      ASSERT_EQ(machine_.state.rip, instruction.pc);
      if (instruction.memory >= 0 && instruction.action != Action::kLea) {
        const std::optional<uint64_t> address = forecast_.AddressOf(i);
        if (address) {
          EXPECT_EQ(*address, Address(instruction)) << i;
        }
        ++(address ? known : unknown);
      }
      if (machine_.Run(1).reason != ExitReason::kBudget) break;
    }
  }
  EXPECT_GT(known, 1000u);
  EXPECT_GT(unknown, 100u);
}

}  // namespace
}  // namespace remora::cpu::translator
