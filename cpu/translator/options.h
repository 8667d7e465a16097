#ifndef REMORA_CPU_TRANSLATOR_OPTIONS_H_
#define REMORA_CPU_TRANSLATOR_OPTIONS_H_

#include <string_view>

namespace remora::cpu::translator {

// What translated code does to be fast; each can be switched off, so that a wrong result can be bisected.
struct Optimizations {
#define OPTIMIZATION(name, flag, on, meaning) bool name = on;
#include "cpu/translator/optimizations.inc"

  // Whether `returns` can be had: it goes by the table, too, and needs RORX of the host.
  bool uses_host_returns() const;

  // "-chain,+table". False: there is a name that it does not know.
  bool Apply(std::string_view switches);
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_OPTIONS_H_
