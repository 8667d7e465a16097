#include "proc/procfs/mount_files.h"

#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proc/kernel.h"

namespace remora::proc {

namespace {

// Blanks in names are written as octal escapes.
std::string Escaped(std::string_view name) {
  std::string out;
  for (char c : name) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\')
      absl::StrAppendFormat(&out, "\\%03o", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out;
}

bool LiesIn(std::string_view path, std::string_view target) {
  if (target == "/") return true;
  return path.size() > target.size() && path.substr(0, target.size()) == target && path[target.size()] == '/';
}

}  // namespace

std::string MountsTable(Kernel& kernel, const fs::Path& root) {
  std::string out;
  for (const fs::Vfs::MountInfo& mount : kernel.vfs().ListMounts(root))
    absl::StrAppend(&out, Escaped(mount.source), " ", Escaped(mount.target), " ", mount.type_name, " ", mount.options,
                    " 0 0\n");
  return out;
}

std::string MountInfoTable(Kernel& kernel, const fs::Path& root) {
  constexpr size_t kFirstId = 20;
  const std::vector<fs::Vfs::MountInfo> mounts = kernel.vfs().ListMounts(root);
  fs::WalkContext context;
  context.root = context.start = root;
  std::string out;
  for (size_t i = 0; i < mounts.size(); ++i) {
    // The parent: the deepest of the mounts before it that it lies in.
    size_t parent = 0;
    for (size_t j = 0; j < i; ++j)
      if (LiesIn(mounts[i].target, mounts[j].target) && mounts[j].target.size() >= mounts[parent].target.size())
        parent = j;
    uint32_t major = 0, minor = 0;
    if (const auto attributes = kernel.vfs().Stat(context, mounts[i].target, {}); attributes.ok()) {
      major = attributes->device_major;
      minor = attributes->device_minor;
    }
    absl::StrAppendFormat(&out, "%d %d %d:%d / %s %s - %s %s %s\n", kFirstId + i,
                          i == 0 ? kFirstId - 1 : kFirstId + parent, major, minor, Escaped(mounts[i].target),
                          mounts[i].options, mounts[i].type_name, Escaped(mounts[i].source), mounts[i].options);
  }
  return out;
}

}  // namespace remora::proc
