#include "fs/pseudo/pseudo_directory.h"

#include <sys/stat.h>

#include <utility>

#include "base/check.h"
#include "fs/dentry_cache.h"
#include "fs/file.h"

namespace remora::fs {

// Positions: 0 is ".", 1 is "..", 2 + i the fixed child i, kDynamic + key a dynamic one.
class PseudoDirectory::OpenDirectory final : public File {
 public:
  OpenDirectory(Ref<PseudoDirectory> directory, Path path, uint32_t flags)
      : File(directory, std::move(path), flags), directory_(std::move(directory)) {}

  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return Errno(EISDIR); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EISDIR); }
  bool seekable() const override { return true; }
  ErrnoOr<uint64_t> SizeForSeek() override { return uint64_t{0}; }

  ErrnoOr<void> ReadDirectory(uint64_t position, absl::FunctionRef<bool(const DirectoryEntry&)> visit) override {
    PseudoDirectory& directory = *directory_;
    if (position == 0 && !visit({directory.number(), ++position, kTypeDirectory, "."})) return Ok();
    if (position == 1) {
      Ref<Dentry> parent = path().dentry ? path().dentry->parent() : nullptr;
      const uint64_t number = parent ? parent->inode()->number() : directory.number();
      if (!visit({number, ++position, kTypeDirectory, ".."})) return Ok();
    }
    while (position < 2 + directory.children_.size()) {
      const Child& child = directory.children_[position - 2];
      const auto type = static_cast<uint8_t>(child.inode->type() >> 12);
      if (!visit({child.inode->number(), ++position, type, child.name})) return Ok();
    }
    return directory.ListDynamic(position < kDynamic ? 0 : position - kDynamic, [&](const DynamicEntry& entry) {
      return visit({entry.inode_number, kDynamic + entry.key + 1, entry.type, entry.name});
    });
  }

 private:
  static constexpr uint64_t kDynamic = uint64_t{1} << 62;
  static constexpr uint8_t kTypeDirectory = S_IFDIR >> 12;
  const Ref<PseudoDirectory> directory_;
};

void PseudoDirectory::Add(std::string name, Ref<Inode> child) {
  if (child->type() == S_IFDIR) ++num_subdirectories_;
  children_.push_back({std::move(name), std::move(child)});
  const bool added = index_.emplace(children_.back().name, static_cast<uint32_t>(children_.size() - 1)).second;
  CHECK_MSG(added, "two children of a pseudo directory with one name");
}

ErrnoOr<Ref<Inode>> PseudoDirectory::Lookup(std::string_view name) {
  if (auto it = index_.find(name); it != index_.end()) return children_[it->second].inode;
  return LookupDynamic(name);
}

bool PseudoDirectory::StillFinds(std::string_view name, Inode& child) {
  if (auto it = index_.find(name); it != index_.end()) return children_[it->second].inode.get() == &child;
  return StillFindsDynamic(name, child);
}

ErrnoOr<Ref<File>> PseudoDirectory::Open(const Path& path, uint32_t flags) {
  return Ref<File>(MakeRef<OpenDirectory>(Ref<PseudoDirectory>(this), path, flags));
}

ErrnoOr<Ref<Inode>> PseudoDirectory::LookupDynamic(std::string_view) { return Errno(ENOENT); }
bool PseudoDirectory::StillFindsDynamic(std::string_view, Inode&) { return false; }
ErrnoOr<void> PseudoDirectory::ListDynamic(uint64_t, absl::FunctionRef<bool(const DynamicEntry&)>) { return Ok(); }

ErrnoOr<void> PseudoDirectory::AdjustAttributes(Attributes& attributes) {
  attributes.num_links = 2 + num_subdirectories_;
  return Ok();
}

}  // namespace remora::fs
