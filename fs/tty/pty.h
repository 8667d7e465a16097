#ifndef REMORA_FS_TTY_PTY_H_
#define REMORA_FS_TTY_PTY_H_

#include <atomic>
#include <cstdint>
#include <span>
#include <utility>

#include "base/abi/termios.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/tty/byte_queue.h"
#include "fs/tty/job_control.h"
#include "fs/tty/line_discipline.h"
#include "mm/io_buffer.h"
#include "sync/wait_queue.h"

namespace remora::fs {

// Where slaves have their names: fs/devpts. Thread safety: from any thread, without a lock.
class PtyNames {
 public:
  virtual ~PtyNames() = default;
  // Null: it has none any more.
  virtual Ref<Inode> FindSlave(uint32_t number) = 0;
  // The master is closed: the slave's name goes.
  virtual void Remove(uint32_t number) = 0;
};

// A pseudo-terminal: what is written to the master is typed at the slave, what a program writes to the slave comes out
// of the master, and between them stands the slave's line discipline. Linux twin: drivers/tty/pty.c.
//
//     master file --> to_slave --> LineDiscipline --> slave files
//     master file <-- to_master <-'            '<---- slave files
//
// Life: the master is opened once, and its last close cuts the line: slaves read end of file, write EIO, and the
// session hears SIGHUP. Slaves are opened and closed any number of times; while none is open (any more) the master
// reads EIO.
//
// Differences from Linux: input and output move at once, not in a kernel thread; TIOCSCTTY on the master is ENOTTY; no
// vhangup(2), no locked termios.
// Thread safety: all methods from any thread. Lock: kTerminal, under which guest memory is copied; signals and wake-ups
// happen behind it.
class Pty final : public Terminal {
 public:
  static constexpr uint32_t kMajor = 136;
  enum class End : uint8_t { kMaster, kSlave };

  // `number`: N of /dev/pts/N, below 2^20. Both pointers outlive it; `names` may be null.
  Pty(TerminalSessions* sessions, PtyNames* names, uint32_t number)
      : Terminal(sessions), names_(names), number_(number) {}

  uint32_t number() const { return number_; }
  uint32_t device_major() const override { return kMajor; }
  uint32_t device_minor() const override { return number_; }
  ErrnoOr<Ref<File>> OpenAgain(Ref<Inode> inode, const Path& path, uint32_t flags) override;
  // TIOCGPTPEER.
  ErrnoOr<Ref<File>> OpenPeer(uint32_t flags);

  // For open and close of either end. SlaveOpened: EIO while locked, or where the master is closed; EBUSY after
  // TIOCEXCL.
  ErrnoOr<void> SlaveOpened(bool privileged);
  void SlaveClosed();
  void MasterClosed();
  bool master_open() const;

  // As File::Read and File::Write. `nonblocking`: what is there is enough, however little VMIN finds it. `waited`: the
  // reader's own mark that it has been told to wait, for what Linux answers a reader that the line is cut for.
  ErrnoOr<uint64_t> ReadMaster(mm::IoBuffer& to);
  ErrnoOr<uint64_t> WriteMaster(mm::IoBuffer& from);
  ErrnoOr<uint64_t> ReadSlave(mm::IoBuffer& to, bool nonblocking, std::atomic<bool>* waited);
  // The reader's patience is over (File::ReadPatience).
  ErrnoOr<uint64_t> ReadSlaveImpatiently(mm::IoBuffer& to);
  ErrnoOr<uint64_t> WriteSlave(mm::IoBuffer& from);
  File::Patience ReadPatience() const;
  // TOSTOP.
  ErrnoOr<void> CheckWrite(TerminalCaller& caller);

  sync::Events Readiness(End end, sync::Events interest) const;
  sync::WaitQueue& queue(End end) { return end == End::kMaster ? master_queue_ : slave_queue_; }

  // ENOTTY for what it does not know.
  ErrnoOr<uint64_t> Ioctl(End end, const IoctlContext& context, uint32_t request, uint64_t argument, bool may_read);

 private:
  // What has to be told once the lock is released.
  struct Effects {
    sync::Events master = 0, slave = 0;
    uint32_t signals = 0;  // bit N - 1 for signal N, to the foreground group
  };
  // All that the lock guards.
  struct State final : LineDiscipline::Driver {
    uint64_t OutputRoom() override { return to_master.room(); }
    void Output(std::span<const uint8_t> bytes) override;
    void DropOutput() override;
    void OnInputFlushed() override;
    void OnFlowChange(bool stopped) override;
    void OnSignal(int signal) override { effects.signals |= 1u << (signal - 1); }

    // Lets typed bytes into the line discipline as far as it takes them.
    void Pump();
    void NotePacketEvent(uint8_t set, uint8_t clear = 0);
    ErrnoOr<uint64_t> TakeInput(mm::IoBuffer& to, const LineDiscipline::Take& take);

    // Linux: 4 KiB of the line discipline and some 11 KiB on the way to it, in both directions.
    static constexpr size_t kOnTheWayBytes = 11'264;
    static constexpr size_t kReadableBytes = LineDiscipline::kBufferBytes - 1;
    ByteQueue to_slave{kOnTheWayBytes};
    ByteQueue to_master{kOnTheWayBytes + kReadableBytes};
    LineDiscipline line{this};
    abi::Winsize window{};
    bool packet = false;
    uint8_t packet_status = 0;  // TIOCPKT_* bits that the master has not read yet
    bool locked = true;         // TIOCSPTLCK
    bool exclusive = false;     // TIOCEXCL
    bool master_open = true;
    bool slave_was_opened = false;
    uint32_t num_slave_files = 0;
    Effects effects;
  };

  // Runs `operation` on the state with the lock held, and tells what it did behind it.
  template <typename F>
  auto Locked(F operation) ABSL_LOCKS_EXCLUDED(mu_) {
    Effects effects;
    const auto run = [&] {
      MutexLock lock(&mu_);
      auto result = operation(state_);
      effects = std::exchange(state_.effects, {});
      return result;
    };
    auto result = run();
    Tell(effects);
    return result;
  }
  void Tell(const Effects& effects);

  ErrnoOr<uint64_t> SettingsIoctl(const IoctlContext& context, uint32_t request, uint64_t argument);
  ErrnoOr<uint64_t> QueueIoctl(End end, const IoctlContext& context, uint32_t request, uint64_t argument);
  ErrnoOr<uint64_t> MasterIoctl(const IoctlContext& context, uint32_t request, uint64_t argument);
  ErrnoOr<uint64_t> SetWindow(const IoctlContext& context, uint64_t argument);
  ErrnoOr<uint64_t> FakeInput(End end, const IoctlContext& context, uint64_t argument);
  static bool IsSettingsRequest(uint32_t request);

  PtyNames* const names_;
  const uint32_t number_;
  mutable Mutex mu_{LockRank::kTerminal};
  State state_ ABSL_GUARDED_BY(mu_);
  sync::WaitQueue master_queue_, slave_queue_;
};

// The open master and an open slave of `pty`; `inode` and `path` are what was opened.
Ref<File> MakePtyMaster(Ref<Pty> pty, Ref<Inode> inode, const Path& path, uint32_t flags);
ErrnoOr<Ref<File>> OpenPtySlave(Ref<Pty> pty, Ref<Inode> inode, const Path& path, uint32_t flags, bool privileged);

}  // namespace remora::fs

#endif  // REMORA_FS_TTY_PTY_H_
