#ifndef REMORA_FS_PSEUDO_PSEUDO_INODE_H_
#define REMORA_FS_PSEUDO_PSEUDO_INODE_H_

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/inode.h"

namespace remora::fs {

// How often the content of snapshot files was made, and how often a read was served from what an open file kept.
struct SnapshotCounters {
  std::atomic<uint64_t> built{0}, reused{0};
};

// A file system whose content is made on demand: procfs, sysfs-like trees. Constant but for its root, which is set once
// before it is mounted. Thread safety: all methods from any thread.
class PseudoFileSystem final : public FileSystem {
 public:
  // `type_name`: a literal ("proc"). The clock and the counters (may be null: nobody looks) outlive it.
  PseudoFileSystem(std::string_view type_name, uint64_t magic, uint64_t device_id, Clock* clock,
                   SnapshotCounters* snapshots = nullptr)
      : type_name_(type_name),
        magic_(magic),
        device_id_(device_id),
        clock_(clock),
        snapshots_(snapshots ? snapshots : &own_snapshots_) {}

  void set_root(Ref<Inode> root) { root_ = std::move(root); }

  std::string_view type_name() const override { return type_name_; }
  Ref<Inode> root() override { return root_; }
  uint64_t device_id() const override { return device_id_; }
  Statistics GetStatistics() override;

  // For inodes that have no number of their own: counts from 0xf0000000 up, as Linux's proc does.
  uint64_t NewNumber() { return next_number_.fetch_add(1, std::memory_order_relaxed); }
  Timestamp Now() const;
  SnapshotCounters& snapshots() const { return *snapshots_; }

 private:
  ~PseudoFileSystem() override = default;
  const std::string_view type_name_;
  const uint64_t magic_, device_id_;
  Clock* const clock_;
  SnapshotCounters own_snapshots_;
  SnapshotCounters* const snapshots_;
  std::atomic<uint64_t> next_number_{0xf0000000};
  Ref<Inode> root_;
};

// What directories, files and symlinks of a PseudoFileSystem have in common. Its size is 0, as in Linux's /proc, and
// its dates are those of its making. Inodes refer to the file system without counting: whoever reaches one holds a
// mount of it. Thread safety: all methods from any thread.
class PseudoInode : public Inode {
 public:
  // `mode`: type and permissions. `number` 0: a new one.
  PseudoInode(PseudoFileSystem* file_system, uint32_t mode, uint64_t number = 0)
      : file_system_(file_system),
        number_(number != 0 ? number : file_system->NewNumber()),
        mode_(mode),
        made_(file_system->Now()) {}

  PseudoFileSystem& file_system() const override { return *file_system_; }
  uint64_t number() const override { return number_; }
  uint32_t type() const override { return mode_ & 0170000; }
  ErrnoOr<Attributes> GetAttributes() final;

 protected:
  // The last word on what stat shows: owners of a process's files, link counts. An error (ESRCH: the process is gone)
  // is passed on.
  virtual ErrnoOr<void> AdjustAttributes(Attributes&) { return Ok(); }

 private:
  PseudoFileSystem* const file_system_;
  const uint64_t number_;
  const uint32_t mode_;
  const Timestamp made_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_PSEUDO_PSEUDO_INODE_H_
