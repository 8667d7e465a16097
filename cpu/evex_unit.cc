#include "cpu/evex_unit.h"

#if defined(__x86_64__)
#include <Zydis/Zydis.h>
#include <cpuid.h>
#include <xbyak/xbyak.h>

#include <cstring>
#include <span>

#include "base/check.h"
#include "cpu/sse_environment.h"

namespace remora::cpu {
namespace {

using namespace Xbyak::util;  // the registers' names

constexpr size_t kMaxRoutineBytes = 512;
constexpr uint32_t kExceptionFlags = 0x3f, kUnderflowFlag = 1 << 4;

// What an instruction names, as bits by the registers' numbers.
struct Registers {
  uint32_t vectors = 0, written_vectors = 0;
  uint8_t opmasks = 0, written_opmasks = 0;
  bool general = false, flags = false;
};

Registers RegistersOf(const ZydisDecodedInstruction& info, const ZydisDecodedOperand* operands) {
  Registers registers;
  for (int i = 0; i < info.operand_count; ++i) {
    const ZydisDecodedOperand& operand = operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const unsigned bit = 1u << (static_cast<unsigned>(ZydisRegisterGetId(operand.reg.value)) & 31);
    const bool written = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    switch (ZydisRegisterGetClass(operand.reg.value)) {
      case ZYDIS_REGCLASS_XMM:
      case ZYDIS_REGCLASS_YMM:
      case ZYDIS_REGCLASS_ZMM:
        registers.vectors |= bit;
        if (written) registers.written_vectors |= bit;
        break;
      case ZYDIS_REGCLASS_MASK:
        registers.opmasks |= static_cast<uint8_t>(bit);
        if (written) registers.written_opmasks |= static_cast<uint8_t>(bit);
        break;
      case ZYDIS_REGCLASS_GPR32:
      case ZYDIS_REGCLASS_GPR64:
        registers.general = true;
        break;
      case ZYDIS_REGCLASS_FLAGS:
        registers.flags = true;
        break;
      default:
        break;
    }
  }
  return registers;
}

constexpr unsigned kMap0F38 = 2, kMap0F3A = 3;

unsigned Byte(uint64_t bytes, unsigned i) { return static_cast<unsigned>(bytes >> 8 * i & 0xff); }
bool IsEvex(uint64_t bytes) { return Byte(bytes, 0) == 0x62; }
// Whether the instruction has an opcode of this map from `first` to `last`.
bool HasOpcode(uint64_t bytes, unsigned map, unsigned first, unsigned last) {
  constexpr unsigned kMap = 7;
  return IsEvex(bytes) && (Byte(bytes, 1) & kMap) == map && Byte(bytes, 4) >= first && Byte(bytes, 4) <= last;
}

// Whether an instruction works as if all exceptions were masked: EVEX.b with registers only is a rounding mode or
// no exceptions; VRCP14PS and its kin know none.
bool HasNoExceptions(uint64_t bytes) {
  constexpr unsigned kBitB = 0x10, kRegisters = 0xc0;
  if (HasOpcode(bytes, kMap0F38, 0x4c, 0x4f)) return true;
  return IsEvex(bytes) && (Byte(bytes, 3) & kBitB) != 0 && Byte(bytes, 5) >= kRegisters;
}

// Whether it is VREDUCEPS or one of its kin, which raise no underflow (SDM volume 2, "SIMD Floating-Point Exceptions").
bool IsReduction(uint64_t bytes) { return HasOpcode(bytes, kMap0F3A, 0x56, 0x57); }

// Whether VCVTPS2PH, which flushes nothing to zero, makes a half that is tiny though exact: a multiple of 2^-24 below
// 2^-14. False for any other instruction.
bool MakesExactTinyHalf(const CpuState& state, uint64_t bytes) {
  constexpr unsigned kPrefix = 3, kPrefix66 = 1, kVcvtps2ph = 0x1d;
  if (!HasOpcode(bytes, kMap0F3A, kVcvtps2ph, kVcvtps2ph) || (Byte(bytes, 2) & kPrefix) != kPrefix66) return false;
  // The source's number: ModRM.reg, R and R'.
  const unsigned source = (Byte(bytes, 5) >> 3 & 7) | (~Byte(bytes, 1) >> 7 & 1) << 3 | (~Byte(bytes, 1) >> 4 & 1) << 4;
  const unsigned lanes = 4u << (Byte(bytes, 3) >> 5 & 3), mask = Byte(bytes, 3) & 7;
  const uint64_t active = mask == 0 ? ~uint64_t{0} : state.opmask[mask];
  for (unsigned lane = 0; lane < lanes; ++lane) {
    if ((active >> lane & 1) == 0) continue;
    uint32_t bits;
    std::memcpy(&bits, state.vector[source].bytes.data() + lane * sizeof(bits), sizeof(bits));
    // 2^-24 to just below 2^-14, by their exponents; and how many of the fraction's last bits are less than 2^-24.
    constexpr unsigned kFraction = 23, kFirst = 103, kLast = 112, kNoneAt = 126;
    const unsigned exponent = bits >> kFraction & 0xff;
    if (exponent < kFirst || exponent > kLast) continue;
    const uint32_t fraction = bits & ((1u << kFraction) - 1), lost = (1u << (kNoneAt - exponent)) - 1;
    if ((fraction & lost) == 0) return true;
  }
  return false;
}

constexpr size_t VectorOffset(int number) { return offsetof(CpuState, vector) + sizeof(VectorRegister) * number; }
constexpr size_t OpmaskOffset(int number) { return offsetof(CpuState, opmask) + sizeof(uint64_t) * number; }

class RoutineWriter : public Xbyak::CodeGenerator {
 public:
  // Into memory of the caller's, which need not be executable: to map some for each would take four host calls.
  explicit RoutineWriter(std::span<uint8_t> code) : CodeGenerator(code.size(), code.data()) {}

  // RDI is the CpuState, RSI the Frame, whose first bytes are the memory operand.
  void Write(const Registers& registers, const uint8_t* bytes, unsigned length) {
    using Frame = EvexUnit::Frame;
    const auto each = [](uint32_t bits, auto f) {
      for (int i = 0; i < 32; ++i)
        if ((bits >> i & 1) != 0) f(i);
    };
    each(registers.vectors, [&](int i) { vmovups(Xbyak::Zmm(i), ptr[rdi + VectorOffset(i)]); });
    each(registers.opmasks, [&](int i) { kmovq(Xbyak::Opmask(i), ptr[rdi + OpmaskOffset(i)]); });
    if (registers.general) mov(rax, ptr[rsi + offsetof(Frame, general)]);
    ldmxcsr(ptr[rsi + offsetof(Frame, mxcsr)]);
    db(bytes, length);
    if (registers.flags) {
      pushfq();
      pop(qword[rsi + offsetof(Frame, flags)]);
    }
    stmxcsr(ptr[rsi + offsetof(Frame, mxcsr)]);
    ldmxcsr(ptr[rsi + offsetof(Frame, host_mxcsr)]);
    Xbyak::Label done;
    mov(edx, dword[rsi + offsetof(Frame, mxcsr)]);
    test(dword[rsi + offsetof(Frame, refused)], edx);
    jnz(done, T_NEAR);
    each(registers.written_vectors, [&](int i) { vmovups(ptr[rdi + VectorOffset(i)], Xbyak::Zmm(i)); });
    each(registers.written_opmasks, [&](int i) { kmovq(ptr[rdi + OpmaskOffset(i)], Xbyak::Opmask(i)); });
    if (registers.general) mov(ptr[rsi + offsetof(Frame, general)], rax);
    L(done);
    vzeroupper();
    ret();
  }
};

}  // namespace

EvexUnit::EvexUnit() = default;

void EvexUnit::Clear() {
  std::fill_n(entries_.get(), kEntries, Entry());
  used_entries_ = 0;
  used_bytes_ = 0;
  // Other code comes to the same place, written at another address: before that is run the CPU has to serialize (SDM
  // volume 3, 9.1.3), which CPUID does.
  unsigned eax, ebx, ecx, edx;
  __cpuid(0, eax, ebx, ecx, edx);
}

EvexUnit::Routine EvexUnit::Make(uint64_t bytes) {
  ZydisDecoder decoder;
  CHECK(ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
  uint8_t code[ZYDIS_MAX_INSTRUCTION_LENGTH] = {};
  std::memcpy(code, &bytes, sizeof(bytes));
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  CHECK(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, sizeof(code), &info, operands)));
  CHECK(info.length <= sizeof(bytes));
  alignas(16) uint8_t written[kMaxRoutineBytes];
  RoutineWriter writer(written);
  writer.Write(RegistersOf(info, operands), code, info.length);
  CHECK_MSG(Xbyak::GetError() == Xbyak::ERR_NONE, Xbyak::ConvertErrorToString(Xbyak::GetError()));
  if (used_entries_ > kEntries / 2 || used_bytes_ + writer.getSize() > memory_.bytes()) Clear();
  std::memcpy(memory_.writable() + used_bytes_, writer.getCode(), writer.getSize());
  std::byte* made = memory_.code() + used_bytes_;
  used_bytes_ += (writer.getSize() + 15) & ~size_t{15};
  return reinterpret_cast<Routine>(made);
}

EvexUnit::Routine EvexUnit::Find(uint64_t bytes) {
  const uint32_t first = static_cast<uint32_t>(bytes * 0x9e3779b97f4a7c15 >> 32);
  Entry* entry = &entries_[first % kEntries];
  for (uint32_t i = 1; entry->routine != nullptr; ++i) {
    if (entry->bytes == bytes) return entry->routine;
    entry = &entries_[(first + i) % kEntries];
  }
  const Routine made = Make(bytes);
  // Make may have emptied the table.
  if (used_entries_ == 0) entry = &entries_[first % kEntries];
  *entry = {bytes, made};
  ++used_entries_;
  return made;
}

// Generated code has no type in front of it that could be looked at.
[[clang::no_sanitize("function")]] uint8_t EvexUnit::RunWith(Routine routine, CpuState* state, uint32_t mxcsr,
                                                             uint32_t refused) {
  frame_.mxcsr = mxcsr & ~kExceptionFlags;
  frame_.refused = refused;
  routine(state, &frame_);
  return static_cast<uint8_t>(frame_.mxcsr & kExceptionFlags);
}

uint8_t EvexUnit::Run(CpuState* state, uint64_t bytes) {
  const Routine routine = Find(bytes);
  const uint32_t unmasked = ~(state->mxcsr >> 7) & kExceptionFlags;
  const uint32_t mxcsr = state->mxcsr | kMxcsrMasks;
  if ((unmasked & kUnderflowFlag) == 0 || HasNoExceptions(bytes)) return RunWith(routine, state, mxcsr, unmasked);
  // An unmasked underflow is a tiny result, whether it is exact or not; a masked one is an inexact one, and the host's
  // is masked. Results that are to be flushed to zero are known by their being tiny.
  const uint32_t refuse_all = kMxcsrMasks;
  if (MakesExactTinyHalf(*state, bytes)) return RunWith(routine, state, mxcsr, refuse_all) | kUnderflowFlag;
  const uint8_t flushed = RunWith(routine, state, mxcsr | kMxcsrFtz, refuse_all);
  if ((flushed & kUnderflowFlag) != 0) return RunWith(routine, state, mxcsr & ~kMxcsrFtz, refuse_all) | kUnderflowFlag;
  // Whether tiny remainders are flushed, which Intel does and AMD does not, is up to a host that knows of the mask.
  if (IsReduction(bytes)) return RunWith(routine, state, mxcsr & ~(kUnderflowFlag << 7), unmasked);
  // While underflows are unmasked nothing is flushed.
  return RunWith(routine, state, mxcsr & ~kMxcsrFtz, unmasked);
}

}  // namespace remora::cpu

#else

#include "base/check.h"

namespace remora::cpu {

EvexUnit::EvexUnit() = default;
uint8_t EvexUnit::Run(CpuState*, uint64_t) {
  CHECK_MSG(false, "AVX-512 on a host that cannot have it");
  return 0;
}

}  // namespace remora::cpu

#endif
