// What guest programs assert with. A failed check prints the place, the expression and errno, and exits 1; Finish()
// prints "ok". Plain C on purpose: these programs run natively and under Remora, static, static-pie and dynamic.
#ifndef REMORA_TESTING_GUEST_CHECK_H_
#define REMORA_TESTING_GUEST_CHECK_H_

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition)                                                                               \
  do {                                                                                                 \
    if (!(condition)) {                                                                                \
      dprintf(2, "%s:%d: CHECK(%s) failed; errno is %d (%s)\n", __FILE__, __LINE__, #condition, errno, \
              strerror(errno));                                                                        \
      _exit(1);                                                                                        \
    }                                                                                                  \
  } while (0)

#define CHECK_EQ(a, b)                                                                                               \
  do {                                                                                                               \
    long long check_a = (long long)(a), check_b = (long long)(b);                                                    \
    if (check_a != check_b) {                                                                                        \
      dprintf(2, "%s:%d: CHECK_EQ(%s, %s) failed: %lld is not %lld; errno is %d (%s)\n", __FILE__, __LINE__, #a, #b, \
              check_a, check_b, errno, strerror(errno));                                                             \
      _exit(1);                                                                                                      \
    }                                                                                                                \
  } while (0)

// A call that must answer -1 with this errno.
#define CHECK_FAILS(call, expected_errno)                                                                      \
  do {                                                                                                         \
    errno = 0;                                                                                                 \
    long long check_result = (long long)(call);                                                                \
    int check_errno = errno;                                                                                   \
    if (check_result != -1 || check_errno != (expected_errno)) {                                               \
      dprintf(2, "%s:%d: CHECK_FAILS(%s, %s) failed: result %lld, errno %d (%s)\n", __FILE__, __LINE__, #call, \
              #expected_errno, check_result, check_errno, strerror(check_errno));                              \
      _exit(1);                                                                                                \
    }                                                                                                          \
  } while (0)

// A fresh, empty folder to work in, made the cwd. Lives in TMPDIR or /tmp.
static inline void EnterScratchFolder(void) {
  char path[256];
  const char* base = getenv("TEST_TMPDIR");
  if (!base) base = "/tmp";
  snprintf(path, sizeof path, "%s/guest.XXXXXX", base);
  CHECK(mkdtemp(path) != NULL);
  CHECK_EQ(chdir(path), 0);
}

// Whether this process may do what root may. Root of a user namespace that maps only itself (as in a build sandbox) may
// not.
static inline int Privileged(void) {
  char map[256] = {0};
  if (geteuid() != 0) return 0;
  FILE* file = fopen("/proc/self/uid_map", "r");
  if (file == NULL) return 1;
  size_t length = fread(map, 1, sizeof map - 1, file);
  fclose(file);
  return length == 0 || strstr(map, "4294967295") != NULL;
}

static inline int Finish(void) {
  puts("ok");
  return fflush(stdout) == 0 ? 0 : 1;
}

#endif  // REMORA_TESTING_GUEST_CHECK_H_
