#include <array>
#include <cstdint>
#include <cstring>

#include "cpu/fp_lowering.h"
#include "cpu/handler_env.h"
#include "cpu/x87_unit.h"

// The x87 instructions as handlers: operands out of and into memory, pending exceptions, last-instruction pointers.
// What the instructions mean is in cpu/x87_unit.h.
//
// An op keeps its ModRM byte in immediate8 and the low three bits of its opcode in src, which together are the FPU's
// opcode register and, for register forms, ST(i).

namespace remora::cpu {
namespace {

using Arithmetic = X87Unit::Arithmetic;
using Constant = X87Unit::Constant;
using Transcendental = X87Unit::Transcendental;

unsigned StackIndex(const Op& op) { return op.immediate8 & 7; }

// FIP, FOP and FDP of an instruction that is no control instruction.
void Record(HandlerEnv& env, const Op& op) {
  X87State& x87 = env.state().x87;
  x87.last_ip = env.InstructionAddress(op);
  x87.last_opcode = static_cast<uint16_t>(op.src << 8 | op.immediate8);
}

void RecordWithMemory(HandlerEnv& env, const Op& op, uint64_t address) {
  Record(env, op);
  env.state().x87.last_data = address;
}

// --- register forms ---

using RegisterFunction = void (*)(X87Unit& unit, unsigned i);

template <RegisterFunction kFunction>
bool OnRegister(HandlerEnv& env, const Op& op) {
  X87State& x87 = env.state().x87;
  if (X87Unit::Pending(x87)) return env.Raise(ExitReason::kX87Error);
  Record(env, op);
  X87Unit unit(x87);
  kFunction(unit, StackIndex(op));
  return true;
}

// FINCSTP and the like: waits, but is a control instruction to FIP and FOP.
template <RegisterFunction kFunction>
bool OnControl(HandlerEnv& env, const Op& op) {
  X87State& x87 = env.state().x87;
  if (X87Unit::Pending(x87)) return env.Raise(ExitReason::kX87Error);
  X87Unit unit(x87);
  kFunction(unit, StackIndex(op));
  return true;
}

template <RegisterFunction kFunction>
bool OnControlNoWait(HandlerEnv& env, const Op& op) {
  X87Unit unit(env.state().x87);
  kFunction(unit, StackIndex(op));
  return true;
}

template <Arithmetic kOperation>
void ToTop(X87Unit& unit, unsigned i) {
  unit.ArithmeticToTop(kOperation, i);
}
template <Arithmetic kOperation, bool kPop>
void ToRegister(X87Unit& unit, unsigned i) {
  unit.ArithmeticToRegister(kOperation, i, kPop);
}
template <bool kQuiet, int kPops>
void CompareWith(X87Unit& unit, unsigned i) {
  unit.CompareRegister(i, kQuiet, kPops);
}
template <Constant kConstant>
void PushConstant(X87Unit& unit, unsigned) {
  unit.LoadConstant(kConstant);
}
template <Transcendental kFunction>
void RunFunction(X87Unit& unit, unsigned) {
  unit.RunTranscendental(kFunction);
}

void Fld(X87Unit& unit, unsigned i) { unit.LoadRegister(i); }
void Fxch(X87Unit& unit, unsigned i) { unit.Exchange(i); }
void Fst(X87Unit& unit, unsigned i) { unit.StoreRegister(i, false); }
void Fstp(X87Unit& unit, unsigned i) { unit.StoreRegister(i, true); }
void Fstpnce(X87Unit& unit, unsigned i) { unit.StoreRegisterUnchecked(i); }
void Ffree(X87Unit& unit, unsigned i) { unit.Free(i, false); }
void Ffreep(X87Unit& unit, unsigned i) { unit.Free(i, true); }
void Fchs(X87Unit& unit, unsigned) { unit.ChangeSign(); }
void Fabs(X87Unit& unit, unsigned) { unit.AbsoluteValue(); }
void Ftst(X87Unit& unit, unsigned) { unit.CompareZero(); }
void Fxam(X87Unit& unit, unsigned) { unit.Examine(); }
void Fxtract(X87Unit& unit, unsigned) { unit.ExtractExponent(); }
void Fprem(X87Unit& unit, unsigned) { unit.PartialRemainder(false); }
void Fprem1(X87Unit& unit, unsigned) { unit.PartialRemainder(true); }
void Fsqrt(X87Unit& unit, unsigned) { unit.SquareRootTop(); }
void Frndint(X87Unit& unit, unsigned) { unit.RoundTop(); }
void Fscale(X87Unit& unit, unsigned) { unit.Scale(); }
void Fincstp(X87Unit& unit, unsigned) { unit.IncrementTop(); }
void Fdecstp(X87Unit& unit, unsigned) { unit.DecrementTop(); }
void Fninit(X87Unit& unit, unsigned) { unit.Initialize(); }
void Fnclex(X87Unit& unit, unsigned) { unit.ClearExceptions(); }
void Nothing(X87Unit&, unsigned) {}

// FCMOVcc: opcodes DA and DB, groups of ModRM.
bool Fcmov(HandlerEnv& env, const Op& op) {
  X87State& x87 = env.state().x87;
  if (X87Unit::Pending(x87)) return env.Raise(ExitReason::kX87Error);
  static constexpr uint64_t kTested[4] = {kFlagCF, kFlagZF, kFlagCF | kFlagZF, kFlagPF};
  const bool negated = op.src == 3;
  const bool any = (env.state().rflags & kTested[(op.immediate8 >> 3) & 3]) != 0;
  Record(env, op);
  X87Unit unit(x87);
  unit.ConditionalMove(StackIndex(op), any != negated);
  return true;
}

template <bool kQuiet, bool kPop>
bool Fcomi(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  if (X87Unit::Pending(state.x87)) return env.Raise(ExitReason::kX87Error);
  Record(env, op);
  X87Unit unit(state.x87);
  state.rflags = (state.rflags & ~kStatusFlags) | unit.CompareToFlags(StackIndex(op), kQuiet, kPop);
  return true;
}

bool FnstswAx(HandlerEnv& env, const Op&) {
  CpuState& state = env.state();
  state.gpr[kRax] = (state.gpr[kRax] & ~uint64_t{0xffff}) | X87Unit(state.x87).StatusWord();
  return true;
}

bool Fwait(HandlerEnv& env, const Op&) {
  return X87Unit::Pending(env.state().x87) ? env.Raise(ExitReason::kX87Error) : true;
}

// --- memory forms ---

struct Float32Operand {
  using Image = uint32_t;
  static Unpacked Value(Image image) { return Unpack32(image); }
};
struct Float64Operand {
  using Image = uint64_t;
  static Unpacked Value(Image image) { return Unpack64(image); }
};
template <typename Integer>
struct IntegerOperand {
  using Image = Integer;
  static Unpacked Value(Image image) { return FromInteger(image); }
};
using Int16 = IntegerOperand<int16_t>;
using Int32 = IntegerOperand<int32_t>;
using Int64 = IntegerOperand<int64_t>;

// Checks, loads the operand and gives it to `use`.
template <typename Operand, typename Use>
bool WithOperand(HandlerEnv& env, const Op& op, Use use) {
  X87State& x87 = env.state().x87;
  if (X87Unit::Pending(x87)) return env.Raise(ExitReason::kX87Error);
  const uint64_t address = env.Address(op);
  typename Operand::Image image;
  if (!env.Load(address, &image)) return false;
  RecordWithMemory(env, op, env.Offset(op));
  X87Unit unit(x87);
  use(unit, Operand::Value(image));
  return true;
}

template <typename Operand, Arithmetic kOperation>
bool ArithmeticMemory(HandlerEnv& env, const Op& op) {
  return WithOperand<Operand>(
      env, op, [](X87Unit& unit, const Unpacked& value) { unit.ArithmeticWithMemory(kOperation, value); });
}
template <typename Operand, int kPops>
bool CompareMemory(HandlerEnv& env, const Op& op) {
  return WithOperand<Operand>(env, op, [](X87Unit& unit, const Unpacked& value) { unit.CompareMemory(value, kPops); });
}
template <typename Operand>
bool LoadMemory(HandlerEnv& env, const Op& op) {
  return WithOperand<Operand>(env, op, [](X87Unit& unit, const Unpacked& value) { unit.Load(value); });
}

bool Fld80(HandlerEnv& env, const Op& op) {
  X87State& x87 = env.state().x87;
  if (X87Unit::Pending(x87)) return env.Raise(ExitReason::kX87Error);
  std::array<std::byte, 10> image;
  if (!env.Load(env.Address(op), &image)) return false;
  RecordWithMemory(env, op, env.Offset(op));
  Float80 value;
  std::memcpy(&value.significand, image.data(), 8);
  std::memcpy(&value.sign_exponent, image.data() + 8, 2);
  X87Unit(x87).LoadExact(value);
  return true;
}

bool Fbld(HandlerEnv& env, const Op& op) {
  X87State& x87 = env.state().x87;
  if (X87Unit::Pending(x87)) return env.Raise(ExitReason::kX87Error);
  std::array<uint8_t, 10> image;
  if (!env.Load(env.Address(op), &image)) return false;
  RecordWithMemory(env, op, env.Offset(op));
  int64_t number = 0;
  for (int i = 8; i >= 0; --i) number = number * 100 + (image[i] >> 4) * 10 + (image[i] & 15);
  Unpacked value = FromInteger(number);
  value.sign = (image[9] & 0x80) != 0;
  X87Unit(x87).LoadExact(Pack80(value));
  return true;
}

// The store's address is probed first, so that a page fault changes nothing.
template <typename Image, typename Make>
bool StoreWith(HandlerEnv& env, const Op& op, Make make) {
  X87State& x87 = env.state().x87;
  if (X87Unit::Pending(x87)) return env.Raise(ExitReason::kX87Error);
  const uint64_t address = env.Address(op);
  if (!env.ProbeWrite(address, sizeof(Image))) return false;
  RecordWithMemory(env, op, env.Offset(op));
  X87Unit unit(x87);
  Image image;
  return make(unit, &image) ? env.Store(address, image) : true;
}

template <bool kPop>
bool Fst32(HandlerEnv& env, const Op& op) {
  return StoreWith<uint32_t>(env, op, [](X87Unit& unit, uint32_t* image) { return unit.Store32(image, kPop); });
}
template <bool kPop>
bool Fst64(HandlerEnv& env, const Op& op) {
  return StoreWith<uint64_t>(env, op, [](X87Unit& unit, uint64_t* image) { return unit.Store64(image, kPop); });
}
bool Fstp80(HandlerEnv& env, const Op& op) {
  return StoreWith<std::array<std::byte, 10>>(env, op, [](X87Unit& unit, std::array<std::byte, 10>* image) {
    Float80 value;
    if (!unit.Store80(&value)) return false;
    std::memcpy(image->data(), &value.significand, 8);
    std::memcpy(image->data() + 8, &value.sign_exponent, 2);
    return true;
  });
}
template <typename Integer, bool kTruncate, bool kPop>
bool Fist(HandlerEnv& env, const Op& op) {
  return StoreWith<Integer>(env, op, [](X87Unit& unit, Integer* image) {
    int64_t value = 0;
    if (!unit.StoreInteger(8 * sizeof(Integer), kTruncate, &value, kPop)) return false;
    *image = static_cast<Integer>(value);
    return true;
  });
}
bool Fbstp(HandlerEnv& env, const Op& op) {
  return StoreWith<std::array<uint8_t, 10>>(
      env, op, [](X87Unit& unit, std::array<uint8_t, 10>* image) { return unit.StoreBcd(image); });
}

// --- control words and images ---

bool Fldcw(HandlerEnv& env, const Op& op) {
  X87State& x87 = env.state().x87;
  if (X87Unit::Pending(x87)) return env.Raise(ExitReason::kX87Error);
  uint16_t control;
  if (!env.Load(env.Address(op), &control)) return false;
  X87Unit(x87).LoadControl(control);
  return true;
}
bool Fnstcw(HandlerEnv& env, const Op& op) { return env.Store(env.Address(op), env.state().x87.control); }
bool Fnstsw(HandlerEnv& env, const Op& op) { return env.Store(env.Address(op), X87Unit(env.state().x87).StatusWord()); }

bool Fnstenv(HandlerEnv& env, const Op& op) {
  const bool wide = op.size != X87Unit::kEnvironmentBytes16;
  const size_t length = wide ? X87Unit::kEnvironmentBytes32 : X87Unit::kEnvironmentBytes16;
  const uint64_t address = env.Address(op);
  if (!env.ProbeWrite(address, length)) return false;
  std::byte image[X87Unit::kEnvironmentBytes32];
  X87Unit(env.state().x87).StoreEnvironment(image, wide);
  return env.Write(address, image, length);
}

bool Fldenv(HandlerEnv& env, const Op& op) {
  X87State& x87 = env.state().x87;
  if (X87Unit::Pending(x87)) return env.Raise(ExitReason::kX87Error);
  const bool wide = op.size != X87Unit::kEnvironmentBytes16;
  std::byte image[X87Unit::kEnvironmentBytes32];
  if (!env.Read(env.Address(op), image, wide ? X87Unit::kEnvironmentBytes32 : X87Unit::kEnvironmentBytes16))
    return false;
  X87Unit(x87).LoadEnvironment(image, wide);
  return true;
}

constexpr size_t kSaveBytes32 = X87Unit::kEnvironmentBytes32 + X87Unit::kRegistersBytes;
constexpr size_t kSaveBytes16 = X87Unit::kEnvironmentBytes16 + X87Unit::kRegistersBytes;

bool Fnsave(HandlerEnv& env, const Op& op) {
  const bool wide = op.size != kSaveBytes16;
  const size_t length = wide ? kSaveBytes32 : kSaveBytes16;
  const uint64_t address = env.Address(op);
  if (!env.ProbeWrite(address, length)) return false;
  std::byte image[kSaveBytes32];
  X87Unit unit(env.state().x87);
  unit.StoreEnvironment(image, wide);
  unit.StoreRegisters(image + (length - X87Unit::kRegistersBytes));
  unit.Initialize();
  return env.Write(address, image, length);
}

bool Frstor(HandlerEnv& env, const Op& op) {
  X87State& x87 = env.state().x87;
  if (X87Unit::Pending(x87)) return env.Raise(ExitReason::kX87Error);
  const bool wide = op.size != kSaveBytes16;
  const size_t length = wide ? kSaveBytes32 : kSaveBytes16;
  std::byte image[kSaveBytes32];
  if (!env.Read(env.Address(op), image, length)) return false;
  X87Unit unit(x87);
  unit.LoadEnvironment(image, wide);
  unit.LoadRegisters(image + (length - X87Unit::kRegistersBytes));
  return true;
}

// --- tables ---

// ModRM.reg's order in the arithmetic groups.
template <typename Operand>
constexpr std::array<PlainHandler, 8> kArithmeticMemory = {ArithmeticMemory<Operand, Arithmetic::kAdd>,
                                                           ArithmeticMemory<Operand, Arithmetic::kMultiply>,
                                                           CompareMemory<Operand, 0>,
                                                           CompareMemory<Operand, 1>,
                                                           ArithmeticMemory<Operand, Arithmetic::kSubtract>,
                                                           ArithmeticMemory<Operand, Arithmetic::kSubtractReverse>,
                                                           ArithmeticMemory<Operand, Arithmetic::kDivide>,
                                                           ArithmeticMemory<Operand, Arithmetic::kDivideReverse>};

// [opcode - 0xd8][ModRM.reg]. FISTTP (DB, DD, DF /1) is there because it costs nothing; cpuid decides whether a program
// may know.
constexpr std::array<std::array<PlainHandler, 8>, 8> kMemoryForms = {{
    kArithmeticMemory<Float32Operand>,
    {LoadMemory<Float32Operand>, nullptr, Fst32<false>, Fst32<true>, Fldenv, Fldcw, Fnstenv, Fnstcw},
    kArithmeticMemory<Int32>,
    {LoadMemory<Int32>, Fist<int32_t, true, true>, Fist<int32_t, false, false>, Fist<int32_t, false, true>, nullptr,
     Fld80, nullptr, Fstp80},
    kArithmeticMemory<Float64Operand>,
    {LoadMemory<Float64Operand>, Fist<int64_t, true, true>, Fst64<false>, Fst64<true>, Frstor, nullptr, Fnsave, Fnstsw},
    kArithmeticMemory<Int16>,
    {LoadMemory<Int16>, Fist<int16_t, true, true>, Fist<int16_t, false, false>, Fist<int16_t, false, true>, Fbld,
     LoadMemory<Int64>, Fbstp, Fist<int64_t, false, true>},
}};

// [opcode - 0xd8][ModRM.reg], the forms on ST(i). In DC and DE the subtractions and divisions swap their places.
constexpr std::array<std::array<PlainHandler, 8>, 8> kRegisterForms = {{
    {OnRegister<ToTop<Arithmetic::kAdd>>, OnRegister<ToTop<Arithmetic::kMultiply>>, OnRegister<CompareWith<false, 0>>,
     OnRegister<CompareWith<false, 1>>, OnRegister<ToTop<Arithmetic::kSubtract>>,
     OnRegister<ToTop<Arithmetic::kSubtractReverse>>, OnRegister<ToTop<Arithmetic::kDivide>>,
     OnRegister<ToTop<Arithmetic::kDivideReverse>>},
    {OnRegister<Fld>, OnRegister<Fxch>, nullptr, OnRegister<Fstpnce>, nullptr, nullptr, nullptr, nullptr},
    {Fcmov, Fcmov, Fcmov, Fcmov, nullptr, nullptr, nullptr, nullptr},
    {Fcmov, Fcmov, Fcmov, Fcmov, nullptr, Fcomi<true, false>, Fcomi<false, false>, nullptr},
    {OnRegister<ToRegister<Arithmetic::kAdd, false>>, OnRegister<ToRegister<Arithmetic::kMultiply, false>>,
     OnRegister<CompareWith<false, 0>>, OnRegister<CompareWith<false, 1>>,
     OnRegister<ToRegister<Arithmetic::kSubtractReverse, false>>, OnRegister<ToRegister<Arithmetic::kSubtract, false>>,
     OnRegister<ToRegister<Arithmetic::kDivideReverse, false>>, OnRegister<ToRegister<Arithmetic::kDivide, false>>},
    {OnControl<Ffree>, OnRegister<Fxch>, OnRegister<Fst>, OnRegister<Fstp>, OnRegister<CompareWith<true, 0>>,
     OnRegister<CompareWith<true, 1>>, nullptr, nullptr},
    {OnRegister<ToRegister<Arithmetic::kAdd, true>>, OnRegister<ToRegister<Arithmetic::kMultiply, true>>,
     OnRegister<CompareWith<false, 1>>, nullptr, OnRegister<ToRegister<Arithmetic::kSubtractReverse, true>>,
     OnRegister<ToRegister<Arithmetic::kSubtract, true>>, OnRegister<ToRegister<Arithmetic::kDivideReverse, true>>,
     OnRegister<ToRegister<Arithmetic::kDivide, true>>},
    {OnControl<Ffreep>, OnRegister<Fxch>, OnRegister<Fstp>, OnRegister<Fstp>, nullptr, Fcomi<true, true>,
     Fcomi<false, true>, nullptr},
}};

// D9 E0..FF.
constexpr std::array<PlainHandler, 32> kD9Group = {
    OnRegister<Fchs>,
    OnRegister<Fabs>,
    nullptr,
    nullptr,
    OnRegister<Ftst>,
    OnRegister<Fxam>,
    nullptr,
    nullptr,
    OnRegister<PushConstant<Constant::kOne>>,
    OnRegister<PushConstant<Constant::kLog2Of10>>,
    OnRegister<PushConstant<Constant::kLog2E>>,
    OnRegister<PushConstant<Constant::kPi>>,
    OnRegister<PushConstant<Constant::kLog10Of2>>,
    OnRegister<PushConstant<Constant::kLn2>>,
    OnRegister<PushConstant<Constant::kZero>>,
    nullptr,
    OnRegister<RunFunction<Transcendental::kF2xm1>>,
    OnRegister<RunFunction<Transcendental::kFyl2x>>,
    OnRegister<RunFunction<Transcendental::kFptan>>,
    OnRegister<RunFunction<Transcendental::kFpatan>>,
    OnRegister<Fxtract>,
    OnRegister<Fprem1>,
    OnControl<Fdecstp>,
    OnControl<Fincstp>,
    OnRegister<Fprem>,
    OnRegister<RunFunction<Transcendental::kFyl2xp1>>,
    OnRegister<Fsqrt>,
    OnRegister<RunFunction<Transcendental::kFsincos>>,
    OnRegister<Frndint>,
    OnRegister<Fscale>,
    OnRegister<RunFunction<Transcendental::kFsin>>,
    OnRegister<RunFunction<Transcendental::kFcos>>,
};

PlainHandler FindRegisterForm(unsigned escape, unsigned modrm) {
  switch (escape << 8 | modrm) {
    case 0x1d0:
      return OnControl<Nothing>;
    case 0x2e9:
      return OnRegister<CompareWith<true, 2>>;
    case 0x3e0:  // FENI, FDISI and FSETPM of the coprocessors before the 387: no operation
    case 0x3e1:
    case 0x3e4:
      return OnControlNoWait<Nothing>;
    case 0x3e2:
      return OnControlNoWait<Fnclex>;
    case 0x3e3:
      return OnControlNoWait<Fninit>;
    case 0x6d9:
      return OnRegister<CompareWith<false, 2>>;
    case 0x7e0:
      return FnstswAx;
    default:
      if (escape == 1 && modrm >= 0xe0) return kD9Group[modrm - 0xe0];
      return kRegisterForms[escape][(modrm >> 3) & 7];
  }
}

}  // namespace

bool LowerX87(const DecodedInstruction& instruction, Op* op) {
  const InstructionInfo& info = instruction.info;
  if (info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || info.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) return false;
  if (info.opcode == 0x9b) {
    op->plain = Fwait;
    return true;
  }
  if (info.opcode < 0xd8 || info.opcode > 0xdf) return false;
  const unsigned escape = info.opcode - 0xd8u;
  const auto& raw = info.modrm;
  const unsigned modrm = static_cast<unsigned>(raw.mod << 6 | raw.reg << 3 | raw.rm);
  const PlainHandler handler =
      raw.mod == 3 ? FindRegisterForm(escape, modrm) : kMemoryForms[escape][static_cast<unsigned>(raw.reg)];
  if (handler == nullptr) return false;
  op->plain = handler;
  op->immediate8 = static_cast<uint8_t>(modrm);
  op->src = static_cast<uint8_t>(escape);
  if (raw.mod == 3) {
    op->reads_flags = handler == Fcmov;
    // FCOMI, FUCOMI and their popping forms.
    if ((escape == 3 || escape == 7) && modrm >= 0xe8 && modrm <= 0xf7) op->writes_flags = 1;
  }
  return true;
}

}  // namespace remora::cpu
