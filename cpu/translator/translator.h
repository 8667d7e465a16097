#ifndef REMORA_CPU_TRANSLATOR_TRANSLATOR_H_
#define REMORA_CPU_TRANSLATOR_TRANSLATOR_H_

#include <cstdint>
#include <memory>
#include <span>

#include "cpu/block_cache.h"
#include "cpu/engine.h"
#include "cpu/interpreter.h"
#include "cpu/translator/block_dump.h"
#include "cpu/translator/options.h"
#include "cpu/translator/translation_store.h"

namespace remora::cpu {

struct TranslatorOptions {
  InterpreterOptions interpreter;  // for what is not translated
  translator::Optimizations optimizations;
  // Asked for and shown each block that is translated, by whichever thread does; it outlives the engine. Null: none.
  const translator::BlockDumper* dumper = nullptr;
  uint64_t max_code_bytes = uint64_t{64} << 20;  // of all engines of the BlockCache together; the first one's counts
  // Where translations come from and go to that outlive the Kernel; it does too. Null: none. Likewise the first one's.
  // Not together with a dumper, which would not see them.
  translator::TranslationStore* store = nullptr;
};

// Whether the host's CPU has what the translator needs (AVX and XSAVE).
bool TranslatorRunsHere();

// All that translations depend on but code and address, as a sum, for a TranslationStore: the options, the host's CPU,
// and `build`, which tells one build of Remora from another.
uint64_t SettingsOf(const TranslatorOptions& options, std::span<const std::byte> build);

// The engine for x86-64 hosts: guest code as host code (docs/engines.md). Null unless TranslatorRunsHere();
// the interpreter then is what there is. Rules of use as for MakeInterpreter; and it sets GS of threads that run it,
// see host_gs_base.h.
std::unique_ptr<Engine> MakeTranslator(BlockCache* cache, TranslatorOptions options = {});

}  // namespace remora::cpu

#endif  // REMORA_CPU_TRANSLATOR_TRANSLATOR_H_
