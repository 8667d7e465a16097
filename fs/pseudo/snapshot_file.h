#ifndef REMORA_FS_PSEUDO_SNAPSHOT_FILE_H_
#define REMORA_FS_PSEUDO_SNAPSHOT_FILE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "fs/pseudo/pseudo_inode.h"

namespace remora::fs {

// A file whose content a function makes, once for each time that it is read from its beginning.
//
//   SnapshotInode      generate()  ------ makes ------>  "processor : 0\nvendor_id ..."   of one moment
//     ^        ^                                              ^
//   SnapshotFile  SnapshotFile     each keeps its own:  content_
//
// Costs: a read at position 0 calls the function once; any other copies from what is kept, however small the pieces
// are: 64 KiB read byte by byte are made once. An open file that was read keeps its content until it is closed.
//
// Invariants of an open file:
//  1. Its content is null, or what one call of the function answered. It never changes, it is only replaced.
//  2. Reads at positions other than 0 show the content of the last read at 0 that came before, or are the first.
// So a reader that goes on sees one moment, and one that rewinds sees the present.
//
// Thread safety: all methods from any thread; the functions run without a lock but the reader's position lock. Readers
// of one open file race harmlessly: each copies from a content that it holds a reference to.
//
// Linux twin: seq_file. Differences: the whole content is kept, not a page of it, so no record is ever seen half old
// and half new; a pread at another position than the last read's end does not make the content anew.
class SnapshotInode : public PseudoInode {
 public:
  using GenerateFunction = std::function<ErrnoOr<std::string>()>;
  // Gets what one write(2) wrote, at most a page.
  using WriteFunction = std::function<ErrnoOr<void>(std::string_view)>;

  // `write` empty: writing fails with EINVAL (the permissions keep all but root from trying).
  SnapshotInode(PseudoFileSystem* file_system, GenerateFunction generate, uint32_t permissions = 0444,
                WriteFunction write = nullptr, uint64_t number = 0)
      : PseudoInode(file_system, 0100000 | permissions, number),
        generate_(std::move(generate)),
        write_(std::move(write)) {}

  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override;
  ErrnoOr<void> Truncate(uint64_t) override { return Ok(); }  // echo 1 > file

 protected:
  ~SnapshotInode() override = default;

 private:
  friend class SnapshotFile;
  const GenerateFunction generate_;
  const WriteFunction write_;
};

// A SnapshotInode, opened.
class SnapshotFile final : public File {
 public:
  SnapshotFile(Ref<SnapshotInode> inode, Path path, uint32_t flags)
      : File(inode, std::move(path), flags), source_(std::move(inode)) {}

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override;
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) override;
  ErrnoOr<uint64_t> Append(mm::IoBuffer& from, uint64_t* end) override;
  bool seekable() const override { return true; }
  ErrnoOr<uint64_t> SizeForSeek() override { return uint64_t{0}; }
  ErrnoOr<void> Truncate(uint64_t) override { return Ok(); }

 private:
  ~SnapshotFile() override = default;
  const Ref<SnapshotInode> source_;
  Mutex mu_{LockRank::kLeaf};
  std::shared_ptr<const std::string> content_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::fs

#endif  // REMORA_FS_PSEUDO_SNAPSHOT_FILE_H_
