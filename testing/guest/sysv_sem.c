// System V semaphores: all or nothing, waiting and time-outs, SEM_UNDO, removal under those that wait.
#include "check.h"
#include <signal.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>

union semun {
  int val;
  struct semid_ds* buf;
  unsigned short* array;
};

static int Op(int id, int number, int op, int flags) {
  struct sembuf one = {(unsigned short)number, (short)op, (short)flags};
  return semop(id, &one, 1);
}

static int Value(int id, int number) { return semctl(id, number, GETVAL); }

static void Reap(pid_t child) {
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

static void Handler(int signal) { (void)signal; }

int main(void) {
  key_t key = 0x52000000 | getpid();
  CHECK_FAILS(semget(key, 3, 0), ENOENT);
  int id = semget(key, 3, IPC_CREAT | IPC_EXCL | 0600);
  CHECK(id >= 0);
  CHECK_EQ(semget(key, 0, 0), id);
  CHECK_FAILS(semget(key, 4, 0), EINVAL);
  CHECK_FAILS(semget(key, 3, IPC_CREAT | IPC_EXCL), EEXIST);
  CHECK_FAILS(semget(IPC_PRIVATE, 0, 0600), EINVAL);
  union semun arg;
  unsigned short values[3] = {1, 2, 3}, got[3];
  arg.array = values;
  CHECK_EQ(semctl(id, 0, SETALL, arg), 0);
  arg.array = got;
  CHECK_EQ(semctl(id, 0, GETALL, arg), 0);
  CHECK_EQ(memcmp(got, values, sizeof values), 0);
  struct semid_ds ds;
  arg.buf = &ds;
  CHECK_EQ(semctl(id, 0, IPC_STAT, arg), 0);
  CHECK(ds.sem_nsems == 3 && ds.sem_otime == 0 && ds.sem_perm.mode == 0600);

  // All or nothing.
  struct sembuf several[3] = {{0, -1, 0}, {1, -1, 0}, {2, -4, IPC_NOWAIT}};
  CHECK_FAILS(semop(id, several, 3), EAGAIN);
  CHECK(Value(id, 0) == 1 && Value(id, 1) == 2 && Value(id, 2) == 3);
  several[2].sem_op = -3;
  CHECK_EQ(semop(id, several, 3), 0);
  CHECK(Value(id, 0) == 0 && Value(id, 1) == 1 && Value(id, 2) == 0);
  CHECK_EQ(semctl(id, 1, GETPID), getpid());
  CHECK_EQ(Op(id, 0, 0, 0), 0);
  CHECK_FAILS(Op(id, 1, 0, IPC_NOWAIT), EAGAIN);
  CHECK_FAILS(Op(id, 3, 1, 0), EFBIG);
  CHECK_EQ(Op(id, 0, 32767, 0), 0);
  CHECK_FAILS(Op(id, 0, 1, 0), ERANGE);
  arg.val = 0;
  CHECK_EQ(semctl(id, 0, SETVAL, arg), 0);
  arg.val = 32768;
  CHECK_FAILS(semctl(id, 0, SETVAL, arg), ERANGE);
  arg.val = 1;
  CHECK_FAILS(semctl(id, 3, SETVAL, arg), EINVAL);

  // Waiting, for more and for zero.
  pid_t child = fork();
  if (child == 0) _exit(Op(id, 0, -2, 0));
  while (semctl(id, 0, GETNCNT) != 1) usleep(1000);
  CHECK_EQ(Op(id, 0, 1, 0), 0);
  CHECK_EQ(Op(id, 0, 1, 0), 0);
  Reap(child);
  CHECK_EQ(Value(id, 0), 0);
  CHECK_EQ(semctl(id, 0, GETNCNT), 0);
  child = fork();
  if (child == 0) _exit(Op(id, 1, 0, 0));
  while (semctl(id, 1, GETZCNT) != 1) usleep(1000);
  CHECK_EQ(Op(id, 1, -1, 0), 0);
  Reap(child);

  // A time-out, and a signal, which never restarts it.
  struct timespec timeout = {0, 10000000};
  struct sembuf down = {0, -1, 0};
  CHECK_FAILS(semtimedop(id, &down, 1, &timeout), EAGAIN);
  timeout.tv_nsec = -1;
  CHECK_FAILS(semtimedop(id, &down, 1, &timeout), EINVAL);
  struct sigaction action = {0};
  action.sa_handler = Handler;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, NULL);
  pid_t parent = getpid();
  child = fork();
  if (child == 0) {
    while (semctl(id, 0, GETNCNT) != 1) usleep(1000);
    _exit(kill(parent, SIGUSR1));
  }
  CHECK_FAILS(Op(id, 0, -1, 0), EINTR);
  Reap(child);

  // SEM_UNDO: a process's end takes back what it did, also by being killed.
  CHECK_EQ(Op(id, 0, 5, 0), 0);
  child = fork();
  if (child == 0) {
    CHECK_EQ(Op(id, 0, -2, SEM_UNDO), 0);
    CHECK_EQ(Op(id, 2, 4, SEM_UNDO), 0);
    CHECK_EQ(Op(id, 0, 1, SEM_UNDO), 0);
    CHECK(Value(id, 0) == 4 && Value(id, 2) == 4);
    kill(getpid(), SIGKILL);
  }
  CHECK_EQ(waitpid(child, NULL, 0), child);
  CHECK(Value(id, 0) == 5 && Value(id, 2) == 0);
  child = fork();
  if (child == 0) {
    CHECK_EQ(Op(id, 0, -5, SEM_UNDO), 0);
    arg.val = 2;
    CHECK_EQ(semctl(id, 0, SETVAL, arg), 0);  // which forgets the adjustment
    _exit(0);
  }
  Reap(child);
  CHECK_EQ(Value(id, 0), 2);

  // Removed, those that wait hear of it.
  child = fork();
  if (child == 0) {
    CHECK_FAILS(Op(id, 0, -3, 0), EIDRM);
    _exit(0);
  }
  while (semctl(id, 0, GETNCNT) != 1) usleep(1000);
  CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
  Reap(child);
  CHECK_FAILS(semctl(id, 0, GETVAL), EINVAL);
  CHECK_FAILS(Op(id, 0, 1, 0), EINVAL);
  CHECK_FAILS(semop(id, &down, 0), EINVAL);
  CHECK_FAILS(semop(id, &down, 501), E2BIG);
  return Finish();
}
