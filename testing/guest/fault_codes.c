// Faults: si_code and address of SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP, and that a handler may go on.
#include "check.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t seen;

static void Handle(int signal, siginfo_t* info, void* context) {
  (void)context;
  seen = *info;
  CHECK_EQ(seen.si_signo, signal);
  siglongjmp(back, 1);
}
// What `statement` raises.
#define FAULT(statement)                      \
  do {                                        \
    memset(&seen, 0, sizeof(seen));           \
    if (sigsetjmp(back, 1) == 0) {            \
      statement;                              \
      dprintf(2, "%d: no fault\n", __LINE__); \
      _exit(1);                               \
    }                                         \
  } while (0)

static volatile int zero;

int main(void) {
  struct sigaction action = {.sa_sigaction = Handle, .sa_flags = SA_SIGINFO};
  const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
  for (int i = 0; i < 5; ++i) CHECK_EQ(sigaction(signals[i], &action, NULL), 0);

  char* page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  FAULT(*(volatile char*)(page + 5) = 1);
  CHECK(seen.si_signo == SIGSEGV && seen.si_code == SEGV_ACCERR && seen.si_addr == page + 5);
  CHECK_EQ(munmap(page + 4096, 4096), 0);
  FAULT((void)*(volatile char*)(page + 4096));
  CHECK(seen.si_signo == SIGSEGV && seen.si_code == SEGV_MAPERR && seen.si_addr == page + 4096);
  FAULT((void)*(volatile long*)(page + 4092));
  CHECK(seen.si_code == SEGV_MAPERR && seen.si_addr == page + 4096);
  FAULT((void)*(volatile char*)0x8000000000000000);  // not canonical: no address is told
  CHECK(seen.si_signo == SIGSEGV && seen.si_code == SI_KERNEL && seen.si_addr == NULL);
  FAULT(((void (*)(void))page)());
  CHECK(seen.si_signo == SIGSEGV && seen.si_code == SEGV_ACCERR && seen.si_addr == page);

  EnterScratchFolder();
  const int file = open("file", O_CREAT | O_RDWR, 0600);
  CHECK_EQ(ftruncate(file, 100), 0);
  char* mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK_EQ(mapped[200], 0);
  FAULT((void)*(volatile char*)(mapped + 4096));
  CHECK(seen.si_signo == SIGBUS && seen.si_code == BUS_ADRERR && seen.si_addr == mapped + 4096);

  FAULT(zero = 7 / zero);
  CHECK(seen.si_signo == SIGFPE && seen.si_code == FPE_INTDIV && seen.si_addr != NULL);
  FAULT(__asm__ volatile("movl $0x80000000, %%eax; cltd; movl $-1, %%ecx; idivl %%ecx" :: : "eax", "ecx", "edx"));
  CHECK(seen.si_signo == SIGFPE && seen.si_code == FPE_INTDIV);
  FAULT(__asm__ volatile("ud2"));
  CHECK(seen.si_signo == SIGILL && seen.si_code == ILL_ILLOPN && seen.si_addr != NULL);
  FAULT(__asm__ volatile("int3"));
  CHECK(seen.si_signo == SIGTRAP && seen.si_code == SI_KERNEL);
  FAULT(__asm__ volatile("hlt"));
  CHECK(seen.si_signo == SIGSEGV && seen.si_code == SI_KERNEL);
  FAULT(__asm__ volatile("int $0x10"));
  CHECK(seen.si_signo == SIGSEGV && seen.si_code == SI_KERNEL);
  return Finish();
}
