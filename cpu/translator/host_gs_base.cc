#include "cpu/translator/host_gs_base.h"

#include <asm/prctl.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>

#include "base/check.h"

namespace remora::cpu::translator {
namespace {

thread_local std::optional<const void*> known;

}  // namespace

void SetHostGsBase(const void* base) {
  if (known == base) return;
  constexpr unsigned long kHwcap2FsGsBase = 2;
  static const bool has_instruction = (getauxval(AT_HWCAP2) & kHwcap2FsGsBase) != 0;
  if (has_instruction)
    asm volatile("wrgsbase %0" : : "r"(base) : "memory");
  else
    CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, base) == 0);
  known = base;
}

void ForgetHostGsBase() { known.reset(); }

}  // namespace remora::cpu::translator
