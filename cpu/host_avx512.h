#ifndef REMORA_CPU_HOST_AVX512_H_
#define REMORA_CPU_HOST_AVX512_H_

#include <Zydis/Zydis.h>

namespace remora::cpu {

// Which of AVX-512 there can be: its instructions run on the host's CPU or not at all (cpu/evex.h). It is all or
// nothing with what x86-64-v4 asks for (F, CD, BW, DQ and VL); the other extensions are there where the host has them.
// Thread safety: pure functions.

// Whether a set is a part of AVX-512, EVEX forms of other extensions included.
bool IsAvx512Set(ZydisISASet set);

bool HostHasAvx512();
// Whether the host's CPU has one of Zydis' sets for which IsAvx512Set holds, and all of x86-64-v4. Sets that Remora
// does not know are not there.
bool HostHasAvx512Set(ZydisISASet set);
// Whether the set is one of those that x86-64-v4 has.
bool IsInV4(ZydisISASet set);

}  // namespace remora::cpu

#endif  // REMORA_CPU_HOST_AVX512_H_
