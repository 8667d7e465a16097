// What ld.so does for a library that wants an executable stack: mprotect with PROT_GROWSDOWN.
#include "check.h"
#include <sys/mman.h>
#include <sys/syscall.h>

// B8 07 00 00 00 C3: mov eax, 7; ret
static const unsigned char kReturnSeven[] = {0xb8, 7, 0, 0, 0, 0xc3};

int main(void) {
  unsigned char frame[4 * 4096];  // the pages behind the code's are the stack's, too
  unsigned char* const code = frame + 64;
  memcpy(code, kReturnSeven, sizeof kReturnSeven);
  char* page = (char*)((uintptr_t)code & ~4095ul);
  const int all = PROT_READ | PROT_WRITE | PROT_EXEC;
  // A little of the stack; what lies below it, down to where the mapping begins, goes with it.
  CHECK_FAILS(mprotect(page, 4096, all | PROT_GROWSDOWN | PROT_GROWSUP), EINVAL);
  CHECK_FAILS(mprotect(page, 4096, all | PROT_GROWSUP), EINVAL);
  CHECK_FAILS(mprotect(page + 1, 4096, all | PROT_GROWSDOWN), EINVAL);
  CHECK_EQ(mprotect(page, 0, all | PROT_GROWSDOWN), 0);
  CHECK_FAILS(syscall(SYS_mprotect, page, 4096ul, 1ul << 32 | PROT_READ), EINVAL);
  CHECK_EQ(mprotect(page + 4096, 4096, all | PROT_GROWSDOWN), 0);
  CHECK_EQ(((int (*)(void))code)(), 7);
  memset(code, 0, sizeof kReturnSeven);
  memcpy(code + 16, kReturnSeven, sizeof kReturnSeven);
  CHECK_EQ(((int (*)(void))(code + 16))(), 7);

  // The stack has grown, and still may be executed.
  volatile char far[512 * 1024];
  memset((char*)far, 1, sizeof far);
  memcpy((char*)far, kReturnSeven, sizeof kReturnSeven);
  CHECK_EQ(((int (*)(void))far)(), 7);
  CHECK_EQ(mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_GROWSDOWN), 0);

  // Of what does not grow down, and where there is nothing.
  char* plain = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(plain != MAP_FAILED);
  CHECK_FAILS(mprotect(plain, 4096, PROT_READ | PROT_GROWSDOWN), EINVAL);
  CHECK_FAILS(mprotect(plain, 4096, PROT_READ | PROT_GROWSUP), EINVAL);
  CHECK_EQ(munmap(plain, 3 * 4096), 0);
  CHECK_FAILS(mprotect(plain, 4096, PROT_READ | PROT_GROWSDOWN), ENOMEM);
  CHECK_FAILS(mprotect(plain, 4096, PROT_READ | PROT_GROWSUP), ENOMEM);

  // One that has been asked to grow: from its beginning, though only its end was named.
  char* area = mmap(NULL, 8 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(area != MAP_FAILED);
  char* grows = mmap(area + 4 * 4096, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
  CHECK(grows == area + 4 * 4096);
  CHECK_EQ(mprotect(grows + 2 * 4096, 4096, PROT_READ | PROT_WRITE | PROT_GROWSDOWN), 0);
  grows[0] = grows[2 * 4096] = 1;
  // And where the range begins before it.
  CHECK_EQ(munmap(area + 2 * 4096, 2 * 4096), 0);
  CHECK_EQ(mprotect(area + 2 * 4096, 4 * 4096, PROT_READ | PROT_GROWSDOWN), 0);
  return Finish();
}
