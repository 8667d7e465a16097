#include "cpu/testing/engine_under_test.h"
#include "cpu/translator/translator.h"

namespace remora::cpu {

std::unique_ptr<Engine> MakeEngineUnderTest(BlockCache* cache, InterpreterOptions options) {
  return MakeTranslator(cache, {.interpreter = options});
}

}  // namespace remora::cpu
