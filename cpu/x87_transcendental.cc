#include <cmath>
#include <cstdint>
#include <cstring>

#include "cpu/x87_unit.h"

// The transcendental functions run on the host's own unit: their last bits differ between makers, and no table says
// which are right.

namespace remora::cpu {
namespace {

struct HostRun {
  Float80 st0, st1;     // of the stack afterwards
  uint16_t status = 0;  // TOP tells whether the function pushed (5), kept (6) or popped (7)
};

#if defined(__x86_64__)

struct Image80 {
  alignas(16) unsigned char bytes[10];
};

// Starts with a fresh unit, st0 and st1 loaded, TOP 6. The status is taken, then pending exceptions are cleared, so
// that the host never sees the guest's unmasked ones.
#define REMORA_RUN_X87(instruction)                                                                            \
  asm volatile(                                                                                                \
      "fnstcw %[saved]\n fninit\n fldcw %[control]\n fldt %[b]\n fldt %[a]\n " instruction                     \
      "\n fnstsw %[status]\n fnclex\n fldcw %[masked]\n fstpt %[r0]\n fstpt %[r1]\n fninit\n fldcw %[saved]\n" \
      : [saved] "+m"(saved), [status] "=m"(run.status), [r0] "=m"(r0), [r1] "=m"(r1)                           \
      : [control] "m"(control), [masked] "m"(masked), [a] "m"(a), [b] "m"(b)                                   \
      : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory")

HostRun RunOnHost(X87Unit::Transcendental function, Float80 st0, Float80 st1, uint16_t control) {
  Image80 a, b, r0, r1;
  std::memcpy(a.bytes, &st0.significand, 8);
  std::memcpy(a.bytes + 8, &st0.sign_exponent, 2);
  std::memcpy(b.bytes, &st1.significand, 8);
  std::memcpy(b.bytes + 8, &st1.sign_exponent, 2);
  uint16_t saved = 0;
  const uint16_t masked = 0x37f;
  HostRun run;
  switch (function) {
    case X87Unit::Transcendental::kF2xm1:
      REMORA_RUN_X87("f2xm1");
      break;
    case X87Unit::Transcendental::kFyl2x:
      REMORA_RUN_X87("fyl2x");
      break;
    case X87Unit::Transcendental::kFyl2xp1:
      REMORA_RUN_X87("fyl2xp1");
      break;
    case X87Unit::Transcendental::kFptan:
      REMORA_RUN_X87("fptan");
      break;
    case X87Unit::Transcendental::kFpatan:
      REMORA_RUN_X87("fpatan");
      break;
    case X87Unit::Transcendental::kFsin:
      REMORA_RUN_X87("fsin");
      break;
    case X87Unit::Transcendental::kFcos:
      REMORA_RUN_X87("fcos");
      break;
    case X87Unit::Transcendental::kFsincos:
      REMORA_RUN_X87("fsincos");
      break;
  }
  std::memcpy(&run.st0.significand, r0.bytes, 8);
  std::memcpy(&run.st0.sign_exponent, r0.bytes + 8, 2);
  std::memcpy(&run.st1.significand, r1.bytes, 8);
  std::memcpy(&run.st1.sign_exponent, r1.bytes + 8, 2);
  return run;
}
#undef REMORA_RUN_X87

#else

// Other hosts have no such unit: the results have a double's precision there.
double ToDouble(Float80 value) {
  FloatEnvironment env;
  Unpacked unpacked = Unpack80(value);
  unpacked.denormal = false;
  const uint64_t bits = Pack64(Convert(unpacked, kBinary64, env));
  double result;
  std::memcpy(&result, &bits, 8);
  return result;
}

Float80 FromDouble(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, 8);
  FloatEnvironment env;
  return Pack80(Convert(Unpack64(bits), kExtended, env));
}

HostRun RunOnHost(X87Unit::Transcendental function, Float80 st0, Float80 st1, uint16_t) {
  const double x = ToDouble(st0), y = ToDouble(st1);
  HostRun run{.st0 = st0, .st1 = st1};
  unsigned top = 6;
  const bool far = std::abs(x) >= 9223372036854775808.0;
  switch (function) {
    case X87Unit::Transcendental::kF2xm1:
      run.st0 = FromDouble(std::exp2(x) - 1);
      break;
    case X87Unit::Transcendental::kFyl2x:
      run.st0 = FromDouble(y * std::log2(x));
      top = 7;
      break;
    case X87Unit::Transcendental::kFyl2xp1:
      run.st0 = FromDouble(y * std::log1p(x) / std::log(2.0));
      top = 7;
      break;
    case X87Unit::Transcendental::kFpatan:
      run.st0 = FromDouble(std::atan2(y, x));
      top = 7;
      break;
    case X87Unit::Transcendental::kFsin:
      if (!far) run.st0 = FromDouble(std::sin(x));
      break;
    case X87Unit::Transcendental::kFcos:
      if (!far) run.st0 = FromDouble(std::cos(x));
      break;
    case X87Unit::Transcendental::kFptan:
      if (far) break;
      run.st1 = FromDouble(std::tan(x));
      run.st0 = FromDouble(1.0);
      top = 5;
      break;
    case X87Unit::Transcendental::kFsincos:
      if (far) break;
      run.st1 = FromDouble(std::sin(x));
      run.st0 = FromDouble(std::cos(x));
      top = 5;
      break;
  }
  run.status = static_cast<uint16_t>(top << 11 | kInexact);
  const bool circular = function >= X87Unit::Transcendental::kFsin || function == X87Unit::Transcendental::kFptan;
  if (circular && far) run.status = static_cast<uint16_t>(top << 11 | kX87C2);
  return run;
}

#endif

}  // namespace

void X87Unit::RunTranscendental(Transcendental function) {
  const bool two_operands =
      function == Transcendental::kFyl2x || function == Transcendental::kFyl2xp1 || function == Transcendental::kFpatan;
  const bool two_results = function == Transcendental::kFptan || function == Transcendental::kFsincos;
  const bool circular = two_results || function == Transcendental::kFsin || function == Transcendental::kFcos;
  if (IsEmpty(0) || (two_operands && IsEmpty(1)) || (two_results && !IsEmpty(7))) {
    const bool underflowed = IsEmpty(0) || two_operands;
    if (circular) state_.status &= static_cast<uint16_t>(~kX87C2);
    if (!StackFault(underflowed ? kUnderflowed : kOverflowed)) return;
    if (two_operands) {
      Set(1, kDefaultNan80);
      Pop(1);
    } else {
      Set(0, kDefaultNan80);
      if (two_results) Push(kDefaultNan80);
    }
    return;
  }
  const HostRun run = RunOnHost(function, Get(0), Get(1), state_.control);
  const unsigned top = (run.status >> 11) & 7;
  uint16_t replaced = kX87C1;
  if (circular) replaced |= kX87C2;
  state_.status = static_cast<uint16_t>((state_.status & ~replaced) | (run.status & (replaced | kAllFloatFlags)));
  UpdateSummary();
  if (top == 5) {
    Set(0, run.st1);
    Push(run.st0);
  } else if (top == 7) {
    Pop(1);
    Set(0, run.st0);
  } else {
    Set(0, run.st0);
  }
}

}  // namespace remora::cpu
