// Prints docs/syscalls.md.

#include <cstdio>
#include <string>

#include "syscalls/docs.h"

int main() {
  const std::string text = remora::syscalls::SyscallsDocument();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 1;
}
