// Floating-point exceptions that are unmasked: SIGFPE with its code, by x87 and by SSE; and sticky flags.
#include "check.h"

#include <fenv.h>
#include <setjmp.h>
#include <signal.h>

static sigjmp_buf back;
static int code;
static void Handle(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  code = info->si_code;
  siglongjmp(back, 1);
}

static volatile double zero = 0.0, one = 1.0, huge = 1e308, tiny = 1e-308;
static volatile long double wide_zero = 0.0L, wide_one = 1.0L;
static volatile double sink;
static volatile long double wide_sink;

#define CODE_OF(exception, statement)         \
  ({                                          \
    code = 0;                                 \
    feclearexcept(FE_ALL_EXCEPT);             \
    if (sigsetjmp(back, 1) == 0) {            \
      feenableexcept(exception);              \
      statement;                              \
      __asm__ volatile("fwait" ::: "memory"); \
    }                                         \
    fedisableexcept(FE_ALL_EXCEPT);           \
    feclearexcept(FE_ALL_EXCEPT);             \
    code;                                     \
  })

int main(void) {
  struct sigaction action = {.sa_sigaction = Handle, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGFPE, &action, NULL), 0);
  CHECK_EQ(CODE_OF(FE_DIVBYZERO, sink = one / zero), FPE_FLTDIV);
  CHECK_EQ(CODE_OF(FE_INVALID, sink = zero / zero), FPE_FLTINV);
  CHECK_EQ(CODE_OF(FE_OVERFLOW, sink = huge * huge), FPE_FLTOVF);
  CHECK_EQ(CODE_OF(FE_UNDERFLOW, sink = tiny * tiny), FPE_FLTUND);
  CHECK_EQ(CODE_OF(FE_INEXACT, sink = one / 3), FPE_FLTRES);
  CHECK_EQ(CODE_OF(FE_DIVBYZERO, wide_sink = wide_one / wide_zero), FPE_FLTDIV);
  CHECK_EQ(CODE_OF(FE_INVALID, wide_sink = wide_zero / wide_zero), FPE_FLTINV);

  // Masked again, they only leave their marks.
  CHECK_EQ(fetestexcept(FE_ALL_EXCEPT), 0);
  sink = one / zero;
  CHECK_EQ(fetestexcept(FE_ALL_EXCEPT), FE_DIVBYZERO);
  wide_sink = wide_zero / wide_zero;
  CHECK_EQ(fetestexcept(FE_ALL_EXCEPT), FE_DIVBYZERO | FE_INVALID);
  CHECK_EQ(feclearexcept(FE_INVALID), 0);
  CHECK_EQ(fetestexcept(FE_ALL_EXCEPT), FE_DIVBYZERO);
  return Finish();
}
