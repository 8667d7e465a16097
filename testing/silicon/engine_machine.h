#ifndef REMORA_TESTING_SILICON_ENGINE_MACHINE_H_
#define REMORA_TESTING_SILICON_ENGINE_MACHINE_H_

#include <functional>
#include <memory>

#include "cpu/block_cache.h"
#include "cpu/engine.h"
#include "testing/silicon/machine.h"

namespace remora::silicon {

using MakeEngine = std::function<std::unique_ptr<cpu::Engine>(cpu::BlockCache*)>;

// One of Remora's engines over a frame pool and a source of translations that knows the few pages of the test's world.
// Thread safety: none.
std::unique_ptr<Machine> MakeEngineMachine(const MakeEngine& make);

}  // namespace remora::silicon

#endif  // REMORA_TESTING_SILICON_ENGINE_MACHINE_H_
