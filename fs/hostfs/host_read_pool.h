#ifndef REMORA_FS_HOSTFS_HOST_READ_POOL_H_
#define REMORA_FS_HOSTFS_HOST_READ_POOL_H_

#include <cstdint>
#include <memory>

#include "base/ref_counted.h"
#include "fs/hostfs/host_disk.h"
#include "sync/wait_queue.h"

namespace remora::fs {

class HostReader;

// A few threads that wait for the host's disks, so that no worker ever does. One for each Kernel.
//
// A HostReader that finds bytes missing from the host's memory asks for them here and answers EAGAIN; when they have
// come, arrivals() is notified, and whoever waited tries again. One queue for all files: waiting is rare, and each
// waiter tests its own condition.
//
// Threads are started when all others are busy, kMaxThreads at most: so many reads may hang (a dead network mount)
// before others wait for them. A read that hangs does not hold up the pool's end: its thread is left behind, keeps
// what it needs alive and ends when the read does.
// Thread safety: all methods from any thread. Signals are blocked in the pool's threads.
class HostReadPool {
 public:
  static constexpr uint32_t kMaxThreads = 8;
  // That many windows are kept at most, of all files (HostWindows bounds those of one).
  static constexpr uint32_t kMaxWindowsOfAllFiles = 128;

  // Null: the host itself. A thread that is left behind shares `disk`.
  explicit HostReadPool(std::shared_ptr<HostDisk> disk = nullptr);
  ~HostReadPool();
  HostReadPool(const HostReadPool&) = delete;
  HostReadPool& operator=(const HostReadPool&) = delete;

  HostDisk& disk() const;
  sync::WaitQueue& arrivals();
  // Has a thread call reader->Fetch(start, num_drops), then notifies arrivals().
  void Submit(Ref<HostReader> reader, uint64_t start, uint64_t num_drops);

  uint64_t num_reads() const;  // that went to the threads

 private:
  struct State;
  static void Loop(std::shared_ptr<State> state);

  const std::shared_ptr<State> state_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_READ_POOL_H_
