// What libc chooses by the CPU: long and odd strings through its vector functions, near the end of a page.
#include "check.h"

#include <sys/mman.h>
#include <wchar.h>

int main(void) {
  char* const pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(mprotect(pages + 2 * 4096, 4096, PROT_NONE), 0);
  char* const end = pages + 2 * 4096;
  for (size_t length = 0; length < 300; ++length) {
    char* s = end - length - 1;
    memset(s, 'a', length);
    s[length] = 0;
    CHECK_EQ(strlen(s), length);
    CHECK_EQ(strnlen(s, 1000), length);
    CHECK(strchr(s, 'b') == NULL && strrchr(s, 'b') == NULL && memchr(s, 'b', length + 1) == NULL);
    CHECK(strchr(s, 0) == s + length && rawmemchr(s, 0) == s + length);
    char copy[400];
    CHECK(stpcpy(copy, s) == copy + length);
    CHECK_EQ(strcmp(copy, s), 0);
    CHECK_EQ(memcmp(copy, s, length + 1), 0);
    if (length > 0) {
      s[length / 2] = 'c';
      CHECK(strcmp(copy, s) < 0 && strncmp(s, copy, length) > 0 && memcmp(s, copy, length) > 0);
      CHECK(strchr(s, 'c') == s + length / 2 && memrchr(s, 'c', length) == s + length / 2);
      CHECK(strpbrk(s, "xyzc") == s + length / 2 && strcspn(s, "c") == length / 2);
      CHECK(strstr(s, "c") == s + length / 2 && strcasecmp(s, copy) > 0);
    }
    memmove(s - 7, s, length);
    CHECK_EQ(strspn(copy, "a"), length);
  }
  wchar_t wide[200];
  wmemset(wide, L'x', 199);
  wide[199] = 0;
  CHECK(wcslen(wide) == 199 && wcschr(wide, L'y') == NULL && wmemchr(wide, 0, 200) == wide + 199);
  // Overlapping moves in both directions, at lengths where the method changes.
  static unsigned char area[70000], model[70000];
  for (size_t length = 1; length < 60000; length = length * 3 + 1)
    for (int shift = -9; shift <= 9; shift += 6) {
      for (size_t i = 0; i < sizeof(area); ++i) area[i] = model[i] = (unsigned char)(i * 7 + length);
      for (size_t i = 0; i < length; ++i) model[100 + shift + i] = (unsigned char)((100 + i) * 7 + length);
      memmove(area + 100 + shift, area + 100, length);
      CHECK_EQ(memcmp(area, model, sizeof(area)), 0);
    }
  return Finish();
}
