// A small machine whose loop goes one way for a while, then another one, then the first one again: what a translator
// has made of the first must not be what the others get. By several threads, in a child, and while signals come.
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { kLaps = 100000, kCodes = 24 };

typedef struct {
  uint64_t value, sum, lap, carry;
} Machine;
typedef void (*Operation)(Machine*);

static volatile sig_atomic_t ticks;
static void OnTick(int signal_number) {
  (void)signal_number;
  ++ticks;
}

// Of laps in the middle third numbers are long.
static int IsLong(uint64_t lap) { return lap >= kLaps / 3 && lap < 2 * kLaps / 3; }

static __attribute__((noinline)) void AddShort(Machine* m, uint64_t by) {
  m->value += by;
  m->sum ^= m->value << 3;
}
static __attribute__((noinline)) void AddLong(Machine* m, uint64_t by) {
  uint64_t low = m->value + by;
  m->carry += low < m->value;
  m->value = low;
  for (int digit = 0; digit < 4; ++digit) m->sum += (low >> 16 * digit & 0xffff) * (digit + 3);
}
static void Add(Machine* m) {
  if (m->value >> 40 != 0)
    AddLong(m, m->lap | 1);
  else
    AddShort(m, m->lap | 1);
}
static void Multiply(Machine* m) { m->value = m->value * 6364136223846793005u + 1442695040888963407u; }
static void Cut(Machine* m) {
  if (!IsLong(m->lap)) m->value &= (1u << 30) - 1;
}
static void Mix(Machine* m) { m->sum = (m->sum << 7 | m->sum >> 57) ^ m->value; }
static void Carry(Machine* m) {
  uint64_t before = m->sum;
  m->sum += m->value;
  if (m->sum < before) m->carry++;
}

static const Operation operations[] = {Add, Multiply, Cut, Mix, Carry};
static const uint8_t codes[kCodes] = {0, 1, 2, 0, 3, 4, 0, 2, 3, 0, 0, 4, 1, 2, 0, 3, 0, 4, 2, 0, 3, 1, 2, 4};

static Machine ByTable(uint64_t seed) {
  Machine m = {.value = seed};
  for (m.lap = 0; m.lap < kLaps; ++m.lap)
    for (int i = 0; i < kCodes; ++i) operations[codes[i]](&m);
  return m;
}

// The same by other code.
static Machine Expected(uint64_t seed) {
  uint64_t value = seed, sum = 0, carry = 0;
  for (uint64_t lap = 0; lap < kLaps; ++lap) {
    for (int i = 0; i < kCodes; ++i) {
      uint64_t before = value;
      switch (codes[i]) {
        case 0:
          value += lap | 1;
          if (before >= (uint64_t)1 << 40) {
            carry += value < before;
            sum += (value & 0xffff) * 3 + (value >> 16 & 0xffff) * 4 + (value >> 32 & 0xffff) * 5 + (value >> 48) * 6;
          } else {
            sum ^= value * 8;
          }
          break;
        case 1:
          value = value * 6364136223846793005u + 1442695040888963407u;
          break;
        case 2:
          if (!IsLong(lap)) value %= 1u << 30;
          break;
        case 3:
          sum = (sum * 128 + (sum >> 57)) ^ value;
          break;
        default:
          carry += __builtin_add_overflow(sum, value, &sum);
      }
    }
  }
  return (Machine){value, sum, kLaps, carry};
}

static void* Check(void* argument) {
  uint64_t seed = (uintptr_t)argument;
  Machine is = ByTable(seed), should_be = Expected(seed);
  CHECK_EQ(is.value, should_be.value);
  CHECK_EQ(is.sum, should_be.sum);
  CHECK_EQ(is.carry, should_be.carry);
  return NULL;
}

int main(void) {
  CHECK(signal(SIGALRM, OnTick) != SIG_ERR);
  struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
  CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
  Check((void*)1);
  pthread_t threads[2];
  for (uintptr_t i = 0; i < 2; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Check, (void*)(i + 2)), 0);
  for (int i = 0; i < 2; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
  CHECK(ticks > 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    Check((void*)4);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  return Finish();
}
