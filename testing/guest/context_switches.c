// swapcontext, makecontext and sigsetjmp: coroutines, and a mask that a jump restores.
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

static ucontext_t main_context, coroutine;
static int yielded;
static char stack[64 * 1024];

static void Generate(int first, int second) {
  for (int i = 0; i < 100; ++i) {
    yielded = first + second * i;
    CHECK_EQ(swapcontext(&coroutine, &main_context), 0);
  }
  yielded = -1;
}

static sigjmp_buf back;
static void Handle(int signal) {
  (void)signal;
  siglongjmp(back, 5);
}

int main(void) {
  CHECK_EQ(getcontext(&coroutine), 0);
  coroutine.uc_stack.ss_sp = stack;
  coroutine.uc_stack.ss_size = sizeof(stack);
  coroutine.uc_link = &main_context;
  makecontext(&coroutine, (void (*)(void))Generate, 2, 1000, 3);
  for (int i = 0; i < 100; ++i) {
    CHECK_EQ(swapcontext(&main_context, &coroutine), 0);
    CHECK_EQ(yielded, 1000 + 3 * i);
  }
  CHECK_EQ(swapcontext(&main_context, &coroutine), 0);  // runs out, and comes back by uc_link
  CHECK_EQ(yielded, -1);

  CHECK(signal(SIGUSR1, Handle) != SIG_ERR);
  for (volatile int round = 0; round < 3; ++round) {
    const int jumped = sigsetjmp(back, 1);
    if (jumped == 0) {
      raise(SIGUSR1);
      CHECK(0);
    }
    CHECK_EQ(jumped, 5);
    sigset_t now;
    CHECK_EQ(sigprocmask(SIG_BLOCK, NULL, &now), 0);
    CHECK(!sigismember(&now, SIGUSR1));
  }
  // Without the mask it stays as the handler had it.
  if (sigsetjmp(back, 0) == 0) raise(SIGUSR1);
  sigset_t now;
  CHECK_EQ(sigprocmask(SIG_BLOCK, NULL, &now), 0);
  CHECK(sigismember(&now, SIGUSR1));
  return Finish();
}
