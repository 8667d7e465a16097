// Which translations of earlier runs are of use to this one.

#include <cpuid.h>
#include <sys/auxv.h>
#include <xxhash.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "cpu/translator/translator.h"

namespace remora::cpu {
namespace {

// Leaves of CPUID that tell what the CPU can do, and what the operating system lets it.
std::string HostFeatures() {
  std::string all;
  const auto add = [&all](unsigned value) { all.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  constexpr unsigned kLeaves[][2] = {{0, 0}, {1, 0}, {7, 0}, {7, 1}, {0xd, 0}, {0xd, 1}, {0x80000001, 0}};
  for (const auto& [leaf, subleaf] : kLeaves) {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx);
    // Which of the CPUs it is.
    if (leaf == 1) ebx = 0;
    // How large an XSAVE area is just now.
    if (leaf == 0xd) ebx = 0;
    for (const unsigned value : {eax, ebx, ecx, edx}) add(value);
  }
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  add(low);
  add(high);
  add(static_cast<unsigned>(getauxval(AT_HWCAP2)));
  return all;
}

}  // namespace

uint64_t SettingsOf(const TranslatorOptions& options, std::span<const std::byte> build) {
  std::string all = HostFeatures();
  all.append(reinterpret_cast<const char*>(build.data()), build.size());
  const auto add = [&all](bool value) { all.push_back(value ? '1' : '0'); };
#define OPTIMIZATION(name, flag, on, meaning) add(options.optimizations.name);
#include "cpu/translator/optimizations.inc"
  all.push_back(static_cast<char>(options.interpreter.level));
  add(options.interpreter.host_tsc);
  return XXH3_64bits(all.data(), all.size());
}

}  // namespace remora::cpu
