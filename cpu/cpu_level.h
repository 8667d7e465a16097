#ifndef REMORA_CPU_CPU_LEVEL_H_
#define REMORA_CPU_CPU_LEVEL_H_

#include <Zydis/Zydis.h>

#include <cstdint>

namespace remora::cpu {

// Which CPU is shown to the guest: one of the System V ABI's microarchitecture levels (x86-64 psABI, 3.1.1), or all
// that is implemented. AVX-512 is there where the host's CPU has it. What belongs to no level and computes nothing
// (RDTSCP, RDPID, RDFSBASE, prefetches) can be executed in each, though CPUID announces it for kHost only. Thread
// safety: pure functions.
// kHostWithoutAvx512 is for the interpreter, to which an AVX-512 instruction is some ten of AVX2's.
enum class CpuLevel : uint8_t { kV1, kV2, kV3, kV4, kHost, kHostWithoutAvx512 };

// Whether a CPU of the level has the instructions of one of Zydis' sets; else they are #UD.
bool LevelHas(CpuLevel level, ZydisISASet set);

// Whether it has ZMM and opmask registers.
bool LevelHasAvx512(CpuLevel level);

// Makes a decoder read code as a CPU of the level does: encodings that CPUs without an extension run as something older
// (NOP; BSF and BSR for TZCNT and LZCNT) are that.
void InitializeDecoder(CpuLevel level, ZydisDecoder* decoder);

}  // namespace remora::cpu

#endif  // REMORA_CPU_CPU_LEVEL_H_
