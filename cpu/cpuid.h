#ifndef REMORA_CPU_CPUID_H_
#define REMORA_CPU_CPUID_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "cpu/cpu_level.h"

namespace remora::cpu {

struct CpuidResult {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// What CPUID answers: exactly what is implemented and the level has, in the shape of an AMD K8, so that glibc reads
// cache sizes from the extended leaves. A leaf beyond the last answers as an AMD CPU does: zeros.
CpuidResult Cpuid(uint32_t leaf, uint32_t subleaf, CpuLevel level = CpuLevel::kHost);

// XCR0: the components of XSAVE's image (cpu/xsave.h), all of them enabled. Those of a signal frame, too, also where
// the level has no XSAVE.
uint64_t EnabledXstate(CpuLevel level = CpuLevel::kHost);

// For /proc/cpuinfo: the names of the flags, in Linux's order, and the rest of the identification.
std::string CpuFlagNames(CpuLevel level = CpuLevel::kHost);
inline constexpr std::string_view kCpuVendor = "AuthenticAMD";
inline constexpr std::string_view kCpuBrand = "Remora virtual x86-64 CPU";
inline constexpr uint32_t kCpuFamily = 15, kCpuModel = 6, kCpuStepping = 1;
inline constexpr uint32_t kCpuMhz = 1000;  // where RDTSC is not the host's: it counts nanoseconds or instructions

}  // namespace remora::cpu

#endif  // REMORA_CPU_CPUID_H_
