// Returns that go elsewhere than to the last call: frames left by longjmp, contexts swapped, return addresses edited,
// pushed and popped, and the code behind a call made anew or taken away while what was called runs. Over and over, so
// that what a translator has learned of them is used.
#include "check.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

enum { kRounds = 20000 };

static uint64_t random_state;
static uint32_t Random(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 33);
}

static jmp_buf out;
static __attribute__((noinline)) uint64_t Nest(int depth, int leave_at) {
  if (depth == leave_at) longjmp(out, depth + 1);
  if (depth == 0) return 1;
  return Nest(depth - 1, leave_at) + (uint64_t)depth;
}
static void LeaveFrames(void) {
  for (int round = 0; round < kRounds / 10; ++round) {
    volatile int depth = (int)(Random() % 400), leave_at = (int)(Random() % 800);
    int left = setjmp(out);
    if (left == 0) {
      CHECK_EQ(Nest(depth, leave_at), 1 + (uint64_t)depth * (uint64_t)(depth + 1) / 2);
      CHECK(leave_at > depth);
    } else {
      CHECK(left == leave_at + 1 && leave_at <= depth);
    }
  }
}

static ucontext_t main_context, routine_context[2];
static uint64_t made;
static __attribute__((noinline)) void Make(int which, int depth) {
  if (depth > 0) Make(which, depth - 1);
  made = made * 3 + (uint64_t)(which + depth);
  swapcontext(&routine_context[which], &main_context);
}
static void Routine(int which) {
  while (1) Make(which, 5);
}
static __attribute__((noinline)) void PrepareContext(int which) {
  static char stacks[2][65536];
  CHECK_EQ(getcontext(&routine_context[which]), 0);
  routine_context[which].uc_stack.ss_sp = stacks[which];
  routine_context[which].uc_stack.ss_size = sizeof stacks[which];
  makecontext(&routine_context[which], (void (*)(void))Routine, 1, which);
}
static void SwapContexts(void) {
  PrepareContext(0);
  PrepareContext(1);
  uint64_t expected = 0;
  for (int round = 0; round < kRounds; ++round) {
    int which = round % 2;
    expected = expected * 3 + (uint64_t)(which + round / 2 % 6);
    CHECK_EQ(swapcontext(&main_context, &routine_context[which]), 0);
    CHECK_EQ(made, expected);
  }
}

// Each adds what it has come by to its first argument.
uint64_t EditedReturn(uint64_t sum, uint64_t skip), PushedReturn(uint64_t sum), PoppedReturn(uint64_t sum),
    DroppedArguments(uint64_t sum), UnevenStack(uint64_t sum);
__asm__(
    ".text\n"
    // The function returns `skip` bytes further: over one or two ADDs.
    "EditedReturn: mov %rdi, %rax\n"
    "  call 1f\n"
    "  add $1, %rax\n  add $16, %rax\n  add $64, %rax\n  ret\n"
    "1: add %rsi, (%rsp)\n  ret\n"
    // A return to what was never called, by way of another one; and one where a jump would do.
    "PushedReturn: lea 1f(%rip), %rax\n  push %rax\n"
    "  lea 2f(%rip), %rax\n  push %rax\n  lea 5(%rdi), %rax\n  ret\n"
    "1: add $7, %rax\n  ret\n"
    "2: add $3, %rax\n  ret\n"
    // Calls that are not returned from by RET.
    "PoppedReturn: mov %rdi, %rax\n  call 1f\n1: pop %rcx\n"
    "  call 2f\n  add $2, %rax\n  call 2f\n  add $4, %rax\n  ret\n"
    "2: pop %rcx\n  add $8, %rax\n  jmp *%rcx\n"
    "DroppedArguments: push %rdi\n  push %rdi\n  call 1f\n  lea 9(%rax), %rax\n  ret\n"
    "1: mov 8(%rsp), %rax\n  ret $16\n"
    "UnevenStack: lea -3(%rsp), %rsp\n  call 1f\n  lea 3(%rsp), %rsp\n  ret\n"
    "1: lea 6(%rdi), %rax\n  ret\n");
static void GoElsewhere(void) {
  uint64_t sum = 0, expected = 0;
  for (int round = 0; round < kRounds; ++round) {
    uint64_t skip = Random() % 3 * 4;
    sum = EditedReturn(sum, skip);
    expected += skip == 0 ? 81 : skip == 4 ? 80 : 64;
    sum = PushedReturn(sum);
    expected += 15;
    sum = PoppedReturn(sum);
    expected += 22;
    sum = DroppedArguments(sum);
    expected += 9;
    sum = UnevenStack(sum);
    expected += 6;
    CHECK_EQ(sum, expected);
  }
}

// mov eax, value; ret. Or, with `function`: sub rsp, 8; mov r8, function; call r8; add rsp, 8; add eax, value; ret
enum { kFunctionAt = 6, kValueAt = 22 };
static void WriteFunction(uint8_t* at, uint32_t value, const void* function) {
  const uint8_t call[] = {0x48, 0x83, 0xec, 8,    0x49, 0xb8, 0,    0, 0,    0, 0, 0, 0, 0,
                          0x41, 0xff, 0xd0, 0x48, 0x83, 0xc4, 8,    5, 0,    0, 0, 0, 0xc3};
  if (function == NULL) {
    memcpy(at, "\xb8\0\0\0\0\xc3", 6);
    memcpy(at + 1, &value, 4);
    return;
  }
  memcpy(at, call, sizeof call);
  memcpy(at + kFunctionAt, &function, 8);
  memcpy(at + kValueAt, &value, 4);
}

static uint8_t* caller;
static uint32_t next_value;
static int how;
// Between the call and its return, what is behind the call becomes other code.
static uint64_t ChangeTheCaller(void) {
  if (how == 0) {
    memcpy(caller + kValueAt, &next_value, 4);
  } else {
    uint8_t* page = (uint8_t*)((uintptr_t)caller & ~(uintptr_t)4095);
    if (how == 1) CHECK_EQ(munmap(page, 4096), 0);
    CHECK(mmap(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
    WriteFunction(caller, next_value, (const void*)&ChangeTheCaller);
  }
  return 5;
}
static void ChangeCallers(void) {
  uint8_t* page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  caller = page + 64;
  WriteFunction(caller, 0, (const void*)&ChangeTheCaller);
  for (int round = 0; round < kRounds / 3; ++round) {
    how = (int)(Random() % 8 > 1 ? 0 : Random() % 2 + 1);
    next_value = Random() >> 2;
    CHECK_EQ(((uint64_t(*)(void))caller)(), next_value + 5u);
  }
  CHECK_EQ(munmap(page, 4096), 0);
}

// Much code made at run time, some of which is made again while other threads run through it.
enum { kPages = 64, kFunctions = 16, kThreads = 3 };
static uint8_t* functions;
static uint8_t* FunctionAt(uint32_t number) { return functions + number / kFunctions * 4096 + number % kFunctions * 64; }
static uint32_t ValueOf(uint32_t number) { return number * 2654435761u >> 8; }
static uint32_t CalleeOf(uint32_t number) { return number < 16 ? 0 : number / 2 - number % 3; }
static void Write(uint32_t number) {
  WriteFunction(FunctionAt(number), ValueOf(number), number == 0 ? NULL : FunctionAt(CalleeOf(number)));
}
static void* CallMany(void* seed) {
  uint64_t state = (uintptr_t)seed;
  for (int round = 0; round < kRounds; ++round) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    uint32_t number = (uint32_t)(state >> 33) % (kPages * kFunctions), expected = 0;
    for (uint32_t called = number;; called = CalleeOf(called)) {
      expected += ValueOf(called);
      if (called == 0) break;
    }
    CHECK_EQ(((uint32_t(*)(void))FunctionAt(number))(), expected);
  }
  return seed;
}
static void CallWhatIsMadeAgain(void) {
  functions = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(functions != MAP_FAILED);
  for (uint32_t number = 0; number < kPages * kFunctions; ++number) Write(number);
  pthread_t threads[kThreads];
  for (uintptr_t i = 0; i < kThreads; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, CallMany, (void*)(i + 1)), 0);
  // The same bytes: they are right at any time.
  for (uint32_t number = 0; number < kPages * kFunctions; number += 7) Write(number);
  for (int i = 0; i < kThreads; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

static sigjmp_buf out_of_ring;
static void OnAlarm(int number) {
  (void)number;
  siglongjmp(out_of_ring, 1);
}
// A ring of nothing but returns, which only a signal ends.
static void EndRing(void) {
  CHECK(signal(SIGALRM, OnAlarm) != SIG_ERR);
  for (int round = 0; round < 3; ++round) {
    if (sigsetjmp(out_of_ring, 1) != 0) continue;
    struct itimerval soon = {.it_value = {.tv_usec = 20000}};
    CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
    __asm__ volatile("sub $256, %%rsp\n  call 1f\n  push %%rax\n  ret\n1: mov (%%rsp), %%rax\n  ret" ::: "rax", "memory");
  }
}

int main(void) {
  random_state = 20261130;
  LeaveFrames();
  SwapContexts();
  GoElsewhere();
  ChangeCallers();
  CallWhatIsMadeAgain();
  EndRing();
  Finish();
}
