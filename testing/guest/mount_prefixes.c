// Paths across mounts that are there everywhere: /proc and /dev below /. The host answered (Linux 6.x, as root and as
// an ordinary user, also in a container): a mount begins at a component ("/procx" is not in /proc); ".." from its root
// leads to the directory that it covers; "/proc/.." is "/"; symlinks, the working directory and directory descriptors
// cross as plain paths do; link(2) and rename(2) across answer EXDEV before permissions are looked at; RESOLVE_NO_XDEV
// answers EXDEV in both directions, and for an absolute symlink that leads out.
#include "check.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

static struct stat Stat(const char* path) {
  struct stat st;
  if (stat(path, &st) != 0) dprintf(2, "stat(\"%s\")\n", path);
  CHECK_EQ(stat(path, &st), 0);
  return st;
}
static void Same(const char* a, const char* b) {
  struct stat sa = Stat(a), sb = Stat(b);
  if (sa.st_ino != sb.st_ino || sa.st_dev != sb.st_dev) dprintf(2, "\"%s\" is not \"%s\"\n", a, b);
  CHECK_EQ(sa.st_ino, sb.st_ino);
  CHECK_EQ(sa.st_dev, sb.st_dev);
}
static int Open2(int dirfd, const char* path, uint64_t resolve) {
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC, .resolve = resolve};
  return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}
static long Magic(const char* path) {
  struct statfs fs;
  CHECK_EQ(statfs(path, &fs), 0);
  return (long)fs.f_type;
}

static void TestBoundaries(void) {
  CHECK(Stat("/proc").st_dev != Stat("/").st_dev);
  CHECK(Stat("/dev").st_dev != Stat("/").st_dev);
  CHECK(Stat("/proc").st_dev != Stat("/dev").st_dev);
  CHECK_EQ(Magic("/proc"), 0x9fa0);
  CHECK_EQ(Magic("/proc/self/../version"), 0x9fa0);
  CHECK(Magic("/proc/..") != 0x9fa0);
  struct stat st;
  CHECK_FAILS(stat("/procx", &st), ENOENT);
  CHECK_FAILS(stat("/procx/version", &st), ENOENT);
  CHECK_FAILS(stat("/pro", &st), ENOENT);
  CHECK_FAILS(stat("/dev/nulls", &st), ENOENT);
  CHECK_FAILS(stat("/dev/null/", &st), ENOTDIR);
  CHECK_FAILS(stat("/proc/version/..", &st), ENOTDIR);
}

static void TestDotDot(void) {
  Same("/proc/..", "/");
  Same("/proc/../proc", "/proc");
  Same("/proc/../dev/null", "/dev/null");
  Same("/dev/../proc/./version", "/proc/version");
  Same("//proc///version", "/proc/version");
  Same("/proc/self/..", "/proc");
  Same("/proc/self/../..", "/");
  Same("/./proc", "/proc");
  Same("/../proc/..//dev", "/dev");
}

static void TestCwdAndDescriptors(void) {
  char cwd[4096];
  int back = open(".", O_RDONLY | O_DIRECTORY);
  CHECK(back >= 0);
  CHECK_EQ(chdir("/proc"), 0);
  Same("..", "/");
  Same("../dev/null", "/dev/null");
  Same("../proc", ".");
  CHECK_EQ(chdir("self/.."), 0);
  CHECK(getcwd(cwd, sizeof cwd) != NULL && strcmp(cwd, "/proc") == 0);
  CHECK_EQ(chdir(".."), 0);
  CHECK(getcwd(cwd, sizeof cwd) != NULL && strcmp(cwd, "/") == 0);
  Same("proc/version", "/proc/version");
  CHECK_EQ(fchdir(back), 0);

  int root = open("/", O_RDONLY | O_DIRECTORY), proc = open("/proc", O_RDONLY | O_DIRECTORY);
  CHECK(root >= 0 && proc >= 0);
  struct stat st;
  CHECK_EQ(fstatat(proc, "..", &st, 0), 0);
  CHECK(st.st_ino == Stat("/").st_ino && st.st_dev == Stat("/").st_dev);
  CHECK_EQ(fstatat(root, "proc/../dev/null", &st, 0), 0);
  CHECK_EQ(st.st_rdev, Stat("/dev/null").st_rdev);
  // Flags that keep the walk on one side.
  CHECK_FAILS(Open2(root, "proc/version", RESOLVE_NO_XDEV), EXDEV);
  CHECK_FAILS(Open2(proc, "..", RESOLVE_NO_XDEV), EXDEV);
  CHECK_FAILS(Open2(proc, "../proc/version", RESOLVE_BENEATH), EXDEV);
  CHECK_FAILS(Open2(proc, "/proc/version", RESOLVE_BENEATH), EXDEV);
  int fd = Open2(proc, "version", RESOLVE_NO_XDEV | RESOLVE_BENEATH);
  CHECK(fd >= 0);
  close(fd);
  fd = Open2(proc, "/../version", RESOLVE_IN_ROOT);
  CHECK(fd >= 0);
  CHECK(fstat(fd, &st) == 0 && st.st_ino == Stat("/proc/version").st_ino);
  close(fd);
  // An absolute path begins anew, wherever the cwd is.
  CHECK_EQ(fchdir(proc), 0);
  fd = Open2(proc, "/", RESOLVE_NO_XDEV);
  CHECK(fd >= 0);
  close(fd);
  CHECK_EQ(fchdir(back), 0);
  CHECK_FAILS(Open2(-1, "", RESOLVE_IN_ROOT), ENOENT);
  CHECK_FAILS(Open2(-1, "/", RESOLVE_IN_ROOT), EBADF);
  close(root), close(proc), close(back);
}

static void TestSymlinks(void) {
  CHECK_EQ(symlink("/proc", "to_proc"), 0);
  CHECK_EQ(symlink("to_proc/version", "to_version"), 0);
  CHECK_EQ(symlink("/proc/../dev/./null", "to_null"), 0);
  Same("to_proc", "/proc");
  Same("to_proc/..", "/");
  Same("to_proc/../dev", "/dev");
  Same("to_version", "/proc/version");
  Same("to_null", "/dev/null");
  CHECK_FAILS(Open2(AT_FDCWD, "to_version", RESOLVE_NO_XDEV), EXDEV);
  CHECK_FAILS(Open2(AT_FDCWD, "to_version", RESOLVE_NO_SYMLINKS), ELOOP);
  struct stat st;
  CHECK_EQ(lstat("to_proc", &st), 0);
  CHECK(S_ISLNK(st.st_mode));
  CHECK_EQ(lstat("to_proc/", &st), 0);
  CHECK(S_ISDIR(st.st_mode));
}

static void TestNamesDoNotCross(void) {
  close(open("file", O_CREAT | O_WRONLY, 0600));
  CHECK_FAILS(rename("file", "/proc/file"), EXDEV);
  CHECK_FAILS(link("file", "/dev/no_such_name"), EXDEV);  // in /proc ENOENT: it makes no names
  CHECK_FAILS(rename("/proc/version", "version"), EXDEV);
  CHECK_FAILS(mkdir("/proc", 0700), EEXIST);
  CHECK_FAILS(mkdir("/proc/..", 0700), EEXIST);
  CHECK_FAILS(rmdir("/proc/."), EINVAL);
  CHECK_FAILS(rmdir("/proc/.."), ENOTEMPTY);
  int e = rmdir("/proc") == 0 ? 0 : errno;
  CHECK(e == EBUSY || e == EACCES || e == EROFS);
}

static int Map(const char* path, const char* format, int id) {
  char text[32];
  int length = snprintf(text, sizeof text, format, id);
  int fd = open(path, O_WRONLY);
  int written = fd >= 0 && write(fd, text, (size_t)length) == length;
  close(fd);
  return written;
}

// Mounts that cover one another, where the system lets us make some. Remora has no mount(2) yet.
static void TestOwnMounts(void) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) _exit(0);
    if (!Map("/proc/self/setgroups", "deny", 0)) _exit(0);
    if (!Map("/proc/self/uid_map", "0 %d 1", (int)uid) || !Map("/proc/self/gid_map", "0 %d 1", (int)gid)) _exit(0);
    CHECK_EQ(mkdir("a", 0700), 0);
    CHECK_EQ(mkdir("a/b", 0700), 0);
    if (mount("none", "a/b", "tmpfs", 0, NULL) != 0) _exit(0);
    int fd = open("a/b/inner", O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0);
    close(fd);
    struct stat st;
    CHECK_EQ(stat("a/b/inner", &st), 0);
    CHECK_EQ(mount("none", "a", "tmpfs", 0, NULL), 0);
    CHECK_FAILS(stat("a/b/inner", &st), ENOENT);
    CHECK_EQ(umount("a"), 0);
    CHECK_EQ(stat("a/b/inner", &st), 0);
    CHECK_FAILS(rename("a/b", "b"), EBUSY);
    CHECK_EQ(rename("a", "c"), 0);
    CHECK_EQ(stat("c/b/inner", &st), 0);
    CHECK_FAILS(stat("a/b/inner", &st), ENOENT);
    CHECK_EQ(umount("c/b"), 0);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

int main(void) {
  EnterScratchFolder();
  TestBoundaries();
  TestDotDot();
  TestCwdAndDescriptors();
  TestSymlinks();
  TestNamesDoNotCross();
  TestOwnMounts();
  return Finish();
}
