// A generated file read in small pieces is what one read of it is; what was begun is read to its end though the truth
// changes meanwhile; going back to the beginning shows the present. Asked of Linux 6.1: seq_file does so.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

static size_t ReadPieces(const char* path, char* to, size_t size, size_t piece) {
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  size_t length = 0;
  ssize_t n;
  while (length < size && (n = read(fd, to + length, piece)) > 0) length += (size_t)n;
  CHECK_EQ(read(fd, to, 0), 0);
  CHECK_EQ(close(fd), 0);
  return length;
}

int main(void) {
  static char whole[65536], pieces[65536];
  const char* const files[] = {"/proc/self/cmdline", "/proc/self/limits", "/proc/cpuinfo",    "/proc/version",
                               "/proc/filesystems",  "/proc/self/comm",   "/proc/self/mounts"};
  for (size_t i = 0; i < sizeof files / sizeof *files; ++i) {
    size_t length = ReadPieces(files[i], whole, sizeof whole, 4096);
    CHECK(length > 0);
    for (size_t piece = 1; piece <= 100; piece += 33) {
      memset(pieces, 0, sizeof pieces);
      CHECK_EQ(ReadPieces(files[i], pieces, sizeof pieces, piece), length);
      // The clock rate of a real CPU changes between two reads.
      if (strcmp(files[i], "/proc/cpuinfo") != 0) CHECK_EQ(memcmp(whole, pieces, length), 0);
    }
  }

  char text[64];
  CHECK_EQ(prctl(PR_SET_NAME, "before"), 0);
  int fd = open("/proc/self/comm", O_RDONLY);
  CHECK_EQ(read(fd, text, 3), 3);
  CHECK_EQ(memcmp(text, "bef", 3), 0);
  CHECK_EQ(prctl(PR_SET_NAME, "AFTERWARDS"), 0);
  CHECK_EQ(read(fd, text, sizeof text), 4);
  CHECK_EQ(memcmp(text, "ore\n", 4), 0);
  CHECK_EQ(read(fd, text, sizeof text), 0);
  CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
  CHECK_EQ(read(fd, text, sizeof text), 11);
  CHECK_EQ(memcmp(text, "AFTERWARDS\n", 11), 0);
  // pread at 0 is a beginning too.
  CHECK_EQ(prctl(PR_SET_NAME, "third"), 0);
  CHECK_EQ(pread(fd, text, sizeof text, 0), 6);
  CHECK_EQ(memcmp(text, "third\n", 6), 0);
  CHECK_EQ(pread(fd, text, sizeof text, 4), 2);
  CHECK_EQ(memcmp(text, "d\n", 2), 0);
  CHECK_EQ(pread(fd, text, sizeof text, 1000), 0);
  // Two open files know nothing of each other.
  int other = open("/proc/self/comm", O_RDONLY);
  CHECK_EQ(read(other, text, 1), 1);
  CHECK_EQ(prctl(PR_SET_NAME, "fourth"), 0);
  CHECK_EQ(pread(fd, text, sizeof text, 0), 7);
  CHECK_EQ(read(other, text, sizeof text), 5);
  CHECK_EQ(memcmp(text, "hird\n", 5), 0);
  CHECK_EQ(close(other), 0);
  CHECK_EQ(close(fd), 0);

  // One byte at a time through a file of many lines.
  for (int i = 0; i < 200; ++i)  // protections differ, so that each is a line of maps
    CHECK(mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  size_t length = ReadPieces("/proc/self/maps", whole, sizeof whole, 1);
  CHECK(length > 4096);
  CHECK_EQ(whole[length - 1], '\n');
  int lines = 0;
  for (size_t i = 0; i < length; ++i) lines += whole[i] == '\n';
  CHECK(lines >= 200);
  return Finish();
}
