#include "fs/devpts/devpts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "fs/file.h"
#include "fs/pseudo/pseudo_directory.h"

namespace remora::fs {
namespace {

constexpr uint64_t kMagic = 0x1cd1;
constexpr uint32_t kTtyGroup = 5;
constexpr uint64_t kRootNumber = 1, kPtmxNumber = 2, kFirstSlaveNumber = 3;

// "0", "17", never "007" or "+1".
bool ParseNumber(std::string_view name, uint32_t* number) {
  if (name.empty() || (name.size() > 1 && name[0] == '0')) return false;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), *number);
  return error == std::errc() && end == name.data() + name.size();
}

// A node in /dev/pts: owners and permissions can be changed.
class Node : public PseudoInode {
 public:
  struct Device {
    uint32_t permissions, uid, gid, major, minor;
  };
  Node(PseudoFileSystem* file_system, uint64_t number, const Device& device)
      : PseudoInode(file_system, S_IFCHR | device.permissions, number), file_system_(file_system), device_(device) {}

  ErrnoOr<void> SetAttributes(const AttributeChange& change) override {
    const Timestamp now = file_system_->Now();
    MutexLock lock(&mu_);
    if (change.permissions) device_.permissions = *change.permissions & 07777;
    if (change.uid) device_.uid = *change.uid;
    if (change.gid) device_.gid = *change.gid;
    if (change.accessed) accessed_ = *change.accessed;
    if (change.modified) modified_ = *change.modified;
    changed_ = now;
    return Ok();
  }

 protected:
  ~Node() override = default;
  ErrnoOr<void> AdjustAttributes(Attributes& attributes) override {
    MutexLock lock(&mu_);
    attributes.mode = S_IFCHR | device_.permissions;
    attributes.uid = device_.uid;
    attributes.gid = device_.gid;
    attributes.special_major = device_.major;
    attributes.special_minor = device_.minor;
    if (accessed_) attributes.accessed = *accessed_;
    if (modified_) attributes.modified = *modified_;
    if (changed_) attributes.changed = *changed_;
    return Ok();
  }

 private:
  PseudoFileSystem* const file_system_;
  Mutex mu_{LockRank::kInode};
  Device device_ ABSL_GUARDED_BY(mu_);
  std::optional<Timestamp> accessed_ ABSL_GUARDED_BY(mu_), modified_ ABSL_GUARDED_BY(mu_),
      changed_ ABSL_GUARDED_BY(mu_);
};

// What the registry opens: ptmx, the host's terminal.
class RegisteredNode final : public Node {
 public:
  RegisteredNode(PseudoFileSystem* file_system, uint64_t number, const Device& device, const DeviceRegistry* devices)
      : Node(file_system, number, device), devices_(devices), major_(device.major), minor_(device.minor) {}
  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override { return OpenFor(CallerIds(), path, flags); }
  ErrnoOr<Ref<File>> OpenFor(const CallerIds& caller, const Path& path, uint32_t flags) override {
    return devices_->Open(DeviceRegistry::Kind::kCharacter, major_, {Ref<Inode>(this), path, flags, minor_, caller});
  }

 private:
  const DeviceRegistry* const devices_;
  const uint32_t major_, minor_;
};

}  // namespace

class Devpts::Slave final : public Node {
 public:
  Slave(PseudoFileSystem* file_system, Ref<Pty> pty, uint32_t uid)
      : Node(file_system, kFirstSlaveNumber + pty->number(), {0620, uid, kTtyGroup, Pty::kMajor, pty->number()}),
        pty_(std::move(pty)) {}

  ErrnoOr<Ref<File>> Open(const Path& path, uint32_t flags) override { return OpenFor(CallerIds(), path, flags); }
  ErrnoOr<Ref<File>> OpenFor(const CallerIds& caller, const Path& path, uint32_t flags) override {
    REMORA_ASSIGN_OR_RETURN(Ref<File> file,
                            OpenPtySlave(pty_, Ref<Inode>(this), path, flags, /*privileged=*/caller.fsuid == 0));
    pty_->OnOpened(caller, flags);
    return file;
  }

 protected:
  ErrnoOr<void> AdjustAttributes(Attributes& attributes) override {
    attributes.num_links = pty_->master_open() ? 1 : 0;
    return Node::AdjustAttributes(attributes);
  }

 private:
  const Ref<Pty> pty_;
};

class Devpts::Root final : public PseudoDirectory {
 public:
  explicit Root(Devpts* devpts) : PseudoDirectory(devpts->file_system_.get(), 0755, kRootNumber), devpts_(devpts) {}
  bool cacheable_lookups() const override { return false; }

 protected:
  ErrnoOr<Ref<Inode>> LookupDynamic(std::string_view name) override {
    uint32_t number;
    if (!ParseNumber(name, &number)) return Errno(ENOENT);
    Ref<Inode> slave = devpts_->FindSlave(number);
    if (!slave) return Errno(ENOENT);
    return slave;
  }

  ErrnoOr<void> ListDynamic(uint64_t from_key, absl::FunctionRef<bool(const DynamicEntry&)> visit) override {
    for (uint64_t key = from_key;; ++key) {
      uint64_t inode_number;
      {
        MutexLock lock(&devpts_->mu_);
        const auto found = devpts_->slaves_.lower_bound(static_cast<uint32_t>(std::min<uint64_t>(key, ~0u)));
        if (found == devpts_->slaves_.end()) return Ok();
        key = found->first;
        inode_number = found->second->number();
      }
      const std::string name = std::to_string(key);
      if (!visit({key, name, inode_number, S_IFCHR >> 12})) return Ok();
    }
  }

 private:
  Devpts* const devpts_;
};

Devpts::Devpts(const Context& context)
    : sessions_(context.sessions),
      file_system_(MakeRef<PseudoFileSystem>("devpts", kMagic, context.device_id, context.clock)) {
  Ref<Root> root = MakeRef<Root>(this);
  root->Add("ptmx",
            MakeRef<RegisteredNode>(file_system_.get(), kPtmxNumber, Node::Device{0666, 0, 0, 5, 2}, context.devices));
  constexpr std::string_view kPrefix = "/dev/pts/";
  struct stat host;
  const HostTerminal* terminal = context.terminal;
  if (terminal != nullptr && std::string_view(terminal->host_name()).starts_with(kPrefix) &&
      ParseNumber(std::string_view(terminal->host_name()).substr(kPrefix.size()), &host_number_) &&
      fstat(terminal->fd()->get(), &host) == 0) {
    const Node::Device device{host.st_mode & 07777, host.st_uid, host.st_gid, terminal->device_major(),
                              terminal->device_minor()};
    root->Add(std::to_string(host_number_),
              MakeRef<RegisteredNode>(file_system_.get(), kFirstSlaveNumber + host_number_, device, context.devices));
  } else {
    host_number_ = ~0u;
  }
  file_system_->set_root(std::move(root));
}

Devpts::~Devpts() = default;

Ref<Inode> Devpts::FindSlave(uint32_t number) {
  MutexLock lock(&mu_);
  const auto found = slaves_.find(number);
  return found == slaves_.end() ? nullptr : found->second;
}

void Devpts::Remove(uint32_t number) {
  Ref<Inode> removed;  // dropped behind the lock
  MutexLock lock(&mu_);
  if (const auto found = slaves_.find(number); found != slaves_.end()) {
    removed = std::move(found->second);
    slaves_.erase(found);
  }
}

ErrnoOr<Ref<File>> Devpts::OpenMaster(Ref<Inode> inode, const Path& path, uint32_t flags, const CallerIds& caller) {
  Ref<Pty> pty;
  {
    MutexLock lock(&mu_);
    if (slaves_.size() >= kMaxPtys) return Errno(ENOSPC);
    uint32_t number = 0;
    for (const auto& [taken, slave] : slaves_) {
      if (number == host_number_) ++number;
      if (taken != number) break;
      ++number;
    }
    if (number == host_number_) ++number;
    pty = MakeRef<Pty>(sessions_, this, number);
    slaves_.emplace(number, MakeRef<Slave>(file_system_.get(), pty, caller.fsuid));
  }
  return MakePtyMaster(std::move(pty), std::move(inode), path, flags);
}

}  // namespace remora::fs
