// rseq: registration, the CPU's number, and a critical section that a signal and preemption break off.
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define SIGNATURE 0x53053053

struct Area {
  uint32_t cpu_id_start, cpu_id;
  uint64_t rseq_cs;
  uint32_t flags, node_id, mm_cid, padding;
} __attribute__((aligned(32)));

struct Section {
  uint32_t version, flags;
  uint64_t start_ip, post_commit_offset, abort_ip;
} __attribute__((aligned(32)));

static struct Area area, other;

static int Rseq(struct Area* at, uint32_t length, int flags, uint32_t signature) {
  return (int)syscall(SYS_rseq, at, length, flags, signature);
}

static volatile int signals;
static void Handler(int signal) { (void)signal, signals++; }

// Spins inside a critical section until something breaks it off. 1 if it came out through the abort handler.
static int SpinUntilAborted(struct Area* at) {
  static struct Section section;
  int aborted;
  __asm__ volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "movq %%rax, 8(%[section])\n\t"
      "leaq 2f(%%rip), %%rcx\n\t"
      "subq %%rax, %%rcx\n\t"
      "movq %%rcx, 16(%[section])\n\t"
      "leaq 4f(%%rip), %%rax\n\t"
      "movq %%rax, 24(%[section])\n\t"
      "xorl %[aborted], %[aborted]\n\t"
      "movq %[section], 8(%[area])\n\t"
      "1:\n\t"
      "pause\n\t"
      "jmp 1b\n\t"
      "2:\n\t"
      "jmp 5f\n\t"
      ".byte 0x0f, 0xb9, 0x3d\n\t"
      ".long 0x53053053\n\t"
      "4:\n\t"
      "movl $1, %[aborted]\n\t"
      "5:\n\t"
      : [aborted] "=&r"(aborted)
      : [section] "r"(&section), [area] "r"(at)
      : "rax", "rcx", "memory", "cc");
  return aborted;
}

static void* Spin(void* stop) {
  while (!*(volatile int*)stop) {
  }
  return NULL;
}

int main(void) {
  // glibc has registered its own; it goes first.
  if (__rseq_size != 0) {
    struct Area* libc = (struct Area*)((char*)__builtin_thread_pointer() + __rseq_offset);
    CHECK(libc->cpu_id < 4096);
    CHECK_EQ(libc->cpu_id, libc->cpu_id_start);
    CHECK_FAILS(Rseq(libc, 32, 0, SIGNATURE), EBUSY);
    CHECK_FAILS(Rseq(libc, 32, 0, SIGNATURE + 1), EPERM);
    CHECK_FAILS(Rseq(&area, 32, 0, SIGNATURE), EINVAL);
    CHECK_FAILS(Rseq(libc, 32, 1, SIGNATURE + 1), EPERM);
    CHECK_EQ(Rseq(libc, 32, 1, SIGNATURE), 0);
    CHECK_EQ(libc->cpu_id, ~0u);
    CHECK_EQ(libc->cpu_id_start, 0);
  }
  CHECK_FAILS(Rseq(&area, 32, 1, SIGNATURE), EINVAL);
  CHECK_FAILS(Rseq(&area, 32, 2, SIGNATURE), EINVAL);
  CHECK_FAILS(Rseq(&area, 16, 0, SIGNATURE), EINVAL);
  CHECK_FAILS(Rseq((struct Area*)((char*)&area + 8), 32, 0, SIGNATURE), EINVAL);
  area.cpu_id = ~0u;
  CHECK_EQ(Rseq(&area, 32, 0, SIGNATURE), 0);
  unsigned cpu, node;
  for (int i = 0; i < 1000; ++i) {
    uint32_t before = *(volatile uint32_t*)&area.cpu_id;
    CHECK_EQ(syscall(SYS_getcpu, &cpu, &node, NULL), 0);
    if (before == *(volatile uint32_t*)&area.cpu_id) {
      CHECK_EQ(cpu, before);
      break;
    }
  }
  CHECK_EQ(*(volatile uint32_t*)&area.cpu_id_start, area.cpu_id);

  // Pinned, it says where.
  cpu_set_t set, all;
  CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  for (int i = 0; i < 64; ++i) {
    if (!CPU_ISSET(i, &all)) continue;
    CPU_ZERO(&set);
    CPU_SET(i, &set);
    CHECK_EQ(sched_setaffinity(0, sizeof set, &set), 0);
    CHECK_EQ(*(volatile uint32_t*)&area.cpu_id, i);
    CHECK_EQ(syscall(SYS_getcpu, &cpu, &node, NULL), 0);
    CHECK_EQ(cpu, i);
  }

  // A signal breaks a section off: its handler sees the abort's address, and so does what comes after.
  signal(SIGALRM, Handler);
  struct sigevent event = {0};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGALRM;
  timer_t timer;
  CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  struct itimerspec spec = {{0, 0}, {0, 20000000}};
  CHECK_EQ(timer_settime(timer, 0, &spec, NULL), 0);
  CHECK_EQ(SpinUntilAborted(&area), 1);
  CHECK_EQ(*(volatile uint64_t*)&area.rseq_cs, 0);
  // Preemption by others on the same CPU does it too, at the latest with the signal.
  volatile int stop = 0;
  pthread_t threads[3];
  for (int i = 0; i < 3; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Spin, (void*)&stop), 0);
  spec.it_value.tv_sec = 5;
  CHECK_EQ(timer_settime(timer, 0, &spec, NULL), 0);
  CHECK_EQ(SpinUntilAborted(&area), 1);
  stop = 1;
  for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
  CHECK_EQ(timer_delete(timer), 0);

  // A fork inherits the registration with the memory.
  pid_t child = fork();
  if (child == 0) {
    CHECK_FAILS(Rseq(&area, 32, 0, SIGNATURE), EBUSY);
    CHECK_EQ(Rseq(&area, 32, 1, SIGNATURE), 0);
    // A section whose abort has another signature ends the process.
    CHECK_EQ(Rseq(&other, 32, 0, SIGNATURE + 1), 0);
    spec.it_value.tv_sec = 0;
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    CHECK_EQ(timer_settime(timer, 0, &spec, NULL), 0);
    SpinUntilAborted(&other);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  CHECK_EQ(Rseq(&area, 32, 1, SIGNATURE), 0);
  return Finish();
}
