#include "cpu/verify/state_difference.h"

#include <cstdio>
#include <cstring>

namespace remora::cpu {
namespace {

constexpr const char* kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

}  // namespace

std::string StateDifference(const CpuState& a, const CpuState& b, uint64_t ignored_flags) {
  std::string text;
  const auto compare = [&](const char* name, uint64_t left, uint64_t right) {
    if (left == right) return;
    char line[96];
    std::snprintf(line, sizeof line, "%s: %lx and %lx\n", name, left, right);
    text += line;
  };
  for (size_t i = 0; i < a.gpr.size(); ++i) compare(kNames[i], a.gpr[i], b.gpr[i]);
  compare("rip", a.rip, b.rip);
  compare("rflags", a.rflags & ~ignored_flags, b.rflags & ~ignored_flags);
  compare("fs base", a.fs_base, b.fs_base);
  compare("gs base", a.gs_base, b.gs_base);
  compare("mxcsr", a.mxcsr, b.mxcsr);
  compare("x87 control", a.x87.control, b.x87.control);
  compare("x87 status", a.x87.status, b.x87.status);
  compare("x87 top", a.x87.top, b.x87.top);
  compare("x87 tags", a.x87.valid, b.x87.valid);
  for (size_t i = 0; i < a.x87.registers.size(); ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "x87 register %zu", i);
    compare(name, a.x87.registers[i].significand, b.x87.registers[i].significand);
    compare(name, a.x87.registers[i].sign_exponent, b.x87.registers[i].sign_exponent);
  }
  constexpr size_t kWords = sizeof(VectorRegister) / sizeof(uint64_t);
  for (size_t i = 0; i < a.opmask.size(); ++i) {
    char name[8];
    std::snprintf(name, sizeof name, "k%zu", i);
    compare(name, a.opmask[i], b.opmask[i]);
  }
  for (size_t i = 0; i < a.vector.size(); ++i) {
    if (std::memcmp(&a.vector[i], &b.vector[i], sizeof a.vector[i]) == 0) continue;
    uint64_t left[kWords], right[kWords];
    std::memcpy(left, a.vector[i].bytes.data(), sizeof left);
    std::memcpy(right, b.vector[i].bytes.data(), sizeof right);
    for (size_t word = 0; word < kWords; ++word) {
      char name[32];
      std::snprintf(name, sizeof name, "zmm%zu, word %zu", i, word);
      compare(name, left[word], right[word]);
    }
  }
  return text;
}

}  // namespace remora::cpu
