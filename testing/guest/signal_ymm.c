// YMM registers and the XSAVE area of a signal frame: kept across a handler that uses them, readable and writable by
// it, inherited by fork and by a new thread's creator.
#include "check.h"
#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <ucontext.h>

enum { kMagic1 = 0x46505853, kMagic2 = 0x46505845, kSoftwareOffset = 464, kHeaderOffset = 512, kAvxOffset = 576 };

static volatile sig_atomic_t handled;
static int write_register;

static uint32_t Word(const unsigned char* at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return value;
}

static void OnSignal(int signal, siginfo_t* info, void* raw) {
  (void)signal, (void)info;
  ucontext_t* context = raw;
  unsigned char* area = (unsigned char*)context->uc_mcontext.fpregs;
  CHECK((context->uc_flags & 1) != 0);  // UC_FP_XSTATE
  CHECK_EQ((intptr_t)area % 64, 0);
  CHECK_EQ(Word(area + kSoftwareOffset), kMagic1);
  uint32_t extended_size = Word(area + kSoftwareOffset + 4), size = Word(area + kSoftwareOffset + 16);
  CHECK((area[kSoftwareOffset + 8] & 7) == 7);
  CHECK(size >= kAvxOffset + 256 && extended_size == size + 4);
  CHECK_EQ(Word(area + size), kMagic2);
  CHECK((area[kHeaderOffset] & 7) == 7);
  for (int i = 0; i < 16; ++i) {
    CHECK_EQ(area[160 + 16 * 5 + i], 0xa0 + i);         // the lower half of ymm5
    CHECK_EQ(area[kAvxOffset + 16 * 5 + i], 0xb0 + i);  // the upper one
  }
  if (write_register) area[kAvxOffset + 16 * 5] = 0x77;
  unsigned char start[32];
  __asm__ volatile("vmovdqu %%ymm5, %0\n vpcmpeqb %%ymm5, %%ymm5, %%ymm5" : "=m"(start) : : "xmm5");
  for (int i = 0; i < 32; ++i) CHECK_EQ(start[i], 0);  // a handler starts with clean registers
  ++handled;
}

static void* Work(void* argument) {
  unsigned char mine[32], back[32];
  memset(mine, (int)(intptr_t)argument, sizeof mine);
  for (int i = 0; i < 2000; ++i) {
    __asm__ volatile("vmovdqu %1, %%ymm9\n pause\n vmovdqu %%ymm9, %0" : "=m"(back) : "m"(mine) : "xmm9");
    CHECK(memcmp(mine, back, sizeof mine) == 0);
  }
  return NULL;
}

int main(void) {
  unsigned eax, ebx, ecx, edx;
  CHECK(__get_cpuid(1, &eax, &ebx, &ecx, &edx));
  if ((ecx & (1u << 27)) == 0 || (ecx & (1u << 28)) == 0) return Finish();  // no XSAVE, no AVX
  struct sigaction action = {.sa_sigaction = OnSignal, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  unsigned char in[32], out[32];
  for (int i = 0; i < 32; ++i) in[i] = (unsigned char)(i < 16 ? 0xa0 + i : 0xb0 + i - 16);
  for (write_register = 0; write_register < 2; ++write_register) {
    long result;
    // kill(getpid(), SIGUSR1), with nothing between that the compiler could use the register for.
    __asm__ volatile("vmovdqu %2, %%ymm5\n syscall\n vmovdqu %%ymm5, %1"
                     : "=a"(result), "=m"(out)
                     : "m"(in), "a"(62), "D"(getpid()), "S"(SIGUSR1)
                     : "rcx", "r11", "xmm5", "memory");
    CHECK_EQ(result, 0);
    CHECK_EQ(handled, write_register + 1);
    if (write_register) in[16] = 0x77;
    CHECK(memcmp(in, out, sizeof in) == 0);
  }
  // fork(): the child has them too.
  long child;
  __asm__ volatile("vmovdqu %2, %%ymm5\n syscall\n vmovdqu %%ymm5, %1"
                   : "=a"(child), "=m"(out)
                   : "m"(in), "a"(57)
                   : "rcx", "r11", "xmm5", "memory");
  CHECK(memcmp(in, out, sizeof in) == 0);
  if (child == 0) _exit(memcmp(in, out, sizeof in) == 0 ? 7 : 8);
  int status;
  CHECK_EQ(waitpid((pid_t)child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  pthread_t threads[4];
  for (intptr_t i = 0; i < 4; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Work, (void*)(i + 1)), 0);
  for (int i = 0; i < 4; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  // XGETBV says what the frame has.
  __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  CHECK((eax & 7) == 7);
  return Finish();
}
