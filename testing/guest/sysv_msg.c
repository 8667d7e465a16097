// System V message queues: types, lengths, waiting for room and for messages, removal.
#include "check.h"
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>

struct Message {
  long type;
  char text[8200];
};

static int Send(int id, long type, const char* text, int flags) {
  struct Message message = {.type = type};
  strcpy(message.text, text);
  return msgsnd(id, &message, strlen(text) + 1, flags);
}

static void Reap(pid_t child) {
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

int main(void) {
  static struct Message got, large;
  key_t key = 0x52000000 | getpid();
  CHECK_FAILS(msgget(key, 0), ENOENT);
  int id = msgget(key, IPC_CREAT | IPC_EXCL | 0600);
  CHECK(id >= 0);
  CHECK_EQ(msgget(key, 0600), id);
  CHECK_FAILS(msgget(key, IPC_CREAT | IPC_EXCL), EEXIST);
  const struct {
    long type;
    const char* text;
  } sent[] = {{5, "five"}, {3, "three"}, {5, "again five"}, {1, "one"}, {4, "four"}};
  for (int i = 0; i < 5; ++i) CHECK_EQ(Send(id, sent[i].type, sent[i].text, 0), 0);
  struct msqid_ds ds;
  CHECK_EQ(msgctl(id, IPC_STAT, &ds), 0);
  CHECK_EQ(ds.msg_qnum, 5);
  CHECK_EQ(ds.msg_lspid, getpid());
  CHECK(ds.msg_stime > 0 && ds.msg_rtime == 0);
  CHECK_EQ(msgrcv(id, &got, 100, 3, 0), 6);
  CHECK(got.type == 3 && strcmp(got.text, "three") == 0);
  CHECK_EQ(msgrcv(id, &got, 100, -4, 0), 4);  // the lowest up to 4
  CHECK(got.type == 1 && strcmp(got.text, "one") == 0);
  CHECK_EQ(msgrcv(id, &got, 100, 5, MSG_EXCEPT), 5);
  CHECK(got.type == 4);
  CHECK_FAILS(msgrcv(id, &got, 3, 0, 0), E2BIG);
  CHECK_EQ(msgrcv(id, &got, 3, 0, MSG_NOERROR), 3);
  CHECK(got.type == 5 && memcmp(got.text, "fiv", 3) == 0);
  CHECK_FAILS(msgrcv(id, &got, 100, 9, IPC_NOWAIT), ENOMSG);
  CHECK_EQ(msgrcv(id, &got, 100, 0, 0), 11);
  CHECK_FAILS(msgrcv(id, &got, 100, 0, IPC_NOWAIT), ENOMSG);
  CHECK_EQ(msgsnd(id, &(struct Message){.type = 7}, 0, 0), 0);  // nothing but a type
  CHECK_EQ(msgrcv(id, &got, 100, 0, 0), 0);
  CHECK_EQ(got.type, 7);

  // Waiting for a message, and for room.
  pid_t child = fork();
  if (child == 0) {
    usleep(10000);
    _exit(Send(id, 2, "late", 0));
  }
  CHECK_EQ(msgrcv(id, &got, 100, 2, 0), 5);
  Reap(child);
  large.type = 1;
  CHECK_EQ(msgsnd(id, &large, 8192, 0), 0);
  CHECK_EQ(msgsnd(id, &large, 8192, 0), 0);
  CHECK_FAILS(msgsnd(id, &large, 1, IPC_NOWAIT), EAGAIN);
  child = fork();
  if (child == 0) {
    usleep(10000);
    _exit(msgrcv(id, &got, 8192, 0, 0) != 8192);
  }
  CHECK_EQ(msgsnd(id, &large, 8000, 0), 0);
  Reap(child);
  CHECK_EQ(msgctl(id, IPC_STAT, &ds), 0);
  CHECK(ds.msg_qnum == 2 && ds.__msg_cbytes == 16192);

  large.type = 0;
  CHECK_FAILS(msgsnd(id, &large, 1, 0), EINVAL);
  large.type = 1;
  CHECK_FAILS(msgsnd(id, &large, 8193, 0), EINVAL);
  CHECK_FAILS(msgsnd(id, (void*)16, 8, 0), EFAULT);
  CHECK_FAILS(msgrcv(id, &got, (size_t)-1, 0, 0), EINVAL);

  child = fork();
  if (child == 0) {
    CHECK_FAILS(msgrcv(id, &got, 100, 77, 0), EIDRM);
    _exit(0);
  }
  usleep(20000);
  CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
  Reap(child);
  CHECK_FAILS(msgctl(id, IPC_STAT, &ds), EINVAL);
  CHECK_FAILS(msgsnd(id, &large, 1, 0), EINVAL);
  return Finish();
}
