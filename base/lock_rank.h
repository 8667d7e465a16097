#ifndef REMORA_BASE_LOCK_RANK_H_
#define REMORA_BASE_LOCK_RANK_H_

#include <cstdint>

namespace remora {

// The one lock order: a thread may take a mutex only if its rank is greater than that of every mutex it holds.
// docs/locking.md tells why each stands where it does. Outer locks first.
enum class LockRank : uint8_t {
  kOpenFilePosition = 5,  // held across a whole transfer, so before whatever a generated file (/proc) asks
  kEpoll = 6,             // one epoll instance's changes and harvests; held while the watched files are asked
  // proc/
  kKernel = 10,
  kPidTable = 20,
  kSession = 25,
  kThreadGroup = 30,
  kSignalHandlers = 35,
  // fs/, net/
  kMountTable = 40,
  kMountIndex = 41,
  kRename = 42,
  kFdTable = 50,
  kDirectory = 52,
  kInodeShard = 54,
  kInode = 56,
  kDentryShard = 58,
  kPipe = 60,
  kTerminal = 62,
  // mm/
  kSplitAccess = 66,     // LOCKed guest accesses across a line or page; held across TLB fills
  kFileWrite = 68,       // a file's writers against its truncation; held while the writer's memory is faulted in
  kCodeRevocation = 69,  // one revocation of write rights at a time; takes the spaces' locks one by one
  kAddressSpace = 70,
  kSpaceRunners = 72,
  kFileMappings = 74,  // a file's list of mappings (reverse map)
  kPageCache = 76,
  kPageTableSharing = 78,
  kReverseMap = 80,
  kBlockCache = 82,
  kTranslations = 83,
  kFramePool = 84,
  // sync/
  kFutexBucket = 90,      // two at once in address order: see sync/futex_table.h
  kWaitQueue = 92,        // held across Waiter::Notify, which may take what follows only
  kEpollNesting = 93,     // which epoll instances watch which; held while an event goes up through them
  kWaitQueueNested = 94,  // an epoll instance's own queue, notified from a watched file's
  kEpollReady = 95,       // what is registered with one epoll instance, and its list of ready items
  kTimers = 97,
  kReactor = 98,
  kScheduler = 100,
  kTaskWake = 102,
  // base/
  kReclaimer = 110,
  kLeaf = 120,
};

}  // namespace remora

#endif  // REMORA_BASE_LOCK_RANK_H_
