#ifndef REMORA_CPU_TESTING_ENGINE_UNDER_TEST_H_
#define REMORA_CPU_TESTING_ENGINE_UNDER_TEST_H_

#include <memory>

#include "cpu/block_cache.h"
#include "cpu/engine.h"
#include "cpu/interpreter.h"

namespace remora::cpu {

// The engine that a test is about: the same test is linked once with the interpreter's definition of this and once with
// the translator's.
std::unique_ptr<Engine> MakeEngineUnderTest(BlockCache* cache, InterpreterOptions options = {});

}  // namespace remora::cpu

#endif  // REMORA_CPU_TESTING_ENGINE_UNDER_TEST_H_
