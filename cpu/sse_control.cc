#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "cpu/fp_lowering.h"
#include "cpu/fxsave.h"
#include "cpu/sse_environment.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// MXCSR, the FXSAVE image, EMMS, fences; and the door by which the decoder reaches all MMX and SSE handlers.

namespace remora::cpu {
namespace {

bool Ldmxcsr(HandlerEnv& env, const Op& op) {
  uint32_t value;
  if (!env.Load(env.Address(op), &value)) return false;
  if ((value & ~kMxcsrValid) != 0) return env.Raise(ExitReason::kProtection);
  env.state().mxcsr = value;
  return true;
}

bool Stmxcsr(HandlerEnv& env, const Op& op) { return env.Store(env.Address(op), env.state().mxcsr); }

// The form without REX.W has 32-bit instruction and data pointers, with selectors that are zero behind them.
template <bool kWide>
bool Fxsave(HandlerEnv& env, const Op& op) {
  const uint64_t address = env.Address(op);
  // All 512 bytes have to be writable, though the last ones are not written.
  if (!env.CheckAligned(address, 16) || !env.ProbeWrite(address, kFxsaveBytes)) return false;
  std::array<std::byte, kFxsaveBytes> image;
  WriteFxsaveImage(env.state(), image);
  if (!kWide) {
    std::memset(image.data() + 12, 0, 4);
    std::memset(image.data() + 20, 0, 4);
  }
  return env.Write(address, image.data(), kFxsaveUsedBytes);
}

template <bool kWide>
bool Fxrstor(HandlerEnv& env, const Op& op) {
  const uint64_t address = env.Address(op);
  if (!env.CheckAligned(address, 16)) return false;
  std::array<std::byte, kFxsaveBytes> image;
  if (!env.Load(address, &image)) return false;
  uint32_t mxcsr;
  std::memcpy(&mxcsr, image.data() + kFxsaveMxcsrOffset, sizeof(mxcsr));
  if ((mxcsr & ~kMxcsrValid) != 0) return env.Raise(ExitReason::kProtection);
  ReadFxsaveImage(image, &env.state());
  if (!kWide) {
    env.state().x87.last_ip &= 0xffffffff;
    env.state().x87.last_data &= 0xffffffff;
  }
  return true;
}

bool Emms(HandlerEnv& env, const Op&) {
  if (!MmxReady(env)) return false;
  env.state().x87.top = 0;
  env.state().x87.valid = 0;
  return true;
}

bool Fence(HandlerEnv&, const Op&) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return true;
}

}  // namespace

PlainHandler FindSseControl(const DecodedInstruction& instruction) {
  switch (instruction.info.mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR:
      return Ldmxcsr;
    case ZYDIS_MNEMONIC_STMXCSR:
      return Stmxcsr;
    case ZYDIS_MNEMONIC_FXSAVE:
      return Fxsave<false>;
    case ZYDIS_MNEMONIC_FXSAVE64:
      return Fxsave<true>;
    case ZYDIS_MNEMONIC_FXRSTOR:
      return Fxrstor<false>;
    case ZYDIS_MNEMONIC_FXRSTOR64:
      return Fxrstor<true>;
    case ZYDIS_MNEMONIC_EMMS:
      return Emms;
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_MFENCE:
      return Fence;
    default:
      return nullptr;
  }
}

bool LowerSse(const DecodedInstruction& instruction, Op* op) {
  const ZydisDecodedInstruction& info = instruction.info;
  if (info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || info.opcode_map != ZYDIS_OPCODE_MAP_0F) return false;
  bool mmx = false, xmm = false;
  for (int i = 0; i < info.operand_count_visible; ++i) {
    const ZydisDecodedOperand& operand = instruction.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegisterClass register_class = ZydisRegisterGetClass(operand.reg.value);
    mmx = mmx || register_class == ZYDIS_REGCLASS_MMX;
    xmm = xmm || register_class == ZYDIS_REGCLASS_XMM;
  }
  mmx = mmx && !xmm;
  PlainHandler handler = FindSseMove(instruction, mmx, op);
  if (handler == nullptr) handler = FindSseInteger(instruction, mmx);
  if (handler == nullptr) handler = FindSseFloat(instruction);
  if (handler == nullptr) handler = FindSseConvert(instruction);
  if (handler == nullptr) handler = FindSseControl(instruction);
  if (handler == nullptr) return false;
  op->plain = handler;
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_COMISS:
    case ZYDIS_MNEMONIC_COMISD:
    case ZYDIS_MNEMONIC_UCOMISS:
    case ZYDIS_MNEMONIC_UCOMISD:
      op->reads_flags = op->writes_flags = 1;
      break;
    default:
      break;
  }
  return true;
}

}  // namespace remora::cpu
