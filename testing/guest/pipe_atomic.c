// Writes of at most PIPE_BUF bytes are never interleaved with other writers', also when the pipe is nearly full.
#include "check.h"
#include <limits.h>
#include <sys/wait.h>

enum { kWriters = 4, kMessages = 200, kSize = 1000 };

int main(void) {
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  for (int w = 0; w < kWriters; ++w) {
    if (fork() == 0) {
      char message[kSize];
      memset(message, 'a' + w, kSize);
      for (int i = 0; i < kMessages; ++i) CHECK_EQ(write(ends[1], message, kSize), kSize);
      _exit(0);
    }
  }
  close(ends[1]);
  int counts[kWriters] = {0};
  char message[kSize];
  for (;;) {
    int have = 0;
    while (have < kSize) {
      int n = read(ends[0], message + have, kSize - have);
      CHECK(n >= 0);
      if (n == 0) break;
      have += n;
    }
    if (have == 0) break;
    CHECK_EQ(have, kSize);
    for (int i = 1; i < kSize; ++i) CHECK_EQ(message[i], message[0]);
    counts[message[0] - 'a']++;
  }
  for (int w = 0; w < kWriters; ++w) {
    CHECK_EQ(counts[w], kMessages);
    int status;
    CHECK(wait(&status) > 0 && status == 0);
  }
  return Finish();
}
