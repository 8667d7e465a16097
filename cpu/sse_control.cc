#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cpu/fp_lowering.h"
#include "cpu/fxsave.h"
#include "cpu/sse_environment.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"
#include "cpu/xsave.h"

// MXCSR, the FXSAVE and XSAVE images, EMMS, fences; and the door by which the decoder reaches all MMX and SSE handlers.

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

// --- XSAVE ---

// What EDX:EAX asks for of what there is.
uint64_t RequestedComponents(const HandlerEnv& env) {
  const CpuState& state = env.state();
  return (state.gpr[kRdx] << 32 | static_cast<uint32_t>(state.gpr[kRax])) & env.xcr0();
}

// Where a component is in the compacted form of `layout`'s; kXsaveExtendedOffset + the lengths of those before it.
size_t CompactedOffset(uint64_t layout, unsigned number) {
  size_t offset = kXsaveExtendedOffset;
  for (const XsaveComponent& component : kXsaveComponents)
    if (component.number < number && (layout >> component.number & 1) != 0) offset += component.bytes;
  return offset;
}

// XSAVE writes all components that are asked for; XSAVEOPT and XSAVEC leave out what is as a reset leaves it, and the
// latter says in XCOMP_BV what was asked for. Bytes between the parts are the program's own.
enum class Xsaving : uint8_t { kAll, kOptimized, kCompacted };

template <Xsaving kXsaving, bool kWide>
bool Xsave(HandlerEnv& env, const Op& op) {
  const CpuState& state = env.state();
  const uint64_t requested = RequestedComponents(env), address = env.Address(op);
  constexpr bool kIsCompacted = kXsaving == Xsaving::kCompacted;
  if (!env.CheckAligned(address, 64)) return false;
  constexpr unsigned kEnd = 64;
  if (!env.ProbeWrite(address, kIsCompacted ? CompactedOffset(requested, kEnd) : XsaveBytes(requested))) return false;
  XsaveImage image;
  WriteXsaveImage(state, &image);
  if (!kWide) {
    std::memset(image.data() + 12, 0, 4);
    std::memset(image.data() + 20, 0, 4);
  }
  uint64_t present;
  std::memcpy(&present, image.data() + kXsaveComponentsOffset, sizeof(present));
  if (kIsCompacted && state.mxcsr != CpuState().mxcsr) present |= kXstateSse;
  const uint64_t written = kXsaving == Xsaving::kAll ? requested : requested & present;
  uint64_t header[2] = {requested & present, requested | kXstateCompacted};
  if constexpr (!kIsCompacted) {
    if (!env.Load(address + kXsaveComponentsOffset, &header[0])) return false;
    header[0] = (header[0] & ~requested) | (requested & present);
  }
  const auto write = [&](size_t from, size_t end) {
    return env.Write(address + from, image.data() + from, end - from);
  };
  if ((written & kXstateX87) != 0 && !(write(0, 24) && write(32, 160))) return false;
  const uint64_t with_mxcsr = kIsCompacted ? written & kXstateSse : requested & (kXstateSse | kXstateAvx);
  if (with_mxcsr != 0 && !write(24, 32)) return false;
  if ((written & kXstateSse) != 0 && !write(160, 416)) return false;
  for (const XsaveComponent& component : kXsaveComponents) {
    if ((written >> component.number & 1) == 0) continue;
    const size_t offset = kIsCompacted ? CompactedOffset(requested, component.number) : component.offset;
    if (!env.Write(address + offset, image.data() + component.offset, component.bytes)) return false;
  }
  return env.Write(address + kXsaveHeaderOffset, header, kIsCompacted ? 16 : 8);
}

template <bool kWide>
bool Xrstor(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  const uint64_t requested = RequestedComponents(env), address = env.Address(op);
  if (!env.CheckAligned(address, 64)) return false;
  XsaveImage image = {};
  if (!env.Read(address, image.data(), kXsaveExtendedOffset)) return false;
  if (!IsGoodXsaveHeader(image, env.xcr0())) return env.Raise(ExitReason::kProtection);
  uint64_t layout;
  std::memcpy(&layout, image.data() + kXsaveCompactionOffset, sizeof(layout));
  for (const XsaveComponent& component : kXsaveComponents) {
    if ((requested >> component.number & 1) == 0) continue;
    size_t offset = component.offset;
    if ((layout & kXstateCompacted) != 0) {
      if ((layout >> component.number & 1) == 0) continue;
      offset = CompactedOffset(layout, component.number);
    }
    if (!env.Read(address + offset, image.data() + component.offset, component.bytes)) return false;
  }
  if (!ReadXsaveImage(image, requested, env.xcr0(), &state)) return env.Raise(ExitReason::kProtection);
  if (!kWide && (requested & kXstateX87) != 0) {
    state.x87.last_ip &= 0xffffffff;
    state.x87.last_data &= 0xffffffff;
  }
  return true;
}

bool Xgetbv(HandlerEnv& env, const Op&) {
  CpuState& state = env.state();
  const auto number = static_cast<uint32_t>(state.gpr[kRcx]);
  if (number > 1) return env.Raise(ExitReason::kProtection);
  state.gpr[kRax] = number == 0 ? env.xcr0() : XstateInUse(state);
  state.gpr[kRdx] = 0;
  return true;
}

bool Privileged(HandlerEnv& env, const Op&) { return env.Raise(ExitReason::kProtection); }

template <bool kAll>
bool ZeroVectors(HandlerEnv& env, const Op&) {
  constexpr int kFrom = kAll ? 0 : 16;
  for (int i = 0; i < 16; ++i)
    std::memset(env.state().vector[i].bytes.data() + kFrom, 0, sizeof(VectorRegister) - kFrom);
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

PlainHandler FindSseControl(const VectorInstruction& in) {
  switch (in.mnemonic) {
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
    case ZYDIS_MNEMONIC_XSAVE:
      return Xsave<Xsaving::kAll, false>;
    case ZYDIS_MNEMONIC_XSAVE64:
      return Xsave<Xsaving::kAll, true>;
    case ZYDIS_MNEMONIC_XSAVEOPT:
      return Xsave<Xsaving::kOptimized, false>;
    case ZYDIS_MNEMONIC_XSAVEOPT64:
      return Xsave<Xsaving::kOptimized, true>;
    case ZYDIS_MNEMONIC_XSAVEC:
      return Xsave<Xsaving::kCompacted, false>;
    case ZYDIS_MNEMONIC_XSAVEC64:
      return Xsave<Xsaving::kCompacted, true>;
    case ZYDIS_MNEMONIC_XRSTOR:
      return Xrstor<false>;
    case ZYDIS_MNEMONIC_XRSTOR64:
      return Xrstor<true>;
    case ZYDIS_MNEMONIC_XGETBV:
      return Xgetbv;
    case ZYDIS_MNEMONIC_XSETBV:
      return Privileged;
    case ZYDIS_MNEMONIC_VZEROALL:
      return ZeroVectors<true>;
    case ZYDIS_MNEMONIC_VZEROUPPER:
      return ZeroVectors<false>;
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

namespace {

// The SSE instruction that a VEX mnemonic is named for; the mnemonic itself where there is none.
ZydisMnemonic SseMnemonic(ZydisMnemonic vex) {
  static const std::vector<uint16_t> kTable = [] {
    std::unordered_map<std::string_view, uint16_t> numbers;
    for (int i = 1; i <= ZYDIS_MNEMONIC_MAX_VALUE; ++i)
      numbers[ZydisMnemonicGetString(static_cast<ZydisMnemonic>(i))] = static_cast<uint16_t>(i);
    std::vector<uint16_t> table(ZYDIS_MNEMONIC_MAX_VALUE + 1);
    for (const auto& [name, number] : numbers) {
      const auto sse = name.starts_with('v') ? numbers.find(name.substr(1)) : numbers.end();
      table[number] = sse == numbers.end() ? number : sse->second;
    }
    return table;
  }();
  return static_cast<ZydisMnemonic>(kTable[vex]);
}

}  // namespace

bool DescribeVector(const DecodedInstruction& instruction, VectorInstruction* out) {
  const InstructionInfo& info = instruction.info;
  if (info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
    out->mnemonic = SseMnemonic(info.mnemonic);
    out->form = info.vector_length == 256 ? Form::kVex256 : Form::kVex128;
  } else if (info.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
    out->mnemonic = info.mnemonic;
    out->form = Form::kSse;
  } else {
    return false;
  }
  bool mmx = false, xmm = false;
  for (int i = 0; i < info.operand_count_visible; ++i) {
    const DecodedOperand& operand = instruction.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegisterClass register_class = ZydisRegisterGetClass(operand.reg.value);
    mmx = mmx || register_class == ZYDIS_REGCLASS_MMX;
    xmm = xmm || register_class == ZYDIS_REGCLASS_XMM;
  }
  out->mmx = mmx && !xmm;
  out->last_is_immediate = info.operand_count_visible > 0 &&
                           instruction.operands[info.operand_count_visible - 1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  return true;
}

bool LowerSse(const DecodedInstruction& instruction, Op* op) {
  if (instruction.info.opcode_map != ZYDIS_OPCODE_MAP_0F && instruction.info.opcode_map != ZYDIS_OPCODE_MAP_0F38 &&
      instruction.info.opcode_map != ZYDIS_OPCODE_MAP_0F3A)
    return false;
  VectorInstruction in{.in = instruction};
  if (!DescribeVector(instruction, &in)) return false;
  PlainHandler handler = FindSseMove(in, op);
  if (handler == nullptr) handler = FindSseInteger(in);
  if (handler == nullptr) handler = FindSseFloat(in);
  if (handler == nullptr) handler = FindSseConvert(in);
  if (handler == nullptr) handler = FindSseString(in);
  if (handler == nullptr) handler = FindCrypto(in);
  if (handler == nullptr) handler = FindSseControl(in);
  if (handler == nullptr && in.form != Form::kSse) handler = FindAvx(in, *op);
  if (handler == nullptr && in.form != Form::kSse) handler = FindFma(in, op);
  if (handler == nullptr) return false;
  op->plain = handler;
  for (int i = 0; i < instruction.info.operand_count; ++i) {
    const DecodedOperand& operand = instruction.operands[i];
    // COMISS, PTEST, PCMPESTRI and their kin give all of them a value.
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_FLAGS)
      op->reads_flags = op->writes_flags = 1;
  }
  return true;
}

}  // namespace remora::cpu
