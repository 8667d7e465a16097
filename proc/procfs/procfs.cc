#include "proc/procfs/procfs.h"

#include <array>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fs/pseudo/pseudo_directory.h"
#include "fs/pseudo/pseudo_inode.h"
#include "fs/pseudo/pseudo_symlink.h"
#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/procfs/numbers.h"
#include "proc/procfs/process_directory.h"
#include "proc/procfs/system_files.h"
#include "proc/thread_group.h"

namespace remora::proc {

namespace {

constexpr uint64_t kProcSuperMagic = 0x9fa0;
constexpr uint8_t kDtDir = 4;

// /proc itself: the system's files are fixed, the processes are found by number.
class RootDirectory final : public fs::PseudoDirectory {
 public:
  RootDirectory(fs::PseudoFileSystem* file_system, Kernel* kernel)
      : PseudoDirectory(file_system, 0555, 1), kernel_(*kernel) {}

  bool cacheable_lookups() const override { return false; }

 protected:
  bool StillFindsDynamic(std::string_view, fs::Inode& child) override { return IsDirectoryOfTheLiving(child); }
  ErrnoOr<Ref<fs::Inode>> LookupDynamic(std::string_view name) override {
    const std::optional<int32_t> number = ParseNumber(name);
    if (!number) return Errno(ENOENT);
    // Threads are found too, though not listed, as in Linux.
    const Ref<Task> task = kernel_.pids().FindTask(*number);
    if (!task) return Errno(ENOENT);
    return Ref<fs::Inode>(MakeProcessDirectory(&file_system(), *task, /*is_thread=*/false));
  }

  ErrnoOr<void> ListDynamic(uint64_t from_key, absl::FunctionRef<bool(const DynamicEntry&)> visit) override {
    if (from_key > INT32_MAX) return Ok();
    std::array<int32_t, 64> pids;
    size_t n = 0;
    for (auto from = static_cast<int32_t>(from_key); (n = kernel_.pids().ListPids(from, pids)) != 0;
         from = pids[n - 1] + 1) {
      for (int32_t pid : std::span(pids).first(n)) {
        const NumberName name(pid);
        if (!visit({static_cast<uint64_t>(pid), name.view(), ProcessInodeNumber(pid, 0), kDtDir})) return Ok();
      }
    }
    return Ok();
  }

 private:
  Kernel& kernel_;
};

ErrnoOr<std::string> SelfText(const fs::CallerIds& caller) {
  if (caller.process_id == 0) return Errno(ENOENT);
  return absl::StrCat(caller.process_id);
}

ErrnoOr<std::string> ThreadSelfText(const fs::CallerIds& caller) {
  if (caller.process_id == 0) return Errno(ENOENT);
  return absl::StrCat(caller.process_id, "/task/", caller.thread_id);
}

}  // namespace

Ref<fs::FileSystem> MakeProcfs(Kernel* kernel) {
  auto file_system = MakeRef<fs::PseudoFileSystem>("proc", kProcSuperMagic, kernel->vfs().NewDeviceId(),
                                                   &kernel->clock(), &kernel->snapshots());
  auto root = MakeRef<RootDirectory>(file_system.get(), kernel);
  root->Add("self", MakeRef<fs::PseudoSymlink>(file_system.get(), SelfText));
  root->Add("thread-self", MakeRef<fs::PseudoSymlink>(file_system.get(), ThreadSelfText));
  AddSystemFiles(kernel, file_system.get(), root.get());
  file_system->set_root(std::move(root));
  return file_system;
}

}  // namespace remora::proc
