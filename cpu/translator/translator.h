#ifndef REMORA_CPU_TRANSLATOR_TRANSLATOR_H_
#define REMORA_CPU_TRANSLATOR_TRANSLATOR_H_

#include <cstdint>
#include <memory>

#include "cpu/block_cache.h"
#include "cpu/engine.h"
#include "cpu/interpreter.h"
#include "cpu/translator/block_dump.h"
#include "cpu/translator/options.h"

namespace remora::cpu {

struct TranslatorOptions {
  InterpreterOptions interpreter;  // for what is not translated
  translator::Optimizations optimizations;
  // Asked for and shown each block that is translated, by whichever thread does; it outlives the engine. Null: none.
  const translator::BlockDumper* dumper = nullptr;
  uint64_t max_code_bytes = uint64_t{64} << 20;  // of all engines of the BlockCache together; the first one's counts
};

// Whether the host's CPU has what the translator needs (AVX and XSAVE).
bool TranslatorRunsHere();

// The engine for x86-64 hosts: guest code as host code (docs/engines.md). Null unless TranslatorRunsHere();
// the interpreter then is what there is. Rules of use as for MakeInterpreter.
std::unique_ptr<Engine> MakeTranslator(BlockCache* cache, TranslatorOptions options = {});

}  // namespace remora::cpu

#endif  // REMORA_CPU_TRANSLATOR_TRANSLATOR_H_
