// Hands the kernel pages of its own file that nobody has touched: a path, bytes to write, a place to read to. The file of
// this program lies on a slow disk (slow_disk_test.cc). Writes what went wrong to its stderr and exits with 1.

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { kApart = 512 << 10 };  // further than one read of the disk brings

static const char kPath[kApart] __attribute__((aligned(4096))) = "/out/cold";
static const char kBytes[kApart] __attribute__((aligned(4096))) = "written from a cold page";
static char place[kApart] __attribute__((aligned(4096))) = "overwritten";

int main(void) {
  const int fd = open(kPath, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return perror("open"), 1;
  if (write(fd, kBytes, 3 * 4096) != 3 * 4096) return perror("write"), 1;
  if (pread(fd, place + 4096, 2 * 4096, 0) != 2 * 4096) return perror("pread"), 1;
  int ends[2];
  if (pipe(ends) != 0 || write(ends[1], kBytes + 200 * 1024, 5000) != 5000) return perror("pipe"), 1;
  if (memcmp(place + 4096, kBytes, 2 * 4096) != 0) return fputs("other bytes came back\n", stderr), 1;
  if (strcmp(place, "overwritten") != 0) return fputs("a page was lost\n", stderr), 1;
  return 0;
}
