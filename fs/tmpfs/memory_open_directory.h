#ifndef REMORA_FS_TMPFS_MEMORY_OPEN_DIRECTORY_H_
#define REMORA_FS_TMPFS_MEMORY_OPEN_DIRECTORY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "fs/file.h"
#include "fs/tmpfs/memory_directory.h"

namespace remora::fs {

// A MemoryDirectory, opened: lists "." and "..", its own names, then those of a lower directory that show through.
//
// Positions: 0 and 1 are "." and "..", 2 + cookie an own name, kLower + i the i-th name below, as this open file read
// them when it first came there since it last stood at the beginning (ovl_dir_cache does the same). So a listing that
// is interrupted by changes neither repeats nor misses a name that stayed. Thread safety: all methods from any thread.
class MemoryOpenDirectory final : public File {
 public:
  MemoryOpenDirectory(Ref<MemoryDirectory> directory, Path path, uint32_t flags)
      : File(directory, std::move(path), flags), directory_(std::move(directory)) {}

  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return Errno(EISDIR); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EISDIR); }
  bool seekable() const override { return true; }
  ErrnoOr<uint64_t> SizeForSeek() override { return uint64_t{0}; }
  ErrnoOr<void> ReadDirectory(uint64_t position, absl::FunctionRef<bool(const DirectoryEntry&)> visit) override;
  ErrnoOr<void> Sync() override { return Ok(); }

 private:
  ~MemoryOpenDirectory() override = default;
  static constexpr uint64_t kLower = uint64_t{1} << 62;
  static constexpr uint64_t kFirstCookie = 2;
  struct LowerName {
    std::string name;
    uint64_t inode_number;
    uint8_t type;
  };
  using LowerNames = std::vector<LowerName>;
  // False: `visit` has had enough.
  bool ListOwn(uint64_t position, absl::FunctionRef<bool(const DirectoryEntry&)> visit);
  ErrnoOr<void> ListLower(uint64_t index, absl::FunctionRef<bool(const DirectoryEntry&)> visit);
  bool ShowsThrough(const std::string& name) const;

  const Ref<MemoryDirectory> directory_;
  Mutex mu_{LockRank::kLeaf};
  std::shared_ptr<const LowerNames> lower_names_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::fs

#endif  // REMORA_FS_TMPFS_MEMORY_OPEN_DIRECTORY_H_
