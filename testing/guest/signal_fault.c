// Faults arrive as signals with code and address: SIGSEGV (unmapped, protected), SIGBUS, SIGFPE, SIGILL, SIGTRAP; a handler may mend and go on.
#include "check.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ucontext.h>
#include <sys/wait.h>

static sigjmp_buf back;
static volatile int last_signal, last_code;
static void* volatile last_address;
static char* page;

static void Handler(int signal, siginfo_t* info, void* context) {
  (void)context;
  last_signal = signal, last_code = info->si_code, last_address = info->si_addr;
  siglongjmp(back, 1);
}
static void Mend(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info, (void)context;
  mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

#define FAULT(statement, expected_signal, expected_code)  \
  do {                                                    \
    last_signal = 0;                                      \
    if (sigsetjmp(back, 1) == 0) {                        \
      statement;                                          \
    }                                                     \
    CHECK_EQ(last_signal, expected_signal);               \
    CHECK_EQ(last_code, expected_code);                   \
  } while (0)

int main(void) {
  struct sigaction action = {0};
  action.sa_sigaction = Handler;
  action.sa_flags = SA_SIGINFO;
  const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
  for (int i = 0; i < 5; ++i) sigaction(faults[i], &action, NULL);
  FAULT(*(volatile int*)16 = 1, SIGSEGV, SEGV_MAPERR);
  CHECK(last_address == (void*)16);
  page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  FAULT(*(volatile char*)(page + 5) = 1, SIGSEGV, SEGV_ACCERR);
  CHECK(last_address == page + 5);
  FAULT(((void (*)(void))page)(), SIGSEGV, SEGV_ACCERR);
  CHECK(last_address == page);
  FAULT(*(volatile char*)0x8000000000000000 = 1, SIGSEGV, SI_KERNEL);
  EnterScratchFolder();
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  ftruncate(fd, 100);
  char* file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK_EQ(file[200], 0);
  FAULT(*(volatile char*)(file + 4096) = 1, SIGBUS, BUS_ADRERR);
  volatile int zero = 0, dividend = 7;
  FAULT(zero = dividend / zero, SIGFPE, FPE_INTDIV);
  FAULT(__asm__ volatile("ud2"), SIGILL, ILL_ILLOPN);
  FAULT(__asm__ volatile("int3"), SIGTRAP, SI_KERNEL);
  FAULT(__asm__ volatile("hlt"), SIGSEGV, SI_KERNEL);
  action.sa_sigaction = Mend;
  sigaction(SIGSEGV, &action, NULL);
  page[7] = 42;
  CHECK_EQ(page[7], 42);
  // Blocked faults kill.
  pid_t child = fork();
  if (child == 0) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    *(volatile int*)0 = 0;
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  return Finish();
}
