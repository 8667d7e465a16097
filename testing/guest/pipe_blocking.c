// A read waits for a writer, a write waits for room, a chunked read does not ask twice, EOF comes when the last writer goes.
#include "check.h"
#include <sys/wait.h>

int main(void) {
  int ends[2], seen[2];
  char byte;
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(pipe(seen), 0);
  pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    usleep(20000);
    CHECK_EQ(write(ends[1], "late", 4), 4);
    CHECK_EQ(read(seen[0], &byte, 1), 1);
    static char big[300000];
    memset(big, 'b', sizeof big);
    CHECK_EQ(write(ends[1], big, sizeof big), sizeof big);  // far more than the pipe holds
    _exit(0);
  }
  close(ends[1]);
  static char buffer[100000];
  CHECK_EQ(read(ends[0], buffer, sizeof buffer), 4);  // gives what is there, does not wait for more
  CHECK_EQ(write(seen[1], "s", 1), 1);
  long total = 0, n;
  while ((n = read(ends[0], buffer, sizeof buffer)) > 0) {
    for (long i = 0; i < n; ++i) CHECK_EQ(buffer[i], 'b');
    total += n;
  }
  CHECK_EQ(n, 0);
  CHECK_EQ(total, 300000);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  return Finish();
}
