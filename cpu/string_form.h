#ifndef REMORA_CPU_STRING_FORM_H_
#define REMORA_CPU_STRING_FORM_H_

#include <cstdint>
#include <optional>

#include "cpu/decoded_instruction.h"

namespace remora::cpu {

enum class String : uint8_t { kMovs, kStos, kLods, kScas, kCmps };

constexpr bool ReadsSource(String string) {
  return string == String::kMovs || string == String::kLods || string == String::kCmps;
}
constexpr bool UsesDestination(String string) { return string != String::kLods; }
constexpr bool WritesDestination(String string) { return string == String::kMovs || string == String::kStos; }
constexpr bool Compares(String string) { return string == String::kScas || string == String::kCmps; }

enum class Repeat : uint8_t { kNone, kWhileEqual, kWhileUnequal };  // MOVS, STOS and LODS do not ask which

// What there is to know of a string instruction.
struct StringForm {
  String string : 3;
  uint8_t size_log2 : 2;  // of an element: 1 to 8 bytes
  Repeat repeat : 2;
  uint8_t segment : 2;  // of the source; 0: none, 1: FS, 2: GS
  uint8_t address32 : 1;
  uint8_t unused8 : 5 = 0;
  uint16_t unused16 = 0;

  uint64_t size() const { return uint64_t{1} << size_log2; }
};
static_assert(sizeof(StringForm) == 4);

// Nothing if it is no string instruction.
std::optional<StringForm> FormOfString(const InstructionInfo& info);

}  // namespace remora::cpu

#endif  // REMORA_CPU_STRING_FORM_H_
