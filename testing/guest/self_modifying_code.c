// Code that is written and run: on one page again and again, through two mappings, through read(2), under mprotect flips.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>

typedef int (*Function)(void);

// mov eax, value; ret
static void Emit(unsigned char* at, int value) {
  at[0] = 0xb8;
  memcpy(at + 1, &value, 4);
  at[5] = 0xc3;
}

int main(void) {
  EnterScratchFolder();
  unsigned char* page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 2000; ++i) {
    Emit(page + (i % 3) * 16, i);
    CHECK_EQ(((Function)(page + (i % 3) * 16))(), i);
  }
  // An instruction that crosses a page and changes on either side.
  Emit(page + 4093, 0x01020304);
  CHECK_EQ(((Function)(page + 4093))(), 0x01020304);
  page[4096] = 0x55;
  CHECK_EQ(((Function)(page + 4093))(), 0x01550304);
  // A loop that rewrites its own next instruction: mov ecx,5; 1: inc dword [immediate of the mov below]; mov eax,0; dec ecx; jnz 1b; ret
  unsigned char loop[] = {0xb9, 5, 0, 0, 0, 0xff, 0x05, 1, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf1, 0xc3};
  memcpy(page + 256, loop, sizeof loop);
  CHECK_EQ(((Function)(page + 256))(), 5);
  // One memory, two mappings: written here, run there.
  int fd = open("code", O_RDWR | O_CREAT, 0700);
  CHECK_EQ(ftruncate(fd, 4096), 0);
  unsigned char* writable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  unsigned char* runnable = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  for (int i = 0; i < 200; ++i) {
    Emit(writable, i * 3);
    CHECK_EQ(((Function)runnable)(), i * 3);
  }
  unsigned char code[6];
  for (int i = 0; i < 50; ++i) {
    Emit(code, i + 7);
    CHECK_EQ(pwrite(fd, code, 6, 0), 6);
    CHECK_EQ(((Function)runnable)(), i + 7);
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    Emit(code, i + 9);
    CHECK_EQ(write(ends[1], code, 6), 6);
    CHECK_EQ(read(ends[0], page, 6), 6);
    CHECK_EQ(((Function)page)(), i + 9);
    close(ends[0]), close(ends[1]);
  }
  for (int i = 0; i < 100; ++i) {
    CHECK_EQ(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
    Emit(page, i);
    CHECK_EQ(mprotect(page, 4096, PROT_READ | PROT_EXEC), 0);
    CHECK_EQ(((Function)page)(), i);
  }
  return Finish();
}
