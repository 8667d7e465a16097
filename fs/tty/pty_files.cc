// The open files of a Pty's two ends.

#include <errno.h>

#include <atomic>
#include <string>
#include <utility>

#include "fs/tty/pty.h"

namespace remora::fs {
namespace {

class PtyMasterFile final : public File {
 public:
  PtyMasterFile(Ref<Pty> pty, Ref<Inode> inode, const Path& path, uint32_t flags)
      : File(std::move(inode), path, flags), pty_(std::move(pty)) {}

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t) override { return pty_->ReadMaster(to); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t) override { return pty_->WriteMaster(from); }
  ErrnoOr<uint64_t> Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument) override {
    return pty_->Ioctl(Pty::End::kMaster, context, request, argument, readable());
  }
  ErrnoOr<Ref<File>> OpenPeer(uint32_t flags) override { return pty_->OpenPeer(flags); }
  sync::Events Readiness(sync::Events interest) override { return pty_->Readiness(Pty::End::kMaster, interest); }
  sync::WaitQueue* wait_queue() override { return &pty_->queue(Pty::End::kMaster); }
  std::string DescribePath() const override { return path().mount ? File::DescribePath() : "/dev/ptmx"; }
  void OnLastClose() override { pty_->MasterClosed(); }

 private:
  ~PtyMasterFile() override = default;
  const Ref<Pty> pty_;
};

class PtySlaveFile final : public File {
 public:
  PtySlaveFile(Ref<Pty> pty, Ref<Inode> inode, const Path& path, uint32_t flags)
      : File(std::move(inode), path, flags), pty_(std::move(pty)) {}

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t) override { return pty_->ReadSlave(to, nonblocking(), &waited_); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t) override { return pty_->WriteSlave(from); }
  Patience ReadPatience() override { return pty_->ReadPatience(); }
  ErrnoOr<uint64_t> ReadImpatiently(mm::IoBuffer& to) override { return pty_->ReadSlaveImpatiently(to); }
  ErrnoOr<void> CheckTerminalRead(TerminalCaller& caller) override { return pty_->CheckRead(caller); }
  ErrnoOr<void> CheckTerminalWrite(TerminalCaller& caller) override { return pty_->CheckWrite(caller); }
  ErrnoOr<uint64_t> Ioctl(const IoctlContext& context, uint32_t request, uint64_t argument) override {
    return pty_->Ioctl(Pty::End::kSlave, context, request, argument, readable());
  }
  sync::Events Readiness(sync::Events interest) override { return pty_->Readiness(Pty::End::kSlave, interest); }
  sync::WaitQueue* wait_queue() override { return &pty_->queue(Pty::End::kSlave); }
  std::string DescribePath() const override {
    return path().mount ? File::DescribePath() : "/dev/pts/" + std::to_string(pty_->number());
  }
  void OnLastClose() override { pty_->SlaveClosed(); }

 private:
  ~PtySlaveFile() override = default;
  const Ref<Pty> pty_;
  std::atomic<bool> waited_{false};
};

}  // namespace

ErrnoOr<Ref<File>> Pty::OpenAgain(Ref<Inode> inode, const Path& path, uint32_t flags) {
  return OpenPtySlave(Ref<Pty>(this), std::move(inode), path, flags, /*privileged=*/false);
}

ErrnoOr<Ref<File>> Pty::OpenPeer(uint32_t flags) {
  Ref<Inode> inode = names_ != nullptr ? names_->FindSlave(number_) : nullptr;
  if (!inode) return Errno(EIO);
  return OpenPtySlave(Ref<Pty>(this), std::move(inode), Path(), flags, /*privileged=*/false);
}

Ref<File> MakePtyMaster(Ref<Pty> pty, Ref<Inode> inode, const Path& path, uint32_t flags) {
  return MakeRef<PtyMasterFile>(std::move(pty), std::move(inode), path, flags);
}

ErrnoOr<Ref<File>> OpenPtySlave(Ref<Pty> pty, Ref<Inode> inode, const Path& path, uint32_t flags, bool privileged) {
  REMORA_RETURN_IF_ERROR(pty->SlaveOpened(privileged));
  return Ref<File>(MakeRef<PtySlaveFile>(std::move(pty), std::move(inode), path, flags));
}

}  // namespace remora::fs
