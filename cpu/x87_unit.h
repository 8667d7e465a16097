#ifndef REMORA_CPU_X87_UNIT_H_
#define REMORA_CPU_X87_UNIT_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/cpu_state.h"
#include "cpu/soft_float.h"

namespace remora::cpu {

// Status word bits beside the exception flags.
inline constexpr uint16_t kX87StackFault = 0x0040, kX87ErrorSummary = 0x0080, kX87C0 = 0x0100, kX87C1 = 0x0200,
                          kX87C2 = 0x0400, kX87C3 = 0x4000, kX87Busy = 0x8000;

// The instructions of the x87 unit as operations on an X87State: arithmetic, stack, condition codes, exceptions.
// Memory is passed as bytes already read, or to be written by the caller.
//
// Invariants:
//  1. An unmasked IE, DE or ZE (DE not in loads), or an unmasked OE or UE of a store, leaves registers, tags and TOP as
//     they were.
//  2. ES and B are set exactly while a flag is set whose mask is clear; the caller raises #MF at the next waiting
//     instruction (Pending()).
// Source: SDM volume 1 chapter 8; where it leaves a choice, what AMD's silicon does (testing/silicon).
// Thread safety: none; lives for one instruction.
class X87Unit {
 public:
  explicit X87Unit(X87State& state);

  static bool Pending(const X87State& state) { return (state.status & kX87ErrorSummary) != 0; }

  enum class Arithmetic : uint8_t { kAdd, kMultiply, kSubtract, kSubtractReverse, kDivide, kDivideReverse };

  // --- loads ---
  void LoadRegister(unsigned i);  // FLD ST(i)
  void Load(Unpacked value);      // FLD m32, m64; FILD
  void LoadExact(Float80 value);  // FLD m80, FBLD
  enum class Constant : uint8_t { kOne, kLog2Of10, kLog2E, kPi, kLog10Of2, kLn2, kZero };
  void LoadConstant(Constant constant);

  // --- stores: what is to be written, or false where an unmasked exception forbids it. `pops` numbers of pops follow.
  // ---
  bool Store32(uint32_t* value, bool pop);
  bool Store64(uint64_t* value, bool pop);
  bool Store80(Float80* value);  // always pops
  bool StoreInteger(int bits, bool truncate, int64_t* value, bool pop);
  bool StoreBcd(std::array<uint8_t, 10>* value);  // always pops
  void StoreRegister(unsigned i, bool pop);
  void StoreRegisterUnchecked(unsigned i);  // FSTPNCE: nothing is stored, and nothing raised, where ST(0) is empty

  // --- arithmetic ---
  void ArithmeticToTop(Arithmetic operation, unsigned source);                      // FADD ST(0), ST(i)
  void ArithmeticToRegister(Arithmetic operation, unsigned destination, bool pop);  // FADD ST(i), ST(0); FADDP
  void ArithmeticWithMemory(Arithmetic operation, Unpacked source);                 // FADD m32, FIADD m16
  void SquareRootTop();
  void RoundTop();
  void ChangeSign();
  void AbsoluteValue();
  void Scale();
  void ExtractExponent();
  void PartialRemainder(bool nearest);  // FPREM, FPREM1

  // --- the host's own unit ---
  enum class Transcendental : uint8_t { kF2xm1, kFyl2x, kFyl2xp1, kFptan, kFpatan, kFsin, kFcos, kFsincos };
  void RunTranscendental(Transcendental function);

  // --- comparison: an unmasked exception forbids the pops, not the answer ---
  void CompareRegister(unsigned i, bool quiet, int pops);
  void CompareMemory(Unpacked source, int pops);
  void CompareZero();
  void Examine();
  uint64_t CompareToFlags(unsigned i, bool quiet, bool pop);  // FCOMI, FUCOMI: ZF, PF and CF

  // --- stack and control ---
  void Exchange(unsigned i);
  void ConditionalMove(unsigned i, bool condition);
  void Free(unsigned i, bool pop);
  void IncrementTop();
  void DecrementTop();
  void Initialize();
  void ClearExceptions();
  void LoadControl(uint16_t control);
  // All flags at once, FLDENV and FXRSTOR: keeps invariant 2.
  void LoadStatus(uint16_t status);
  uint16_t StatusWord() const { return static_cast<uint16_t>(state_.status | (state_.top << 11)); }

  // --- environment images ---
  static constexpr size_t kEnvironmentBytes32 = 28, kEnvironmentBytes16 = 14, kRegistersBytes = 80;
  // FNSTENV in the 32-bit (28 bytes) or 16-bit (14 bytes) protected-mode form; masks all exceptions.
  void StoreEnvironment(std::byte* image, bool wide);
  void LoadEnvironment(const std::byte* image, bool wide);
  void StoreRegisters(std::byte* image) const;  // the 80 bytes that FNSAVE has behind the environment
  void LoadRegisters(const std::byte* image);

  // 0 valid, 1 zero, 2 special, 3 empty, two bits for each physical register.
  uint16_t FullTagWord() const;

 private:
  static constexpr int kUnderflowed = 0, kOverflowed = 1;

  unsigned Physical(unsigned i) const { return (state_.top + i) & 7; }
  bool IsEmpty(unsigned i) const { return (state_.valid >> Physical(i) & 1) == 0; }
  Float80 Get(unsigned i) const {
    const X87Register& reg = state_.registers[Physical(i)];
    return {reg.significand, reg.sign_exponent};
  }
  Unpacked Value(unsigned i) const { return Unpack80(Get(i)); }
  void Set(unsigned i, Float80 value);
  void Push(Float80 value);
  void Pop(int count);

  // IE, SF and C1; true if masked, so that the default NaN is the result.
  bool StackFault(int kind);
  // Records what env_ raised. False: an unmasked exception that comes before the result.
  bool Commit();
  bool CommitStore();  // the same for a store to memory: OE and UE count too
  void UpdateSummary();
  void SetConditions(uint16_t conditions);
  void SetOrdering(Ordering ordering);
  const FloatFormat& PrecisionFormat() const;
  Unpacked Compute(Arithmetic operation, const Unpacked& a, const Unpacked& b);

  X87State& state_;
  FloatEnvironment env_;
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_X87_UNIT_H_
