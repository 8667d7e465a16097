#ifndef REMORA_TESTING_SLOW_FS_SLOW_FILE_SYSTEM_H_
#define REMORA_TESTING_SLOW_FS_SLOW_FILE_SYSTEM_H_

#include <array>
#include <condition_variable>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/inode.h"
#include "fs/inode_table.h"
#include "sync/reclaimer.h"

namespace remora::testing {

// The places where a slow file keeps its caller waiting.
enum class SlowHook : uint8_t {
  kLookup,  // Inode::Lookup of its name, while its inode is made
  kOpen,    // Inode::Open
  kStat,    // Inode::GetAttributes
  kFlush,   // File::OnDescriptorClosed: each close(2)
  kClose,   // File::OnLastClose
};
inline constexpr std::array<std::string_view, 5> kSlowHookNames = {"lookup", "open", "stat", "flush", "close"};

class SlowInode;

// A file system for tests: its hooks wait for as long as a test asks, so that a test sees what else goes on meanwhile.
//
// A flat directory of empty files that are always there: "0" to "999999999", whose hooks return at once, and "slow0" to
// "slow999999999", whose hooks wait while the test holds their gate shut. In debug builds each hook of either kind
// CHECKs that its caller holds no lock. "control" is the same door for guest programs: a write of "shut open" or
// "lift open" holds a gate shut or lifts it (a word of kSlowHookNames), and reading it tells how many wait at each:
//
//   lookup 0
//   open 1
//
// A hook that waits holds the host thread that called it. So a guest needs a worker more than it has waiting tasks.
//
// This object is the door of the test and owns what the hooks share; it outlives the file system and all that is open
// in it. Thread safety: all methods from any thread.
class SlowBackend {
 public:
  SlowBackend() = default;
  SlowBackend(const SlowBackend&) = delete;
  SlowBackend& operator=(const SlowBackend&) = delete;

  // What to mount. Once.
  Ref<fs::FileSystem> NewFileSystem(uint64_t device_id, Clock* clock, sync::Reclaimer* reclaimer);

  // From now on whoever comes to the gate waits.
  void Shut(SlowHook hook);
  // Those who wait go on, and nobody waits any more.
  void Lift(SlowHook hook);
  void LiftAll();
  // Blocks until `n` are waiting at the gate.
  void AwaitWaiting(SlowHook hook, uint32_t n);
  uint32_t num_waiting(SlowHook hook);
  // How often a slow file's hook was called.
  uint64_t num_calls(SlowHook hook);

  // What hooks do: CHECKs that no lock is held and, for a slow file, waits while the gate is shut.
  void Pass(SlowHook hook, bool slow);

  // What "control" reads and takes. EINVAL for what it does not understand.
  std::string Describe();
  ErrnoOr<void> Command(std::string_view text);

  sync::Reclaimer* reclaimer() const { return reclaimer_; }
  fs::InodeTable<uint64_t, SlowInode>& inodes() { return *inodes_; }

 private:
  struct Gate {
    bool shut = false;
    uint32_t num_waiting = 0;
    uint64_t num_calls = 0;
  };
  static size_t Index(SlowHook hook) { return static_cast<size_t>(hook); }

  sync::Reclaimer* reclaimer_ = nullptr;
  std::optional<fs::InodeTable<uint64_t, SlowInode>> inodes_;
  Mutex mu_{LockRank::kLeaf};
  std::condition_variable_any changed_;
  std::array<Gate, kSlowHookNames.size()> gates_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::testing

#endif  // REMORA_TESTING_SLOW_FS_SLOW_FILE_SYSTEM_H_
