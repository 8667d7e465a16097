// Handlers within handlers: SA_NODEFER, SA_RESETHAND, sa_mask, the order of several that are pending.
#include "check.h"

#include <signal.h>

// Volatile: to the compiler raise() is a function that calls nothing here.
static volatile int depth, deepest, num_raised, order[8], num_ordered;

static void Nest(int signal) {
  if (++depth > deepest) deepest = depth;
  if (num_raised++ < 3) raise(signal);
  --depth;
}
static void Note(int signal) { order[num_ordered++] = signal; }
static void NoteBoth(int signal) {
  order[num_ordered++] = signal;
  raise(SIGUSR2);  // in sa_mask: later
  order[num_ordered++] = -signal;
}

int main(void) {
  struct sigaction action = {.sa_handler = Nest, .sa_flags = SA_NODEFER};
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  CHECK_EQ(raise(SIGUSR1), 0);
  CHECK_EQ(deepest, 4);
  action.sa_flags = 0, deepest = num_raised = 0;
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  CHECK_EQ(raise(SIGUSR1), 0);
  CHECK_EQ(deepest, 1);

  action.sa_handler = NoteBoth;
  sigaddset(&action.sa_mask, SIGUSR2);
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  action = (struct sigaction){.sa_handler = Note};
  CHECK_EQ(sigaction(SIGUSR2, &action, NULL), 0);
  num_ordered = 0;
  CHECK_EQ(raise(SIGUSR1), 0);
  CHECK(num_ordered == 3 && order[0] == SIGUSR1 && order[1] == -SIGUSR1 && order[2] == SIGUSR2);

  action = (struct sigaction){.sa_handler = Note, .sa_flags = (int)SA_RESETHAND};
  CHECK_EQ(sigaction(SIGURG, &action, NULL), 0);
  num_ordered = 0;
  CHECK_EQ(raise(SIGURG), 0);
  CHECK_EQ(raise(SIGURG), 0);  // ignored by default
  CHECK_EQ(num_ordered, 1);
  CHECK_EQ(sigaction(SIGURG, NULL, &action), 0);
  CHECK(action.sa_handler == SIG_DFL);

  // Pending together: the lowest is taken first, so its frame lies below the others' and its handler runs last.
  sigset_t all;
  sigfillset(&all);
  CHECK_EQ(sigprocmask(SIG_BLOCK, &all, NULL), 0);
  action = (struct sigaction){.sa_handler = Note};
  const int signals[] = {SIGWINCH, SIGHUP, SIGRTMIN + 3};
  for (int i = 0; i < 3; ++i) {
    CHECK_EQ(sigaction(signals[i], &action, NULL), 0);
    CHECK_EQ(raise(signals[i]), 0);
  }
  num_ordered = 0;
  CHECK_EQ(sigprocmask(SIG_UNBLOCK, &all, NULL), 0);
  CHECK(num_ordered == 3 && order[0] == SIGRTMIN + 3 && order[1] == SIGWINCH && order[2] == SIGHUP);
  return Finish();
}
