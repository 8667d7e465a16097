#ifndef REMORA_PROC_FS_CONTEXT_H_
#define REMORA_PROC_FS_CONTEXT_H_

#include <cstdint>

#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/path.h"

namespace remora::proc {

// Root, cwd and umask: shared by CLONE_FS, copied by fork. Linux's fs_struct.
// Thread safety: all methods from any thread.
class FsContext final : public RefCounted {
 public:
  FsContext(fs::Path root, fs::Path cwd, uint32_t umask);
  Ref<FsContext> Clone() const;

  fs::Path root() const;
  fs::Path cwd() const;
  uint32_t umask() const;
  void set_root(fs::Path root);
  void set_cwd(fs::Path cwd);
  uint32_t exchange_umask(uint32_t umask);  // the old one

 private:
  mutable Mutex mu_{LockRank::kLeaf};
  fs::Path root_ ABSL_GUARDED_BY(mu_);
  fs::Path cwd_ ABSL_GUARDED_BY(mu_);
  uint32_t umask_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::proc

#endif  // REMORA_PROC_FS_CONTEXT_H_
