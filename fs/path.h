#ifndef REMORA_FS_PATH_H_
#define REMORA_FS_PATH_H_

#include "base/ref_counted.h"

namespace remora::fs {

class Dentry;  // fs/dentry_cache.h
class Mount;   // fs/mount.h

// A place in the name space: a dentry seen through a mount. Linux's struct path.
struct Path {
  Path();
  Path(Ref<Mount> mount, Ref<Dentry> dentry);
  Path(const Path&);
  Path(Path&&) noexcept;
  Path& operator=(const Path&);
  Path& operator=(Path&&) noexcept;
  ~Path();

  Ref<Mount> mount;
  Ref<Dentry> dentry;
  explicit operator bool() const { return static_cast<bool>(dentry); }
  friend bool operator==(const Path& a, const Path& b) { return a.mount == b.mount && a.dentry == b.dentry; }
};

}  // namespace remora::fs

#endif  // REMORA_FS_PATH_H_
