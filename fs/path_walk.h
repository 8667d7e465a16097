#ifndef REMORA_FS_PATH_WALK_H_
#define REMORA_FS_PATH_WALK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "base/errno_or.h"
#include "fs/credentials.h"
#include "fs/dentry_cache.h"
#include "fs/inode.h"
#include "fs/mount_table.h"
#include "fs/path.h"

namespace remora::fs {

// From where and as whom a path is resolved. A value: proc/ makes one for each call from the task's FsContext.
struct WalkContext {
  Path root;
  Path start;  // the cwd, or what a dirfd is open on; used for relative paths
  Credentials credentials;
  CallerIds caller;  // whom /proc/self means
};

// May `credentials` do `mode` (R_OK | W_OK | X_OK) to an inode with these attributes?
bool PermissionsAllow(const Credentials& credentials, const Attributes& attributes, uint32_t mode);

// The dentry of `name` in `directory`, asking the file system where the cache does not know, or is not believed. Null:
// there is none. Not to believe the cache does not change what is true in it: a directory that is somebody's working
// directory keeps its dentry.
ErrnoOr<Ref<Dentry>> LookupName(DentryCache& cache, const Ref<Dentry>& directory, std::string_view name,
                                bool believe_cache = true);

// One resolution of one path: all calls by name go through it. Components are views into the caller's string (or into a
// symlink's kept text); nothing is copied or rewritten, and where all dentries are cached nothing is allocated.
//
// An absolute path begins in the mount whose name it begins with (MountTable::FindByName), not at the root.
// Where the cache knows the names, the walk only passes through: Skim goes from dentry to dentry without counting them,
// which the read section allows, and counts the one it comes to. What needs more (a name that is not cached, a symlink,
// a mount, "..", a permission) is done one component at a time with counted references, since file systems are asked.
//
// Errors as path_resolution(7) and openat2(2) tell. No lock is held while a file system is asked.
//
// Invariants:
//  1. Between two components current_ is a counted directory in which rest_, then outer_ from its back, is to be
//  walked.
//  2. rest_, outer_ and name_ are views into the caller's string, a text that links_ keeps or one of texts_.
//  3. num_symlinks_ is at most kMaxSymlinks, so a walk ends.
// Linux twin: struct nameidata, link_path_walk, and its RCU and reference modes. Differences: going over to counted
// references never starts the walk again, and dentries need no sequence counts since their names are not in the hash.
//
// Cost: a component that is cached takes one hash and one probe, no lock, no allocation, no write to shared memory; a
// walk takes six counted references. Else what the file system's Lookup costs.
// Thread safety: used by one thread, inside a read section of the cache's reclaimer. The context outlives the walk.
class PathWalk {
 public:
  static constexpr size_t kMaxPath = 4096;  // with the NUL that the guest's string has
  static constexpr size_t kMaxName = 255;
  static constexpr uint32_t kMaxSymlinks = 40;

  enum class Goal : uint8_t {
    kFollow,        // the object; a symlink as the last component is followed
    kNoFollow,      // the object; a symlink as the last component is itself the answer, but for a trailing slash
    kParent,        // the directory and the last name, for changes: never follows the last component
    kParentFollow,  // as kParent, but follows a symlink there: open with O_CREAT
  };
  enum class Last : uint8_t { kName, kDot, kDotDot, kRoot, kJump };

  PathWalk(const MountTable& mounts, DentryCache& cache, const WalkContext& context, uint64_t resolve = 0)
      : mounts_(mounts), cache_(cache), context_(context), resolve_(resolve) {}
  PathWalk(const PathWalk&) = delete;
  PathWalk& operator=(const PathWalk&) = delete;

  // Once for each PathWalk. With a kParent goal a missing last component is no error: target() is null then. Nor is one
  // that is too long, until CheckName: rename(2) looks at both directories before either name.
  // `revalidate`: believe nothing cached (a file system answered ESTALE).
  ErrnoOr<void> Run(std::string_view path, Goal goal, bool revalidate = false);

  // Before Run: a slash behind the last name is EISDIR, whatever the name leads to (open with O_CREAT).
  void RefuseTrailingSlash() { refuse_trailing_slash_ = true; }

  // Before Run: goes through every directory of the path, also where the mount that it leads into is known by name.
  void IgnoreNameIndex() { ignore_name_index_ = true; }

  const Path& target() const { return target_; }
  Path take_target() { return std::move(target_); }
  Inode& inode() const { return *target_.dentry->inode(); }
  // Valid with a kParent goal where last() is kName; the name lies in the caller's string or in this object.
  const Path& parent() const { return current_; }
  std::string_view name() const { return name_; }
  ErrnoOr<void> CheckName() const { return name_.size() > kMaxName ? Errno(ENAMETOOLONG) : Ok(); }
  Last last() const { return last_; }
  bool trailing_slash() const { return trailing_slash_; }

 private:
  ErrnoOr<void> Begin(std::string_view path);
  // An absolute path that leads through mountpoints: begins at the root of the last of them.
  bool BeginInMount(std::string_view path);
  bool MayReach(const Mount& mount) const;
  // Goes on through components that are cached and plain directories. True if that was all of them (not with a kParent
  // goal): target_ is set.
  bool Skim(bool wants_parent);
  ErrnoOr<void> MaySearch(const Ref<Dentry>& directory);
  ErrnoOr<void> StepUp();
  // Follows mounts that lie on `path`.
  ErrnoOr<void> CrossMounts(Path* path);
  // Goes into a symlink: its text becomes what is walked next, `after` comes behind it. True if it jumped instead.
  ErrnoOr<bool> Follow(const Path& link, std::string_view after);
  ErrnoOr<Ref<Dentry>> Child(std::string_view name);
  bool Resolves(uint64_t flag) const { return (resolve_ & flag) != 0; }
  void Finish(Last last, Path target) {
    last_ = last;
    target_ = std::move(target);
  }

  const MountTable& mounts_;
  DentryCache& cache_;
  const WalkContext& context_;
  const uint64_t resolve_;
  bool revalidate_ = false;
  bool refuse_trailing_slash_ = false;
  bool ignore_name_index_ = false;

  const Path* root_ = nullptr;                      // what "/" means, and above which ".." does not go
  Path current_;                                    // the directory that the next component is looked up in
  std::string_view rest_;                           // of the innermost text
  absl::InlinedVector<std::string_view, 4> outer_;  // what comes behind the symlinks entered; none is empty
  absl::InlinedVector<Ref<Dentry>, 2> links_;       // keep the texts of cached links alive
  absl::InlinedVector<std::unique_ptr<const std::string>, 1> texts_;
  uint32_t num_symlinks_ = 0;

  Path target_;
  std::string_view name_;
  Last last_ = Last::kName;
  bool trailing_slash_ = false;
};

}  // namespace remora::fs

#endif  // REMORA_FS_PATH_WALK_H_
