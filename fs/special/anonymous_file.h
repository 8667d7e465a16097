#ifndef REMORA_FS_SPECIAL_ANONYMOUS_FILE_H_
#define REMORA_FS_SPECIAL_ANONYMOUS_FILE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "fs/file.h"
#include "fs/special/anonymous_files.h"

namespace remora::fs {

// Base of the open files that have no name: what /proc/PID/fd shows comes from the inode.
class AnonymousFile : public File {
 public:
  std::string DescribePath() const override { return anonymous_inode_->Describe(); }

 protected:
  AnonymousFile(Ref<AnonymousInode> inode, uint32_t flags)
      : File(Ref<Inode>(inode.get()), Path(), flags), anonymous_inode_(std::move(inode)) {}

 private:
  const Ref<AnonymousInode> anonymous_inode_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_ANONYMOUS_FILE_H_
