// Code of a file that jumps from page to page, while pages of the mapping become others: mapped anew, unmapped,
// protected, written by every means there is, truncated; in one space and not in its relative's; under a thread that
// runs it. What a translator knows of one page must not be true of another one for longer than it is.
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { kPage = 4096, kPages = 8, kBytes = kPages * kPage, kWarm = 250000, kRounds = 400 };

// Each page adds its number to EDI and goes on in the next one, through a forward jump, a conditional one or a call;
// from the last one back to the first, as often as ESI says.
static void WritePage(uint8_t *to, int page, uint32_t number) {
  uint8_t *at = to;
  *at++ = 0x81, *at++ = 0xc7, memcpy(at, &number, 4), at += 4;  // ADD EDI, number
  int32_t next = kPage;
  if (page == kPages - 1) {
    *at++ = 0xff, *at++ = 0xce;  // DEC ESI
    *at++ = 0x0f, *at++ = 0x85;  // JNZ to the first page
    int32_t back = (int32_t)(to - at) - (kPages - 1) * kPage - 4;
    memcpy(at, &back, 4), at += 4;
    *at++ = 0x89, *at++ = 0xf8, *at++ = 0xc3;  // MOV EAX, EDI; RET
  } else if (page % 3 == 1) {
    *at++ = 0x85, *at++ = 0xf6;  // TEST ESI, ESI
    *at++ = 0x0f, *at++ = 0x85;  // JNZ
    next -= (int32_t)(at - to) + 4;
    memcpy(at, &next, 4), at += 4;
    *at++ = 0x0f, *at++ = 0x0b;  // UD2
  } else if (page % 3 == 2) {
    *at++ = 0xe8;  // CALL to 64 bytes behind the next page's beginning, which returns; then on
    int32_t call = next + 64 - (int32_t)(at - to) - 4;
    memcpy(at, &call, 4), at += 4;
    *at++ = 0xe9;
    next -= (int32_t)(at - to) + 4;
    memcpy(at, &next, 4), at += 4;
  } else {
    *at++ = 0xe9;
    next -= (int32_t)(at - to) + 4;
    memcpy(at, &next, 4), at += 4;
  }
  // What is called there: ADD EDI, 1000 * number; RET.
  uint32_t thousand = 1000 * number;
  to[64] = 0x81, to[65] = 0xc7, memcpy(to + 66, &thousand, 4), to[70] = 0xc3;
}

static uint32_t Sum(const uint32_t *numbers) {
  uint32_t sum = 0;
  for (int page = 0; page < kPages; ++page) sum += numbers[page] * (page > 0 && (page - 1) % 3 == 2 ? 1001 : 1);
  return sum;
}

static int NewFile(const char *name, const uint32_t *numbers) {
  static uint8_t bytes[kBytes];
  memset(bytes, 0xcc, sizeof bytes);
  for (int page = 0; page < kPages; ++page) WritePage(bytes + page * kPage, page, numbers[page]);
  int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0755);
  CHECK(fd >= 0);
  CHECK_EQ(pwrite(fd, bytes, sizeof bytes, 0), (int)sizeof bytes);
  return fd;
}
static void *Map(void *at, int fd, int first, int pages, int flags) {
  void *to = at == NULL ? NULL : (uint8_t *)at + first * kPage;
  void *mapped = mmap(to, (size_t)pages * kPage, PROT_READ | PROT_EXEC, flags, fd, (off_t)first * kPage);
  CHECK(mapped != MAP_FAILED);
  return mapped;
}
static void WriteNumber(int fd, int page, uint32_t number) {
  uint8_t bytes[kPage];
  memset(bytes, 0xcc, sizeof bytes);
  WritePage(bytes, page, number);
  CHECK_EQ(pwrite(fd, bytes, 71, (off_t)page * kPage), 71);
}

typedef uint32_t (*Code)(uint32_t sum, uint32_t rounds);
static uint32_t Run(const void *code, uint32_t rounds) { return ((Code)(uintptr_t)code)(0, rounds); }
static void Expect(const void *code, const uint32_t *numbers, uint32_t rounds) {
  CHECK_EQ(Run(code, rounds), Sum(numbers) * rounds);
}

static sigjmp_buf faulted;
static uint8_t *volatile fault_address;
static volatile int fault_signal;
static void OnFault(int signal, siginfo_t *info, void *context) {
  (void)context;
  fault_signal = signal;
  fault_address = info->si_addr;
  siglongjmp(faulted, 1);
}
static void ExpectFault(const void *code, int page, int signal) {
  fault_signal = 0;
  if (sigsetjmp(faulted, 1) == 0) Run(code, kRounds);
  CHECK_EQ(fault_signal, signal);
  CHECK_EQ((fault_address - (const uint8_t *)code) / kPage, page);
}

static const uint32_t kA[kPages] = {1, 2, 3, 4, 5, 6, 7, 8}, kB[kPages] = {11, 22, 33, 44, 55, 66, 77, 88};
static void Mix(const uint32_t *from, int page, uint32_t number, uint32_t *mixed) {
  memcpy(mixed, from, kPages * sizeof *from);
  mixed[page] = number;
}

// Each of these takes files of its own, of which nobody knows anything yet.
static void ChangePage(int page) {
  int a = NewFile("a0", kA), b = NewFile("b0", kB);
  uint8_t *code = Map(NULL, a, 0, kPages, MAP_PRIVATE);
  uint32_t mixed[kPages];
  Mix(kA, page, kB[page], mixed);
  Expect(code, kA, kWarm / 10);
  if (page % 2 == 0) {
    Map(code, b, page, 1, MAP_PRIVATE | MAP_FIXED);
    Expect(code, mixed, kRounds);
  } else {
    CHECK_EQ(munmap(code + page * kPage, kPage), 0);
    ExpectFault(code, page, SIGSEGV);
  }
  CHECK_EQ(munmap(code, kBytes), 0);
  CHECK_EQ(unlink("a0"), 0);
  CHECK_EQ(unlink("b0"), 0);
}
static void ChangeMappings(void) {
  for (int page = 1; page < kPages; ++page) ChangePage(page);
  int a = NewFile("a1", kA), b = NewFile("b1", kB);
  uint8_t *code = Map(NULL, a, 0, kPages, MAP_PRIVATE);
  uint32_t mixed[kPages];
  Expect(code, kA, kWarm);
  for (int round = 0; round < 4; ++round) {
    for (int page = 1; page < kPages; ++page) {
      Expect(code, kA, kRounds);
      Map(code, b, page, 1, MAP_PRIVATE | MAP_FIXED);
      Mix(kA, page, kB[page], mixed);
      Expect(code, mixed, kRounds);
      CHECK_EQ(munmap(code + page * kPage, kPage), 0);
      ExpectFault(code, page, SIGSEGV);
      Map(code, a, page, 1, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
      Expect(code, kA, kRounds);
      CHECK_EQ(mprotect(code + page * kPage, kPage, PROT_NONE), 0);
      ExpectFault(code, page, SIGSEGV);
      CHECK_EQ(mprotect(code + page * kPage, kPage, PROT_READ), 0);
      ExpectFault(code, page, SIGSEGV);
      CHECK_EQ(mprotect(code + page * kPage, kPage, PROT_READ | PROT_EXEC), 0);
      Expect(code, kA, kRounds);
      CHECK_EQ(madvise(code + page * kPage, kPage, MADV_DONTNEED), 0);
      Expect(code, kA, kRounds);
    }
  }
  // A copy of its own, which stays when it may not be written any more, until the mapping is made anew.
  for (int page = 1; page < kPages; ++page) {
    CHECK_EQ(mprotect(code + page * kPage, kPage, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    WritePage(code + page * kPage, page, 500);
    Mix(kA, page, 500, mixed);
    Expect(code, mixed, kRounds);
    CHECK_EQ(mprotect(code + page * kPage, kPage, PROT_READ | PROT_EXEC), 0);
    Expect(code, mixed, kRounds);
    Map(code, a, 0, kPages, MAP_PRIVATE | MAP_FIXED);
    Expect(code, kA, kRounds);
  }
  // Elsewhere, and in part.
  uint8_t *room = mmap(NULL, 3 * kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(room != MAP_FAILED);
  CHECK(mremap(code, kBytes, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, room + kBytes) == room + kBytes);
  Expect(room + kBytes, kA, kRounds);
  code = room + kBytes;
  CHECK(mremap(code, kBytes, kBytes - 2 * kPage, 0) == code);
  ExpectFault(code, kPages - 2, SIGSEGV);
  Map(code, b, kPages - 2, 2, MAP_PRIVATE | MAP_FIXED);
  memcpy(mixed, kA, sizeof mixed);
  mixed[kPages - 2] = kB[kPages - 2], mixed[kPages - 1] = kB[kPages - 1];
  Expect(code, mixed, kRounds);
  CHECK_EQ(munmap(room, 3 * kBytes), 0);
}

// The same pages of one file at the same addresses, some with others behind them.
static void MapInParts(void) {
  int a = NewFile("a2", kA), b = NewFile("b2", kB);
  uint8_t *code = Map(NULL, a, 0, kPages, MAP_PRIVATE);
  uint32_t mixed[kPages];
  Expect(code, kA, kWarm);
  for (int first = 1; first < kPages; ++first) {
    CHECK_EQ(munmap(code, kBytes), 0);
    Map(code, a, 0, first, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
    Map(code, b, first, kPages - first, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
    for (int page = 0; page < kPages; ++page) mixed[page] = page < first ? kA[page] : kB[page];
    Expect(code, mixed, kRounds);
    CHECK_EQ(munmap(code, kBytes), 0);
    Map(code, a, 0, kPages, first % 2 ? MAP_PRIVATE | MAP_FIXED_NOREPLACE : MAP_SHARED | MAP_FIXED_NOREPLACE);
    Expect(code, kA, kRounds);
  }
  CHECK_EQ(munmap(code, kBytes), 0);
}

static void WriteFile(const char *name) {
  uint32_t numbers[kPages];
  memcpy(numbers, kA, sizeof numbers);
  int fd = NewFile(name, numbers);
  uint8_t *code = Map(NULL, fd, 0, kPages, MAP_PRIVATE);
  uint8_t *alias = mmap(NULL, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(alias != MAP_FAILED);
  Expect(code, numbers, kWarm);
  for (int round = 0; round < 3; ++round) {
    for (int page = 0; page < kPages; ++page) {
      numbers[page] += 7;
      WriteNumber(fd, page, numbers[page]);
      Expect(code, numbers, kRounds);
      numbers[page] += 9;
      WritePage(alias + page * kPage, page, numbers[page]);
      Expect(code, numbers, kRounds);
    }
  }
  // It ends sooner; then it is as long again, with other bytes.
  for (int page = 1; page < kPages; ++page) {
    CHECK_EQ(ftruncate(fd, (off_t)page * kPage), 0);
    ExpectFault(code, page, SIGBUS);
    CHECK_EQ(ftruncate(fd, kBytes), 0);
    for (int gone = page; gone < kPages; ++gone) WriteNumber(fd, gone, numbers[gone] += 3);
    Expect(code, numbers, kRounds);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)page * kPage, kPage) == 0)
      WriteNumber(fd, page, ++numbers[page]);
    Expect(code, numbers, kRounds);
  }
  // The file is made anew in its place, as a linker does it, and mapped where it was.
  for (int round = 0; round < 20; ++round) {
    CHECK_EQ(munmap(code, kBytes), 0);
    CHECK_EQ(close(fd), 0);
    if (round % 2) CHECK_EQ(unlink(name), 0);
    for (int page = 0; page < kPages; ++page) numbers[page] += (uint32_t)(round + page);
    fd = NewFile(name, numbers);
    Map(code, fd, 0, kPages, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
    Expect(code, numbers, kRounds);
  }
  CHECK_EQ(munmap(code, kBytes), 0);
  CHECK_EQ(munmap(alias, kBytes), 0);
  CHECK_EQ(close(fd), 0);
}

// Parent and children over the same frames. A child that has run the code, but come to no page of it but the first by
// a look-up of its own, changes another one.
static void Fork(void) {
  int b = NewFile("b3", kB);
  for (int page = 1; page < kPages; ++page) {
    int a = NewFile("a3", kA);
    uint8_t *code = Map(NULL, a, 0, kPages, MAP_PRIVATE);
    Expect(code, kA, kWarm);
    uint32_t mixed[kPages];
    Mix(kA, page, kB[page], mixed);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      Expect(code, kA, kRounds);
      if (page % 2 == 1) {
        Map(code, b, page, 1, MAP_PRIVATE | MAP_FIXED);
        Expect(code, mixed, kRounds);
      } else {
        CHECK_EQ(mprotect(code + page * kPage, kPage, PROT_READ), 0);
        ExpectFault(code, page, SIGSEGV);
      }
      _exit(0);
    }
    for (int i = 0; i < 20; ++i) Expect(code, kA, kRounds);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    Expect(code, kA, kRounds);
    CHECK_EQ(munmap(code, kBytes), 0);
    CHECK_EQ(unlink("a3"), 0);
    CHECK_EQ(close(a), 0);
  }
}

// A loop in one file calls a function in another one, which now and then goes on in its second next page: what is known
// of the loop must not outlive what that page is.
static void Displace(uint8_t *at, const uint8_t *from, const uint8_t *to) {
  int32_t displacement = (int32_t)(to - (from + 4));
  memcpy(at, &displacement, 4);
}
static uint32_t LoopSum(uint32_t rounds, uint32_t number) { return rounds * 6 + rounds / 256 * number; }
static int FunctionFile(const char *name, uint32_t number) {
  static uint8_t bytes[4 * kPage];
  memset(bytes, 0xcc, sizeof bytes);
  static const uint8_t function[] = {0x83, 0xc7, 1, 0x83, 0xc7, 1, 0x83, 0xc7, 1, 0x83, 0xc7, 1, 0x83, 0xc7, 1, 0x83, 0xc7, 1,
                                     0xf7, 0xc6, 0xff, 0, 0, 0,  // TEST ESI, 255
                                     0x0f, 0x84, 0, 0, 0, 0,     // JZ to 512
                                     0xc3};
  memcpy(bytes, function, sizeof function);
  Displace(bytes + 26, bytes + 26, bytes + 512);
  bytes[512] = 0xe9;
  Displace(bytes + 513, bytes + 513, bytes + 2 * kPage + 64);
  uint8_t *behind = bytes + 2 * kPage + 64;
  behind[0] = 0x81, behind[1] = 0xc7, memcpy(behind + 2, &number, 4), behind[6] = 0xc3;
  int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0755);
  CHECK(fd >= 0);
  CHECK_EQ(pwrite(fd, bytes, sizeof bytes, 0), (int)sizeof bytes);
  return fd;
}
// Begins it at one of its instructions, as what is known of it may: the call, the decrement, the branch.
static uint32_t RunLoopFrom(const uint8_t *loop, int entry, uint32_t rounds) {
  static const int places[] = {0, 5, 7};
  uint64_t sum = 0, left = rounds + (entry == 1), answer;
  __asm__ volatile(
      "lea -128(%%rsp), %%rsp\n"
      "test %%esi, %%esi\n"
      "call *%[code]\n"
      "lea 128(%%rsp), %%rsp"
      : "+D"(sum), "+S"(left), "=a"(answer)
      : [code] "r"(loop + places[entry])
      : "memory", "cc");
  return (uint32_t)answer;
}
static void LoopThroughTwoFiles(int change, int entry) {
  int first = FunctionFile("f1", 1000), second = FunctionFile("f2", 70000);
  uint8_t *room = mmap(NULL, 64 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(room != MAP_FAILED);
  uint8_t *loop = room, *function = room + 32 * kPage;
  uint8_t bytes[kPage];
  memset(bytes, 0xcc, sizeof bytes);
  bytes[0] = 0xe8;
  Displace(bytes + 1, loop + 1, function);
  static const uint8_t rest[] = {0xff, 0xce, 0x75, 0xf7, 0x89, 0xf8, 0xc3};  // DEC ESI; JNZ; MOV EAX, EDI; RET
  memcpy(bytes + 5, rest, sizeof rest);
  int fd = open("loop", O_RDWR | O_CREAT | O_TRUNC, 0755);
  CHECK(fd >= 0);
  CHECK_EQ(pwrite(fd, bytes, sizeof bytes, 0), (int)sizeof bytes);
  Map(loop, fd, 0, 1, MAP_PRIVATE | MAP_FIXED);
  Map(function, first, 0, 4, MAP_PRIVATE | MAP_FIXED);
  for (int i = 0; i < 8; ++i) CHECK_EQ(RunLoopFrom(loop, entry, 300000), LoopSum(300000, 1000));
  pid_t child = change == 1 ? fork() : 0;
  CHECK(child >= 0);
  if (child != 0) {
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(RunLoopFrom(loop, entry, 100000), LoopSum(100000, 1000));
  } else if (change == 2) {
    CHECK_EQ(mprotect(function + 2 * kPage, kPage, PROT_READ), 0);
    fault_signal = 0;
    if (sigsetjmp(faulted, 1) == 0) RunLoopFrom(loop, entry, 1000);
    CHECK_EQ(fault_signal, SIGSEGV);
    CHECK(fault_address == function + 2 * kPage + 64);
  } else {
    if (change == 1) CHECK_EQ(RunLoopFrom(loop, entry, 100), LoopSum(100, 1000));
    Map(function, second, 2, 1, MAP_PRIVATE | MAP_FIXED);
    CHECK_EQ(RunLoopFrom(loop, entry, 1000), LoopSum(1000, 70000));
    CHECK_EQ(RunLoopFrom(loop, entry, 100000), LoopSum(100000, 70000));
    if (change == 1) _exit(0);
  }
  CHECK_EQ(munmap(room, 64 * kPage), 0);
}

// One thread runs it, the other one maps pages anew, or writes them: who begins behind a change meets it.
static struct {
  uint8_t *code;
  uint32_t sums[2];
  uint32_t version;  // even: its lowest bit but one tells which; odd: it is being changed
  int stop;
} shared;
static void *RunShared(void *count) {
  while (!__atomic_load_n(&shared.stop, __ATOMIC_SEQ_CST)) {
    uint32_t before = __atomic_load_n(&shared.version, __ATOMIC_SEQ_CST);
    uint32_t sum = Run(shared.code, 3);
    uint32_t after = __atomic_load_n(&shared.version, __ATOMIC_SEQ_CST);
    if (before == after && before % 2 == 0) {
      CHECK_EQ(sum, 3 * shared.sums[before / 2 % 2]);
      ++*(int *)count;
    }
  }
  return NULL;
}
static void ChangeUnderThread(void) {
  int a = NewFile("a4", kA), b = NewFile("b4", kB);
  shared.code = Map(NULL, a, 0, kPages, MAP_PRIVATE);
  uint32_t mixed[kPages];
  int page = 4, seen = 0;
  Mix(kA, page, kB[page], mixed);
  shared.sums[0] = Sum(kA), shared.sums[1] = Sum(mixed);
  Expect(shared.code, kA, kWarm);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, RunShared, &seen), 0);
  for (uint32_t round = 0; round < 600 || __atomic_load_n(&seen, __ATOMIC_RELAXED) < 100; ++round) {
    __atomic_store_n(&shared.version, 2 * round + 1, __ATOMIC_SEQ_CST);
    if (round % 16 == 0)  // all of it
      Map(shared.code, a, 0, kPages, MAP_PRIVATE | MAP_FIXED);
    Map(shared.code, (round + 1) % 2 ? b : a, page, 1, MAP_PRIVATE | MAP_FIXED);
    __atomic_store_n(&shared.version, 2 * round + 2, __ATOMIC_SEQ_CST);
    Expect(shared.code, (round + 1) % 2 ? mixed : kA, 20);
  }
  __atomic_store_n(&shared.stop, 1, __ATOMIC_SEQ_CST);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(munmap(shared.code, kBytes), 0);
}

int main(void) {
  EnterScratchFolder();
  struct sigaction action = {.sa_sigaction = OnFault, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
  CHECK_EQ(sigaction(SIGBUS, &action, NULL), 0);
  ChangeMappings();
  MapInParts();
  WriteFile("c");
  Fork();
  for (int change = 0; change < 3; ++change)
    for (int entry = 0; entry < 3; ++entry) LoopThroughTwoFiles(change, entry);
  ChangeUnderThread();
  puts("ok");
  return 0;
}
