// INT3 and INT 3: code, address, where the handler stands; and a process that is its own debugger: it puts INT3 into its code, takes it out in the handler, steps over the instruction and puts it back.
#include "check.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { kTrapFlag = 0x100 };

static volatile int traps, code;
static volatile uint64_t rip, address;

static void OnTrap(int signal, siginfo_t* info, void* context) {
  (void)signal;
  ++traps;
  code = info->si_code;
  address = (uint64_t)info->si_addr;
  rip = (uint64_t)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
}

extern const char after_int3[], after_int_3[];
static void CheckInstructions(void) {
  __asm__ volatile("int3\n\tafter_int3: nop" ::: "memory");
  CHECK_EQ(traps, 1);
  CHECK_EQ(code, SI_KERNEL);
  CHECK_EQ(rip, (uint64_t)after_int3);
  CHECK_EQ(address, 0);
  __asm__ volatile(".byte 0xcd, 3\n\tafter_int_3: nop" ::: "memory");
  CHECK_EQ(traps, 2);
  CHECK_EQ(code, SI_KERNEL);
  CHECK_EQ(rip, (uint64_t)after_int_3);
}

// The debugger. Its place is the second instruction of Count.
static uint8_t* place;
static uint8_t original;
static volatile int hits, stepped;

static void OnDebug(int signal, siginfo_t* info, void* context) {
  (void)signal;
  greg_t* const registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  if (info->si_code == SI_KERNEL) {
    ++hits;
    if ((uint64_t)registers[REG_RIP] != (uint64_t)place + 1) _exit(3);
    *place = original;
    registers[REG_RIP] = (greg_t)place;
    registers[REG_EFL] |= kTrapFlag;
  } else {
    ++stepped;
    if (info->si_code != TRAP_TRACE) _exit(4);
    *place = 0xcc;
    registers[REG_EFL] &= ~kTrapFlag;
  }
}

static void CheckDebugger(void) {
  // mov eax, edi; add eax, 7; lea eax, [rax + rax]; ret
  static const uint8_t kCode[] = {0x89, 0xf8, 0x83, 0xc0, 0x07, 0x8d, 0x04, 0x00, 0xc3};
  uint8_t* page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  memcpy(page, kCode, sizeof kCode);
  CHECK_EQ(mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
  int (*const count)(int) = (int (*)(int))page;
  hits = stepped = 0;
  for (int i = 0; i < 50; ++i) CHECK_EQ(count(i), 2 * (i + 7));  // it is warm
  place = page + 2;
  original = *place;
  *place = 0xcc;
  for (int i = 0; i < 300; ++i) {
    CHECK_EQ(count(i), 2 * (i + 7));
    CHECK_EQ(hits, i + 1);
    CHECK_EQ(stepped, i + 1);
  }
  *place = original;
  for (int i = 0; i < 50; ++i) CHECK_EQ(count(i), 2 * (i + 7));
  CHECK_EQ(hits, 300);
  CHECK_EQ(munmap(page, 4096), 0);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = OnTrap, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
  CheckInstructions();
  action.sa_sigaction = OnDebug;
  CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
  CheckDebugger();
  return Finish();
}
