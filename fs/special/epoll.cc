#include "fs/special/epoll.h"

#include <errno.h>
#include <fcntl.h>

#include "base/abi/epoll.h"
#include "base/abi/poll.h"
#include "base/abi/stat.h"

namespace remora::fs {
namespace {

// What may stand beside EPOLLEXCLUSIVE.
constexpr uint32_t kExclusiveBits = abi::kPOLLIN | abi::kPOLLOUT | abi::kPOLLERR | abi::kPOLLHUP | abi::kEPOLLWAKEUP |
                                    abi::kEPOLLET | abi::kEPOLLEXCLUSIVE;

}  // namespace

EpollFile::EpollFile(Ref<AnonymousInode> inode, Ref<EpollNesting> nesting)
    : AnonymousFile(std::move(inode), O_RDWR), set_(MakeRef<EpollSet>(std::move(nesting))) {}

Ref<EpollFile> EpollFile::Make(AnonymousFiles& files, Ref<EpollNesting> nesting) {
  return MakeRef<EpollFile>(files.MakeInode("anon_inode:[eventpoll]", 0600), std::move(nesting));
}

EpollFile* EpollFile::From(File& file) {
  // Most files are told apart without asking for their dynamic type: they have a type of inode.
  if (!file.inode() || file.inode()->type() != 0) return nullptr;
  return dynamic_cast<EpollFile*>(&file);
}

bool EpollFile::CanWatch(File& file) {
  if (file.wait_queue() == nullptr) return false;
  // A file on the host's disk has a queue for those who wait for the disk, but no readiness.
  const uint32_t type = file.inode() ? file.inode()->type() : 0;
  return type != abi::kS_IFREG && type != abi::kS_IFDIR;
}

ErrnoOr<void> EpollFile::Control(int32_t op, int32_t fd, File& file, uint32_t events, uint64_t data) {
  EpollFile* const watched = From(file);
  if (op != abi::kEPOLL_CTL_DEL && (events & abi::kEPOLLEXCLUSIVE) != 0 &&
      (op == abi::kEPOLL_CTL_MOD || watched != nullptr || (events & ~kExclusiveBits) != 0))
    return Errno(EINVAL);
  switch (op) {
    case abi::kEPOLL_CTL_ADD:
      return set_->Add(fd, file, watched == nullptr ? nullptr : &watched->set(), events, data);
    case abi::kEPOLL_CTL_MOD:
      return set_->Modify(fd, file, events, data);
    case abi::kEPOLL_CTL_DEL:
      return set_->Remove(fd, file);
    default:
      return Errno(EINVAL);
  }
}

sync::Events EpollFile::Readiness(sync::Events interest) {
  return (interest & sync::kReadable) != 0 && set_->AnyReady() ? sync::kReadable : sync::Events{0};
}

}  // namespace remora::fs
