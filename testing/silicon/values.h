#ifndef REMORA_TESTING_SILICON_VALUES_H_
#define REMORA_TESTING_SILICON_VALUES_H_

#include <cstdint>

#include "cpu/cpu_state.h"
#include "testing/silicon/random.h"

namespace remora::silicon {

// Values at which instructions have their corners: zeros, ends of ranges, denormals, infinities, NaNs of both kinds,
// and pairs that nearly cancel, among plain random ones.

uint64_t RandomInteger(Random& random);
uint32_t RandomFloat(Random& random);
uint64_t RandomDouble(Random& random);
cpu::X87Register RandomExtended(Random& random);

// Sixteen bytes of lanes of one kind.
enum class LaneKind : uint8_t { kInteger, kFloat, kDouble, kExtended };
void FillLanes(Random& random, LaneKind kind, uint8_t* bytes, size_t num_bytes);

// Control and status words that belong together, and registers.
void RandomizeX87(Random& random, cpu::X87State* x87);
uint32_t RandomMxcsr(Random& random);

}  // namespace remora::silicon

#endif  // REMORA_TESTING_SILICON_VALUES_H_
