#include "proc/procfs/process_directory.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fs/pseudo/pseudo_directory.h"
#include "fs/pseudo/pseudo_symlink.h"
#include "fs/pseudo/snapshot_file.h"
#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/procfs/numbers.h"
#include "proc/procfs/process_files.h"
#include "proc/thread_group.h"

namespace remora::proc {

namespace {

constexpr uint8_t kDtDir = 4, kDtReg = 8, kDtLnk = 10;

// A process's files belong to who it runs as.
ErrnoOr<void> OwnedByTask(const Task& task, fs::Attributes& attributes) {
  if (const auto credentials = task.credentials()) {
    attributes.uid = credentials->euid;
    attributes.gid = credentials->egid;
  }
  return Ok();
}

class OwnedFile final : public fs::SnapshotInode {
 public:
  OwnedFile(fs::PseudoFileSystem* file_system, Ref<Task> task, uint32_t permissions, uint64_t number,
            GenerateFunction generate, WriteFunction write)
      : SnapshotInode(file_system, std::move(generate), permissions, std::move(write), number),
        task_(std::move(task)) {}

 protected:
  ErrnoOr<void> AdjustAttributes(fs::Attributes& attributes) override { return OwnedByTask(*task_, attributes); }

 private:
  const Ref<Task> task_;
};

class OwnedSymlink final : public fs::PseudoSymlink {
 public:
  OwnedSymlink(fs::PseudoFileSystem* file_system, Ref<Task> task, uint32_t permissions, uint64_t number,
               TextFunction text, JumpFunction jump)
      : PseudoSymlink(file_system, std::move(text), std::move(jump), permissions, number), task_(std::move(task)) {}

 protected:
  ErrnoOr<void> AdjustAttributes(fs::Attributes& attributes) override { return OwnedByTask(*task_, attributes); }

 private:
  const Ref<Task> task_;
};

// What the two kinds of magic links jump to and are called.
fs::Path PathOfFile(const Task& task, const fs::File& file) {
  return file.path().dentry ? file.path() : task.kernel().vfs().PathOfAnonymous(file.inode());
}

std::string NameOfPath(const Task& task, const fs::Path& path) {
  return task.kernel().vfs().NameOf(path, task.kernel().vfs().root());
}

using FindPath = ErrnoOr<fs::Path> (*)(const Task&);

ErrnoOr<fs::Path> ExecutableOf(const Task& task) {
  fs::Path path = task.group().executable();
  if (!path || task.group().num_tasks() == 0) return Errno(ENOENT);
  return path;
}
ErrnoOr<fs::Path> CwdOf(const Task& task) {
  const Ref<FsContext> context = AnyLiveThread(task)->FsContextForOthers();
  if (!context) return Errno(ENOENT);
  return context->cwd();
}
ErrnoOr<fs::Path> RootOf(const Task& task) {
  const Ref<FsContext> context = AnyLiveThread(task)->FsContextForOthers();
  if (!context) return Errno(ENOENT);
  return context->root();
}

// /proc/PID/fd.
class DescriptorDirectory final : public fs::PseudoDirectory {
 public:
  DescriptorDirectory(fs::PseudoFileSystem* file_system, Ref<Task> task, uint64_t number)
      : PseudoDirectory(file_system, 0500, number), task_(std::move(task)) {}
  bool cacheable_lookups() const override { return false; }

 protected:
  ErrnoOr<Ref<fs::Inode>> LookupDynamic(std::string_view name) override {
    const std::optional<int32_t> fd = ParseNumber(name);
    const Ref<fs::FdTable> fds = AnyLiveThread(*task_)->FdsForOthers();
    if (!fd || !fds) return Errno(ENOENT);
    const ErrnoOr<Ref<fs::File>> found = fds->Lookup(*fd);
    if (!found.ok()) return Errno(ENOENT);
    const uint32_t permissions = ((*found)->readable() ? 0500 : 0) | ((*found)->writable() ? 0300 : 0);
    // The link is looked up anew for each walk, so it may keep the file itself no longer than that.
    const auto file = [task = task_, number = *fd]() -> ErrnoOr<Ref<fs::File>> {
      const Ref<fs::FdTable> table = AnyLiveThread(*task)->FdsForOthers();
      if (!table) return Errno(ENOENT);
      ErrnoOr<Ref<fs::File>> now = table->Lookup(number);
      if (!now.ok()) return Errno(ENOENT);
      return now;
    };
    const auto text = [task = task_, file](const fs::CallerIds&) -> ErrnoOr<std::string> {
      REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> open, file());
      return open->path().dentry ? NameOfPath(*task, open->path()) : open->DescribePath();
    };
    const auto jump = [task = task_, file]() -> ErrnoOr<fs::Path> {
      REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> open, file());
      return PathOfFile(*task, *open);
    };
    return Ref<fs::Inode>(MakeRef<OwnedSymlink>(&file_system(), task_, permissions,
                                                DescriptorInodeNumber(task_->tid(), *fd), text, jump));
  }

  ErrnoOr<void> ListDynamic(uint64_t from_key, absl::FunctionRef<bool(const DynamicEntry&)> visit) override {
    const Ref<fs::FdTable> fds = AnyLiveThread(*task_)->FdsForOthers();
    if (!fds) return Errno(ENOENT);
    if (from_key >= fs::FdTable::kMaxFds) return Ok();
    fds->ForEach(static_cast<uint32_t>(from_key), [&](int32_t fd, const Ref<fs::File>&, bool) {
      const std::string name = absl::StrCat(fd);
      return visit({static_cast<uint64_t>(fd), name, DescriptorInodeNumber(task_->tid(), fd), kDtLnk});
    });
    return Ok();
  }

  ErrnoOr<void> AdjustAttributes(fs::Attributes& attributes) override { return OwnedByTask(*task_, attributes); }

 private:
  const Ref<Task> task_;
};

// /proc/PID/task.
class ThreadsDirectory final : public fs::PseudoDirectory {
 public:
  ThreadsDirectory(fs::PseudoFileSystem* file_system, Ref<Task> task, uint64_t number)
      : PseudoDirectory(file_system, 0555, number), task_(std::move(task)) {}
  bool cacheable_lookups() const override { return false; }

 protected:
  ErrnoOr<Ref<fs::Inode>> LookupDynamic(std::string_view name) override {
    const std::optional<int32_t> tid = ParseNumber(name);
    if (!tid) return Errno(ENOENT);
    const Ref<Task> thread = task_->kernel().pids().FindTask(*tid);
    if (!thread || &thread->group() != &task_->group()) return Errno(ENOENT);
    return MakeProcessDirectory(&file_system(), thread, /*is_thread=*/true);
  }

  ErrnoOr<void> ListDynamic(uint64_t from_key, absl::FunctionRef<bool(const DynamicEntry&)> visit) override {
    std::vector<int32_t> tids;
    for (const Ref<Task>& thread : task_->group().Tasks()) tids.push_back(thread->tid());
    std::sort(tids.begin(), tids.end());
    for (int32_t tid : tids) {
      if (static_cast<uint64_t>(tid) < from_key) continue;
      const std::string name = absl::StrCat(tid);
      if (!visit({static_cast<uint64_t>(tid), name, ProcessInodeNumber(tid, 0, true), kDtDir})) break;
    }
    return Ok();
  }

 private:
  const Ref<Task> task_;
};

// The entries of /proc/PID, in the order in which they are listed. The table is the only source.
struct Entry {
  std::string_view name;
  uint32_t permissions;
  uint8_t type;
  GenerateProcessFile generate = nullptr;  // files
  WriteProcessFile write = nullptr;
  FindPath find = nullptr;  // symlinks
  bool in_threads = true;   // also in task/TID
};

constexpr Entry kEntries[] = {
    {"task", 0555, kDtDir, nullptr, nullptr, nullptr, false},
    {"fd", 0500, kDtDir},
    {"environ", 0400, kDtReg, EnvironText},
    {"auxv", 0400, kDtReg, AuxvText},
    {"status", 0444, kDtReg, StatusText},
    {"limits", 0444, kDtReg, LimitsText},
    {"comm", 0644, kDtReg, CommText, WriteComm},
    {"cmdline", 0444, kDtReg, CmdlineText},
    {"stat", 0444, kDtReg, StatText},
    {"statm", 0444, kDtReg, StatmText},
    {"maps", 0444, kDtReg, MapsText},
    {"cwd", 0777, kDtLnk, nullptr, nullptr, CwdOf},
    {"root", 0777, kDtLnk, nullptr, nullptr, RootOf},
    {"exe", 0777, kDtLnk, nullptr, nullptr, ExecutableOf},
    {"mounts", 0444, kDtReg, MountsText},
    {"mountinfo", 0444, kDtReg, MountInfoText},
};

class ProcessDirectory final : public fs::PseudoDirectory {
 public:
  ProcessDirectory(fs::PseudoFileSystem* file_system, Ref<Task> task, bool is_thread)
      : PseudoDirectory(file_system, 0555, ProcessInodeNumber(task->tid(), 0, is_thread)),
        task_(std::move(task)),
        is_thread_(is_thread) {}
  bool cacheable_lookups() const override { return false; }

 protected:
  ErrnoOr<Ref<fs::Inode>> LookupDynamic(std::string_view name) override {
    for (uint32_t i = 0; i < std::size(kEntries); ++i)
      if (kEntries[i].name == name && (kEntries[i].in_threads || !is_thread_)) return Make(kEntries[i], NumberOf(i));
    return Errno(ENOENT);
  }

  ErrnoOr<void> ListDynamic(uint64_t from_key, absl::FunctionRef<bool(const DynamicEntry&)> visit) override {
    for (uint64_t i = from_key; i < std::size(kEntries); ++i) {
      if (is_thread_ && !kEntries[i].in_threads) continue;
      if (!visit({i, kEntries[i].name, NumberOf(static_cast<uint32_t>(i)), kEntries[i].type})) break;
    }
    return Ok();
  }

  ErrnoOr<void> AdjustAttributes(fs::Attributes& attributes) override {
    if (!is_thread_) attributes.num_links = 9;
    return OwnedByTask(*task_, attributes);
  }

 private:
  uint64_t NumberOf(uint32_t index) const { return ProcessInodeNumber(task_->tid(), index + 1, is_thread_); }

  ErrnoOr<Ref<fs::Inode>> Make(const Entry& entry, uint64_t number) {
    const Ref<Task> task = task_;
    if (entry.name == "task") return Ref<fs::Inode>(MakeRef<ThreadsDirectory>(&file_system(), task, number));
    if (entry.name == "fd") return Ref<fs::Inode>(MakeRef<DescriptorDirectory>(&file_system(), task, number));
    if (entry.find != nullptr) {
      const auto jump = [task, find = entry.find] { return find(*task); };
      const auto text = [task, find = entry.find](const fs::CallerIds&) -> ErrnoOr<std::string> {
        REMORA_ASSIGN_OR_RETURN(const fs::Path path, find(*task));
        return NameOfPath(*task, path);
      };
      return Ref<fs::Inode>(MakeRef<OwnedSymlink>(&file_system(), task, entry.permissions, number, text, jump));
    }
    fs::SnapshotInode::WriteFunction write;
    if (entry.write != nullptr)
      write = [task, function = entry.write](std::string_view text) { return function(*task, text); };
    // A process directory tells of the process, a thread's of the thread.
    const auto generate = [task, function = entry.generate, whole = !is_thread_] { return function(*task, whole); };
    return Ref<fs::Inode>(
        MakeRef<OwnedFile>(&file_system(), task, entry.permissions, number, generate, std::move(write)));
  }

  const Ref<Task> task_;
  const bool is_thread_;
};

}  // namespace

Ref<fs::Inode> MakeProcessDirectory(fs::PseudoFileSystem* file_system, Ref<Task> task, bool is_thread) {
  return MakeRef<ProcessDirectory>(file_system, std::move(task), is_thread);
}

}  // namespace remora::proc
