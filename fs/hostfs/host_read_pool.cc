#include "fs/hostfs/host_read_pool.h"

#include <signal.h>

#include <condition_variable>
#include <deque>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "fs/hostfs/host_reader.h"

namespace remora::fs {

// What the threads share with the pool, and keep when it has gone.
struct HostReadPool::State {
  struct Job {
    Ref<HostReader> reader;
    uint64_t start = 0, num_drops = 0;
  };
  std::shared_ptr<HostDisk> disk;
  sync::WaitQueue arrivals;
  Mutex mu{LockRank::kReactor};
  std::condition_variable_any changed;
  std::deque<Job> jobs ABSL_GUARDED_BY(mu);
  // What was read last, as far as it is kept yet.
  struct Window {
    Ref<HostWindows> of;
    uint64_t start = 0;
  };
  std::deque<Window> windows ABSL_GUARDED_BY(mu);
  uint32_t num_threads ABSL_GUARDED_BY(mu) = 0;
  uint32_t num_idle ABSL_GUARDED_BY(mu) = 0;
  uint64_t num_reads ABSL_GUARDED_BY(mu) = 0;
  bool stopping ABSL_GUARDED_BY(mu) = false;
};

HostReadPool::HostReadPool(std::shared_ptr<HostDisk> disk) : state_(std::make_shared<State>()) {
  state_->disk = disk ? std::move(disk) : std::make_shared<HostDisk>();
}

HostReadPool::~HostReadPool() {
  std::deque<State::Job> dropped;
  MutexLock lock(&state_->mu);
  state_->stopping = true;
  std::swap(dropped, state_->jobs);
  state_->changed.notify_all();
  while (state_->num_idle != 0) state_->changed.wait(state_->mu);
}

HostDisk& HostReadPool::disk() const { return *state_->disk; }
sync::WaitQueue& HostReadPool::arrivals() { return state_->arrivals; }

uint64_t HostReadPool::num_reads() const {
  MutexLock lock(&state_->mu);
  return state_->num_reads;
}

void HostReadPool::Submit(Ref<HostReader> reader, uint64_t start, uint64_t num_drops) {
  MutexLock lock(&state_->mu);
  state_->jobs.push_back({std::move(reader), start, num_drops});
  ++state_->num_reads;
  if (state_->num_idle >= state_->jobs.size()) {
    state_->changed.notify_one();
    return;
  }
  if (state_->num_threads == kMaxThreads) return;
  ++state_->num_threads;
  // The host's signals are for the main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([state = state_] { Loop(state); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void HostReadPool::Loop(std::shared_ptr<State> state) {
  while (true) {
    State::Job job;
    {
      MutexLock lock(&state->mu);
      while (state->jobs.empty() && !state->stopping) {
        ++state->num_idle;
        state->changed.wait(state->mu);
        --state->num_idle;
      }
      if (state->stopping) {
        --state->num_threads;
        state->changed.notify_all();  // the pool waits until nobody is idle
        return;
      }
      job = std::move(state->jobs.front());
      state->jobs.pop_front();
    }
    job.reader->Fetch(job.start, job.num_drops);
    State::Window oldest;
    {
      MutexLock lock(&state->mu);
      state->windows.push_back({Ref<HostWindows>(&job.reader->windows()), job.start});
      if (state->windows.size() > kMaxWindowsOfAllFiles) {
        oldest = std::move(state->windows.front());
        state->windows.pop_front();
      }
    }
    if (oldest.of) oldest.of->Forget(oldest.start);
    job.reader.reset();
    state->arrivals.Notify(sync::kAllEvents);
  }
}

}  // namespace remora::fs
