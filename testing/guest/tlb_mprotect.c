// A change of rights is seen by the next access, in this thread and in others, and takes nothing else away.
// The host answers: SIGSEGV with SEGV_ACCERR on a page whose right went (mprotect), SEGV_MAPERR on one that is gone
// (munmap), never on another page; a right that comes back works again; a store of another thread either came before
// mprotect returned or faults.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "check.h"

enum { kPage = 4096, kPages = 1000, kFar = 6000 };

static __thread sigjmp_buf back;
static __thread volatile int fault_code;
static __thread char* volatile fault_address;

static void OnFault(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  fault_code = info->si_code;
  fault_address = info->si_addr;
  siglongjmp(back, 1);
}

// 0, or the si_code of the fault.
static int TryStore(volatile char* p, char value) {
  if (sigsetjmp(back, 1) != 0) {
    CHECK(fault_address == (char*)p);
    return fault_code;
  }
  *p = value;
  return 0;
}
static int TryLoad(volatile char* p, char* value) {
  if (sigsetjmp(back, 1) != 0) {
    CHECK(fault_address == (char*)p);
    return fault_code;
  }
  *value = *p;
  return 0;
}

static char* Map(size_t pages) {
  char* p = mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED);
  return p;
}

// One page at a time loses its right; the thousand others keep theirs.
static void OneOfAThousand(void) {
  char* p = Map(kPages);
  for (int i = 0; i < kPages; ++i) p[i * kPage] = (char)i;
  for (int round = 0; round < 50; ++round) {
    char* one = p + (round * 37 % kPages) * kPage;
    const char before = *one;
    char got = 0;
    CHECK_EQ(mprotect(one, kPage, PROT_READ), 0);
    CHECK_EQ(TryStore(one, 1), SEGV_ACCERR);
    CHECK_EQ(TryLoad(one, &got), 0);
    CHECK_EQ(got, before);
    for (int i = 0; i < kPages; ++i)
      if (p + i * kPage != one) CHECK_EQ(TryStore(p + i * kPage, (char)(i + round)), 0);
    CHECK_EQ(mprotect(one, kPage, PROT_NONE), 0);
    CHECK_EQ(TryLoad(one, &got), SEGV_ACCERR);
    CHECK_EQ(mprotect(one, kPage, PROT_READ | PROT_WRITE), 0);
    CHECK_EQ(*one, before);
    *one = (char)(before + 1);
    for (int i = 0; i < kPages; ++i)
      if (p + i * kPage != one) CHECK_EQ(p[i * kPage], (char)(i + round));
  }
  CHECK_EQ(munmap(p + 10 * kPage, kPage), 0);
  char got;
  CHECK_EQ(TryLoad(p + 10 * kPage, &got), SEGV_MAPERR);
  CHECK_EQ(TryLoad(p + 9 * kPage, &got), 0);
  CHECK_EQ(TryLoad(p + 11 * kPage, &got), 0);
  CHECK_EQ(munmap(p, kPages * kPage), 0);
}

// More pages than a TLB holds at once, and a change across all of them.
static void FarAndWide(void) {
  char* p = Map(kFar);
  for (int i = 0; i < kFar; ++i) p[(size_t)i * kPage + i % kPage] = (char)(i * 7);
  CHECK_EQ(mprotect(p, (size_t)kFar * kPage, PROT_READ), 0);
  for (int i = 0; i < kFar; i += 97) CHECK_EQ(TryStore(p + (size_t)i * kPage, 1), SEGV_ACCERR);
  for (int i = 0; i < kFar; ++i) CHECK_EQ(p[(size_t)i * kPage + i % kPage], (char)(i * 7));
  CHECK_EQ(mprotect(p + kPage, (size_t)(kFar - 2) * kPage, PROT_READ | PROT_WRITE), 0);
  CHECK_EQ(TryStore(p, 1), SEGV_ACCERR);
  CHECK_EQ(TryStore(p + kPage, 1), 0);
  CHECK_EQ(TryStore(p + (size_t)(kFar - 1) * kPage, 1), SEGV_ACCERR);
  // DONTNEED: the translations are gone, and what comes back reads as zero.
  CHECK_EQ(madvise(p, (size_t)kFar * kPage, MADV_DONTNEED), 0);
  for (int i = 0; i < kFar; ++i) CHECK_EQ(p[(size_t)i * kPage + i % kPage], 0);
  CHECK_EQ(munmap(p, (size_t)kFar * kPage), 0);
}

// One thread counts in a page; another takes the right away, and from then on sees no further count.
static _Atomic int* counter;
static _Atomic int stop, faulted;

static void* Count(void* unused) {
  (void)unused;
  while (!atomic_load(&stop)) {
    if (sigsetjmp(back, 1) != 0) {
      CHECK_EQ(fault_code, SEGV_ACCERR);
      CHECK(fault_address == (char*)counter);
      atomic_fetch_add(&faulted, 1);
      sched_yield();
      continue;
    }
    for (int i = 0; i < 1000; ++i) atomic_fetch_add(counter, 1);
  }
  return NULL;
}

static void AnotherThreadsRightGoes(void) {
  counter = (_Atomic int*)Map(3);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, Count, NULL), 0);
  for (int round = 0; round < 100; ++round) {
    const int start = atomic_load(counter);
    while (atomic_load(counter) == start) sched_yield();
    const int faults = atomic_load(&faulted);
    CHECK_EQ(mprotect((void*)counter, kPage, PROT_READ), 0);
    const int seen = atomic_load(counter);
    while (atomic_load(&faulted) == faults) {
      CHECK_EQ(atomic_load(counter), seen);
      sched_yield();
    }
    CHECK_EQ(atomic_load(counter), seen);
    CHECK_EQ(mprotect((void*)counter, kPage, PROT_READ | PROT_WRITE), 0);
  }
  atomic_store(&stop, 1);
  CHECK_EQ(pthread_join(thread, NULL), 0);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = OnFault, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
  OneOfAThousand();
  FarAndWide();
  AnotherThreadsRightGoes();
  return Finish();
}
