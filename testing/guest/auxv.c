// The auxiliary vector and the initial stack.
#include "check.h"
#include <elf.h>
#include <sys/auxv.h>

extern char** environ;

int main(int argc, char** argv) {
  CHECK_EQ(getauxval(AT_PAGESZ), 4096);
  CHECK_EQ(getauxval(AT_CLKTCK), 100);
  CHECK(getauxval(AT_PHDR) != 0 && getauxval(AT_PHENT) == sizeof(Elf64_Phdr) && getauxval(AT_PHNUM) > 2);
  CHECK(getauxval(AT_ENTRY) != 0 && getauxval(AT_RANDOM) != 0);
  CHECK_EQ(getauxval(AT_UID), getuid());
  CHECK_EQ(getauxval(AT_EGID), getegid());
  CHECK_EQ(getauxval(AT_SECURE), 0);
  CHECK(strcmp((char*)getauxval(AT_PLATFORM), "x86_64") == 0);
  CHECK(strlen((char*)getauxval(AT_EXECFN)) > 0);
  const Elf64_Phdr* headers = (const Elf64_Phdr*)getauxval(AT_PHDR);
  int loads = 0;
  for (unsigned long i = 0; i < getauxval(AT_PHNUM); ++i) loads += headers[i].p_type == PT_LOAD;
  CHECK(loads >= 2);
  CHECK(argv[argc] == NULL);
  CHECK(environ == argv + argc + 1);
  uintptr_t sp = (uintptr_t)(argv - 1);
  CHECK_EQ(sp % 16, 0);
  CHECK_EQ(*(long*)sp, argc);
  return Finish();
}
