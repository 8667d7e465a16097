// inotify(7) of a directory and of files in it: names, order, masks, removal. The host's kernel gave the same events.
#include "check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int queue;

// All events that are queued, one after the other: "WATCH:MASK[:NAME] ".
static const char* Events(void) {
  static char text[2000];
  uint32_t cookie_of_from = 0;
  char bytes[8192] __attribute__((aligned(8)));
  text[0] = 0;
  const ssize_t n = read(queue, bytes, sizeof(bytes));
  if (n < 0) CHECK(errno == EAGAIN);
  for (char* at = bytes; at < bytes + n;) {
    const struct inotify_event* e = (const struct inotify_event*)at;
    char one[300];
    snprintf(one, sizeof(one), "%d:%x%s%s ", e->wd, e->mask, e->len != 0 ? ":" : "", e->len != 0 ? e->name : "");
    CHECK(e->len == 0 || e->len == (strlen(e->name) + 16) / 16 * 16);
    if (e->mask & IN_MOVED_FROM) cookie_of_from = e->cookie;
    // The other half may lie in a directory that nobody watches.
    if (e->mask & IN_MOVED_TO) CHECK(e->cookie != 0 && (cookie_of_from == 0 || e->cookie == cookie_of_from));
    if (!(e->mask & IN_MOVED_FROM)) cookie_of_from = 0;
    if (!(e->mask & IN_MOVE)) CHECK(e->cookie == 0);
    strcat(text, one);
    at += sizeof(*e) + e->len;
  }
  return text;
}

#define EXPECT_EVENTS(expected)                                             \
  do {                                                                      \
    const char* got = Events();                                             \
    if (strcmp(got, expected) != 0) printf("line %d: %s\n", __LINE__, got); \
    CHECK(strcmp(got, expected) == 0);                                      \
  } while (0)

static int Open(const char* name, int flags) {
  const int fd = open(name, flags, 0644);
  CHECK(fd >= 0);
  return fd;
}

int main(void) {
  EnterScratchFolder();
  queue = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  CHECK(queue >= 0);
  CHECK(fcntl(queue, F_GETFD) == FD_CLOEXEC);
  const int here = inotify_add_watch(queue, ".", IN_ALL_EVENTS);
  CHECK(here == 1);
  EXPECT_EVENTS("");

  // A file, watched by its directory and by itself: the directory hears it first.
  const int a = Open("a", O_CREAT | O_RDWR);
  EXPECT_EVENTS("1:100:a 1:20:a ");
  const int file = inotify_add_watch(queue, "a", IN_ALL_EVENTS);
  CHECK(file == 2);
  CHECK(write(a, "x", 1) == 1);
  EXPECT_EVENTS("1:2:a 2:2 ");
  CHECK(pwrite(a, "y", 1, 3) == 1);
  char c;
  CHECK(pread(a, &c, 1, 0) == 1);
  CHECK(pread(a, &c, 1, 100) == 0);
  EXPECT_EVENTS("1:2:a 2:2 1:1:a 2:1 ");
  CHECK(fchmod(a, 0600) == 0);
  CHECK(ftruncate(a, 0) == 0);
  const struct timespec dates[2] = {{1, 0}, {2, 0}};
  CHECK(futimens(a, dates) == 0);
  EXPECT_EVENTS("1:4:a 2:4 1:2:a 2:2 1:4:a 2:4 ");
  CHECK(close(a) == 0);
  EXPECT_EVENTS("1:8:a 2:8 ");
  const int again = Open("a", O_RDONLY | O_TRUNC);
  EXPECT_EVENTS("1:20:a 2:20 1:2:a 2:2 ");
  CHECK(truncate("a", 5) == 0);
  EXPECT_EVENTS("1:2:a 2:2 ");

  // Names.
  CHECK(link("a", "b") == 0);
  EXPECT_EVENTS("2:4 1:100:b ");
  CHECK(rename("b", "c") == 0);
  EXPECT_EVENTS("1:40:b 1:80:c 2:800 ");
  CHECK(symlink("a", "s") == 0);
  CHECK(mkdir("D", 0755) == 0);
  EXPECT_EVENTS("1:100:s 1:40000100:D ");
  CHECK(rename("c", "D/c") == 0);
  EXPECT_EVENTS("1:40:c 2:800 ");
  CHECK(rename("D/c", "c") == 0);
  EXPECT_EVENTS("1:80:c 2:800 ");
  CHECK(rmdir("D") == 0);
  EXPECT_EVENTS("1:40000200:D ");
  CHECK(unlink("c") == 0);
  EXPECT_EVENTS("2:4 1:200:c ");

  // The last name goes while it is open: the file itself goes with the descriptor.
  CHECK(unlink("a") == 0);
  EXPECT_EVENTS("2:4 1:200:a ");
  CHECK(close(again) == 0);
  EXPECT_EVENTS("1:10:a 2:10 2:400 2:8000 ");

  // One that is replaced; one shot.
  CHECK(close(Open("z", O_CREAT | O_RDWR)) == 0);
  CHECK(close(Open("y", O_CREAT | O_RDWR)) == 0);
  CHECK(inotify_add_watch(queue, "z", IN_ALL_EVENTS) == 3);
  Events();
  CHECK(rename("y", "z") == 0);
  EXPECT_EVENTS("1:40:y 1:80:z 3:4 3:400 3:8000 ");
  CHECK(inotify_add_watch(queue, "z", IN_MODIFY | IN_ONESHOT) == 4);
  const int z = Open("z", O_RDWR);
  CHECK(write(z, "q", 1) == 1);
  EXPECT_EVENTS("1:20:z 1:2:z 4:2 4:8000 ");
  CHECK(close(z) == 0);
  EXPECT_EVENTS("1:8:z ");

  // Removal; numbers are not used again.
  CHECK(inotify_rm_watch(queue, here) == 0);
  EXPECT_EVENTS("1:8000 ");
  CHECK_FAILS(inotify_rm_watch(queue, here), EINVAL);
  CHECK(inotify_add_watch(queue, ".", IN_CREATE) == 5);
  CHECK(inotify_add_watch(queue, ".", IN_DELETE) == 5);
  CHECK(close(Open("n", O_CREAT | O_RDWR)) == 0);
  EXPECT_EVENTS("");
  CHECK(inotify_add_watch(queue, ".", IN_CREATE | IN_MASK_ADD) == 5);
  CHECK(unlink("n") == 0);
  CHECK(close(Open("n", O_CREAT | O_RDWR)) == 0);
  EXPECT_EVENTS("5:200:n 5:100:n ");
  CHECK_FAILS(inotify_add_watch(queue, ".", IN_CREATE | IN_MASK_CREATE), EEXIST);
  CHECK_FAILS(inotify_add_watch(queue, ".", IN_CREATE | IN_MASK_CREATE | IN_MASK_ADD), EINVAL);
  CHECK_FAILS(inotify_add_watch(queue, "z", IN_CREATE | IN_ONLYDIR), ENOTDIR);
  CHECK_FAILS(inotify_add_watch(queue, "nothing", IN_CREATE), ENOENT);
  CHECK_FAILS(inotify_add_watch(queue, "z", 0), EINVAL);
  CHECK_FAILS(inotify_add_watch(99, "z", IN_CREATE), EBADF);
  int pipe_fds[2];
  CHECK(pipe(pipe_fds) == 0);
  CHECK_FAILS(inotify_add_watch(pipe_fds[0], "z", IN_CREATE), EINVAL);
  CHECK_FAILS(inotify_init1(1), EINVAL);

  // A read gives whole events only.
  CHECK(close(Open("n1", O_CREAT | O_RDWR)) == 0);
  CHECK(close(Open("n2", O_CREAT | O_RDWR)) == 0);
  int available = 0;
  CHECK(ioctl(queue, FIONREAD, &available) == 0);
  CHECK(available == 64);
  char small[64];
  CHECK_FAILS(read(queue, small, 20), EINVAL);
  CHECK(read(queue, small, 40) == 32);
  EXPECT_EVENTS("5:100:n2 ");

  // A watched directory that goes, moves, and what is in it.
  CHECK(mkdir("E", 0700) == 0);
  CHECK(inotify_add_watch(queue, "E", IN_ALL_EVENTS) == 6);
  Events();
  CHECK(rmdir("E") == 0);
  EXPECT_EVENTS("6:400 6:8000 5:40000200:E ");
  CHECK(mkdir("F", 0700) == 0);
  CHECK(mkdir("G", 0700) == 0);
  Events();
  CHECK(inotify_add_watch(queue, "F", IN_ALL_EVENTS) == 7);
  CHECK(rename("F", "G/F") == 0);
  EXPECT_EVENTS("7:800 ");
  CHECK(close(Open("G/F", O_RDONLY | O_DIRECTORY)) == 0);
  EXPECT_EVENTS("7:40000020 7:40000010 ");
  CHECK(close(Open("G/F/k", O_CREAT | O_RDONLY)) == 0);
  CHECK(chmod("G/F/k", 0700) == 0);
  EXPECT_EVENTS("7:100:k 7:20:k 7:10:k 7:4:k ");
  return Finish();
}
