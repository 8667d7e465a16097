// A handler that repairs what faulted, as garbage collectors do: maps, unprotects, or moves the instruction pointer on.
#include "check.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { kPages = 64, kPage = 4096 };
static char* heap;
static int num_faults;

static void Repair(int signal, siginfo_t* info, void* context) {
  (void)signal;
  ++num_faults;
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  char* const at = info->si_addr;
  if (at >= heap && at < heap + kPages * kPage) {
    char* page = heap + (at - heap) / kPage * kPage;
    CHECK_EQ(mprotect(page, kPage, PROT_READ | PROT_WRITE), 0);
    CHECK_EQ((registers[REG_ERR] & 6), 6);  // a write in user mode
    CHECK_EQ(registers[REG_TRAPNO], 14);
    CHECK_EQ(registers[REG_CR2], (uintptr_t)at);
    return;
  }
  // movl (%rax), %ecx has two bytes; xorl instead.
  registers[REG_RIP] += 2;
  registers[REG_RCX] = 4711;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = Repair, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
  static char alternate[64 * 1024];
  const stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
  CHECK_EQ(sigaltstack(&stack, NULL), 0);
  heap = mmap(NULL, kPages * kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kPages * kPage; i += 512) heap[i] = (char)round;
    CHECK_EQ(num_faults, (round + 1) * kPages);
    CHECK_EQ(mprotect(heap, kPages * kPage, PROT_READ), 0);
  }
  // A string instruction stops in the middle and goes on.
  num_faults = 0;
  memset(heap, 7, 1);
  char *to = heap, *end;
  long count = kPages * kPage;
  __asm__ volatile("rep stosb" : "=D"(end), "+c"(count) : "0"(to), "a"(9) : "memory");
  CHECK(end == heap + kPages * kPage && count == 0);
  CHECK(heap[0] == 9 && heap[kPages * kPage - 1] == 9);
  int value = 0;
  __asm__ volatile("movl (%%rax), %%ecx" : "=c"(value) : "a"(16));
  CHECK_EQ(value, 4711);
  return Finish();
}
