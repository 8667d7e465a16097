#ifndef REMORA_TESTING_SILICON_INTERPRETER_MACHINE_H_
#define REMORA_TESTING_SILICON_INTERPRETER_MACHINE_H_

#include <memory>

#include "testing/silicon/machine.h"

namespace remora::silicon {

// Remora's interpreter over a frame pool and a source of translations that knows the few pages of the test's world.
// Thread safety: none.
std::unique_ptr<Machine> MakeInterpreterMachine();

}  // namespace remora::silicon

#endif  // REMORA_TESTING_SILICON_INTERPRETER_MACHINE_H_
