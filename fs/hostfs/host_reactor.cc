#include "fs/hostfs/host_reactor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"

namespace remora::fs {
namespace {

constexpr uint64_t kKickId = 0;
constexpr uint32_t kPollable = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLRDNORM | EPOLLWRNORM;

// Host time, not the guest's: how often to ask the host again has nothing to do with what a guest's clock shows.
int64_t HostNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

HostReactor::HostReactor() = default;

HostReactor::~HostReactor() {
  bool started;
  {
    MutexLock lock(&mu_);
    CHECK_MSG(watches_.empty(), "a host descriptor is still watched");
    stopping_ = true;
    started = started_;
  }
  if (!started) return;
  Kick();
  thread_.join();
  close(epoll_fd_);
  close(kick_fd_);
}

void HostReactor::Kick() const {
  const uint64_t one = 1;
  while (write(kick_fd_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

void HostReactor::StartLocked() {
  if (started_) return;
  started_ = true;
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  kick_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  CHECK_MSG(epoll_fd_ >= 0 && kick_fd_ >= 0, "the host refuses an epoll or eventfd descriptor");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kKickId}};
  CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, kick_fd_, &event) == 0);
  // The host's signals are for the main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Loop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Ref<HostWatch> HostReactor::Add(int fd) {
  MutexLock lock(&mu_);
  const uint64_t id = next_id_++;
  Ref<HostWatch> watch = MakeRef<HostWatch>(fd, id);
  watches_[id].watch = watch;
  return watch;
}

void HostReactor::Remove(HostWatch& watch) {
  Ref<HostWatch> dropped;
  MutexLock lock(&mu_);
  auto it = watches_.find(watch.id_);
  if (it == watches_.end()) return;
  // Must go before the descriptor is closed: a duplicate elsewhere would keep the registration alive.
  if (it->second.in_epoll) epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, watch.fd_, nullptr);
  if (it->second.due_nanos != 0) --num_due_;
  dropped = std::move(it->second.watch);
  watches_.erase(it);
}

void HostReactor::NotifyOnce(HostWatch& watch, sync::Events events) {
  const uint32_t wanted = (events & kPollable) | EPOLLERR | EPOLLHUP;
  {
    MutexLock lock(&mu_);
    auto it = watches_.find(watch.id_);
    if (it == watches_.end()) return;
    Entry& entry = it->second;
    if (entry.edges || (entry.wanted & wanted) == wanted) return;
    StartLocked();
    entry.wanted |= wanted;
    epoll_event event{.events = entry.wanted | EPOLLONESHOT, .data = {.u64 = watch.id_}};
    const int op = entry.in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(epoll_fd_, op, watch.fd_, &event) == 0) {
      entry.in_epoll = true;
      return;
    }
    entry.wanted = 0;
  }
  // EPERM: a file that is always ready.
  watch.queue_.Notify(sync::kAllEvents);
}

bool HostReactor::WatchEdges(HostWatch& watch) {
  MutexLock lock(&mu_);
  auto it = watches_.find(watch.id_);
  if (it == watches_.end()) return false;
  Entry& entry = it->second;
  if (entry.edges) return true;
  StartLocked();
  epoll_event event{.events = kPollable | EPOLLET, .data = {.u64 = watch.id_}};
  if (epoll_ctl(epoll_fd_, entry.in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, watch.fd_, &event) != 0) return false;
  entry.in_epoll = entry.edges = true;
  return true;
}

void HostReactor::NotifyLater(HostWatch& watch, uint32_t delay_millis) {
  {
    MutexLock lock(&mu_);
    auto it = watches_.find(watch.id_);
    if (it == watches_.end()) return;
    StartLocked();
    if (it->second.due_nanos != 0) return;
    it->second.due_nanos = HostNanos() + int64_t{delay_millis} * 1'000'000;
    ++num_due_;
  }
  Kick();
}

// Collects the watches whose time has come; milliseconds to the next one, -1 if there is none.
int HostReactor::TakeDue(int64_t now_nanos, std::vector<Ref<HostWatch>>* due) {
  MutexLock lock(&mu_);
  if (num_due_ == 0) return -1;
  int64_t next = INT64_MAX;
  for (auto& [id, entry] : watches_) {
    if (entry.due_nanos == 0) continue;
    if (entry.due_nanos <= now_nanos) {
      entry.due_nanos = 0;
      --num_due_;
      due->push_back(entry.watch);
    } else {
      next = std::min(next, entry.due_nanos);
    }
  }
  if (next == INT64_MAX) return -1;
  return static_cast<int>(std::min<int64_t>((next - now_nanos) / 1'000'000 + 1, 60'000));
}

void HostReactor::Loop() {
  epoll_event events[64];
  std::vector<std::pair<Ref<HostWatch>, uint32_t>> ready;
  std::vector<Ref<HostWatch>> due;
  while (true) {
    due.clear();
    const int timeout = TakeDue(HostNanos(), &due);
    for (const Ref<HostWatch>& watch : due) watch->queue_.Notify(sync::kAllEvents);
    const int n = epoll_wait(epoll_fd_, events, 64, due.empty() ? timeout : 0);
    due.clear();
    ready.clear();
    {
      MutexLock lock(&mu_);
      ++num_wakeups_;
      if (stopping_) return;
      for (int i = 0; i < n; ++i) {
        const uint64_t id = events[i].data.u64;  // epoll_event is packed: nothing may refer into it
        if (id == kKickId) {
          uint64_t drained;
          if (read(kick_fd_, &drained, sizeof(drained)) < 0) continue;
          continue;
        }
        auto it = watches_.find(id);
        if (it == watches_.end()) continue;
        // One shot: what else was wanted is asked for again by whoever tests and finds it missing.
        it->second.wanted = 0;
        ready.emplace_back(it->second.watch, it->second.edges ? events[i].events : sync::kAllEvents);
      }
    }
    // After a shot everything is told to everybody: who waited for another event has to test (and ask) again.
    for (auto& [watch, what] : ready) watch->queue_.Notify(what);
    ready.clear();
  }
}

uint64_t HostReactor::num_wakeups() const {
  MutexLock lock(&mu_);
  return num_wakeups_;
}

}  // namespace remora::fs
