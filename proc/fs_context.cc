#include "proc/fs_context.h"

#include <utility>

namespace remora::proc {

FsContext::FsContext(fs::Path root, fs::Path cwd, uint32_t umask)
    : root_(std::move(root)), cwd_(std::move(cwd)), umask_(umask) {}

Ref<FsContext> FsContext::Clone() const {
  fs::Path root, cwd;
  uint32_t umask;
  {
    MutexLock lock(&mu_);
    root = root_;
    cwd = cwd_;
    umask = umask_;
  }
  return MakeRef<FsContext>(std::move(root), std::move(cwd), umask);
}

fs::Path FsContext::root() const {
  MutexLock lock(&mu_);
  return root_;
}
fs::Path FsContext::cwd() const {
  MutexLock lock(&mu_);
  return cwd_;
}
uint32_t FsContext::umask() const {
  MutexLock lock(&mu_);
  return umask_;
}
void FsContext::set_root(fs::Path root) {
  MutexLock lock(&mu_);
  std::swap(root_, root);
}
void FsContext::set_cwd(fs::Path cwd) {
  MutexLock lock(&mu_);
  std::swap(cwd_, cwd);
}
uint32_t FsContext::exchange_umask(uint32_t umask) {
  MutexLock lock(&mu_);
  return std::exchange(umask_, umask);
}

}  // namespace remora::proc
