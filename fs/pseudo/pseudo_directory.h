#ifndef REMORA_FS_PSEUDO_PSEUDO_DIRECTORY_H_
#define REMORA_FS_PSEUDO_PSEUDO_DIRECTORY_H_

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/inode.h"
#include "fs/pseudo/pseudo_inode.h"

namespace remora::fs {

// A directory of a PseudoFileSystem: children that are always there, and children that a subclass finds by name.
//
//   name --> [dentry cache] --hit--> StillFinds? --yes--> the inode of last time        allocates nothing
//                 |                      | no
//                miss                    v
//                 +----------> Lookup: index_ (fixed), else LookupDynamic (a number: parsed, asked for)
//
// Fixed children are a table: added before anybody else sees the directory, constant then, found by a hash. Dynamic
// ones (a process's number, a descriptor) are looked up one at a time by name, never by listing them all, and listed in
// ascending order of a key of the subclass's choice, so that a listing which goes on after a pause neither repeats nor
// misses one that lived all along.
//
// Costs: a look-up is one hash and what the subclass does for one name, hit or miss, however many children there are; a
// listing follows the children that are there.
//
// Invariants:
//  1. index_ has exactly the names of children_, each with its place.
//  2. What StillFinds confirms is what Lookup would find, though perhaps another object for it.
// Thread safety: after the last Add, all methods from any thread.
// Linux twin: proc_dir_entry with its tree of names, and proc's pid_revalidate for the processes.
class PseudoDirectory : public PseudoInode {
 public:
  explicit PseudoDirectory(PseudoFileSystem* file_system, uint32_t permissions = 0555, uint64_t number = 0)
      : PseudoInode(file_system, 0040000 | permissions, number) {}

  // `name` must be new.
  void Add(std::string name, Ref<Inode> child);

  ErrnoOr<Ref<Inode>> Lookup(std::string_view name) final;
  bool StillFinds(std::string_view name, Inode& child) final;
  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override;
  // Fixed tables may be cached; a subclass with dynamic children says false.
  bool cacheable_lookups() const override { return true; }

  // What a subclass shows of a dynamic child. Keys are below 2^62 and ascend.
  struct DynamicEntry {
    uint64_t key = 0;
    std::string_view name;
    uint64_t inode_number = 0;
    uint8_t type = 0;  // DT_*
  };

 protected:
  ~PseudoDirectory() override = default;
  // A child that is not in the table. ENOENT by default.
  virtual ErrnoOr<Ref<Inode>> LookupDynamic(std::string_view name);
  // Would LookupDynamic(name) still answer `child`, one of its own? False by default: then it is asked.
  virtual bool StillFindsDynamic(std::string_view name, Inode& child);
  // Calls `visit` for the dynamic children whose key is >= from_key, in ascending order, until it answers false. No
  // lock may be held while `visit` runs (it writes to guest memory). None by default; ESRCH and the like are passed on.
  virtual ErrnoOr<void> ListDynamic(uint64_t from_key, absl::FunctionRef<bool(const DynamicEntry&)> visit);

  ErrnoOr<void> AdjustAttributes(Attributes& attributes) override;

 private:
  class OpenDirectory;
  struct Child {
    std::string name;
    Ref<Inode> inode;
  };
  std::deque<Child> children_;  // a deque, since index_ refers to the names
  absl::flat_hash_map<std::string_view, uint32_t> index_;
  uint32_t num_subdirectories_ = 0;
};

}  // namespace remora::fs

#endif  // REMORA_FS_PSEUDO_PSEUDO_DIRECTORY_H_
