#include "cpu/testing/engine_under_test.h"

namespace remora::cpu {

std::unique_ptr<Engine> MakeEngineUnderTest(BlockCache* cache, InterpreterOptions options) {
  return MakeInterpreter(cache, options);
}

}  // namespace remora::cpu
