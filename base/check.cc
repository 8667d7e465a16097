#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace remora {

void CheckFailed(const char* file, int line, const char* condition, const char* message) {
  std::fprintf(stderr, "remora: internal error at %s:%d: %s%s%s\n", file, line, condition, *message ? ": " : "",
               message);
  std::abort();
}

}  // namespace remora
