// A handler on the alternate stack survives a stack overflow's SIGSEGV.
#include "check.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>

static char stack[65536];
static sigjmp_buf back;
static volatile int on_alternate;

static void Handler(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context, (void)info;
  char here;
  on_alternate = &here >= stack && &here < stack + sizeof stack;
  stack_t now;
  CHECK_EQ(sigaltstack(NULL, &now), 0);
  CHECK(now.ss_flags & SS_ONSTACK);
  stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
  CHECK_FAILS(sigaltstack(&other, NULL), EPERM);
  siglongjmp(back, 1);
}

static int Recurse(int n) {
  volatile char frame[4096];
  frame[0] = (char)n;
  return n == 0 ? 0 : Recurse(n + 1) + frame[0];
}

int main(void) {
  struct rlimit limit = {1 << 20, 1 << 20};
  CHECK_EQ(setrlimit(RLIMIT_STACK, &limit), 0);
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack}, old;
  CHECK_EQ(sigaltstack(&alternate, &old), 0);
  CHECK_EQ(old.ss_flags, SS_DISABLE);
  struct sigaction action = {0};
  action.sa_sigaction = Handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, NULL);
  for (int i = 0; i < 2; ++i) {
    on_alternate = 0;
    if (sigsetjmp(back, 1) == 0) Recurse(1);
    CHECK(on_alternate);
  }
  stack_t tiny = {.ss_sp = stack, .ss_size = 100};
  CHECK_FAILS(sigaltstack(&tiny, NULL), ENOMEM);
  return Finish();
}
