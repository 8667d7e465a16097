#include "cpu/translator/options.h"

namespace remora::cpu::translator {

bool Optimizations::uses_host_returns() const { return returns && table && __builtin_cpu_supports("bmi2"); }

bool Optimizations::Apply(std::string_view switches) {
  while (!switches.empty()) {
    const size_t comma = switches.find(',');
    const std::string_view item = switches.substr(0, comma);
    switches = comma == std::string_view::npos ? std::string_view() : switches.substr(comma + 1);
    if (item.size() < 2 || (item[0] != '+' && item[0] != '-')) return false;
    const std::string_view wanted = item.substr(1);
    bool found = false;
#define OPTIMIZATION(name, flag, on, meaning) \
  if (wanted == flag) {                       \
    name = item[0] == '+';                    \
    found = true;                             \
  }
#include "cpu/translator/optimizations.inc"
    if (!found) return false;
  }
  return true;
}

}  // namespace remora::cpu::translator
