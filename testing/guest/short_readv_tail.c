// A short readv leaves the pieces beyond its count untouched, and so the rest of the piece that it ends in: from a
// pipe, a socket, a file that ends, and with preadv. Pieces of no length are stepped over wherever they stand, even at
// addresses that nobody may touch. A read that has got something does not wait for more.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

static char a[4], b[4], c[4];

static void Reset(void) { memset(a, 'A', 4), memset(b, 'B', 4), memset(c, 'C', 4); }
static void ExpectFiveBytes(void) {
  CHECK(memcmp(a, "1234", 4) == 0);
  CHECK(memcmp(b, "5BBB", 4) == 0);
  CHECK(memcmp(c, "CCCC", 4) == 0);
}

int main(void) {
  EnterScratchFolder();
  struct iovec pieces[3] = {{a, 4}, {b, 4}, {c, 4}};
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  Reset();
  CHECK_EQ(write(ends[1], "12345", 5), 5);
  CHECK_EQ(readv(ends[0], pieces, 3), 5);
  ExpectFiveBytes();

  int sockets[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  Reset();
  CHECK_EQ(write(sockets[1], "12345", 5), 5);
  CHECK_EQ(readv(sockets[0], pieces, 3), 5);
  ExpectFiveBytes();

  int fd = open("file", O_RDWR | O_CREAT, 0600);
  CHECK_EQ(write(fd, "012345", 6), 6);
  CHECK_EQ(lseek(fd, 1, SEEK_SET), 1);
  Reset();
  CHECK_EQ(readv(fd, pieces, 3), 5);
  ExpectFiveBytes();
  Reset();
  CHECK_EQ(preadv(fd, pieces, 3, 1), 5);
  ExpectFiveBytes();
  CHECK_EQ(preadv(fd, pieces, 3, 6), 0);
  ExpectFiveBytes();

  // The pieces beyond the count may be anything: they are not looked at. (No access, but below the end of user space.)
  char* bad = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct iovec bad_tail[4] = {{bad, 0}, {a, 4}, {b, 1}, {bad, 1 << 20}};
  Reset();
  CHECK_EQ(preadv(fd, bad_tail, 4, 1), 5);
  ExpectFiveBytes();
  Reset();
  CHECK_EQ(write(ends[1], "12345", 5), 5);
  CHECK_EQ(readv(ends[0], bad_tail, 4), 5);
  ExpectFiveBytes();

  // Large pieces, so that the kernel has more than one go at them: a page-sized tail stays as it was.
  enum { kPiece = 100000 };
  char* big = mmap(NULL, 3 * kPiece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(big, 'T', 3 * kPiece);
  struct iovec large[3] = {{big, kPiece}, {big + kPiece, kPiece}, {big + 2 * kPiece, kPiece}};
  CHECK_EQ(ftruncate(fd, kPiece + 10), 0);
  CHECK_EQ(preadv(fd, large, 3, 0), kPiece + 10);
  CHECK(memcmp(big, "012345\0\0", 8) == 0);
  for (int i = 0; i < kPiece + 10; ++i) CHECK(i < 6 || big[i] == 0);
  for (int i = kPiece + 10; i < 3 * kPiece; ++i) CHECK_EQ(big[i], 'T');
  return Finish();
}
