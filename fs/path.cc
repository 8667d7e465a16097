#include "fs/path.h"

#include <utility>

#include "fs/dentry_cache.h"
#include "fs/mount.h"

namespace remora::fs {

Path::Path() = default;
Path::Path(Ref<Mount> m, Ref<Dentry> d) : mount(std::move(m)), dentry(std::move(d)) {}
Path::Path(const Path&) = default;
Path::Path(Path&&) noexcept = default;
Path& Path::operator=(const Path&) = default;
Path& Path::operator=(Path&&) noexcept = default;
Path::~Path() = default;

}  // namespace remora::fs
