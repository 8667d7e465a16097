// Single steps: TF set by POPFQ and by a signal handler's frame. Which instructions trap, with which code and address, and what is left of TF in the handler. The host answered the same.
#include "check.h"

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { kTrapFlag = 0x100, kMaxSteps = 64 };

static volatile int steps, bad_code, bad_address, flag_in_handler, stop_at;
static volatile uint64_t stepped[kMaxSteps];

static void OnTrap(int signal, siginfo_t* info, void* context) {
  (void)signal;
  ucontext_t* uc = context;
  const uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
  if (info->si_code != TRAP_TRACE) bad_code = info->si_code;
  if ((uint64_t)info->si_addr != rip) ++bad_address;
  if (!(uc->uc_mcontext.gregs[REG_EFL] & kTrapFlag)) ++bad_address;
  uint64_t flags;
  __asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags));
  if (flags & kTrapFlag) ++flag_in_handler;
  if (steps < kMaxSteps) stepped[steps] = rip;
  if (++steps == stop_at) uc->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
}

static void OnUser(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info;
  ((ucontext_t*)context)->uc_mcontext.gregs[REG_EFL] |= kTrapFlag;
}

static void Begin(int stop) {
  steps = bad_code = bad_address = flag_in_handler = 0;
  stop_at = stop;
}

static void CheckSteps(int expected) {
  CHECK_EQ(steps, expected);
  CHECK_EQ(bad_code, 0);
  CHECK_EQ(bad_address, 0);
  CHECK_EQ(flag_in_handler, 0);
}

#define SET_TRAP_FLAG "pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\t"
#define CLEAR_TRAP_FLAG "pushfq\n\tandl $~0x100, (%%rsp)\n\tpopfq\n\t"
// Past the red zone, where the compiler may keep something.
#define ENTER "subq $256, %%rsp\n\t"
#define LEAVE "addq $256, %%rsp\n\t"

extern const char popf_1[], popf_2[], popf_3[], popf_4[], popf_5[], popf_6[];
static void CheckPopf(void) {
  Begin(-1);
  // The instruction behind POPFQ is the first one that traps; the POPFQ that clears TF is the last.
  __asm__ volatile(ENTER SET_TRAP_FLAG
                   "nop\n\t"
                   "popf_1: movl $1, %%eax\n\t"
                   "popf_2: addl %%eax, %%eax\n\t"
                   "popf_3: jmp popf_4\n\t"
                   "nop\n\t"
                   "popf_4: pushfq\n\t"
                   "popf_5: andl $~0x100, (%%rsp)\n\t"
                   "popfq\n\t"
                   "popf_6: nop\n\t" LEAVE ::: "rax", "memory", "cc");
  const char* const expected[] = {popf_1, popf_2, popf_3, popf_4, popf_5};
  for (int i = 0; i < 5; ++i) CHECK_EQ(stepped[i], (uint64_t)expected[i]);
  CHECK_EQ(stepped[6], (uint64_t)popf_6);
  CHECK_EQ(bad_address, 1);  // the last one: its flags are without TF already
  bad_address = 0;
  CheckSteps(7);
}

extern const char loop_0[];
static void CheckLoop(void) {
  Begin(-1);
  __asm__ volatile(ENTER SET_TRAP_FLAG
                   "movl $10, %%ecx\n\t"
                   "loop_0: decl %%ecx\n\t"
                   "jnz loop_0\n\t" CLEAR_TRAP_FLAG LEAVE ::: "rcx", "memory", "cc");
  CHECK(steps >= 1 + 20 + 2);
  CHECK_EQ(stepped[0], (uint64_t)loop_0);
  CHECK_EQ(stepped[2], (uint64_t)loop_0);
  CHECK_EQ(stepped[18], (uint64_t)loop_0);
}

// Each round of a REP is a step.
extern const char rep_0[], rep_1[];
static void CheckRepeat(void) {
  char from[8] = "seven77", to[8] = "";
  const char* source = from;
  char* target = to;
  uint64_t count = 8;
  Begin(8);
  __asm__ volatile(ENTER SET_TRAP_FLAG
                   "rep_0: rep movsb\n\t"
                   "rep_1: nop\n\t" LEAVE : "+S"(source), "+D"(target), "+c"(count)::"memory", "cc");
  CheckSteps(8);
  for (int i = 0; i < 7; ++i) CHECK_EQ(stepped[i], (uint64_t)rep_0);
  CHECK_EQ(stepped[7], (uint64_t)rep_1);
  CHECK_EQ(memcmp(from, to, 8), 0);
}

extern const char frame_1[], frame_2[];
static void CheckFrame(void) {
  Begin(2);
  // The system call is kill: the signal is taken when it returns.
  const long self = getpid();
  long number = SYS_kill;
  __asm__ volatile(
      "syscall\n\t"
      "nop\n\t"
      "frame_1: nop\n\t"
      "frame_2: nop\n\t" : "+a"(number) : "D"(self), "S"((long)SIGUSR1) : "rcx", "r11", "memory", "cc");
  CHECK_EQ(number, 0);
  CheckSteps(2);
  CHECK_EQ(stepped[0], (uint64_t)frame_1);
  CHECK_EQ(stepped[1], (uint64_t)frame_2);
}

// A step over a system call.
extern const char call_1[], call_2[];
static void CheckCall(void) {
  Begin(3);
  long result = SYS_getppid;
  __asm__ volatile(ENTER SET_TRAP_FLAG
                   "syscall\n\t"
                   "call_1: nop\n\t"
                   "call_2: nop\n\t"
                   "nop\n\t" LEAVE : "+a"(result)::"rcx", "r11", "memory", "cc");
  CHECK_EQ(result, getppid());
  CheckSteps(3);
  // Whether SYSCALL itself traps is up to how the kernel returns; what stands behind it does.
  const uint64_t after[] = {(uint64_t)call_1, (uint64_t)call_2};
  CHECK(stepped[0] == after[0] || stepped[0] == after[1]);
  CHECK(stepped[1] > stepped[0] && stepped[2] > stepped[1]);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = OnTrap, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
  action.sa_sigaction = OnUser;
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  CheckPopf();
  CheckLoop();
  CheckRepeat();
  CheckFrame();
  CheckCall();
  return Finish();
}
