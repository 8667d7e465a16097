#ifndef REMORA_CPU_INTERPRETER_H_
#define REMORA_CPU_INTERPRETER_H_

#include <memory>

#include "cpu/block_cache.h"
#include "cpu/engine.h"

namespace remora::cpu {

// The reference engine: portable C++. See interpreter.cc for how a block runs.
std::unique_ptr<Engine> MakeInterpreter(BlockCache* cache);

}  // namespace remora::cpu

#endif  // REMORA_CPU_INTERPRETER_H_
