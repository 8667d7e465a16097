// System V shared memory: keys, attaching where and how, fork and exec's end of it, removal, what shmctl tells.
#include "check.h"
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>

int main(void) {
  key_t key = 0x52000000 | getpid();
  CHECK_FAILS(shmget(key, 5000, 0), ENOENT);
  int id = shmget(key, 5000, IPC_CREAT | IPC_EXCL | 0600);
  CHECK(id >= 0);
  CHECK_EQ(shmget(key, 0, 0), id);
  CHECK_EQ(shmget(key, 5000, IPC_CREAT | 0600), id);
  CHECK_FAILS(shmget(key, 5001, 0), EINVAL);
  CHECK_FAILS(shmget(key, 5000, IPC_CREAT | IPC_EXCL), EEXIST);
  CHECK_FAILS(shmget(IPC_PRIVATE, 0, IPC_CREAT), EINVAL);
  struct shmid_ds ds;
  CHECK_EQ(shmctl(id, IPC_STAT, &ds), 0);
  CHECK_EQ(ds.shm_segsz, 5000);
  CHECK_EQ(ds.shm_nattch, 0);
  CHECK_EQ(ds.shm_cpid, getpid());
  CHECK_EQ(ds.shm_perm.mode, 0600);
  CHECK_EQ(ds.shm_perm.__key, key);
  CHECK(ds.shm_ctime > 0 && ds.shm_atime == 0);

  char* memory = shmat(id, NULL, 0);
  CHECK(memory != (void*)-1);
  CHECK_EQ(memory[8191], 0);  // whole pages
  strcpy(memory, "shared");
  const char* again = shmat(id, NULL, SHM_RDONLY);
  CHECK(again != (void*)-1 && again != memory);
  CHECK_EQ(strcmp(again, "shared"), 0);
  CHECK_EQ(shmctl(id, IPC_STAT, &ds), 0);
  CHECK_EQ(ds.shm_nattch, 2);
  CHECK_EQ(ds.shm_lpid, getpid());
  CHECK_FAILS(mprotect((void*)again, 4096, PROT_READ | PROT_WRITE), EACCES);
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQ(shmctl(id, IPC_STAT, &ds), 0);
    CHECK_EQ(ds.shm_nattch, 4);
    strcpy(memory + 4096, "from the child");
    CHECK_EQ(shmdt(memory), 0);
    CHECK_EQ(shmctl(id, IPC_STAT, &ds), 0);
    CHECK_EQ(ds.shm_nattch, 3);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(strcmp(memory + 4096, "from the child"), 0);
  CHECK_EQ(shmctl(id, IPC_STAT, &ds), 0);
  CHECK_EQ(ds.shm_nattch, 2);
  CHECK_EQ(ds.shm_lpid, child);

  // Where it goes.
  CHECK_EQ(shmdt(again), 0);
  CHECK_FAILS(shmdt(again), EINVAL);
  char* place = mmap(NULL, 4 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_FAILS((intptr_t)shmat(id, place, 0), EINVAL);
  CHECK_FAILS((intptr_t)shmat(id, place + 5, SHM_REMAP), EINVAL);
  CHECK(shmat(id, place, SHM_REMAP) == place);
  CHECK_EQ(strcmp(place, "shared"), 0);
  CHECK_EQ(shmdt(place), 0);
  CHECK(shmat(id, place + 5, SHM_RND) == place);
  CHECK_EQ(munmap(place, 4096), 0);
  CHECK_EQ(shmdt(place), 0);  // what is left of it
  CHECK_FAILS((intptr_t)shmat(id, NULL, SHM_REMAP), EINVAL);
  CHECK_FAILS(shmdt((void*)5), EINVAL);

  // IPC_SET.
  ds.shm_perm.mode = 0640;
  CHECK_EQ(shmctl(id, IPC_SET, &ds), 0);
  CHECK_EQ(shmctl(id, IPC_STAT, &ds), 0);
  CHECK_EQ(ds.shm_perm.mode, 0640);

  // Removed, it lives until the last one lets go.
  CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
  CHECK_FAILS(shmget(key, 5000, 0), ENOENT);
  CHECK_EQ(shmctl(id, IPC_STAT, &ds), 0);
  CHECK((ds.shm_perm.mode & SHM_DEST) != 0 && ds.shm_perm.__key == IPC_PRIVATE);
  CHECK_EQ(strcmp(memory, "shared"), 0);
  CHECK_EQ(shmdt(memory), 0);
  CHECK_FAILS(shmctl(id, IPC_STAT, &ds), EINVAL);
  CHECK_FAILS((intptr_t)shmat(id, NULL, 0), EINVAL);
  CHECK_FAILS(shmctl(id, IPC_RMID, NULL), EINVAL);
  CHECK_FAILS(shmctl(-1, IPC_STAT, &ds), EINVAL);

  // One that nobody has attached goes at once.
  id = shmget(IPC_PRIVATE, 1, 0600);
  CHECK_FAILS(shmctl(id, 99, &ds), EINVAL);
  CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
  CHECK_FAILS(shmctl(id, IPC_STAT, &ds), EINVAL);
  return Finish();
}
