#include "testing/slow_fs/slow_file_system.h"

#include <sys/stat.h>

#include <charconv>
#include <optional>
#include <utility>

#include "base/check.h"
#include "fs/file.h"
#include "fs/pseudo/pseudo_directory.h"
#include "fs/pseudo/pseudo_inode.h"
#include "fs/pseudo/snapshot_file.h"

namespace remora::testing {

using fs::File;
using fs::Path;

// A file, slow or not. One object for each number, as long as anybody uses it.
class SlowInode final : public fs::PseudoInode {
 public:
  SlowInode(SlowBackend* backend, fs::PseudoFileSystem* file_system, uint64_t number, bool slow)
      : PseudoInode(file_system, S_IFREG | 0666, number), backend_(backend), slow_(slow) {}

  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override;
  ErrnoOr<void> Truncate(uint64_t) override { return Ok(); }

  void Pass(SlowHook hook) { backend_->Pass(hook, slow_); }

 private:
  ErrnoOr<void> AdjustAttributes(fs::Attributes&) override {
    Pass(SlowHook::kStat);
    return Ok();
  }
  void OnLastRelease() override {
    backend_->inodes().Remove(number(), this);
    backend_->reclaimer()->Retire(this, [](void* self) { delete static_cast<SlowInode*>(self); });
  }
  SlowBackend* const backend_;
  const bool slow_;
};

namespace {

// Reads as empty and takes what is written.
class SlowFile final : public File {
 public:
  SlowFile(Ref<SlowInode> inode, Path path, uint32_t flags)
      : File(inode, std::move(path), flags), slow_(std::move(inode)) {}

  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return uint64_t{0}; }
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t) override {
    const uint64_t n = from.remaining();
    from.Advance(n);
    return n;
  }
  void OnDescriptorClosed() override { slow_->Pass(SlowHook::kFlush); }
  void OnLastClose() override { slow_->Pass(SlowHook::kClose); }

 private:
  ~SlowFile() override = default;
  const Ref<SlowInode> slow_;
};

class SlowDirectory final : public fs::PseudoDirectory {
 public:
  SlowDirectory(SlowBackend* backend, fs::PseudoFileSystem* file_system)
      : PseudoDirectory(file_system, 0755), backend_(backend) {}
  // Each open asks anew, so that the look-up's hook is reached each time.
  bool cacheable_lookups() const override { return false; }

 protected:
  ErrnoOr<Ref<fs::Inode>> LookupDynamic(std::string_view name) override {
    constexpr std::string_view kSlow = "slow";
    const bool slow = name.starts_with(kSlow);
    if (slow) name.remove_prefix(kSlow.size());
    uint64_t number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size() || name.size() > 9) return Errno(ENOENT);
    number += slow ? kFirstSlow : kFirstQuick;
    return Ref<fs::Inode>(backend_->inodes().GetOrCreate(number, [&] {
      backend_->Pass(SlowHook::kLookup, slow);
      return MakeRef<SlowInode>(backend_, &file_system(), number, slow);
    }));
  }

 private:
  ~SlowDirectory() override = default;
  static constexpr uint64_t kFirstQuick = 100, kFirstSlow = 10'000'000'000;
  SlowBackend* const backend_;
};

std::optional<SlowHook> HookNamed(std::string_view name) {
  for (size_t i = 0; i < kSlowHookNames.size(); ++i)
    if (kSlowHookNames[i] == name) return static_cast<SlowHook>(i);
  return std::nullopt;
}

}  // namespace

ErrnoOr<Ref<File>> SlowInode::Open(const Path& path, uint32_t flags) {
  Pass(SlowHook::kOpen);
  return Ref<File>(MakeRef<SlowFile>(Ref<SlowInode>(this), path, flags));
}

Ref<fs::FileSystem> SlowBackend::NewFileSystem(uint64_t device_id, Clock* clock, sync::Reclaimer* reclaimer) {
  CHECK(reclaimer_ == nullptr);
  reclaimer_ = reclaimer;
  inodes_.emplace(reclaimer);
  constexpr uint64_t kMagic = 0x510f5;
  auto file_system = MakeRef<fs::PseudoFileSystem>("slowfs", kMagic, device_id, clock);
  auto root = MakeRef<SlowDirectory>(this, file_system.get());
  root->Add("control", MakeRef<fs::SnapshotInode>(
                           file_system.get(), [this]() -> ErrnoOr<std::string> { return Describe(); }, 0666,
                           [this](std::string_view text) { return Command(text); }));
  file_system->set_root(std::move(root));
  return file_system;
}

void SlowBackend::Shut(SlowHook hook) {
  MutexLock lock(&mu_);
  gates_[Index(hook)].shut = true;
}

void SlowBackend::Lift(SlowHook hook) {
  MutexLock lock(&mu_);
  gates_[Index(hook)].shut = false;
  changed_.notify_all();
}

void SlowBackend::LiftAll() {
  for (size_t i = 0; i < kSlowHookNames.size(); ++i) Lift(static_cast<SlowHook>(i));
}

void SlowBackend::AwaitWaiting(SlowHook hook, uint32_t n) {
  MutexLock lock(&mu_);
  while (gates_[Index(hook)].num_waiting < n) changed_.wait(mu_);
}

uint32_t SlowBackend::num_waiting(SlowHook hook) {
  MutexLock lock(&mu_);
  return gates_[Index(hook)].num_waiting;
}

uint64_t SlowBackend::num_calls(SlowHook hook) {
  MutexLock lock(&mu_);
  return gates_[Index(hook)].num_calls;
}

void SlowBackend::Pass(SlowHook hook, bool slow) {
  AssertNoLocksHeld();
  if (!slow) return;
  MutexLock lock(&mu_);
  Gate& gate = gates_[Index(hook)];
  ++gate.num_calls;
  ++gate.num_waiting;
  changed_.notify_all();
  while (gate.shut) changed_.wait(mu_);
  --gate.num_waiting;
}

std::string SlowBackend::Describe() {
  std::string text;
  MutexLock lock(&mu_);
  for (size_t i = 0; i < kSlowHookNames.size(); ++i) {
    text += kSlowHookNames[i];
    text += ' ';
    text += std::to_string(gates_[i].num_waiting);
    text += '\n';
  }
  return text;
}

ErrnoOr<void> SlowBackend::Command(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  constexpr std::string_view kShut = "shut ", kLift = "lift ";
  const bool shut = text.starts_with(kShut);
  if (!shut && !text.starts_with(kLift)) return Errno(EINVAL);
  const auto hook = HookNamed(text.substr(kShut.size()));
  if (!hook) return Errno(EINVAL);
  if (shut)
    Shut(*hook);
  else
    Lift(*hook);
  return Ok();
}

}  // namespace remora::testing
