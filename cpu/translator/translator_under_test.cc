#include "cpu/testing/engine_under_test.h"
#include "cpu/translator/translator.h"

namespace remora::cpu {

std::unique_ptr<Engine> MakeEngineUnderTest(BlockCache* cache, InterpreterOptions options) {
  TranslatorOptions translator_options;
  translator_options.interpreter = options;
  translator_options.optimizations.warm = false;
  translator_options.optimizations.exact_count = true;
  return MakeTranslator(cache, translator_options);
}

}  // namespace remora::cpu
