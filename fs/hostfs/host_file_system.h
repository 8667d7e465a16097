#ifndef REMORA_FS_HOSTFS_HOST_FILE_SYSTEM_H_
#define REMORA_FS_HOSTFS_HOST_FILE_SYSTEM_H_

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/hostfs/host_fd.h"
#include "fs/hostfs/host_fd_cache.h"
#include "fs/hostfs/host_open.h"
#include "fs/hostfs/host_stream.h"
#include "fs/inode.h"
#include "fs/inode_table.h"
#include "mm/memory_context.h"
#include "sync/reclaimer.h"

namespace remora::fs {

class HostInode;

// A host directory as a file system: the root that a guest sees, or a --bind.
//
// Nothing leaves the directory: every host call names one component (or several that Remora itself put together)
// relative to a descriptor below it, follows no symlink and knows no ".." (fs/hostfs/host_open.h); what was found is
// checked to be the same file as before by device, inode number and birth time.
//
// What others change on the host is seen: attributes, content and directories are asked of the host each time. Only
// names are remembered, and only where `cacheable_lookups` says so: then a name that the VFS has cached goes on meaning
// the same file until using it answers ESTALE (the file was removed or replaced: the VFS drops the dentry and looks it
// up again), and a name found absent stays absent for as long as the VFS remembers that.
//
// A mapped file's pages are Remora's own. They are taken afresh when the file's date or size changed since (then only
// for new mappings); writes by the guest keep them up to date; stores through a shared writable mapping reach the host
// at msync, fsync and close.
//
// Linux twins: overlay's lower layers, 9p. Thread safety: all methods from any thread. No lock is held across a host
// call.
class HostFileSystem final : public FileSystem {
 public:
  struct Options {
    std::string directory;  // on the host; must exist
    bool read_only = true;  // changes answer EROFS
    // May the VFS remember names? Not where other host programs work in the same folder.
    bool cacheable_lookups = true;
    uint64_t device_id = 0;
    uint32_t max_cached_fds = 0;  // 0: a quarter of RLIMIT_NOFILE, at most 4096
    bool allow_openat2 = true;
    sync::Reclaimer* reclaimer = nullptr;  // not null; outlives the file system
    HostStreamContext stream;              // for FIFOs and devices, and (its memory) for mappings
  };
  // The status says what is wrong with the directory.
  static absl::StatusOr<Ref<HostFileSystem>> Create(Options options);

  std::string_view type_name() const override { return "hostfs"; }
  Ref<Inode> root() override;
  uint64_t device_id() const override { return options_.device_id; }
  Statistics GetStatistics() override;
  InodeCounts CountInodes() const override { return {inodes_.size(), inodes_.longest_chain()}; }

  // Which host file: (device, number) alone could come to mean another file when the number is used again.
  struct Key {
    uint64_t device = 0, number = 0;
    int64_t born_seconds = 0;
    uint32_t born_nanos = 0, type = 0;
    friend bool operator==(const Key&, const Key&) = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& k) {
      return H::combine(std::move(h), k.device, k.number, k.born_seconds, k.born_nanos, k.type);
    }
  };

  const Options& options() const { return options_; }
  uint32_t num_cached_fds() const { return fds_.size(); }
  uint64_t num_inodes() const { return inodes_.size(); }
  // How many files may keep pages that nobody maps: at most this, less where descriptors are few.
  uint32_t max_inodes_with_pages() const { return max_inodes_with_pages_; }

 private:
  friend class HostInode;
  template <typename T, typename... Args>
  friend Ref<T> remora::MakeRef(Args&&... args);
  HostFileSystem(Options options, Ref<HostFd> root_fd, const Key& root_key, uint32_t max_cached_fds,
                 uint32_t max_inodes_with_pages);

  // HostInode::OnLastRelease. A chain of parents goes one by one, not by recursion: a guest can make it long.
  void Retire(HostInode* inode);
  // Of an inode that is being mapped. Bounds how many keep pages (and with them a descriptor) that nobody maps: those
  // that were mapped longest ago go.
  void NotePages(HostInode* inode);
  // Drops the pages of those mapped longest ago, of 8 at most, while there are more than `most`. Answers how many.
  size_t DropOldestPages(size_t most);
  // What to do at EMFILE: closes about half of the descriptors that nobody uses. False if there is none.
  bool CloseIdle();
  void NotePagesLocked(HostInode* inode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetPagesLocked(HostInode* inode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  const Ref<HostFd> root_fd_;
  const Key root_key_;
  HostOpener opener_;
  HostFdCache fds_;
  const uint32_t max_inodes_with_pages_;
  InodeTable<Key, HostInode> inodes_;
  Mutex mu_{LockRank::kLeaf};
  std::vector<HostInode*> retired_ ABSL_GUARDED_BY(mu_);
  bool retiring_ ABSL_GUARDED_BY(mu_) = false;
  // Inodes with pages, by when they were mapped last, and where each stands.
  std::list<HostInode*> with_pages_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<HostInode*, std::list<HostInode*>::iterator> places_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_FILE_SYSTEM_H_
