// String instructions against a plain loop: every kind, element size, direction and prefix, over pages that lie side by
// side and pages that do not, overlapping, across faults, with the registers as the CPU leaves them.
#include "check.h"

#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { kPage = 4096, kBytes = 8 * kPage };

// What an instruction reads and leaves.
struct Registers {
  uint64_t rax, rcx, rsi, rdi, flags;
};

#define INSTRUCTION(name, text)                                                                                  \
  static void name(struct Registers* r, bool down) {                                                             \
    uint64_t flags = r->flags | (down ? 0x400 : 0);                                                              \
    __asm__ volatile("lea -128(%%rsp), %%rsp; push %[f]; popfq; " text "; pushfq; pop %[f]; lea 128(%%rsp), %%rsp; cld"                                         \
                     : "+a"(r->rax), "+c"(r->rcx), "+S"(r->rsi), "+D"(r->rdi), [f] "+b"(flags)::"memory", "cc"); \
    r->flags = flags & 0x8d5;                                                                                    \
  }
#define ALL_SIZES(X) X(b, 1) X(w, 2) X(l, 4) X(q, 8)
#define DEFINE(s, size)                                                                                            \
  INSTRUCTION(Movs_##s, "movs" #s)                                                                                 \
  INSTRUCTION(RepMovs_##s, "rep movs" #s) INSTRUCTION(Stos_##s, "stos" #s) INSTRUCTION(RepStos_##s, "rep stos" #s) \
      INSTRUCTION(Lods_##s, "lods" #s) INSTRUCTION(RepLods_##s, "rep lods" #s) INSTRUCTION(Scas_##s, "scas" #s)    \
          INSTRUCTION(RepeScas_##s, "repe scas" #s) INSTRUCTION(RepneScas_##s, "repne scas" #s)                    \
              INSTRUCTION(Cmps_##s, "cmps" #s) INSTRUCTION(RepeCmps_##s, "repe cmps" #s)                           \
                  INSTRUCTION(RepneCmps_##s, "repne cmps" #s)
ALL_SIZES(DEFINE)

enum Kind { kMovs, kStos, kLods, kScas, kCmps };
enum Repeat { kNone, kWhileEqual, kWhileUnequal };
static const struct Form {
  void (*run)(struct Registers*, bool);
  enum Kind kind;
  enum Repeat repeat;
  int size;
} kForms[] = {
#define ROWS(s, n)                                                                                                  \
  {Movs_##s, kMovs, kNone, n}, {RepMovs_##s, kMovs, kWhileEqual, n}, {Stos_##s, kStos, kNone, n},                   \
      {RepStos_##s, kStos, kWhileEqual, n}, {Lods_##s, kLods, kNone, n}, {RepLods_##s, kLods, kWhileEqual, n},      \
      {Scas_##s, kScas, kNone, n}, {RepeScas_##s, kScas, kWhileEqual, n}, {RepneScas_##s, kScas, kWhileUnequal, n}, \
      {Cmps_##s, kCmps, kNone, n}, {RepeCmps_##s, kCmps, kWhileEqual, n}, {RepneCmps_##s, kCmps, kWhileUnequal, n},
    ALL_SIZES(ROWS)};

static uint64_t Load(uint64_t at, int size) {
  uint64_t value = 0;
  memcpy(&value, (void*)at, size);
  return value;
}

// CF, PF, AF, ZF, SF, OF of a - b.
static uint64_t FlagsOfDifference(uint64_t a, uint64_t b, int size) {
  const int bits = 8 * size;
  const uint64_t mask = size == 8 ? ~0ull : (1ull << bits) - 1, top = 1ull << (bits - 1), d = (a - b) & mask;
  return (a < b ? 1 : 0) | (__builtin_parity(d & 0xff) ? 0 : 4) | ((a ^ b ^ d) & 0x10) | (d == 0 ? 0x40 : 0) |
         (d & top ? 0x80 : 0) | ((a ^ b) & (a ^ d) & top ? 0x800 : 0);
}

// The same by a loop; memory at `from` and `to` is changed likewise.
static void Model(const struct Form* form, struct Registers* r, bool down) {
  const uint64_t step = down ? -form->size : form->size;
  while (form->repeat == kNone || r->rcx != 0) {
    const uint64_t mask = form->size == 8 ? ~0ull : (1ull << 8 * form->size) - 1;
    const uint64_t a = r->rax & mask, keep = form->size == 4 ? 0 : r->rax & ~mask;
    uint64_t left = a, right = 0;
    if (form->kind == kMovs) memcpy((void*)r->rdi, &(uint64_t){Load(r->rsi, form->size)}, form->size);
    if (form->kind == kStos) memcpy((void*)r->rdi, &a, form->size);
    if (form->kind == kLods) r->rax = keep | Load(r->rsi, form->size);
    if (form->kind == kCmps) left = Load(r->rsi, form->size);
    if (form->kind == kCmps || form->kind == kScas) {
      right = Load(r->rdi, form->size);
      r->flags = FlagsOfDifference(left, right, form->size);
    }
    if (form->kind != kStos && form->kind != kScas) r->rsi += step;
    if (form->kind != kLods) r->rdi += step;
    if (form->repeat == kNone) return;
    --r->rcx;
    if ((form->kind == kCmps || form->kind == kScas) && (left == right) != (form->repeat == kWhileEqual)) return;
  }
}

static uint64_t random_state = 88172645463325252u;
static uint64_t Random(uint64_t below) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state % below;
}

// Pages of one file in an order that makes no two of them neighbours, some twice.
static char* Scattered(void) {
  static const int kOrder[] = {3, 1, 6, 1, 0, 5, 7, 2};
  const int file = memfd_create("scattered", 0);
  CHECK_EQ(ftruncate(file, kBytes), 0);
  char* at = mmap(NULL, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 8; ++i)
    CHECK(mmap(at + i * kPage, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, kOrder[i] * kPage) ==
          at + i * kPage);
  close(file);
  return at;
}

static char contents[kBytes], expected[kBytes], got[kBytes];

// One random case in `memory`, which natively is run twice: by the loop, then by the instruction.
static void Case(const struct Form* form, char* memory) {
  const bool same = Random(2), down = Random(3) == 0;
  for (int i = 0; i < kBytes; ++i) memory[i] = (char)(same ? 7 : Random(3));
  // So that comparisons end somewhere.
  for (int i = 0; i < 3; ++i) memory[Random(kBytes)] = 9;
  memcpy(contents, memory, kBytes);
  const uint64_t span = Random(4) == 0 ? kBytes : 200;
  struct Registers start = {.rax = same ? 0x0707070707070707 : Random(~0ull), .rcx = Random((span - 40) / form->size)};
  if (Random(8) == 0) start.rcx = 0;
  const uint64_t room = kBytes - 16 - start.rcx * form->size;
  start.rsi = (uint64_t)memory + 8 + Random(room);
  // Often close by, so that they overlap.
  start.rdi = Random(2) ? start.rsi + Random(40) - 20 : (uint64_t)memory + 8 + Random(room);
  if (start.rdi < (uint64_t)memory + 8 || start.rdi > (uint64_t)memory + 8 + room) start.rdi = start.rsi;
  if (down) {
    const uint64_t last = start.rcx == 0 ? 0 : (start.rcx - 1) * form->size;
    start.rsi += last, start.rdi += last;
  }
  start.flags = Random(2) ? 0x8d5 : 0;
  struct Registers by_loop = start, by_instruction = start;
  Model(form, &by_loop, down);
  memcpy(expected, memory, kBytes);
  memcpy(memory, contents, kBytes);
  form->run(&by_instruction, down);
  memcpy(got, memory, kBytes);
  CHECK_EQ(by_instruction.rcx, by_loop.rcx);
  CHECK_EQ(by_instruction.rsi, by_loop.rsi);
  CHECK_EQ(by_instruction.rdi, by_loop.rdi);
  CHECK_EQ(by_instruction.rax, by_loop.rax);
  CHECK_EQ(by_instruction.flags, by_loop.flags);
  CHECK(memcmp(got, expected, kBytes) == 0);
}

static sigjmp_buf after_fault;
static greg_t at_fault[NGREG];
static void OnFault(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info;
  memcpy(at_fault, ((ucontext_t*)context)->uc_mcontext.gregs, sizeof at_fault);
  siglongjmp(after_fault, 1);
}

// Stops at the page without access, in the middle, with what was done done.
static void FaultsStandBetweenTwoElements(void) {
  char* memory = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* source = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(source, 5, 4 * kPage);
  CHECK_EQ(mprotect(memory + 2 * kPage, kPage, PROT_NONE), 0);
  struct Registers r = {.rcx = 1000, .rsi = (uint64_t)source, .rdi = (uint64_t)memory + 2 * kPage - 801};
  if (sigsetjmp(after_fault, 1) == 0) {
    RepMovs_q(&r, false);
    CHECK(!"faults");
  }
  // 100 elements of 8 bytes fit; the next one crosses.
  CHECK_EQ(at_fault[REG_RCX], 900);
  CHECK_EQ(at_fault[REG_RSI], (uint64_t)source + 800);
  CHECK_EQ(at_fault[REG_RDI], (uint64_t)memory + 2 * kPage - 1);
  CHECK_EQ(memory[2 * kPage - 2], 5);
  CHECK_EQ(memory[2 * kPage - 1], 0);
  // Downwards, and the source's fault.
  r = (struct Registers){.rcx = 1 << 20, .rsi = (uint64_t)memory + 3 * kPage + 9, .rdi = (uint64_t)source + 100};
  if (sigsetjmp(after_fault, 1) == 0) {
    RepMovs_b(&r, true);
    CHECK(!"faults");
  }
  __asm__ volatile("cld");
  CHECK_EQ(at_fault[REG_RCX], (1 << 20) - 10);
  CHECK_EQ(at_fault[REG_RSI], (uint64_t)memory + 3 * kPage - 1);
  CHECK_EQ(at_fault[REG_RDI], (uint64_t)source + 90);
  // A string without an end.
  memset(memory, 1, kPage);
  r = (struct Registers){.rax = 3, .rcx = ~0ull, .rdi = (uint64_t)memory};
  if (sigsetjmp(after_fault, 1) == 0) {
    RepneScas_b(&r, false);
    CHECK(!"faults");
  }
  CHECK_EQ(at_fault[REG_RCX], ~0ull - 2 * kPage);
  CHECK_EQ(at_fault[REG_RDI], (uint64_t)memory + 2 * kPage);
}

static void SegmentsMoveTheSource(void) {
  char from[64], to[64] = {0};
  for (int i = 0; i < 64; ++i) from[i] = (char)(i + 1);
  CHECK_EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, (unsigned long)from), 0);
  uint64_t source = 8, destination = (uint64_t)to, count = 20;
  __asm__ volatile("rep movsb %%gs:(%%rsi), %%es:(%%rdi)" : "+S"(source), "+D"(destination), "+c"(count)::"memory");
  CHECK_EQ(source, 28);
  CHECK_EQ(destination, (uint64_t)to + 20);
  CHECK(memcmp(to, from + 8, 20) == 0);
  CHECK_EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, 0ul), 0);
}

static void ShortAddressesAreCut(void) {
  char* low = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  CHECK(low != MAP_FAILED);
  memset(low, 4, kPage);
  const uint64_t high = 0x1234567800000000;
  uint64_t source = high | (uint64_t)low, destination = high | ((uint64_t)low + kPage), count = high | 100;
  __asm__ volatile("addr32 rep movsb" : "+S"(source), "+D"(destination), "+c"(count)::"memory");
  CHECK_EQ(source, (uint64_t)low + 100);
  CHECK_EQ(destination, (uint64_t)low + kPage + 100);
  CHECK_EQ(count, 0);
  CHECK(memcmp(low, low + kPage, 100) == 0 && low[kPage + 100] == 0);
}

// Code that a string instruction writes runs as it was written.
static void CodeIsReplaced(void) {
  unsigned char* code = mmap(NULL, kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (unsigned i = 0; i < 200; ++i) {
    // mov eax, i; ret
    const unsigned char text[] = {0xb8, (unsigned char)i, 0, 0, 0, 0xc3};
    struct Registers r = {.rcx = sizeof text, .rsi = (uint64_t)text, .rdi = (uint64_t)code};
    RepMovs_b(&r, false);
    CHECK_EQ(((int (*)(void))code)(), i);
  }
}

int main(void) {
  char* plain = mmap(NULL, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* scattered = Scattered();
  for (int round = 0; round < 60; ++round)
    for (size_t i = 0; i < sizeof kForms / sizeof *kForms; ++i) Case(&kForms[i], round % 2 ? plain : scattered);
  struct sigaction action = {.sa_sigaction = OnFault, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
  FaultsStandBetweenTwoElements();
  SegmentsMoveTheSource();
  ShortAddressesAreCut();
  CodeIsReplaced();
  return Finish();
}
