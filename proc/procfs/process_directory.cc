#include "proc/procfs/process_directory.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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

// Which process or thread an inode tells of, without keeping it. Linux's struct pid.
class ProcessLink {
 public:
  explicit ProcessLink(const Task& task)
      : kernel_(&task.kernel()), serial_(task.group().serial()), number_(task.tid()) {}
  int32_t number() const { return number_; }
  // Null once it was reaped, whoever has the number since. In a read section.
  Ref<Task> Get() const {
    Ref<Task> task = kernel_->pids().FindTask(number_);
    return task && task->group().serial() == serial_ ? task : nullptr;
  }
  // One that lives, if its first thread has ended.
  Ref<Task> GetLiveThread() const {
    const Ref<Task> task = Get();
    return task ? AnyLiveThread(*task) : nullptr;
  }

 private:
  Kernel* kernel_;
  uint64_t serial_;
  int32_t number_;
};

// A process's files belong to who it runs as, and to root once it is gone.
ErrnoOr<void> OwnedByTask(const ProcessLink& link, fs::Attributes& attributes) {
  const Ref<Task> task = link.Get();
  if (!task) return Ok();
  if (const auto credentials = task->credentials()) {
    attributes.uid = credentials->euid;
    attributes.gid = credentials->egid;
  }
  return Ok();
}

class OwnedFile final : public fs::SnapshotInode {
 public:
  OwnedFile(fs::PseudoFileSystem* file_system, const ProcessLink& link, uint32_t permissions, uint64_t number,
            GenerateFunction generate, WriteFunction write)
      : SnapshotInode(file_system, std::move(generate), permissions, std::move(write), number), link_(link) {}

 protected:
  ErrnoOr<void> AdjustAttributes(fs::Attributes& attributes) override { return OwnedByTask(link_, attributes); }

 private:
  const ProcessLink link_;
};

class OwnedSymlink final : public fs::PseudoSymlink {
 public:
  OwnedSymlink(fs::PseudoFileSystem* file_system, const ProcessLink& link, uint32_t permissions, uint64_t number,
               TextFunction text, JumpFunction jump)
      : PseudoSymlink(file_system, std::move(text), std::move(jump), permissions, number), link_(link) {}

 protected:
  ErrnoOr<void> AdjustAttributes(fs::Attributes& attributes) override { return OwnedByTask(link_, attributes); }

 private:
  const ProcessLink link_;
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

ErrnoOr<Ref<fs::FdTable>> DescriptorsOf(const ProcessLink& link) {
  const Ref<Task> task = link.GetLiveThread();
  Ref<fs::FdTable> fds = task ? task->FdsForOthers() : nullptr;
  if (!fds) return Errno(ENOENT);
  return fds;
}

ErrnoOr<Ref<fs::File>> DescriptorOf(const ProcessLink& link, int32_t fd) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::FdTable> fds, DescriptorsOf(link));
  ErrnoOr<Ref<fs::File>> file = fds->Lookup(fd);
  if (!file.ok()) return Errno(ENOENT);
  return file;
}

// /proc/PID/fd.
class DescriptorDirectory final : public fs::PseudoDirectory {
 public:
  DescriptorDirectory(fs::PseudoFileSystem* file_system, const ProcessLink& link, uint64_t number)
      : PseudoDirectory(file_system, 0500, number), link_(link) {}
  bool cacheable_lookups() const override { return false; }

 protected:
  ErrnoOr<Ref<fs::Inode>> LookupDynamic(std::string_view name) override {
    const std::optional<int32_t> fd = ParseNumber(name);
    if (!fd) return Errno(ENOENT);
    REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> found, DescriptorOf(link_, *fd));
    const uint32_t permissions = (found->readable() ? 0500 : 0) | (found->writable() ? 0300 : 0);
    // The link is looked up anew for each walk, so it may keep the file itself no longer than that.
    const auto text = [link = link_, number = *fd](const fs::CallerIds&) -> ErrnoOr<std::string> {
      REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> open, DescriptorOf(link, number));
      const Ref<Task> task = link.Get();
      return task && open->path().dentry ? NameOfPath(*task, open->path()) : open->DescribePath();
    };
    const auto jump = [link = link_, number = *fd]() -> ErrnoOr<fs::Path> {
      REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> open, DescriptorOf(link, number));
      const Ref<Task> task = link.Get();
      if (!task) return Errno(ENOENT);
      return PathOfFile(*task, *open);
    };
    return Ref<fs::Inode>(MakeRef<OwnedSymlink>(&file_system(), link_, permissions,
                                                DescriptorInodeNumber(link_.number(), *fd), text, jump));
  }

  ErrnoOr<void> ListDynamic(uint64_t from_key, absl::FunctionRef<bool(const DynamicEntry&)> visit) override {
    REMORA_ASSIGN_OR_RETURN(const Ref<fs::FdTable> fds, DescriptorsOf(link_));
    if (from_key >= fs::FdTable::kMaxFds) return Ok();
    fds->ForEach(static_cast<uint32_t>(from_key), [&](int32_t fd, const Ref<fs::File>&, bool) {
      const NumberName name(fd);
      return visit({static_cast<uint64_t>(fd), name.view(), DescriptorInodeNumber(link_.number(), fd), kDtLnk});
    });
    return Ok();
  }

  ErrnoOr<void> AdjustAttributes(fs::Attributes& attributes) override { return OwnedByTask(link_, attributes); }

 private:
  const ProcessLink link_;
};

// /proc/PID/task.
class ThreadsDirectory final : public fs::PseudoDirectory {
 public:
  ThreadsDirectory(fs::PseudoFileSystem* file_system, const ProcessLink& link, uint64_t number)
      : PseudoDirectory(file_system, 0555, number), link_(link) {}
  bool cacheable_lookups() const override { return false; }

 protected:
  bool StillFindsDynamic(std::string_view, fs::Inode& child) override { return IsDirectoryOfTheLiving(child); }
  ErrnoOr<Ref<fs::Inode>> LookupDynamic(std::string_view name) override {
    const std::optional<int32_t> tid = ParseNumber(name);
    const Ref<Task> task = link_.Get();
    if (!tid || !task) return Errno(ENOENT);
    const Ref<Task> thread = task->kernel().pids().FindTask(*tid);
    if (!thread || &thread->group() != &task->group()) return Errno(ENOENT);
    return MakeProcessDirectory(&file_system(), *thread, /*is_thread=*/true);
  }

  ErrnoOr<void> ListDynamic(uint64_t from_key, absl::FunctionRef<bool(const DynamicEntry&)> visit) override {
    const Ref<Task> task = link_.Get();
    if (!task) return Errno(ENOENT);
    std::vector<int32_t> tids;
    for (const Ref<Task>& thread : task->group().Tasks()) tids.push_back(thread->tid());
    std::sort(tids.begin(), tids.end());
    for (int32_t tid : tids) {
      if (static_cast<uint64_t>(tid) < from_key) continue;
      const NumberName name(tid);
      if (!visit({static_cast<uint64_t>(tid), name.view(), ProcessInodeNumber(tid, 0, true), kDtDir})) break;
    }
    return Ok();
  }

 private:
  const ProcessLink link_;
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
    {"personality", 0400, kDtReg, PersonalityText},
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
  ProcessDirectory(fs::PseudoFileSystem* file_system, const Task& task, bool is_thread)
      : PseudoDirectory(file_system, 0555, ProcessInodeNumber(task.tid(), 0, is_thread)),
        link_(task),
        is_thread_(is_thread) {}
  bool cacheable_lookups() const override { return false; }
  bool alive() const { return static_cast<bool>(link_.Get()); }

 protected:
  // Its entries are the same as long as it lives.
  bool StillFindsDynamic(std::string_view, fs::Inode&) override { return alive(); }

  ErrnoOr<Ref<fs::Inode>> LookupDynamic(std::string_view name) override {
    if (!alive()) return Errno(ESRCH);
    for (uint32_t i = 0; i < std::size(kEntries); ++i)
      if (kEntries[i].name == name && (kEntries[i].in_threads || !is_thread_)) return Make(kEntries[i], NumberOf(i));
    return Errno(ENOENT);
  }

  ErrnoOr<void> ListDynamic(uint64_t from_key, absl::FunctionRef<bool(const DynamicEntry&)> visit) override {
    if (!alive()) return Errno(ENOENT);
    for (uint64_t i = from_key; i < std::size(kEntries); ++i) {
      if (is_thread_ && !kEntries[i].in_threads) continue;
      if (!visit({i, kEntries[i].name, NumberOf(static_cast<uint32_t>(i)), kEntries[i].type})) break;
    }
    return Ok();
  }

  ErrnoOr<void> AdjustAttributes(fs::Attributes& attributes) override {
    if (!is_thread_) attributes.num_links = 9;
    return OwnedByTask(link_, attributes);
  }

 private:
  uint64_t NumberOf(uint32_t index) const { return ProcessInodeNumber(link_.number(), index + 1, is_thread_); }

  ErrnoOr<Ref<fs::Inode>> Make(const Entry& entry, uint64_t number) {
    if (entry.name == "task") return Ref<fs::Inode>(MakeRef<ThreadsDirectory>(&file_system(), link_, number));
    if (entry.name == "fd") return Ref<fs::Inode>(MakeRef<DescriptorDirectory>(&file_system(), link_, number));
    if (entry.find != nullptr) {
      const auto jump = [link = link_, find = entry.find]() -> ErrnoOr<fs::Path> {
        const Ref<Task> task = link.Get();
        if (!task) return Errno(ENOENT);
        return find(*task);
      };
      const auto text = [link = link_, find = entry.find](const fs::CallerIds&) -> ErrnoOr<std::string> {
        const Ref<Task> task = link.Get();
        if (!task) return Errno(ENOENT);
        REMORA_ASSIGN_OR_RETURN(const fs::Path path, find(*task));
        return NameOfPath(*task, path);
      };
      return Ref<fs::Inode>(MakeRef<OwnedSymlink>(&file_system(), link_, entry.permissions, number, text, jump));
    }
    fs::SnapshotInode::WriteFunction write;
    if (entry.write != nullptr) {
      write = [link = link_, function = entry.write](std::string_view text) -> ErrnoOr<void> {
        const Ref<Task> task = link.Get();
        if (!task) return Errno(ESRCH);
        return function(*task, text);
      };
    }
    // A process directory tells of the process, a thread's of the thread.
    const auto generate = [link = link_, function = entry.generate, whole = !is_thread_]() -> ErrnoOr<std::string> {
      const Ref<Task> task = link.Get();
      if (!task) return Errno(ESRCH);
      return function(*task, whole);
    };
    return Ref<fs::Inode>(
        MakeRef<OwnedFile>(&file_system(), link_, entry.permissions, number, generate, std::move(write)));
  }

  const ProcessLink link_;
  const bool is_thread_;
};

}  // namespace

Ref<fs::Inode> MakeProcessDirectory(fs::PseudoFileSystem* file_system, const Task& task, bool is_thread) {
  return MakeRef<ProcessDirectory>(file_system, task, is_thread);
}

bool IsDirectoryOfTheLiving(const fs::Inode& directory) {
  return static_cast<const ProcessDirectory&>(directory).alive();
}

}  // namespace remora::proc
