// personality: what it answers and who inherits it; addresses that are not random; what may be read may be executed.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/shm.h>
#include <sys/utsname.h>
#include <sys/wait.h>

enum { kAsk = -1 };
// B8 07 00 00 00 C3: mov eax, 7; ret
static const unsigned char kReturnSeven[] = {0xb8, 7, 0, 0, 0, 0xc3};

static int Runs(void* code) { return ((int (*)(void))code)(); }

static unsigned ShownBy(const char* path) {
  char text[16] = {0};
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  CHECK_EQ(read(fd, text, sizeof text), 9);
  CHECK_EQ(text[8], '\n');
  close(fd);
  return (unsigned)strtoul(text, NULL, 16);
}

static void* MapCode(int prot) {
  void* page = mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  if (prot & PROT_WRITE) memcpy(page, kReturnSeven, sizeof kReturnSeven);
  return page;
}

// Whether the mapping at `address` may be executed, by /proc/self/maps.
static int MayExecute(void* address) {
  char line[512];
  int found = -1;
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  while (fgets(line, sizeof line, maps)) {
    unsigned long start, end;
    char rights[5];
    CHECK(sscanf(line, "%lx-%lx %4s", &start, &end, rights) == 3);
    if (start <= (unsigned long)address && (unsigned long)address < end) found = rights[2] == 'x';
  }
  fclose(maps);
  CHECK(found >= 0);
  return found;
}


// Uses the stack down to `lowest`.
static int Deep(uintptr_t lowest) {
  volatile char some[1024];
  some[0] = 1;
  return (uintptr_t)some < lowest ? 0 : Deep(lowest) + some[0];
}

// Of the program that this one executes: prints where things are.
static int TellPlaces(void) {
  struct rlimit limit;
  CHECK_EQ(getrlimit(RLIMIT_STACK, &limit), 0);
  // Nearly all of what it may have, though mappings begin where that ends.
  CHECK(Deep((uintptr_t)&limit - limit.rlim_cur + (512 << 10)) > 0);
  int local;
  void* heap = sbrk(0);
  void* mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  printf("%x %p %p %p %p\n", personality(kAsk), (void*)&TellPlaces, heap, mapped, (void*)((uintptr_t)&local & ~0xfffffful));
  return 0;
}

static void RunSelf(unsigned persona, char* out, size_t size) {
  int pipe_ends[2];
  CHECK_EQ(pipe(pipe_ends), 0);
  pid_t child = fork();
  if (child == 0) {
    dup2(pipe_ends[1], 1);
    if (personality(persona) == -1) _exit(9);
    // More than the least that is left for it.
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = 160 << 20;
    if (setrlimit(RLIMIT_STACK, &limit) != 0) _exit(9);
    char* argv[] = {"personality", "tell", NULL};
    char* envp[] = {NULL};
    execve("/proc/self/exe", argv, envp);
    _exit(9);
  }
  close(pipe_ends[1]);
  size_t n = 0;
  ssize_t got;
  while ((got = read(pipe_ends[0], out + n, size - 1 - n)) > 0) n += (size_t)got;
  out[n] = 0;
  close(pipe_ends[0]);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK(n > 10);
}

static int ReadsImplyExecution(void) {
  CHECK_EQ(personality(kAsk) & READ_IMPLIES_EXEC, 0);
  void* before = MapCode(PROT_READ | PROT_WRITE);
  CHECK_EQ(MayExecute(before), 0);
  CHECK_EQ(personality(READ_IMPLIES_EXEC), 0);
  CHECK_EQ(MayExecute(before), 0);
  void* page = MapCode(PROT_READ | PROT_WRITE);
  CHECK_EQ(Runs(page), 7);
  CHECK_EQ(MayExecute(MapCode(PROT_NONE)), 0);
  CHECK_EQ(mprotect(before, 4096, PROT_READ), 0);
  CHECK_EQ(Runs(before), 7);
  CHECK_EQ(mprotect(before, 4096, PROT_NONE), 0);
  CHECK_EQ(MayExecute(before), 0);
  char* heap = sbrk(3 * 4096);
  CHECK(heap != (void*)-1);
  CHECK_EQ(MayExecute(heap + 2 * 4096), 1);
  int id = shmget(IPC_PRIVATE, 4096, 0600);
  CHECK(id >= 0);
  void* shared = shmat(id, NULL, 0);
  CHECK(shared != (void*)-1);
  CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
  CHECK_EQ(MayExecute(shared), 1);
  CHECK_EQ(personality(0), READ_IMPLIES_EXEC);
  CHECK_EQ(MayExecute(MapCode(PROT_READ)), 0);
  CHECK_EQ(MayExecute(page), 1);
  return 0;
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "tell") == 0) return TellPlaces();

  CHECK_EQ(personality(kAsk), 0);
  CHECK_EQ(ShownBy("/proc/self/personality"), 0);
  CHECK_EQ(personality(WHOLE_SECONDS | SHORT_INODE), 0);
  CHECK_EQ(personality(kAsk), WHOLE_SECONDS | SHORT_INODE);
  CHECK_EQ(ShownBy("/proc/self/personality"), WHOLE_SECONDS | SHORT_INODE);
  // A child has it; what the child changes is the child's.
  pid_t child = fork();
  if (child == 0) _exit(personality(UNAME26) == (WHOLE_SECONDS | SHORT_INODE) ? 0 : 1);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(personality(0), WHOLE_SECONDS | SHORT_INODE);

  struct utsname name;
  CHECK_EQ(personality(UNAME26), 0);
  CHECK_EQ(uname(&name), 0);
  CHECK(strncmp(name.release, "2.6.", 4) == 0 && atoi(name.release + 4) >= 40);
  CHECK_EQ(personality(PER_LINUX32), UNAME26);
  CHECK_EQ(uname(&name), 0);
  CHECK(strcmp(name.machine, "i686") == 0 && strncmp(name.release, "2.6.", 4) != 0);
  CHECK_EQ(personality(0), PER_LINUX32);
  CHECK_EQ(uname(&name), 0);
  CHECK(strcmp(name.machine, "x86_64") == 0);

  // select leaves the time that it has not waited, unless time-outs stick.
  for (int sticky = 0; sticky < 2; ++sticky) {
    CHECK_EQ(personality(sticky ? STICKY_TIMEOUTS : 0), 0);
    struct timeval time = {0, 2000};
    CHECK_EQ(select(0, NULL, NULL, NULL, &time), 0);
    CHECK_EQ(time.tv_usec, sticky ? 2000 : 0);
  }
  CHECK_EQ(personality(0), STICKY_TIMEOUTS);

  child = fork();
  if (child == 0) _exit(ReadsImplyExecution());
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);

  // A new program has the bits, but not READ_IMPLIES_EXEC, and finds the same places each time.
  char first[256], second[256];
  RunSelf(ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC, first, sizeof first);
  RunSelf(ADDR_NO_RANDOMIZE, second, sizeof second);
  CHECK(strcmp(first, second) == 0);
  unsigned bits;
  unsigned long code, heap, mapped, stack;
  CHECK_EQ(sscanf(first, "%x %lx %lx %lx %lx", &bits, &code, &heap, &mapped, &stack), 5);
  CHECK_EQ(bits, ADDR_NO_RANDOMIZE);
  // Linux puts what is position-independent and has no interpreter among the mappings.
  const int among_mappings = code > 0x7ff000000000;
  CHECK(code >> 24 == 0x555555 || code < 0x10000000 || among_mappings);
  CHECK_EQ(stack, 0x7fffff000000);
  CHECK(mapped > 0x7ff000000000 && mapped < stack);
  CHECK(among_mappings || (heap > code && heap - code < 64 << 20));
  return Finish();
}
